"""Options of flow models: how noise becomes an image. ``sample``, ``evaluate``, ``reconstruct`` have them."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.cli.inference import positive
from vedute.errors import ConfigurationError, named

if TYPE_CHECKING:
    from lightning_modules.base import GenerativeModule

_NAMES = ("solver", "schedule", "guidance", "guidance_interval", "tolerance", "noise_scale")


def add_sampler_options(options: argparse.ArgumentParser, steps: str = "--steps") -> None:
    """Add the options; what is not given stays as the checkpoint has it.

    Args:
        options: A verb's parser.
        steps: Name of the option for the number of steps, where a verb has another use for ``--steps``.
    """
    group = options.add_argument_group(
        "options of flow models",
        "Each is an error with another model. What is not given is as it was trained.",
    )

    def add(name: str, use: str, **details: object) -> None:
        group.add_argument(name, default=argparse.SUPPRESS, help=use, **details)  # type: ignore[arg-type]

    add(steps, "steps from noise to image", dest="solver_steps", type=positive, metavar="N")
    add("--solver", "euler, heun, midpoint, rk4 or adaptive", metavar="NAME")
    add("--schedule", "where the steps lie between noise and image: uniform, shifted, ...", metavar="NAME")
    add(
        "--guidance",
        "how much more the condition counts than without it: 1 not at all, above 1 clearer and less varied",
        type=_number,
        metavar="W",
    )
    add(
        "--guidance-interval",
        "between which times, from 0 (noise) to 1 (image), there is guidance",
        dest="guidance_interval",
        nargs=2,
        type=_number,
        metavar=("FROM", "TO"),
    )
    add("--tolerance", "adaptive: largest error of a step", type=_number, metavar="X")
    add(
        "--noise-scale",
        "renew noise on the way; 0: none, 1: as much as goes",
        dest="noise_scale",
        type=_number,
        metavar="X",
    )
    add(
        "--guide",
        "checkpoint of a smaller or less trained model of the same data, to be guided away from it",
        type=Path,
        metavar="FILE",
    )


def _number(text: str) -> float:
    """Return a number from an option."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text}") from None


def apply_sampler_options(model: GenerativeModule, given: argparse.Namespace) -> dict[str, object]:
    """Set a flow model's sampler as the options say.

    Args:
        model: Any generator.
        given: The verb's options.

    Returns:
        All options of its sampler by name, for a record; empty: the model has none.

    Raises:
        CheckpointError: The guide cannot be used.
        ConfigurationError: The model is no flow model, or an option is out of its range.
    """
    from lightning_modules.base import GenerativeModule
    from vedute.checkpoints import load_module
    from vedute.promises import HasSampler, as_generator

    changed = {name: getattr(given, name) for name in _NAMES if hasattr(given, name)}
    if hasattr(given, "solver_steps"):
        changed["steps"] = given.solver_steps
    guide_file: Path | None = getattr(given, "guide", None)
    if not isinstance(model, HasSampler):
        if changed or guide_file is not None:
            asked = [*changed, *(["guide"] if guide_file is not None else [])]
            raise ConfigurationError(
                f"{named(type(model))} is no flow model: leave out "
                f"{', '.join('--' + name.replace('_', '-') for name in asked)}."
            )
        return {}
    guide = None
    if guide_file is not None:
        guide = as_generator(load_module(guide_file, GenerativeModule, model.device))
    if "guidance_interval" in changed:
        changed["guidance_interval"] = tuple(changed["guidance_interval"])
    sampler = replace(model.sampler, **changed)
    if guide is not None and sampler.guidance == 1:
        raise ConfigurationError(
            f"--guide {guide_file} does nothing with guidance 1: give --guidance as well, e.g. 1.5, or leave "
            "the guide out."
        )
    model.set_sampler(sampler, guide)
    return {**asdict(model.sampler), "guide": None if guide_file is None else str(guide_file)}
