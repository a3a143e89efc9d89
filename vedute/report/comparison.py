"""What a comparison page is about: which runs can be used, what they are called, what can be compared.

Here: reading several run folders, and what a reader must know about them. Not here: which scores there
are and which is the best (``comparison_scores.py``), drawing (``comparison_page.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vedute.errors import CheckpointError, ConfigurationError, VeduteError
from vedute.report.html import Notice
from vedute.report.run_record import RunRecord, read_run
from vedute.run_folder import shown

_LONGEST = 320  # characters of a message


@dataclass(frozen=True)
class Comparison:
    """Runs beside each other.

    Attributes:
        runs: At least one.
        names: What they are called; no two alike.
        notices: What is wrong with them, and what cannot be compared.
    """

    runs: list[RunRecord]
    names: list[str]
    notices: list[Notice]


def read_runs(folders: Sequence[Path], program: str) -> Comparison:
    """Read run folders, leaving out those that cannot be used.

    Args:
        folders: Of runs, no two alike.
        program: How the command line is called, for the commands in the notices.

    Raises:
        ConfigurationError: None can be used.
    """
    runs: list[RunRecord] = []
    notices: list[Notice] = []
    refused: list[VeduteError] = []
    for folder in folders:
        damaged: list[str] = []
        try:
            runs.append(read_run(folder, damaged))
        except (ConfigurationError, CheckpointError) as error:
            refused.append(error)
            notices.append(Notice("error", f"{shown(folder)} is left out. {_brief(str(error))}"))
            continue
        notices += [Notice("warning", f"{line} The rest of the run is compared.") for line in damaged]
    if not runs:
        if len(refused) == 1:
            raise refused[0]
        raise ConfigurationError(
            f"None of the {len(folders)} folders can be compared. The first: {refused[0]}"
        )
    names = shown_names(runs)
    return Comparison(runs, names, [*notices, *incomparable(runs, names), *_gaps(runs, names, program)])


def shown_names(runs: Sequence[RunRecord]) -> list[str]:
    """Return a name for each run: its own, or its folder where several have that name."""
    names = [run.name for run in runs]
    return [
        shown(run.folder) if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)
    ]


def _brief(text: str) -> str:
    """Return a message in one line; a library's long list of arguments is cut."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def number(value: object) -> float | None:
    """Return a finite number from a card; None: it is none."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return float(value)


def weights_of(run: RunRecord) -> int:
    """Return the number of trainable weights, a discriminator's included."""
    return sum(one.numel() for one in run.module.parameters() if one.requires_grad)


def classes_of(run: RunRecord) -> tuple[str, ...]:
    """Return what a run's images are conditioned on, by name; empty: nothing, or images."""
    return tuple(str(name) for name in getattr(run.module, "condition_names", None) or ())


def data_of(run: RunRecord) -> str:
    """Return the data set of a run in words."""
    root = run.data[1].get("root")
    kind = run.data[0].rpartition(".")[2].removesuffix("DataModule")
    return f"{kind}, {'painted sample' if root is None else root}"


def condition_of(run: RunRecord) -> str:
    """Return what a run's images are made from, in words."""
    kind = getattr(run.module, "condition_kind", "none")
    names = classes_of(run)
    words = {"class": "classes", "score": "scores", "image": "images", "none": "nothing"}.get(kind, kind)
    return f"{words}: {', '.join(names)}" if names else words


def _setting(*keys: str) -> Callable[[RunRecord], Hashable]:
    def read(run: RunRecord) -> Hashable:
        value = run.scored(*keys)
        if isinstance(value, list):
            return tuple(map(str, value))
        return value if isinstance(value, str | int | float) else None

    return read


def _file(name: str) -> Callable[[RunRecord], Hashable]:
    """Return the file of an instrument; the same whether it was given as a relative path or not."""

    def read(run: RunRecord) -> Hashable:
        value = run.scored(name)
        return str(Path(value).resolve()) if isinstance(value, str) else None

    return read


