"""``reconstruct``: images through a model's encoder and back, pairs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.cli.inference import in_batches, parser, pick_device, positive
from vedute.cli.sample import wants_grid
from vedute.cli.sampler_options import add_sampler_options, apply_sampler_options
from vedute.errors import ConfigurationError, named
from vedute.files import check_place, whole

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_modules.base import GenerativeModule
    from vedute.batch import Batch

_COLUMNS = 8


def main(args: Sequence[str]) -> int:
    """Encode and decode images.

    Args:
        args: The verb's options.

    Returns:
        0.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ConditionError: A condition that the model does not know.
        ConfigurationError: The model has no encoder, or an option cannot be used or would change nothing.
        DataError: The input holds no image that can be read.
    """
    options = parser(
        "reconstruct",
        "Put images through a model and back. Images are cropped and resized like training data. Their "
        "condition is --condition where given; else the class that their folder is named after; else all "
        "classes with equal probability.",
    )
    options.add_argument(
        "--input",
        type=Path,
        metavar="PATH",
        help="an image or a folder of images, searched with its subfolders; none: the test split that the "
        "checkpoint was trained beside",
    )
    options.add_argument("--condition", metavar="TEXT", help="condition of all images, e.g. coast")
    options.add_argument(
        "--count",
        type=positive,
        default=16,
        metavar="N",
        help="at most this many, evenly spread over the input",
    )
    options.add_argument(
        "--output", type=Path, default=Path("pairs.png"), metavar="FILE.png", help="picture of the pairs"
    )
    add_sampler_options(options)
    given = options.parse_args(list(args))
    if not wants_grid(given.output):
        raise ConfigurationError(f"--output {given.output}: give a file name that ends in .png.")
    check_place(given.output)
    device = pick_device(given.device)

    import torch

    from lightning_modules.base import GenerativeModule
    from vedute.checkpoints import load_datamodule_options, load_module
    from vedute.cli.image_input import check_decoding
    from vedute.report.grid import image_grid
    from vedute.run_folder import shown

    model = load_module(given.checkpoint, GenerativeModule, device, given.average)
    apply_sampler_options(model, given)
    if not model.has_encoder:
        raise ConfigurationError(
            f"{given.checkpoint} holds {named(type(model))}, which has no encoder: it cannot reconstruct."
        )
    check_decoding(model, given.condition)
    if given.input is None:
        batch, titles = _test_images(given.checkpoint, given.count)
        if given.condition is not None:
            batch.condition.vector = model.parse_condition(given.condition).repeat(len(batch), 1)
    else:
        resize = load_datamodule_options(given.checkpoint).get("resize", "crop")
        batch, titles = _read_images(given.input, given.count, model, resize, given.condition)

    def compute(rows: slice) -> Tensor:
        return model.reconstruct(batch[rows].to(device))

    images = in_batches("Reconstructing", len(batch), given.batch_size, compute)
    columns = min(_COLUMNS, len(batch))
    blank = torch.ones(-len(batch) % columns, *batch.image.shape[1:])
    rows: list[Tensor] = []
    names: list[str] = []
    for start in range(0, len(batch), columns):
        for title, half in (("original", batch.image), ("reconstruction", images)):
            part = half[start : start + columns]
            rows.append(torch.cat([part, blank]) if len(part) < columns else part)
            names.append(title)
    picture = image_grid(torch.cat(rows), columns, names)
    with whole(given.output) as temporary:
        picture.save(temporary, format="PNG")
    error = (images - batch.image).square().flatten(1).mean(1)
    psnr = (-10 * error.clamp_min(1e-10).log10()).mean()
    print(f"{len(batch)} pairs in {shown(given.output)}; {titles}; PSNR {float(psnr):.2f} dB on average")
    return 0


def _test_images(checkpoint: Path, count: int) -> tuple[Batch, str]:
    """Return images of the checkpoint's own test split, spread over it."""
    from vedute.checkpoints import load_datamodule
    from vedute.promises import as_image_data
    from vedute.sampling.conditions import spread

    data = as_image_data(load_datamodule(checkpoint))
    rows = spread(data.size("test"), count)
    return data.batch("test", rows), "images and classes of the test split"


def _read_images(
    source: Path, count: int, model: GenerativeModule, resize: object, condition: str | None
) -> tuple[Batch, str]:
    """Read image files, prepared like training data, with their conditions."""
    from vedute.cli.image_input import conditions_for_decoding, find_images, read_images
    from vedute.sampling.conditions import spread

    files = find_images(source, "--input")
    files = [files[row] for row in spread(len(files), count)]
    conditions, remark = conditions_for_decoding(files, model, condition)
    batch = read_images(files, model, resize)
    batch.condition = conditions
    return batch, remark
