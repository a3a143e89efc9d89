"""The options of ``sweep``, and what is wrong with them before anything is parsed or trained."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vedute.cli import program
from vedute.cli.inference import VerbParser, not_negative, positive
from vedute.errors import ConfigurationError
from vedute.sweep.choosing import PRUNERS, SAMPLERS
from vedute.sweep.plan import Objective

_DIRECTIONS: dict[str, Literal["minimize", "maximize"]] = {
    **{"min": "minimize", "minimize": "minimize"},
    **{"max": "maximize", "maximize": "maximize"},
}
_REFUSED = {
    "--ckpt_path": "each trial is a new training; --initial_weights begins each with the weights of another",
    "--print_config": "'fit' prints a configuration",
    "--trainer.default_root_dir": "trials write into the sweep's own folder: --output",
    "--trainer.fast_dev_run": "it leaves no values to compare; make trials short instead",
}


def check_options(given: argparse.Namespace, fit: Sequence[str]) -> Objective:
    """Check what can be checked before anything is parsed.

    Args:
        given: The sweep's own options.
        fit: Those of ``fit``.

    Returns:
        The objective.

    Raises:
        ConfigurationError: Something is missing, or cannot be used in a sweep.
    """
    example = (
        f"{program()} sweep --config configs/cvae_landscapes.yaml --space configs/spaces/cvae.yaml "
        "--trials 50 --objective val/loss:minimize"
    )
    for option, meaning in (
        ("config", "a configuration"),
        ("space", "a space of values"),
        ("objective", "a value to be minimized or maximized"),
    ):
        if not getattr(given, option):
            raise ConfigurationError(f"'sweep' needs --{option}, {meaning}, e.g. {example}")
    for argument in fit:
        if not argument.startswith("-"):
            continue
        refused = _REFUSED.get(argument.partition("=")[0])
        if refused is not None:
            raise ConfigurationError(f"'sweep' does not take {argument.partition('=')[0]}: {refused}.")
    for config in given.config:
        if not Path(config).is_file():
            raise ConfigurationError(f"There is no configuration {config}.")
    return parse_objective(given.objective, given.value)


def parse_objective(text: str, value: Literal["best", "last"]) -> Objective:
    """Return an objective from ``NAME:DIRECTION``.

    Args:
        text: The option.
        value: Which of a trial's validations counts.

    Raises:
        ConfigurationError: There is no direction.
    """
    name, _, direction = text.rpartition(":")
    if not name or direction not in _DIRECTIONS:
        raise ConfigurationError(
            f"--objective {text}: expected NAME:minimize or NAME:maximize, e.g. val/loss:minimize"
        )
    return Objective(name, _DIRECTIONS[direction], value)


def sweep_options() -> argparse.ArgumentParser:
    """Return the parser of the sweep's own options."""
    options = VerbParser(
        prog=f"{program()} sweep",
        usage=f"{program()} sweep --config FILE --space FILE --objective NAME:DIRECTION --trials N "
        "[options] [options of fit]",
        description="Train one configuration many times with other values, and find the best. Each trial is "
        "a 'fit' in a process of its own: one that fails is noted with its reason, the sweep goes on. The "
        "same command goes on with a study, and helps one that is under way, on this machine or another.",
        epilog="Every option of fit can be given too, e.g. --data.root FOLDER --trainer.max_epochs 20. A "
        "sweep's folder holds runs/, logs/, best.yaml (for fit), sweep.html and trials.csv.",
        allow_abbrev=False,
    )
    options.add_argument("--config", "-c", metavar="FILE", action="append", help="configuration (YAML)")
    options.add_argument(
        "--space", metavar="FILE", type=Path, help="which values vary (YAML), e.g. configs/spaces/cvae.yaml"
    )
    options.add_argument(
        "--objective",
        metavar="NAME:DIRECTION",
        help="a logged value, e.g. val/loss:minimize or val/q:maximize",
    )
    options.add_argument(
        "--value",
        choices=("best", "last"),
        default="best",
        help="which of a trial's validations counts (default: best)",
    )
    options.add_argument(
        "--trials",
        metavar="N",
        type=positive,
        help="trials of the whole study, those that other commands ran included (grid: default all points)",
    )
    options.add_argument(
        "--sampler",
        choices=SAMPLERS,
        default="tpe",
        help="tpe: from what was good (default); random; grid: all points",
    )
    options.add_argument(
        "--pruner",
        choices=PRUNERS,
        default="none",
        help="ends hopeless trials early: median (worse than half of the others), hyperband (default: none)",
    )
    options.add_argument(
        "--workers", metavar="N", type=positive, default=1, help="trials at a time (default: 1)"
    )
    options.add_argument(
        "--storage",
        metavar="URL",
        help="sqlite:///FILE, journal:FILE (also on a network drive) or postgresql://USER@HOST/DATABASE "
        "(password in PGPASSWORD or ~/.pgpass) (default: sqlite:/// in the sweep's folder)",
    )
    options.add_argument("--study", metavar="NAME", help="the study's name (default: the configuration's)")
    options.add_argument(
        "--output", metavar="FOLDER", type=Path, help="the sweep's folder (default: sweeps/STUDY)"
    )
    options.add_argument(
        "--seed", metavar="N", type=not_negative, default=0, help="seed of the choice of values (default: 0)"
    )
    options.add_argument(
        "--patience",
        metavar="SECONDS",
        type=_seconds,
        default=300.0,
        help="how long to wait for a database that does not answer (default: 300)",
    )
    options.add_argument(
        "--heartbeat",
        metavar="SECONDS",
        type=_seconds,
        default=60.0,
        help="between two signs of life; after three without, others run a trial again (default: 60)",
    )
    options.add_argument(
        "--report-only", action="store_true", help="train nothing: write best.yaml, sweep.html and trials.csv"
    )
    return options


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text}")
    return value
