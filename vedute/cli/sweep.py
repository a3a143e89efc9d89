"""``sweep``: many trainings of one configuration with other values, to find the best.

Here: the options. Not here: the study, the loop and the report (``vedute.sweep``), and what runs within a
trial (``vedute.cli.sweep_trial``). Nothing here imports torch: only trials do.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import yaml

from vedute.cli import program
from vedute.cli.inference import VerbParser, not_negative, positive
from vedute.errors import ConfigurationError, VeduteError
from vedute.files import whole
from vedute.sweep.choosing import PRUNERS, SAMPLERS
from vedute.sweep.plan import Objective, Plan
from vedute.sweep.processes import Job, Request, Starter
from vedute.sweep.results import write_results
from vedute.sweep.space import read_space
from vedute.sweep.storage import Patience, check_installed, open_storage, without_password
from vedute.sweep.study import Assigned, SweepStudy
from vedute.sweep.workers import Workers

_TRIAL = "vedute.cli.sweep_trial"
_PARSER = "vedute.cli.sweep_configuration"
_OWN_PACKAGES = ("vedute.", "lightning_modules.", "datamodules.", "lightning.", "torch.")
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
_SETTINGS = "sweep.yaml"


def main(args: Sequence[str]) -> int:
    """Run a sweep, or write its report.

    Args:
        args: The verb's options.

    Returns:
        0.

    Raises:
        VeduteError: An option, the space or the study cannot be used, or no trial works.
        KeyboardInterrupt: Interrupted; the message says how to go on.
    """
    given, fit = _options().parse_known_args(list(args))
    check_installed()
    if given.report_only:
        _report_only(given, fit)
    else:
        _sweep(given, fit, args)
    return 0


def _sweep(given: argparse.Namespace, fit: Sequence[str], args: Sequence[str]) -> None:
    objective = _check(given, fit)
    space = read_space(given.space)
    points = len(space.points()) if given.sampler == "grid" else None
    if given.trials is None and points is None:
        raise ConfigurationError(f"--sampler {given.sampler} needs --trials N: how many trainings.")
    name = given.study or Path(given.config[0]).stem
    folder = given.output or Path("sweeps") / name
    _check_folder(folder)
    arguments = [*(part for config in given.config for part in ("--config", config)), *fit]
    starter = Starter([_TRIAL, _PARSER, *_modules(given.config)])
    parsed = starter.parse(
        Request(tuple(arguments), space.describe(), Path.cwd(), _environment()), f"{_PARSER}:answer"
    )
    url = given.storage or f"sqlite:///{folder / 'study.db'}"
    patience = Patience(given.patience, without_password(url))
    storage = patience(lambda: open_storage(url))
    study = SweepStudy(
        *(storage, name, Plan(objective, space, parsed.decisive), patience, folder),
        sampler=given.sampler,
        pruner=given.pruner,
        seed=given.seed,
        heartbeat=given.heartbeat,
        text=parsed.text,
    )
    _write_settings(folder, name, url, args)

    def log_of(number: int) -> Path:
        return folder / "logs" / f"{number}.txt"

    def job(assigned: Assigned, slot: int) -> Job:
        options = (*space.options(assigned.chosen), f"--trainer.default_root_dir={folder}")
        return Job(
            *(assigned.number, name, objective.name, (*arguments, *options), log_of(assigned.number)),
            Path.cwd(),
            _environment(slot, given.workers, parsed.cards),
            _threads(given.workers),
        )

    wanted = given.trials if points is None else min(points, given.trials or points)
    print(
        f"Study '{name}' in {without_password(url)}: {study.finished()} of {wanted} trials so far.",
        flush=True,
    )
    workers = Workers(
        *(study, starter, f"{_TRIAL}:run_trial", job, given.workers, given.trials),
        say=lambda line: print(line, flush=True),
        log_of=lambda number: str(log_of(number)),
    )
    try:
        with study:
            workers.run()
    except KeyboardInterrupt:
        again = shlex.join([*program().split(), "sweep", *_without_passwords(args)])
        raise KeyboardInterrupt(
            f"Interrupted. Trials that were under way will be run again; continue with:\n  {again}"
        ) from None
    write_results(study.study, folder, program(), print)


def _check(given: argparse.Namespace, fit: Sequence[str]) -> Objective:
    """Check what needs no file; return the objective."""
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


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--output {folder} cannot be made: {error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(f"--output {folder} may not be changed.")


def _modules(configs: Sequence[str]) -> list[str]:
    """Return the modules of the classes that configurations name, so that they are imported once."""
    text = "\n".join(Path(config).read_text(encoding="utf-8", errors="replace") for config in configs)
    paths = dict.fromkeys(re.findall(r"class_path:\s*[\"']?([\w.]+)", text))
    return [path.rpartition(".")[0] for path in paths if path.startswith(_OWN_PACKAGES)]


def _environment(slot: int = 0, workers: int = 1, cards: int = 0) -> dict[str, str]:
    """Return a trial's environment variables: its share of the GPUs, and no job of a cluster's scheduler.

    A trial is no task of the job that the sweep runs in: it neither waits for other tasks nor is continued
    when the job is.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SLURMD_"))}
    if workers > 1 and cards:
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = given.split(",") if given else [str(number) for number in range(cards)]
        share = max(1, len(names) // workers)
        first = slot * share % len(names)
        kept["CUDA_VISIBLE_DEVICES"] = ",".join(names[first : first + share])
    return kept


def _threads(workers: int) -> int | None:
    """Return a trial's share of the cores, unless somebody has said it."""
    if workers == 1 or os.environ.get("OMP_NUM_THREADS"):
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // workers)


def _write_settings(folder: Path, name: str, url: str, args: Sequence[str]) -> None:
    """Note which study this folder belongs to.

    Raises:
        ConfigurationError: It belongs to another.
    """
    path = folder / _SETTINGS
    content = {
        "study": name,
        "storage": without_password(url),
        "command": shlex.join(_without_passwords(args)),
    }
    if path.is_file():
        known = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if known.get("study") != name:
            raise ConfigurationError(
                f"{folder} holds the study '{known.get('study')}', not '{name}': give another --output."
            )
    with whole(path) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False, width=1000), encoding="utf-8")


