"""Curves of several trainings from their ``metrics.csv``: which they share, over a common axis."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 300
"""Points of a curve that are drawn."""

_FIRST = ("val/q", "val/fd_", "val/fid", "val/psnr", "val/loss", "val/kl", "val/reconstruction", "val/mse")
_CLOCKS = ("processor_seconds", "wall_seconds")

Values = NDArray[np.float64]


class Curve(NamedTuple):
    """A curve: of which run by its position, (K,) x and (K,) y."""

    run: int
    x: Values
    y: Values


class Panel(NamedTuple):
    """Curves of one logged value; ``averaged``: noisy ones, of which each point is a mean."""

    name: str
    curves: list[Curve]
    averaged: bool


class History(NamedTuple):
    """What a training logged: by name (K,) steps and (K,) values, and the axis."""

    values: dict[str, tuple[Values, Values]]
    epochs: tuple[Values, Values]
    clock: tuple[Values, Values] | None


def panels(files: Sequence[Path]) -> tuple[list[Panel], str]:
    """Return what at least two runs logged (with one run: what it logged), and the name of the x axis.

    Validation values come first, then losses of training, then what never changed.

    Args:
        files: A ``metrics.csv`` for each run; those that are missing or damaged have no curves.
    """
    histories = [_history(file) for file in files]
    timed = all(one.clock is not None for one in histories if one.values) and any(
        one.values for one in histories
    )
    least = min(2, len(files))
    names = dict.fromkeys(name for one in histories for name in one.values)
    found = []
    for name in sorted(names, key=_rank):
        curves = [
            _curve(position, history, name, timed)
            for position, history in enumerate(histories)
            if name in history.values
        ]
        # one value each is no curve
        if len(curves) >= least and max(len(curve.x) for curve in curves) > 1:
            found.append(Panel(name, curves, name.startswith("train/")))
    found.sort(key=lambda panel: len(np.unique(np.concatenate([curve.y for curve in panel.curves]))) == 1)
    return found, "minutes of training" if timed else "epochs"


def _rank(name: str) -> tuple[int, int, str]:
    first = next((place for place, start in enumerate(_FIRST) if name.startswith(start)), len(_FIRST))
    return int(name.startswith("train/")), first, name


def _history(file: Path) -> History:
    """Read a file; cells that are no numbers are left out."""
    rows: list[Mapping[str, object]] = []
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error):
        rows = []
    points: dict[str, dict[float, float]] = {}
    for row in rows:
        step = _finite(row.get("step"))
        if step is None:
            continue
        for name, text in row.items():
            if name is None or name == "step":
                continue
            value = _finite(text)
            if value is not None:
                points.setdefault(name, {})[step] = value  # of what is repeated for a step, the last
    epochs = _line(points.pop("epoch", {}))
    clock = next((_line(points[name]) for name in points if name.rpartition("/")[2] in _CLOCKS), None)
    wanted = {name: _line(own) for name, own in points.items() if _is_wanted(name)}
    return History(wanted, epochs, clock)


def _is_wanted(name: str) -> bool:
    if name.rpartition("/")[2] in _CLOCKS:
        return False
    return name.startswith("val/") or (name.startswith("train/") and name.endswith("loss"))


def _finite(text: object) -> float | None:
    try:
        value = float(text) if isinstance(text, str) and text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _line(points: Mapping[float, float]) -> tuple[Values, Values]:
    steps = np.array(sorted(points), dtype=np.float64)
    return steps, np.array([points[step] for step in steps.tolist()], dtype=np.float64)


def _curve(position: int, history: History, name: str, timed: bool) -> Curve:
    steps, values = history.values[name]
    if timed and history.clock is not None:
        x = np.interp(steps, *history.clock) / 60
    else:
        x = _finished_epochs(steps, history.epochs)
    return Curve(position, *thinned(x, values, name.startswith("train/")))


def _finished_epochs(steps: Values, epochs: tuple[Values, Values]) -> Values:
    """Return how many epochs had been trained after a step, as a fraction: steps of models differ."""
    known, numbers = epochs
    if not len(known):
        return steps
    ends = {float(number): float(known[numbers == number].max()) + 1 for number in np.unique(numbers)}
    places, counts = [0.0], [0.0]
    length = float(np.median(np.diff([0.0, *ends.values()])))
    for number, end in ends.items():
        # the last epoch may have been cut short by a budget
        whole = number != max(ends) or length <= 0 or len(ends) == 1
        share = 1.0 if whole else min(1.0, (end - places[-1]) / length)
        if end > places[-1]:
            places.append(end)
            counts.append(number + share)
    return np.interp(steps + 1, places, counts)


def thinned(x: Values, y: Values, average: bool) -> tuple[Values, Values]:
    """Return at most ``MOST_POINTS`` points.

    Args:
        x: (K,).
        y: (K,).
        average: Whether each point is to be the mean of its neighbours; else points are picked, the
            first and the last among them.
    """
    if len(x) <= MOST_POINTS and not average:
        return x, y
    if not average:
        picked = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(np.int64))
        return x[picked], y[picked]
    pieces = min(MOST_POINTS, max(2, len(x) // 4))
    if len(x) < 8:
        return x, y
    groups = np.array_split(np.arange(len(x)), pieces)
    return np.array([x[group].mean() for group in groups]), np.array([y[group].mean() for group in groups])