BASES: dict[str, Callable[[RunRecord], Hashable]] = {
    "data": lambda run: _data_key(run),
    "conditions": lambda run: _condition_key(run),
    "split": _setting("settings", "split"),
    "image size": _setting("settings", "image_size"),
    "count": _setting("settings", "count"),
    "seed": _setting("settings", "seed"),
    "training images": _setting("settings", "train_images"),
    "CAS images": _setting("settings", "cas_images"),
    "classifier": _file("classifier"),
    "regressor": _file("regressor"),
    "segmenter": _file("segmenter"),
}
"""What scores depend on beside the model: values of runs on different ones are not ranked together."""


def _data_key(run: RunRecord) -> Hashable:
    options = run.data[1]
    chosen = [str(options.get(name)) for name in ("classes", "class_names") if options.get(name)]
    return run.data[0], str(options.get("root")), *chosen


def _condition_key(run: RunRecord) -> Hashable:
    return getattr(run.module, "condition_kind", "none"), classes_of(run)


_CONSEQUENCES = {
    "split": "no score of one can be held against the other's",
    "image size": "no score of one can be held against the other's",
    "count": "distances depend on it, so they are ranked among equals only; other scores are compared",
    "seed": "the pictures below show other seeds; scores are compared",
    "training images": "distances to them are ranked among equals only",
    "CAS images": "CAS is ranked among equals only",
    "classifier": "what it judges is ranked among equals only",
    "regressor": "what it judges is ranked among equals only",
    "segmenter": "what it finds is ranked among equals only",
}


def incomparable(runs: Sequence[RunRecord], names: Sequence[str]) -> list[Notice]:
    """Return what keeps runs from being compared."""
    notices = []
    for title, key, words in (
        ("are of different data", _data_key, lambda run: f"{data_of(run)}, {condition_of(run)}"),
        ("make images from different things", _condition_key, condition_of),
    ):
        found = _groups(runs, names, key)
        if len(found) > 1:
            told = "; ".join(
                f"{words(runs[names.index(members[0])])} ({', '.join(members)})" for members in found.values()
            )
            notices.append(
                Notice("warning", f"The runs {title}: {told}. Scores are ranked among equals only.")
            )
            break
    carded = [(run, name) for run, name in zip(runs, names, strict=True) if run.evaluation is not None]
    for title, consequence in _CONSEQUENCES.items():
        # a card without an instrument lacks its scores; that is told by the gaps
        with_it = [(run, name) for run, name in carded if BASES[title](run) is not None]
        found = _groups([run for run, _ in with_it], [name for _, name in with_it], BASES[title])
        if len(found) > 1:
            told = "; ".join(f"{_plain(value)} ({', '.join(members)})" for value, members in found.items())
            notices.append(Notice("warning", f"The cards differ in {title}: {told}: {consequence}."))
    return notices


def _groups(
    runs: Sequence[RunRecord], names: Sequence[str], key: Callable[[RunRecord], Hashable]
) -> dict[Hashable, list[str]]:
    found: dict[Hashable, list[str]] = {}
    for run, name in zip(runs, names, strict=True):
        found.setdefault(key(run), []).append(name)
    return found


def _plain(value: Hashable) -> str:
    if isinstance(value, tuple):
        return " x ".join(map(str, value))
    return shown(Path(value)) if isinstance(value, str) and "/" in value else str(value)


def _gaps(runs: Sequence[RunRecord], names: Sequence[str], program: str) -> list[Notice]:
    """Return what is missing, with the commands that make it."""
    judges = {str(judge) for run in runs if (judge := run.scored("classifier")) is not None}
    judge = judges.pop() if len(judges) == 1 else "CLASSIFIER.ckpt"
    notices = []
    for run, name in zip(runs, names, strict=True):
        scored = run.scored("checkpoint")
        if run.evaluation is None:
            with_judge = f" --classifier {judge}" if classes_of(run) else ""
            command = f"{program} evaluate --checkpoint {shown(run.checkpoint)}{with_judge}"
            notices.append(Notice("note", f"{name} has no card, so it has no scores. Make one: {command}"))
        elif isinstance(scored, str) and Path(scored).name != run.checkpoint.name:
            notices.append(
                Notice("warning", f"The card of {name} is of {scored}, its curves and its size of best.ckpt.")
            )
        if run.cost["processor_seconds"] is None:
            notices.append(
                Notice("note", f"{name} kept no training time: it was trained without a time budget's clock.")
            )
    return notices
