"""The terms of a loss over a training as a picture, each above its weight."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image

_INK, _FAINT, _LINE = "#282828", "#8a8a85", "#e4e2dd"
_TRAIN, _VAL, _WEIGHT = "#3f78b5", "#c2446a", "#7a8a3a"
_COLUMNS = 3
_LOGARITHMIC = 5.0  # a curve of positive values that spans more than this factor has a logarithmic axis
_FEW_POINTS = 40  # up to so many validations are marked with dots
_LEAST_SMOOTHED = 60  # training steps from which on a smoothed curve is drawn
_WEIGHT_PREFIX = "train/weight/"

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Steps and values, both (K,)."""

_NOTHING: Curve = (np.zeros(0), np.zeros(0))


@dataclass(frozen=True)
class Term:
    """One term of a loss over a training.

    Attributes:
        name: Its name, e.g. ``kl``.
        train: Its values in training steps.
        val: Its values in validations.
        weight: Its active weight in training steps; empty: not logged.
    """

    name: str
    train: Curve = field(default=_NOTHING)
    val: Curve = field(default=_NOTHING)
    weight: Curve = field(default=_NOTHING)


def terms_of_run(rows: Sequence[Mapping[str, str]]) -> list[Term]:
    """Find the terms of a loss in the rows of a ``metrics.csv``.

    The total comes first. Where active weights are logged (``train/weight/<name>``), their names are the
    terms; a module that logs none shows what it logs both of training and validation, or else all that it
    logs of training.

    Args:
        rows: One mapping per row, with texts, empty where a value is not given.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    weighted = [name[len(_WEIGHT_PREFIX) :] for name in columns if name.startswith(_WEIGHT_PREFIX)]
    trained = [name[len("train/") :] for name in columns if name.startswith("train/")]
    names = weighted or [name for name in trained if f"val/{name}" in columns] or trained
    ordered = [name for name in ("loss", *names) if name in trained or f"val/{name}" in columns]
    return [
        Term(
            name,
            _curve(rows, f"train/{name}"),
            _curve(rows, f"val/{name}"),
            _curve(rows, f"{_WEIGHT_PREFIX}{name}"),
        )
        for name in dict.fromkeys(ordered)
    ]


def _curve(rows: Sequence[Mapping[str, str]], column: str) -> Curve:
    found = [(float(row["step"]), float(row[column])) for row in rows if row.get(column) and row.get("step")]
    kept = np.array([point for point in found if math.isfinite(point[1])], dtype=np.float64).reshape(-1, 2)
    return kept[:, 0], kept[:, 1]


def loss_curves(terms: Sequence[Term], title: str) -> Image.Image:
    """Draw a panel for each term: training and validation, and below them its active weight.

    Axes are logarithmic where values are positive and span more than a factor of five.

    Args:
        terms: At least one, with at least one value.
        title: Stands above the panels.
    """
    columns = min(_COLUMNS, len(terms))
    rows = math.ceil(len(terms) / columns)
    figure = Figure(figsize=(max(5.0, 4.0 * columns), 3.3 * rows + 0.7), facecolor="white")
    width, height = figure.get_size_inches()
    outer = figure.add_gridspec(rows, columns, hspace=0.34, wspace=0.28)
    figure.subplots_adjust(0.7 / width, 0.5 / height, 1 - 0.25 / width, 1 - 0.85 / height)
    figure.text(0.12 / width, 1 - 0.3 / height, title, size=11, color=_INK, va="center")
    last = max(float(curve[0].max()) for term in terms for curve in (term.train, term.val) if len(curve[0]))
    for position, term in enumerate(terms):
        cell = outer[position // columns, position % columns]
        if len(term.weight[0]):
            pair = cell.subgridspec(2, 1, height_ratios=(3, 1), hspace=0.12)
            upper = figure.add_subplot(pair[0])
            lowest = figure.add_subplot(pair[1], sharex=upper)
            upper.tick_params(labelbottom=False)
            _draw_weight(lowest, term.weight)
        else:
            upper = lowest = figure.add_subplot(cell)
        _draw_term(upper, term)
        lowest.set_xlim(0, max(1.0, last))
        lowest.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4, integer=True))
        lowest.xaxis.set_major_formatter(_plain())
        if position + columns >= len(terms):
            lowest.set_xlabel("step", size=8, color=_FAINT)
    lines = [Line2D([], [], color=_TRAIN, lw=1.6), Line2D([], [], color=_VAL, lw=1.6, marker="o", ms=3.5)]
    figure.legend(
        lines,
        ["train", "val"],
        loc="center right",
        bbox_to_anchor=(1 - 0.15 / width, 1 - 0.3 / height),
        ncols=2,
        fontsize=9,
        frameon=False,
        labelcolor=_INK,
        handlelength=1.4,
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return Image.open(buffer).convert("RGB")


def _draw_term(axes: Axes, term: Term) -> None:
    _style(axes)
    axes.set_title(term.name, size=10, color=_INK, loc="left")
    steps, values = term.train
    noisy = len(steps) >= _LEAST_SMOOTHED
    if noisy:
        axes.plot(steps, values, color=_TRAIN, lw=0.8, alpha=0.25)
        values = _smoothed(values)
    axes.plot(steps, values, color=_TRAIN, lw=1.6)
    mark = "o" if len(term.val[0]) <= _FEW_POINTS else ""
    axes.plot(*term.val, color=_VAL, lw=1.6, marker=mark, ms=3.5, mew=0)
    shown = np.concatenate([values, term.val[1]])
    low, high = np.percentile(shown, [1, 99])  # a first moment far off shall not squeeze the rest
    if shown.min() > 0 and high > _LOGARITHMIC * low:
        axes.set_yscale("log")
        _logarithmic_ticks(axes, float(high / low))
        bottom, top = (
            float(limit) for limit in np.percentile(np.concatenate([shown, term.train[1]]), [1, 99])
        )
        axes.set_ylim(bottom / 1.3, top * 1.3)
    else:
        axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
        axes.yaxis.set_major_formatter(_plain())
    ends = (("train", values), ("val", term.val[1]))
    told = ", ".join(f"{label} {found[-1]:,.4g}" for label, found in ends if len(found))
    axes.text(1, 1.03, f"last: {told}", transform=axes.transAxes, size=8, color=_FAINT, ha="right")


def _draw_weight(axes: Axes, weight: Curve) -> None:
    _style(axes)
    steps, values = weight
    axes.plot(steps, values, color=_WEIGHT, lw=1.4, drawstyle="steps-post")
    axes.fill_between(steps, values, color=_WEIGHT, alpha=0.15, lw=0, step="post")
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > _LOGARITHMIC * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(mpl.ticker.LogLocator(numticks=3))
        axes.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    else:
        axes.set_ylim(0, 1.2 * high or 1)
        axes.set_yticks([0, high] if high else [0])
    axes.yaxis.set_major_formatter(_plain())
    axes.set_ylabel("weight", size=8, color=_FAINT)


def _style(axes: Axes) -> None:
    axes.tick_params(labelsize=8, colors=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.grid(True, axis="y", color=_LINE, lw=0.6)
    axes.set_axisbelow(True)


def _logarithmic_ticks(axes: Axes, span: float) -> None:
    steps = (1.0, 2.0, 5.0) if span < 300 else (1.0,)
    axes.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=steps, numticks=10))
    axes.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes.yaxis.set_major_formatter(_plain())


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return means over about a twentieth of the curve; windows are cut at its ends."""
    half = max(2, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    positions = np.arange(len(values))
    first, end = np.maximum(positions - half, 0), np.minimum(positions + half + 1, len(values))
    means: NDArray[np.float64] = (sums[end] - sums[first]) / (end - first)
    return means


def _plain() -> mpl.ticker.Formatter:
    return mpl.ticker.FuncFormatter(lambda value, _: f"{value:,.4g}" if abs(value) < 1e6 else f"{value:.3g}")
