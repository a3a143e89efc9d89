"""``reconstruct``: images through a model's encoder and back, pairs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.cli.inference import in_batches, parser, pick_device, positive
from vedute.cli.sample import wants_grid
from vedute.errors import ConditionError, ConfigurationError, DataError
from vedute.files import whole

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
        ConfigurationError: The model has no encoder, or an option cannot be used.
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
    given = options.parse_args(list(args))
    if not wants_grid(given.output):
        raise ConfigurationError(f"--output {given.output}: give a file name that ends in .png.")
    device = pick_device(given.device)

    import torch

    from lightning_modules.base import GenerativeModule
    from vedute.checkpoints import load_datamodule_options, load_module
    from vedute.report.grid import image_grid
    from vedute.run_folder import shown

    model = load_module(given.checkpoint, GenerativeModule, device)  # type: ignore[type-abstract]
    if not model.has_encoder:
        raise ConfigurationError(
            f"{given.checkpoint} holds a {type(model).__name__}, which has no encoder: it cannot reconstruct."
        )
    if given.input is None:
        batch, titles = _test_images(given.checkpoint, given.count)
    else:
        resize = load_datamodule_options(given.checkpoint).get("resize", "crop")
        batch, titles = _read_images(given.input, given.count, model, resize, given.condition)
    if given.condition is not None:
        vector = model.parse_condition(given.condition).expand(len(batch), -1)
        batch.condition.vector = vector.contiguous()

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
    import numpy as np
    import torch

    from vedute.batch import Batch, Condition
    from vedute.data.decoding import Preparation, decode_image
    from vedute.data.image_bytes import read_file
    from vedute.data.image_files import image_files
    from vedute.sampling.conditions import spread

    if not source.exists():
        raise DataError(f"--input {source} does not exist.")
    files = image_files(source) if source.is_dir() else [source]
    if not files:
        raise DataError(f"--input {source} holds no images (PNG, JPEG, WebP, ...).")
    files = [files[row] for row in spread(len(files), count)]
    preparation = Preparation(model.image_size, channels=model.image_channels, resize=resize)  # type: ignore[arg-type]  # checked there
    images = []
    for file in files:
        try:
            images.append(decode_image(read_file(file), preparation))
        except DataError as error:
            raise DataError(f"{file}: {error}") from error
    pixels = torch.tensor(np.stack(images))  # (N, H, W, C)
    batch = Batch(pixels.permute(0, 3, 1, 2).float() / 255, index=torch.arange(len(files)))
    if condition is not None:
        return batch, f"all as {condition}"
    if model.condition_kind == "none":
        return batch, "no conditions"
    if model.condition_kind == "image":
        raise ConditionError(
            "This model needs a mask for each image, which --input does not give: leave it out, and the test "
            "split is taken."
        )
    if model.condition_kind != "class":
        raise ConditionError(f"This model is conditioned on {model.condition_kind}s: give --condition.")
    names = [name.casefold() for name in model.condition_names]
    uniform = torch.full((len(names),), 1 / len(names))
    vectors, known = [], 0
    for file in files:
        folder = file.absolute().parent.name.casefold()
        vectors.append(torch.eye(len(names))[names.index(folder)] if folder in names else uniform)
        known += folder in names
    batch.condition = Condition(torch.stack(vectors))
    return batch, f"{known} of {len(files)} classes known from folder names, the others taken as uniform"
