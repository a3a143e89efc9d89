"""``translate``: images from masks or other images, of any size, from a checkpoint alone."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from vedute.cli.inference import pick_device
from vedute.cli.tiled import load_image_model, run_jobs, tiling_for
from vedute.cli.tiled_input import Job, check_places, find_jobs, tile_parser
from vedute.errors import CheckpointError, named
from vedute.files import whole

IMAGES, MASKS, MANIFEST = "images", "masks", "manifest.csv"
"""What a new training set consists of."""

_BLOCK = 1 << 20


def main(args: Sequence[str]) -> int:
    """Make an image of each mask.

    Args:
        args: The verb's options.

    Returns:
        0.

    Raises:
        CheckpointError: The checkpoint cannot be used, or does not make images from images.
        ConfigurationError: An option cannot be used, or the output is in the way.
        DataError: A file that cannot be read, or does not fit the model.
    """
    options = tile_parser(
        "translate",
        "Make images from masks (or other images) of any size with a model of pix2pix's kind, in overlapping "
        "tiles without seams. A folder of masks becomes a training set: images, masks, and manifest.csv that "
        "says which checkpoint and seed made each image.",
    )
    given = options.parse_args(list(args))
    files = check_places(given)
    device = pick_device(given.device)

    from vedute.data.picture_rows import Wanted
    from vedute.run_folder import shown

    model = load_image_model(given.checkpoint, device, given.average)
    if model.scale != 1:
        raise CheckpointError(
            f"{given.checkpoint} holds {named(type(model))}, which enlarges images {model.scale} times: "
            "use 'upscale'."
        )
    tiling = tiling_for(model, given)
    wanted = Wanted(model.condition_channels, mask=model.condition_channels == 1)
    jobs = find_jobs(given, files, wanted, model, IMAGES)
    if not given.input.is_dir():
        run_jobs(jobs, wanted, model, tiling, "Translating")
        print(f"1 image in {shown(given.output)}")
        return 0
    done: list[Job] = []
    try:
        run_jobs(jobs, wanted, model, tiling, "Translating", done.append)
    finally:
        # Also of a part: what is there can be used, and says what it is.
        if done:
            _write_set(given.output, given.input, given.checkpoint, done)
    print(f"{len(done)} images, their masks and {MANIFEST} in {shown(given.output)}")
    return 0


def _write_set(output: Path, source: Path, checkpoint: Path, jobs: Sequence[Job]) -> None:
    """Copy the masks beside their images, and write what each image is made of."""
    digest = checkpoint_hash(checkpoint)
    rows = []
    for job in jobs:
        mask = output / MASKS / job.source.relative_to(source)
        with whole(mask) as temporary:
            shutil.copyfile(job.source, temporary)
        rows.append(
            (
                job.output.relative_to(output).as_posix(),
                mask.relative_to(output).as_posix(),
                checkpoint.as_posix(),
                digest,
                job.seed,
            )
        )
    with whole(output / MANIFEST) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "mask", "checkpoint", "sha256", "seed"))
        writer.writerows(rows)


def checkpoint_hash(path: Path) -> str:
    """Return the SHA-256 of a checkpoint's bytes, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
