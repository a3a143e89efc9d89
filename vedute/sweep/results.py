"""What a sweep leaves: ``best.yaml``, ``sweep.html``, ``trials.csv``."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from vedute.files import whole
from vedute.sweep.names import as_text
from vedute.sweep.records import Record, Sweep, read_sweep

if TYPE_CHECKING:
    from optuna import Study

BEST, PAGE, TABLE = "best.yaml", "sweep.html", "trials.csv"
_CONFIG = "config.yaml"  # of a run; its module imports what takes seconds
_GROUPED = "WeightsAndBiases"


def write_results(study: Study, folder: Path, program: str, say: Callable[[str], object]) -> None:
    """Write everything, and say what was found.

    Args:
        study: The study.
        folder: The sweep's folder.
        program: How commands begin.
        say: Prints a line.
    """
    from vedute.sweep.page import sweep_page

    sweep = read_sweep(study)
    best = sweep.best
    write_table(sweep, folder / TABLE)
    command = None
    if best is not None:
        text = best_configuration(sweep, best)
        if text is not None:
            command = shlex.join([*program.split(), "fit", "--config", str(folder / BEST)])
            _write_best(sweep, best, text, folder / BEST, command)
    sweep_page(sweep, study, command).write(
        folder / PAGE, f"Written by: {program} sweep --report-only --output {folder}"
    )
    say("")
    if best is None:
        say("No trial is complete yet, so there is no best one.")
    else:
        say(f"Best: trial {best.number}, {sweep.objective.name} {best.value:.6g}: {as_text(best.chosen)}")
    if command is not None:
        say(f"  {command}")
    say(f"Report: {folder / PAGE}")


def best_configuration(sweep: Sweep, best: Record) -> str | None:
    """Return the complete configuration of a trial as if ``fit`` had been given its values, YAML.

    What a trial's run folder holds is exact (a choice of a class brings that class's defaults). Only where it
    writes, and its group, belong to the sweep. None: the run folder is on another machine.
    """
    if best.run is None or not (Path(best.run) / _CONFIG).is_file():
        return None
    content = yaml.safe_load((Path(best.run) / _CONFIG).read_text(encoding="utf-8"))
    base = yaml.safe_load(sweep.text) or {}
    content["trainer"]["default_root_dir"] = (base.get("trainer") or {}).get("default_root_dir")
    for logger in _listed(content["trainer"].get("logger")):
        options = logger.get("init_args") or {}
        if str(logger.get("class_path")).endswith(_GROUPED) and options.get("group") == sweep.name:
            options["group"] = None
    text: str = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=110)
    return text


def _listed(value: object) -> list[dict[str, dict[str, object]]]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Mapping)]  # type: ignore[misc]  # plain YAML


def _write_best(sweep: Sweep, best: Record, text: str, path: Path, command: str) -> None:
    count = len(sweep.of("complete")) + len(sweep.of("pruned"))
    values = "".join(
        f"#   {parameter.name}: {json.dumps(parameter.domain.value(best.chosen[parameter.name]))}\n"
        for parameter in sweep.space.parameters
        if parameter.name in best.chosen
    )
    head = (
        f"# The best of {count} trials of the study '{sweep.name}': {sweep.objective.name} {best.value:.6g}, "
        f"trial {best.number}.\n#   {command}\n# Its values:\n{values}\n"
    )
    with whole(path) as temporary:
        temporary.write_text(head + text, encoding="utf-8")


def write_table(sweep: Sweep, path: Path) -> None:
    """Write a line for each trial, CSV.

    Args:
        sweep: The study.
        path: The file.
    """
    names = sweep.space.names
    head = [
        "number",
        "state",
        sweep.objective.name,
        "validations",
        "seconds",
        "started",
        "host",
        "run",
        "reason",
    ]
    with whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*head, *names])
        for record in sweep.records:
            started = "" if record.started is None else record.started.isoformat(timespec="seconds")
            seconds = "" if record.seconds is None else f"{record.seconds:.2f}"
            value = "" if record.value is None else repr(record.value)
            cells = [record.number, record.state, value, len(record.values), seconds, started, record.host]
            chosen = [record.chosen.get(name, "") for name in names]
            writer.writerow([*cells, record.run or "", record.reason, *chosen])
