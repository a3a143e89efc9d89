"""``sample``: images for conditions of the user's choice, from a checkpoint alone."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.cli.inference import in_batches, parser, pick_device, positive, seed
from vedute.cli.sampler_options import add_sampler_options, apply_sampler_options
from vedute.cli.strategies import add_options, build_strategy, check_options, partial_scores
from vedute.cli.tiled import check_enlarges, enlarge, load_image_model
from vedute.errors import CheckpointError, ConditionError, ConfigurationError, DataError
from vedute.files import check_place, whole

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lightning_modules.base import GenerativeModule
    from vedute.batch import Condition

_ROWS = 12


def main(args: Sequence[str]) -> int:
    """Generate images.

    Args:
        args: The verb's options.

    Returns:
        0.

    Raises:
        CheckpointError: A checkpoint cannot be used, generates nothing, or enlarges nothing (--then).
        ConditionError: A condition that the model does not know.
        ConfigurationError: An option cannot be used, or the model cannot do the strategy.
        DataError: A mask that cannot be read, or no data to take masks from.
    """
    options = parser("sample", "Generate images with a trained model.")
    options.add_argument(
        "--condition",
        action="append",
        default=[],
        metavar="TEXT",
        help="a class (coast), values (coast=0.7,mountain=0.3 or Moira=9,Louie=7) or a mask's image file; "
        f"repeat it for several; none: at most {_ROWS} rows of each class, of low and high scores, or of "
        "masks of the validation split",
    )
    options.add_argument(
        "--count",
        type=positive,
        metavar="N",
        help="images per condition; none: 8, or 1 of a model that makes one image of each",
    )
    options.add_argument(
        "--seed",
        type=seed,
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
    options.add_argument(
        "--then",
        type=Path,
        metavar="FILE",
        help="checkpoint of a model that enlarges images (ESRGAN): the images go through it",
    )
    add_options(options)
    add_sampler_options(options)
    given = options.parse_args(list(args))
    check_options(given)
    to_grid = wants_grid(given.output)
    check_place(given.output if to_grid else given.output / "conditions.csv")
    device = pick_device(given.device)

    import torch

    from lightning_modules.base import GenerativeModule
    from vedute.checkpoints import load_module
    from vedute.promises import as_latent_generator
    from vedute.report.grid import image_grid
    from vedute.rows import beside_conditions
    from vedute.run_folder import shown

    model = load_module(given.checkpoint, GenerativeModule, device, given.average)
    apply_sampler_options(model, given)
    larger = None if given.then is None else _load_larger(given.then, model, device)
    generator, strategy = as_latent_generator(model), build_strategy(given, model)
    partial = model.condition_kind == "score" and getattr(given, "distribution", None) == "learned"
    titles, condition = conditions(model, given.condition, given.checkpoint, partial)
    count = given.count or (8 if model.stochastic else 1)
    seeds = (given.seed + torch.arange(count)).repeat(len(titles))
    repeated = condition.map(lambda tensor: tensor.repeat_interleave(count, dim=0))

    def compute(rows: slice) -> Tensor:
        return strategy.generate(generator, repeated[rows].to(device), seeds[rows])

    images = in_batches("Generating", len(seeds), given.batch_size, compute)
    if larger is not None:
        images = enlarge(larger, images, seeds, given.batch_size)
    if to_grid:
        if condition.image is not None:
            rows = beside_conditions(images, condition.image)
            picture = image_grid(rows, count + 1, titles, ["condition"])
        elif condition.vector is not None:
            picture = image_grid(images, count, titles)
        else:
            picture = image_grid(images, min(count, 8))
        with whole(given.output) as temporary:
            picture.save(temporary, format="PNG")
        print(f"{len(images)} images in {shown(given.output)}")
    else:
        write_folder(given.output, images, titles, seeds.tolist())
        print(f"{len(images)} images and conditions.csv in {shown(given.output)}")
    return 0


def _load_larger(path: Path, model: GenerativeModule, device: torch.device) -> GenerativeModule:
    """Return the model of ``--then``, which enlarges what ``model`` generates.

    Raises:
        CheckpointError: It cannot be used, does not enlarge, or takes images of other channels.
    """
    larger = load_image_model(path, device)
    check_enlarges(larger, path)
    if larger.condition_channels != model.image_channels:
        raise CheckpointError(
            f"--then {path} enlarges images of {larger.condition_channels} channels, but those that are "
            f"generated have {model.image_channels}: take a checkpoint that was trained on such images."
        )
    return larger


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


def conditions(
    model: GenerativeModule, texts: Sequence[str], checkpoint: Path, partial: bool = False
) -> tuple[list[str], Condition]:
    """Return what to generate.

    Args:
        model: The model.
        texts: Conditions as typed, or files of images; none: each class, low and high scores, or
            conditions of the validation split.
        checkpoint: Where the model is from, which also says what its data are.
        partial: Whether a text may leave out scores, which are then NaN.

    Returns:
        A title per condition, and as many conditions; both fields None for an unconditional model.

    Raises:
        ConditionError: The model does not know one, or one is given twice.
        DataError: An image that cannot be read, or no data to take conditions from.
    """
    import torch

    from vedute.batch import Condition
    from vedute.checkpoints import load_datamodule
    from vedute.promises import as_generator, as_image_data
    from vedute.sampling.conditions import image_rows, vector_rows

    for position, text in enumerate(texts):
        if text in texts[:position]:
            raise ConditionError(f"--condition '{text}' is given twice.")
    if model.condition_kind == "none":
        if texts:
            raise ConditionError("This model is unconditional: leave out --condition.")
        return ["all"], Condition()
    if model.condition_kind == "image":
        if texts and model.scale > 1:
            raise ConditionError(
                f"{type(model).__name__} enlarges images: 'upscale --input {texts[0]}' gives it files. "
                "'sample' shows what it makes of the validation split: leave out --condition."
            )
        if texts:
            return [Path(text).stem for text in texts], Condition(image=_read_masks(texts, model.image_size))
        titles, condition, _ = image_rows(
            as_generator(model), as_image_data(load_datamodule(checkpoint)), "val", _ROWS
        )
        return titles, condition.to("cpu")
    if texts:
        vectors = [partial_scores(model, text) if partial else model.parse_condition(text) for text in texts]
        return list(texts), Condition(torch.stack(vectors))
    return vector_rows(model, _ROWS)


def _read_masks(texts: Sequence[str], size: tuple[int, int]) -> Tensor:
    """Return (N, 1, H, W) in {0, 1}: masks from image files, cropped and resized like training data."""
    import torch

    from vedute.data.decoding import ImageBatch, Preparation

    masks = ImageBatch(Preparation(size, channels=1, mask=True))
    for text in texts:
        path = Path(text)
        if not path.is_file():
            raise ConditionError(
                f"--condition '{text}' is no file: this model makes images from masks, so give an image file "
                "with white foreground on black, or leave out --condition."
            )
        try:
            content = path.read_bytes()
            masks.add(content, content)  # as image and as its mask, which is read by other rules
        except DataError as error:
            raise DataError(f"--condition {path}: {error}") from error
    if masks.unclear_masks:
        print(
            f"{masks.unclear_masks} of {len(texts)} masks hold grey: from half of white on it is foreground."
        )
    return torch.from_numpy(masks.take()[..., 1:]).permute(0, 3, 1, 2).float() / 255  # (N, 1, H, W)


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
