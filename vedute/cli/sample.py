"""``sample``: images for conditions of the user's choice, from a checkpoint alone."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.cli.inference import in_batches, parser, pick_device, positive
from vedute.errors import ConditionError, ConfigurationError
from vedute.files import whole

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_modules.base import GenerativeModule

_ROWS = 12


def main(args: Sequence[str]) -> int:
    """Generate images.

    Args:
        args: The verb's options.

    Returns:
        0.

    Raises:
        CheckpointError: The checkpoint cannot be used, or generates nothing.
        ConditionError: A condition that the model does not know.
        ConfigurationError: An option cannot be used.
    """
    options = parser("sample", "Generate images with a trained model.")
    options.add_argument(
        "--condition",
        action="append",
        default=[],
        metavar="TEXT",
        help="a class (coast) or values (coast=0.7,mountain=0.3); repeat it for several; none: one row of "
        f"each class, at most {_ROWS} of them",
    )
    options.add_argument("--count", type=positive, default=8, metavar="N", help="images per condition")
    options.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="image n of a condition has seed S + n, and is the same whatever else is generated",
    )
    options.add_argument(
        "--output",
        type=Path,
        default=Path("samples.png"),
        metavar="PATH",
        help="FILE.png: one grid, a row per condition; any other name: a folder of one PNG per image",
    )
    given = options.parse_args(list(args))
    to_grid = wants_grid(given.output)
    device = pick_device(given.device)

    import torch

    from lightning_modules.base import GenerativeModule
    from vedute.batch import Condition
    from vedute.checkpoints import load_module
    from vedute.report.grid import image_grid
    from vedute.run_folder import shown

    model = load_module(given.checkpoint, GenerativeModule, device)  # type: ignore[type-abstract]
    titles, vectors = conditions(model, given.condition)
    seeds = (given.seed + torch.arange(given.count)).repeat(len(titles))
    repeated = None if vectors is None else vectors.repeat_interleave(given.count, dim=0).to(device)

    def compute(rows: slice) -> Tensor:
        return model.sample(Condition(None if repeated is None else repeated[rows]), seeds[rows])

    images = in_batches("Generating", len(seeds), given.batch_size, compute)
    if to_grid:
        named = vectors is not None
        columns = given.count if named else min(given.count, 8)
        picture = image_grid(images, columns, titles if named else None)
        with whole(given.output) as temporary:
            picture.save(temporary, format="PNG")
        print(f"{len(images)} images in {shown(given.output)}")
    else:
        write_folder(given.output, images, titles, seeds.tolist())
        print(f"{len(images)} images and conditions.csv in {shown(given.output)}")
    return 0


def wants_grid(output: Path) -> bool:
    """Whether ``output`` is a picture rather than a folder.

    Raises:
        ConfigurationError: It is neither, or is in the way.
    """
    if output.is_dir():
        return False
    suffix = output.suffix.lower()
    if suffix == ".png":
        return True
    if output.exists() or suffix in (".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"):
        raise ConfigurationError(f"--output {output}: give a name ending in .png, or a folder.")
    return False


def conditions(model: GenerativeModule, texts: Sequence[str]) -> tuple[list[str], Tensor | None]:
    """Return what to generate.

    Args:
        model: The model.
        texts: Conditions as typed; none: each class, or the mean of scores.

    Returns:
        A title per condition, and the vectors (N, D); None for an unconditional model.

    Raises:
        ConditionError: The model does not know one, or one is given twice.
        ConfigurationError: The model's conditions are images.
    """
    import torch

    if model.condition_kind == "image":
        raise ConfigurationError(
            f"This {type(model).__name__} makes images from images, not from names; 'sample' cannot be used."
        )
    if model.condition_kind == "none":
        if texts:
            raise ConditionError("This model is unconditional: leave out --condition.")
        return ["all"], None
    if texts:
        for position, text in enumerate(texts):
            if text in texts[:position]:
                raise ConditionError(f"--condition '{text}' is given twice.")
        return list(texts), torch.stack([model.parse_condition(text) for text in texts])
    if model.condition_kind == "score":
        return ["mean scores"], torch.zeros(1, model.condition_size)
    return list(model.condition_names[:_ROWS]), torch.eye(model.condition_size)[:_ROWS]


def file_name(title: str, seed: int) -> str:
    """Return a file's name for a condition and a seed, safe on every system."""
    safe = re.sub(r"[^\w.+-]+", "_", title.replace("=", "-")).strip("_.") or "image"
    return f"{safe}_seed{seed:06d}.png"


def write_folder(folder: Path, images: Tensor, titles: Sequence[str], seeds: Sequence[int]) -> None:
    """Write each image as a PNG, and ``conditions.csv`` that says what each file is.

    Files that are already in the folder stay, except those of the same name.
    """
    from vedute.report.grid import to_pil

    folder.mkdir(parents=True, exist_ok=True)
    per_title = len(images) // len(titles)
    rows = []
    for number, image in enumerate(images):
        title, seed = titles[number // per_title], seeds[number]
        name = file_name(title, seed)
        with whole(folder / name) as temporary:
            to_pil(image).save(temporary, format="PNG")
        rows.append((name, title, seed))
    with (
        whole(folder / "conditions.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("file", "condition", "seed"))
        writer.writerows(rows)
