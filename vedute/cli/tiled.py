"""What ``translate`` and ``upscale`` share: pictures of any size through a model, tile by tile."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.cli.inference import in_batches, progress
from vedute.cli.tiled_input import LEAST_LARGE_TILE, LEAST_OVERLAP, LEAST_TILE, OVERLAP_SHARE, Job
from vedute.errors import CheckpointError, named

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lightning_modules.base import GenerativeModule
    from vedute.data.picture_rows import PictureRows, Wanted
    from vedute.data.pixels import Pixels
    from vedute.sampling.tiling import TileNetwork, Tiling

_ENLARGED_PIXELS = 1 << 16  # of the input, that are enlarged at a time where pictures are not tiled


def load_image_model(path: Path, device: torch.device, average: str | None = None) -> GenerativeModule:
    """Return the model of a checkpoint, which must make images from images; or of published RRDB weights.

    Args:
        path: The checkpoint.
        device: Where to put the model.
        average: Which weights, see ``vedute.checkpoints.load_module``.

    Raises:
        CheckpointError: It cannot be used, lacks the average, or makes images from something else.
    """
    import torch

    from lightning_modules.base import GenerativeModule
    from lightning_modules.esrgan import ESRGAN
    from vedute.checkpoints import load_module, summary
    from vedute.networks.published_rrdb import SUFFIXES

    if path.suffix.lower() in SUFFIXES:
        if average is not None:
            raise CheckpointError(f"{path} holds published weights and no averages: leave out --average.")
        return ESRGAN.published(path).to(device).eval().to(memory_format=torch.channels_last)
    model = load_module(path, GenerativeModule, device, average)
    if model.condition_kind != "image":
        what = {"none": "nothing but noise", "class": "classes", "score": "scores"}[model.condition_kind]
        raise CheckpointError(
            f"{path} holds {named(type(model))} ({summary(type(model))}), which makes images from "
            f"{what}. Give one that makes images from images."
        )
    return model.to(memory_format=torch.channels_last)


def tiling_for(model: GenerativeModule, given: argparse.Namespace) -> Tiling:
    """Return how to cut pictures for a model.

    Raises:
        ConfigurationError: The overlap does not fit the tile.
    """
    from vedute.sampling.tiling import Tiling

    least = LEAST_TILE if model.scale == 1 else LEAST_LARGE_TILE
    side = given.tile or max(2 * max(model.image_size) // model.scale, least)
    side = -(-side // model.tile_multiple) * model.tile_multiple
    usual = min(max(side // OVERLAP_SHARE, LEAST_OVERLAP), side // 2)
    return Tiling(side, usual if given.overlap is None else given.overlap, given.batch_size)


def run_jobs(
    jobs: Sequence[Job],
    wanted: Wanted,
    model: GenerativeModule,
    tiling: Tiling,
    title: str,
    finished: Callable[[Job], None] | None = None,
) -> None:
    """Make all pictures, one after the other, and say what was done to their inputs.

    Args:
        jobs: What to make.
        wanted: What the model takes.
        model: In eval mode.
        tiling: How to cut.
        title: Of the progress bar.
        finished: Called after each.

    Raises:
        DataError: A file is damaged.
        VeduteError: The disk is full, or memory does not suffice for one small tile.
    """
    import torch

    from vedute.data.picture_rows import open_picture
    from vedute.sampling.tiling import with_less_memory

    started, unclear = time.perf_counter(), 0
    pixels = sum(job.header.height * job.header.width for job in jobs)
    with progress(title, pixels) as advance, torch.inference_mode():
        for job in jobs:
            with open_picture(job.source, wanted) as picture:

                def make(smaller: Tiling, job: Job = job, picture: PictureRows = picture) -> None:
                    _make(job, picture, model, smaller, advance)

                _, tiling = with_less_memory(tiling, model.tile_multiple, make, _tell)
                unclear += picture.unclear
            if finished is not None:
                finished(job)
    _say_conversions(jobs, wanted)
    if unclear:
        print(f"{unclear} of {len(jobs)} masks hold grey: from half of white on it is foreground.")
    missing = sum(job.place is None for job in jobs)
    if 0 < missing < len(jobs):
        print(f"{missing} of {len(jobs)} files have no GeoTIFF tags; their outputs have none either.")
    seconds = time.perf_counter() - started
    print(
        f"{pixels / 1e6:.1f} million pixels in {seconds:.1f} s, tiles of {tiling.tile} overlapping by "
        f"{tiling.overlap}."
    )


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _say_conversions(jobs: Sequence[Job], wanted: Wanted) -> None:
    changes = Counter(change for job in jobs if (change := job.header.conversion(wanted)))
    for change, count in changes.most_common():
        print(f"{jobs[0].source.name if len(jobs) == 1 else f'{count} of {len(jobs)} files'}: {change}.")


def _make(
    job: Job,
    picture: PictureRows,
    model: GenerativeModule,
    tiling: Tiling,
    advance: Callable[[int], None],
) -> None:
    """Make one picture."""
    from vedute.data.row_files import write_rows
    from vedute.sampling.shared_statistics import shared_statistics
    from vedute.sampling.tiling import computed_rows, spread_pieces, tile_count

    network = tile_network(model, job.seed)
    shape = (picture.height * model.scale, picture.width * model.scale, model.image_channels)
    done = 0

    def gather() -> None:
        network.compute(spread_pieces(picture, network, tiling))

    def blocks() -> Iterator[Pixels]:
        nonlocal done
        for rows in computed_rows(picture, network, tiling):
            yield to_pixels(rows)
            share = rows.shape[1] * rows.shape[2] // model.scale**2
            done += share
            advance(share)

    try:
        if tile_count(picture.height, picture.width, network, tiling) == 1:
            write_rows(job.output, blocks(), shape, job.place)  # the tile is the picture
        else:
            with shared_statistics(model, gather):
                write_rows(job.output, blocks(), shape, job.place)
    except BaseException:
        advance(-done)  # it will be made again, or nothing more is
        raise


def tile_network(model: GenerativeModule, number: int) -> TileNetwork:
    """Return what a model does to each tile of a picture that has the seed ``number``."""
    import torch

    from vedute.batch import Condition
    from vedute.sampling.tiling import TileNetwork

    def compute(tiles: Tensor) -> Tensor:
        seeds = torch.full((len(tiles),), number, dtype=torch.int64)
        return model.sample(Condition(image=tiles.to(model.device)), seeds)

    return TileNetwork(compute, model.scale, model.tile_multiple)


def to_pixels(rows: Tensor) -> Pixels:
    """Turn rows (C, h, W) in [0, 1] into pixels (h, W, C) uint8."""
    import torch

    return (rows.clamp(0, 1) * 255).round_().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def check_enlarges(model: GenerativeModule, path: Path, factor: int | None = None) -> None:
    """Make sure that a model enlarges pictures, by ``factor`` where one is given.

    Raises:
        CheckpointError: It does not, or by another factor.
    """
    if model.scale == 1:
        raise CheckpointError(
            f"{path} holds {named(type(model))}, which makes images of the size of its input: it cannot "
            "enlarge. Give the checkpoint of an ESRGAN; for this one there is 'translate'."
        )
    if factor is not None and factor != model.scale:
        raise CheckpointError(
            f"{path} enlarges {model.scale} times, not {factor} times: leave out --factor, or give a "
            "checkpoint that was trained with the other scale."
        )


def enlarge(model: GenerativeModule, images: Tensor, seeds: Tensor, batch_size: int) -> Tensor:
    """Enlarge small pictures, each as a whole.

    Args:
        model: One that passed :func:`check_enlarges`.
        images: (N, C, h, w) in [0, 1].
        seeds: (N,) int64.
        batch_size: Images at a time, at most.

    Returns:
        (N, C, h * scale, w * scale) float32 in [0, 1] on the CPU.

    Raises:
        VeduteError: Memory does not suffice for one image.
    """
    import torch

    from vedute.batch import Condition
    from vedute.sampling.tiling import Tiling, padded_to, with_less_memory

    height, width = images.shape[-2:]
    padded = padded_to(images, model.tile_multiple)

    def compute(rows: slice) -> Tensor:
        large = model.sample(Condition(image=padded[rows].to(model.device)), seeds[rows])
        return large[:, :, : height * model.scale, : width * model.scale]

    def work(tiling: Tiling) -> Tensor:
        return in_batches("Enlarging", len(images), tiling.batch_size, compute)

    at_once = max(1, min(batch_size, _ENLARGED_PIXELS // (height * width)))
    side = max(padded.shape[-2:])
    # A tile that cannot get smaller: only the number of images can.
    result, _ = with_less_memory(Tiling(side, 0, at_once), side, work, _tell)
    return result.to(torch.float32)
