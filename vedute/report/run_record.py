"""What a run folder says about its run: model, cost, validation values, quality card.

Here: reading one folder. Not here: several runs beside each other
(``vedute.report.landscape_table``, ``vedute.report.comparison``).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml
from torch import nn

from vedute.callbacks.budget import STATE
from vedute.callbacks.checkpoint import LOGGED_STEP
from vedute.checkpoints import descriptions, load_checkpoint, outline_module
from vedute.errors import CheckpointError, ConfigurationError, DataError, named
from vedute.promises import Generator
from vedute.run_folder import CHECKPOINTS, CONFIG, METRICS, shown

EVALUATION = "evaluation.json"
"""What ``evaluate`` leaves in a run folder."""

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class RunRecord:
    """A run.

    Attributes:
        folder: Its folder.
        configuration: Name of its configuration.
        number: Number of the run of this configuration; empty: the folder was taken elsewhere.
        configured: Its whole configuration; where config.yaml is missing, what the checkpoint says.
        checkpoint: Its best checkpoint.
        module: The model on the meta device: sizes and options, no numbers.
        options: Constructor arguments of the model.
        data: Class path and constructor arguments of the data set.
        cost: Of the whole training, see :func:`training_cost`.
        best_epoch: Finished epochs at the best checkpoint.
        values: Last validation values at or before the best checkpoint, by name without ``val/``.
        evaluation: Content of ``evaluation.json``; None: there is none.
    """

    folder: Path
    configuration: str
    number: str
    configured: Mapping[str, object]
    checkpoint: Path
    module: nn.Module
    options: Mapping[str, object]
    data: tuple[str, Mapping[str, object]]
    cost: Mapping[str, float | None]
    best_epoch: int
    values: Mapping[str, float]
    evaluation: Mapping[str, object] | None

    @property
    def name(self) -> str:
        """Configuration and number, as the end of its path."""
        return f"{self.configuration}/{self.number}" if self.number else self.configuration

    def scored(self, *keys: str) -> object:
        """Return a value of the quality card by its path in it; None: it is not there."""
        found: object = self.evaluation
        for key in keys:
            if not isinstance(found, Mapping):
                return None
            found = found.get(key)
        return found


def read_run(folder: Path, problems: list[str] | None = None) -> RunRecord:
    """Read a run folder.

    Args:
        folder: The folder.
        problems: Takes a line for each damaged file, which then counts as missing; None: they are errors.

    Raises:
        ConfigurationError: It is no run folder.
        CheckpointError: Its checkpoint cannot be used, or holds no generator.
        DataError: Its configuration, its metrics or its card are damaged, and ``problems`` is None.
    """
    checkpoint = folder / CHECKPOINTS / "best.ckpt"
    if not checkpoint.is_file():
        raise ConfigurationError(_no_run(folder))
    content = load_checkpoint(checkpoint)
    described = descriptions(content, checkpoint)
    module = outline_module(checkpoint)
    if not isinstance(module, Generator):
        raise CheckpointError(
            f"{shown(folder)} is the run of {named(type(module))}, which generates no images: give runs "
            "of generators."
        )
    last = folder / CHECKPOINTS / "last.ckpt"
    absolute = folder.absolute()
    numbered = absolute.name.isdigit()
    options, data = described["model"]["init_args"], described["data"]["init_args"]
    assert isinstance(options, dict) and isinstance(data, dict)

    def whole(read: Callable[[], _Read], missing: _Read) -> _Read:
        try:
            return read()
        except DataError as error:
            if problems is None:
                raise
            problems.append(str(error))
            return missing

    configured = whole(lambda: _configured(folder), None)
    return RunRecord(
        folder=folder,
        configuration=absolute.parent.name if numbered else absolute.name,
        number=absolute.name if numbered else "",
        configured=described if configured is None else configured,
        checkpoint=checkpoint,
        module=module,
        options=options,
        data=(str(described["data"]["class_path"]), data),
        cost=training_cost(load_checkpoint(last) if last.is_file() else content),
        best_epoch=_finished_epochs(content),
        values=whole(lambda: _values(folder / METRICS, content), {}),
        evaluation=whole(lambda: _evaluation(folder / EVALUATION), None),
    )


def training_cost(checkpoint: Mapping[str, object]) -> dict[str, float | None]:
    """Return what a training had cost when a checkpoint was written.

    Returns:
        ``epochs``, the number finished; ``processor_seconds`` (of all cores together) and
        ``wall_seconds``, None where the run did not keep them.
    """
    callbacks = checkpoint.get("callbacks")
    clock = callbacks.get(STATE) if isinstance(callbacks, Mapping) else None
    kept = clock if isinstance(clock, Mapping) else {}
    return {
        "epochs": _finished_epochs(checkpoint),
        "processor_seconds": kept.get("processor_seconds"),
        "wall_seconds": kept.get("wall_seconds"),
    }


def _finished_epochs(checkpoint: Mapping[str, object]) -> int:
    """Return the number of epochs that were trained to their end."""
    found: object = checkpoint.get("loops")
    for key in ("fit_loop", "epoch_progress", "current", "processed"):
        found = found.get(key) if isinstance(found, Mapping) else None
    if isinstance(found, int):
        return found
    epoch = checkpoint.get("epoch")
    return epoch + 1 if isinstance(epoch, int) else 0


def _no_run(folder: Path) -> str:
    wanted = "give folders of runs, e.g. runs/cvae_landscapes/0"
    if not folder.is_dir():
        what = "is a file" if folder.is_file() else "does not exist"
        return f"{folder} {what}: {wanted}."
    inside = sorted(
        (one for one in folder.iterdir() if (one / CHECKPOINTS).is_dir()), key=lambda one: one.name
    )
    if inside:
        return f"{folder} holds {len(inside)} runs and is none itself: give {' '.join(map(str, inside[:8]))}."
    if (folder / CONFIG).is_file():
        return f"{folder} has no {CHECKPOINTS}/best.ckpt: its training did not finish an epoch. Leave it out."
    return f"{folder} is no run folder (it has no {CHECKPOINTS}/best.ckpt): {wanted}."


def _configured(folder: Path) -> Mapping[str, object] | None:
    """Return the configuration of a run; None: there is none."""
    path = folder / CONFIG
    if not path.is_file():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged: {str(error).splitlines()[0]}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged: it holds no settings.")
    return content


def _values(path: Path, checkpoint: Mapping[str, object]) -> dict[str, float]:
    """Return the validation values of the state in a checkpoint."""
    step = checkpoint.get(LOGGED_STEP)
    end = step if isinstance(step, int) else -1
    found: dict[str, float] = {}
    if not path.is_file():
        return found
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if int(float(row["step"])) > end:
                    continue
                values = {
                    name[4:]: float(text) for name, text in row.items() if text and name.startswith("val/")
                }
                found.update(values)
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, csv.Error) as error:
        raise DataError(f"{path} is damaged ({error}): restore it, or leave the run out.") from error
    return found


def _evaluation(path: Path) -> Mapping[str, object] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        content = error
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged: write it again with 'evaluate'.")
    return content
