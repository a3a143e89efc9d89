"""``interpolate``: what lies between two images, two conditions or two seeds, as a strip."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.cli.inference import in_batches, parser, pick_device, positive, seed
from vedute.cli.sample import wants_grid
from vedute.cli.sampler_options import add_sampler_options, apply_sampler_options
from vedute.errors import ConditionError, ConfigurationError, named
from vedute.files import check_place, whole

_UNSEEN = 0.02
"""Mean difference of two images, in [0, 1], below which an edit is hardly seen."""

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lightning_modules.base import GenerativeModule
    from vedute.batch import Condition
    from vedute.sampling.paths import Way


def main(args: Sequence[str]) -> int:
    """Draw the way from one end to another.

    Args:
        args: The verb's options.

    Returns:
        0.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ConditionError: A condition that the model does not know, or none where it needs one.
        ConfigurationError: The model cannot interpolate this way, or an option cannot be used.
        DataError: An image cannot be read.
    """
    given = _options().parse_args(list(args))
    _check(given)
    device = pick_device(given.device)

    from lightning_modules.base import GenerativeModule
    from vedute.checkpoints import load_module
    from vedute.report.strip import strip_picture
    from vedute.run_folder import shown

    model = load_module(given.checkpoint, GenerativeModule, device, given.average)
    apply_sampler_options(model, given)
    if model.condition_kind == "image":
        raise ConfigurationError(
            "This model makes images from images, between which there is nothing to draw."
        )
    draw = _between_images if given.first is not None else _between_noises
    images, columns, rows, lines = draw(model, given, device)
    picture = strip_picture(images, columns, rows, lines)
    with whole(given.output) as temporary:
        picture.save(temporary, format="PNG")
    print(f"{len(images)} images in {shown(given.output)}")
    return 0


def _options() -> argparse.ArgumentParser:
    options = parser(
        "interpolate",
        "Draw what lies between two images (--from a.jpg --to b.jpg), two conditions (--from-condition coast "
        "--to-condition mountain: the same noise all along) or two seeds (--seed 1 --to-seed 5). What is "
        "given together changes together: one image (--from) with two conditions is encoded once and decoded "
        "under each.",
    )
    options.add_argument(
        "--from", dest="first", type=Path, metavar="IMAGE", help="image file at the left end"
    )
    options.add_argument(
        "--to",
        dest="last",
        type=Path,
        metavar="IMAGE",
        help="image file at the right end; none: that of --from",
    )
    options.add_argument(
        "--from-condition",
        metavar="TEXT",
        help="condition at the left end: a class (coast), a fuzzy label (coast=0.7,forest=0.3) or scores "
        "(Moira=2,Louie=5)",
    )
    options.add_argument("--to-condition", metavar="TEXT", help="condition at the right end")
    options.add_argument(
        "--condition",
        metavar="TEXT",
        help="condition of both ends; none: of an image file the class that its folder is named after, else "
        "all classes with equal probability",
    )
    options.add_argument(
        "--seed",
        type=seed,
        default=0,
        metavar="S",
        help="without images: seed of the noise at the left end; the next rows count up, and their ends are "
        "what 'sample' makes of these seeds",
    )
    options.add_argument(
        "--to-seed",
        type=seed,
        metavar="S",
        help="without images: seed at the right end; none: that of --seed",
    )
    options.add_argument(
        "--count", type=positive, metavar="N", help="without images: rows, one a seed; none: 4"
    )
    options.add_argument(
        "--steps", type=positive, default=9, metavar="T", help="images in a row, ends included"
    )
    options.add_argument(
        "--path",
        choices=("auto", "linear", "spherical"),
        default="auto",
        help="of latent vectors; auto: spherical between noises, which all have about one length, linear "
        "between encoded images, which have not (those of flow models have); conditions change linearly",
    )
    options.add_argument(
        "--output", type=Path, default=Path("strip.png"), metavar="FILE.png", help="picture of the strip"
    )
    add_sampler_options(options, steps="--solver-steps")
    return options


def _check(given: argparse.Namespace) -> None:
    """Refuse options that do not go together, before anything is loaded."""
    if not wants_grid(given.output):
        raise ConfigurationError(f"--output {given.output}: give a file name that ends in .png.")
    check_place(given.output)
    if given.steps < 2:
        raise ConfigurationError("--steps must be at least 2: both ends are drawn.")
    if given.first is None and given.last is not None:
        raise ConfigurationError("--to needs --from: the image at the left end.")
    if given.first is not None and (given.to_seed is not None or given.count is not None):
        raise ConfigurationError("--to-seed and --count are for noise: leave them out with --from.")
    if (given.from_condition is None) != (given.to_condition is None):
        raise ConfigurationError(
            "Give both --from-condition and --to-condition, or --condition for one that stays."
        )
    if given.condition is not None and given.from_condition is not None:
        raise ConfigurationError("--condition is for both ends: leave it out, or the two others.")
    moves = (
        given.from_condition != given.to_condition
        or (given.last is not None and given.last.absolute() != given.first.absolute())
        or given.to_seed not in (None, given.seed)
    )
    if not moves:
        raise ConfigurationError(
            "Nothing changes between the ends. Give --from and --to (two images), --from-condition and "
            "--to-condition (two conditions), or --to-seed (another than --seed)."
        )


def _texts(given: argparse.Namespace) -> tuple[str | None, str | None]:
    """Return the conditions of the two ends as typed."""
    if given.from_condition is not None:
        return given.from_condition, given.to_condition
    return given.condition, given.condition


def _between_images(
    model: GenerativeModule, given: argparse.Namespace, device: torch.device
) -> tuple[Tensor, list[str], list[str] | None, list[str]]:
    """Return images, titles of columns and rows, and lines above, of the way between two encoded images."""
    import torch

    from vedute.batch import collate
    from vedute.checkpoints import load_datamodule_options
    from vedute.cli.image_input import conditions_for_decoding, find_images, read_images
    from vedute.promises import HasSampler

    if not model.has_encoder:
        raise ConfigurationError(
            f"{given.checkpoint} holds {named(type(model))}, which has no encoder: it cannot start from "
            "images. Give conditions or seeds."
        )
    resize = load_datamodule_options(given.checkpoint).get("resize", "crop")
    ends, notes = [], []
    files = (given.first, given.last or given.first)
    for option, file, text in zip(("--from", "--to"), files, _texts(given), strict=True):
        if file.is_dir():
            raise ConfigurationError(f"{option} {file} is a folder: give an image file.")
        batch = read_images(find_images(file, option), model, resize)
        batch.condition, note = conditions_for_decoding([file], model, text)
        ends.append(batch)
        notes.append(text if text is not None else _class_of(model, batch.condition) or note)
    batch = collate(ends)
    usual: Way = "spherical" if model.embeds_noise else "linear"
    path: Way = usual if given.path == "auto" else given.path
    moving = files[0].absolute() != files[1].absolute()
    _check_moves(batch.condition, moving)

    from vedute.sampling.paths import between

    # One image under two conditions is encoded as what it is: the noise that a flow finds under the other
    # condition would give the same image back.
    encoded = batch if moving else batch[:1]
    with torch.inference_mode():
        latents = model.embed(encoded.to(device)).float().cpu()  # (2 or 1, Z)
    frames = between(latents[:1], latents[-1:], given.steps, path)[0]
    condition = _conditions(batch.condition, given.steps)
    source = condition.map(lambda vector: vector[:1].expand_as(vector))

    def compute(rows: slice) -> Tensor:
        latents, target = frames[rows].to(device), condition[rows].to(device)
        return (
            model.decode(latents, target) if moving else model.edit(latents, source[rows].to(device), target)
        )

    images = in_batches("Decoding", given.steps, given.batch_size, compute)
    originals = [batch.image[:1], images, batch.image[1:]] if moving else [batch.image[:1], images]
    columns = ["original", *_shares(given.steps), *(["original"] if moving else [])]
    names = f"{files[0].name} to {files[1].name}" if moving else f"{files[0].name}"
    what = "noise" if model.embeds_noise else "latent vector"
    lines = [names, f"{what}s: {path} between the two" if moving else f"the image's {what} all along"]
    if batch.condition.vector is not None:
        lines.insert(1, _told(notes[0], notes[1]))
    if isinstance(model, HasSampler):
        lines.append(f"guidance {model.sampler.guidance:g}")
    if not moving and float((images[-1] - images[0]).abs().mean()) < _UNSEEN:
        print(_hint(model))
    return torch.cat(originals), columns, None, lines


def _between_noises(
    model: GenerativeModule, given: argparse.Namespace, device: torch.device
) -> tuple[Tensor, list[str], list[str] | None, list[str]]:
    """Return the same for the way between two noises, conditions or both: a row for each seed."""
    import torch

    from vedute.batch import Condition
    from vedute.sampling.paths import between
    from vedute.sampling.seeds import seeded_normal

    shape = model.latent_shape
    if shape is None:
        raise ConfigurationError(
            f"{given.checkpoint} holds {named(type(model))}, whose images are not made from one noise of "
            "fixed shape: it cannot go from condition to condition or seed to seed."
            + (" It can between images: give --from and --to." if model.has_encoder else "")
        )
    start, end = _texts(given)
    if start is None and model.condition_kind != "none":
        raise ConditionError(
            f"This model is conditioned on a {model.condition_kind}: give --condition, or --from-condition "
            "and --to-condition."
        )
    vectors = None
    if start is not None and end is not None:
        vectors = torch.stack([model.parse_condition(start), model.parse_condition(end)])
    count = given.count or 4
    to_seed = given.seed if given.to_seed is None else given.to_seed
    noises = [seeded_normal(torch.arange(first, first + count), shape) for first in (given.seed, to_seed)]
    path: Way = "spherical" if given.path == "auto" else given.path
    frames = between(noises[0].cpu(), noises[1].cpu(), given.steps, path).flatten(0, 1)  # (N * T, *shape)
    condition = _conditions(Condition(vectors), given.steps).map(lambda one: one.repeat(count, 1))

    def compute(rows: slice) -> Tensor:
        return model.generate(condition[rows].to(device), frames[rows].to(device))

    images = in_batches("Generating", len(frames), given.batch_size, compute)
    moving = to_seed != given.seed
    rows = [f"seed {given.seed + row}" + (f" to {to_seed + row}" if moving else "") for row in range(count)]
    lines = [] if start is None else [_told(start, str(end))]
    lines.append(f"noise: {path} between two seeds" if moving else "the same noise along each row")
    return images, _shares(given.steps), rows, lines


def _conditions(ends: Condition, steps: int) -> Condition:
    """Return conditions (T, D) that change linearly; unconditional ends stay so."""
    from vedute.sampling.paths import between

    return ends.map(lambda vector: between(vector[:1], vector[1:], steps, "linear")[0])


def _check_moves(ends: Condition, moving: bool) -> None:
    """Refuse ends that were typed in two ways and are the same.

    Raises:
        ConfigurationError: They are.
    """
    import torch

    if not moving and (ends.vector is None or torch.equal(ends.vector[0], ends.vector[1])):
        raise ConfigurationError(
            "Nothing changes between the ends: both are the same image under the same condition. Give "
            "--from-condition and --to-condition that differ, or --to with another image."
        )


def _hint(model: GenerativeModule) -> str:
    """Return what to do where an image hardly changes with its condition."""
    from vedute.promises import HasSampler

    said = "The image hardly changes from one end to the other"
    if isinstance(model, HasSampler):
        return f"{said}: a --guidance above {model.sampler.guidance:g} strengthens the change."
    return f"{said}: this model's condition says little about it."


def _class_of(model: GenerativeModule, condition: Condition) -> str | None:
    """Return the name of a one-hot class; None for everything else."""
    if model.condition_kind != "class" or condition.vector is None:
        return None
    share, position = condition.vector[0].max(dim=0)
    return model.condition_names[int(position)] if float(share) == 1.0 else "all classes alike"


def _told(start: str, end: str) -> str:
    return f"condition: {start}" if start == end else f"condition: {start} to {end}"


def _shares(steps: int) -> list[str]:
    """Return how far along each image is."""
    return [f"{step / (steps - 1):.2f}".rstrip("0").rstrip(".") for step in range(steps)]