def _without_passwords(args: Sequence[str]) -> list[str]:
    return [
        re.sub(
            r"^(--storage=)?(.*://.*)$", lambda found: f"{found[1] or ''}{without_password(found[2])}", one
        )
        for one in args
    ]


def _report_only(given: argparse.Namespace, fit: Sequence[str]) -> None:
    """Write the report of a study as it is now."""
    import optuna

    if fit:
        raise ConfigurationError(f"--report-only trains nothing: leave out {fit[0]}.")
    folder = given.output or (Path("sweeps") / given.study if given.study else None)
    if folder is None:
        raise ConfigurationError("--report-only needs --output FOLDER (or --study NAME): which sweep.")
    known: dict[str, str] = {}
    settings = folder / _SETTINGS
    if settings.is_file():
        known = cast(dict[str, str], yaml.safe_load(settings.read_text(encoding="utf-8")) or {})
    name, url = given.study or known.get("study"), given.storage or known.get("storage")
    if name is None or url is None:
        raise ConfigurationError(
            f"{folder} is no sweep's folder (it has no {_SETTINGS}): give --storage and --study too."
        )
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
        raise ConfigurationError(f"There is no study in {url}: the file does not exist.")
    patience = Patience(given.patience, without_password(url))
    storage = patience(lambda: open_storage(url))
    try:
        study = patience(lambda: optuna.load_study(study_name=name, storage=storage))
    except KeyError:
        raise VeduteError(f"There is no study '{name}' in {without_password(url)}.") from None
    folder.mkdir(parents=True, exist_ok=True)
    write_results(study, folder, program(), print)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text}")
    return value


def _options() -> argparse.ArgumentParser:
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
