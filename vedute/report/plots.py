"""Small plots as SVG text for pages of ``html.py``: they take the page's font and colours, dark or light."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Stand-ins, which become the page's colours.
INK, FAINT, _LINE = "#010203", "#010204", "#010205"
_SERIES = ("#010211", "#010212", "#010213", "#010214")
RUNS = tuple(f"#01022{number}" for number in range(1, 9))
"""Stand-ins of the colours of runs in comparisons."""

_COLOURS = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    _LINE: "var(--line)",
    **{stand_in: f"var(--series-{number})" for number, stand_in in enumerate(_SERIES, 1)},
    **{stand_in: f"var(--run-{number})" for number, stand_in in enumerate(RUNS, 1)},
}
_WIDTH, _HEIGHT = 4.7, 3.0  # inches: text keeps its size on a phone's width
_MOST_MARKS = 2000  # beyond, a scatter plot is drawn as pixels: the page stays small
_RASTER = "#3d8fb0"  # of those pixels: visible on light and on dark paper

Values = NDArray[np.number]


def histogram(
    series: Sequence[tuple[str, Values]], label: str, bins: int = 30, logarithmic: bool = False
) -> str:
    """Draw how values are distributed, the series stacked.

    Args:
        series: At most four: a title, and (N,) finite values.
        label: What the values are, with their unit.
        bins: Number of bars.
        logarithmic: Values are above 0, and their axis is logarithmic if they span enough.
    """
    values = np.concatenate([values for _, values in series]).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    logarithmic = logarithmic and high > 8 * low  # a short logarithmic axis would have hardly a number on it
    if not logarithmic and high - low <= 40 and (values == np.round(values)).all():
        low, high, bins = low - 0.5, high + 0.5, round(high - low) + 1  # a bar for each whole number
    if low == high:
        low, high = (low / 1.5, high * 1.5) if logarithmic else (low - 0.5, high + 0.5)
    edges = np.geomspace(low, high, bins + 1) if logarithmic else np.linspace(low, high, bins + 1)
    edges[0], edges[-1] = low, high  # geomspace may round to within the values
    figure, axes = new_figure()
    bottom = np.zeros(bins)
    for (title, own), colour in zip(series, _SERIES, strict=False):
        counts, _ = np.histogram(own, edges)
        axes.bar(edges[:-1], counts, np.diff(edges), bottom, align="edge", color=colour, label=title)
        bottom += counts
    if logarithmic:
        axes.set_xscale("log")
        steps = (1.0, 2.0, 5.0) if high < 300 * low else (1.0,)
        axes.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=steps, numticks=12))
        axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
        axes.xaxis.set_major_formatter(thousands())
    axes.set_xlim(low, high)
    axes.set_xlabel(label)
    axes.set_ylabel("images")
    _legend(axes, len(series))
    return as_svg(figure)


def scatter(
    series: Sequence[tuple[str, Values, Values]],
    labels: tuple[str, str],
    mark: tuple[str, float, float] | None = None,
) -> str:
    """Draw points; equal points become one, the larger the more there are.

    Args:
        series: At most four: a title, (N,) x and (N,) y.
        labels: What x and y are.
        mark: A point to be marked with a cross: its title, x and y.
    """
    figure, axes = new_figure()
    for (title, x, y), colour in zip(series, _SERIES, strict=False):
        points, counts = np.unique(np.stack([x, y], axis=1), axis=0, return_counts=True)
        many = len(points) > _MOST_MARKS
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=np.clip(10 * np.sqrt(counts), 10, 300),
            color=_RASTER if many else colour,
            alpha=0.35 if many else 0.55,
            linewidths=0,
            label=title,
            rasterized=many,
        )
    if mark is not None:
        axes.scatter([mark[1]], [mark[2]], marker="+", s=120, color=INK, linewidths=1.5, label=mark[0])
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    _legend(axes, len(series) + (mark is not None))
    return as_svg(figure)


def matrix(values: NDArray[np.floating], names: Sequence[str], low: float = -1, high: float = 1) -> str:
    """Draw a square matrix as coloured cells with numbers.

    Args:
        values: (D, D); NaN is left empty.
        names: D names.
        low: The value of the coldest colour.
        high: The value of the warmest.
    """
    count = len(names)
    side = max(_HEIGHT, 0.45 * count + 1)
    figure, axes = new_figure(side + 0.8, side)
    axes.imshow(values, cmap="RdBu_r", vmin=low, vmax=high, alpha=0.85)
    axes.set_xticks(range(count), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), names)
    axes.grid(False)
    middle, half = (low + high) / 2, (high - low) / 2
    for row, column in np.ndindex(count, count):
        value = float(values[row, column])
        if np.isfinite(value):
            strong = abs(value - middle) > 0.6 * half
            colour = "#ffffff" if strong else "#222222"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=9)
    return as_svg(figure)


def new_figure(width: float = _WIDTH, height: float = _HEIGHT) -> tuple[Figure, Axes]:
    """Return a figure with axes in the colours of the page, sides in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=FAINT, labelsize=10)
    axes.xaxis.label.set(color=INK, fontsize=11)
    axes.yaxis.label.set(color=INK, fontsize=11)
    axes.grid(True, axis="y", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(thousands())
    axes.xaxis.set_major_formatter(thousands())
    return figure, axes


def thousands() -> mpl.ticker.Formatter:
    """Return what writes numbers at ticks: no powers of ten, commas between thousands."""
    return mpl.ticker.FuncFormatter(lambda value, _: f"{value:,.6g}")


def logarithmic(axis: mpl.axis.Axis, steps: Sequence[float], ticks: int) -> None:
    """Write few plain numbers at a logarithmic axis.

    Args:
        axis: The axis.
        steps: Multiples of powers of ten that may be written.
        ticks: About how many numbers at most.
    """
    axis.set_major_locator(mpl.ticker.LogLocator(subs=steps, numticks=ticks))
    axis.set_minor_locator(mpl.ticker.NullLocator())
    axis.set_major_formatter(thousands())


def _legend(axes: Axes, entries: int) -> None:
    if entries > 1:
        axes.legend(frameon=False, fontsize=10, labelcolor=INK)


def as_svg(figure: Figure) -> str:
    """Return the figure as SVG without addresses, sized by the page."""
    buffer = io.StringIO()
    # Text stays text; the same figure gives the same identifiers.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "vedute"}):
        figure.savefig(buffer, format="svg", dpi=150)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'<svg width="[^"]*" height="[^"]*"', '<svg role="img"', text, count=1)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    for stand_in, colour in _COLOURS.items():
        text = text.replace(stand_in, colour)
    return text.strip()
