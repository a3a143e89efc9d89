"""``sweep``: many trainings of one configuration with other values, to find the best.

Here: what the options set up. Not here: the options (``vedute.cli.sweep_options``), the study, the loop and
the report (``vedute.sweep``), and what runs within a trial (``vedute.cli.sweep_trial``). Nothing here imports
torch: only trials do.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import yaml

from vedute.cli import program
from vedute.cli.sweep_options import check_options, sweep_options
from vedute.errors import ConfigurationError, VeduteError
from vedute.files import whole
from vedute.sweep.plan import Plan
from vedute.sweep.processes import Job, Request, Starter
from vedute.sweep.results import write_results
from vedute.sweep.space_file import read_space
from vedute.sweep.storage import Patience, check_installed, open_storage, without_password
from vedute.sweep.study import SweepStudy
from vedute.sweep.trials import Assigned
from vedute.sweep.workers import Workers

_TRIAL = "vedute.cli.sweep_trial"
_PARSER = "vedute.cli.sweep_configuration"
_OWN_PACKAGES = ("vedute.", "lightning_modules.", "datamodules.", "lightning.", "torch.")
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
    given, fit = sweep_options().parse_known_args(list(args))
    check_installed()
    if given.report_only:
        _report_only(given, fit)
    else:
        _sweep(given, fit, args)
    return 0


def _sweep(given: argparse.Namespace, fit: Sequence[str], args: Sequence[str]) -> None:
    objective = check_options(given, fit)
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
            None if assigned.continues is None else Path(assigned.continues),
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
