"""Plots of several runs for pages of ``html.py``: labelled points, and curves in the runs' colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vedute.report.comparison_curves import Panel
from vedute.report.plots import FAINT, INK, RUNS, as_svg, logarithmic, new_figure

LOGARITHMIC = 5.0
"""An axis whose positive values differ by more than this factor is logarithmic."""

_LABEL = 9.0  # points
_DASHES: tuple[object, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))


class Point(NamedTuple):
    """A run in a plot: its position among all runs, its label, x, y, and between what y may lie."""

    run: int
    label: str
    x: float
    y: float
    spread: tuple[float, float] | None


def colour_of(run: int) -> str:
    """Return the stand-in of a run's colour; after eight runs they repeat."""
    return RUNS[run % len(RUNS)]


def labelled_points(points: Sequence[Point], labels: tuple[str, str]) -> str:
    """Draw a point with its name for each run.

    Args:
        points: At least one.
        labels: What x and y are.
    """
    figure, axes = new_figure(4.7, 3.3)
    for point in points:
        colour = colour_of(point.run)
        if point.spread is not None:
            axes.plot([point.x, point.x], point.spread, color=colour, lw=1.4, alpha=0.6)
        filled = point.run < len(RUNS)
        face = colour if filled else "none"
        axes.scatter([point.x], [point.y], s=42, facecolors=face, edgecolors=colour, linewidths=1.4, zorder=3)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    _limits(axes, [point.x for point in points])
    axes.margins(y=0.18)
    _name(figure, axes, points)
    return as_svg(figure)


def _limits(axes: Axes, values: Sequence[float]) -> None:
    low, high = min(values), max(values)
    if low > 0 and high > LOGARITHMIC * low:
        axes.set_xscale("log")
        logarithmic(axes.xaxis, _steps(high / low), 10)
        axes.set_xlim(low / 1.6, high * 1.6)
        return
    middle, half = (low + high) / 2, max((high - low) / 2, 0.1 * abs(high), 1e-6)
    axes.set_xlim(max(0.0, middle - 1.5 * half) if low >= 0 else middle - 1.5 * half, middle + 1.5 * half)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))


def _steps(span: float) -> tuple[float, ...]:
    return (1.0, 2.0, 5.0) if span < 300 else (1.0,)


def _name(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Write each point's name where it covers neither points nor other names."""
    figure.draw_without_rendering()  # the axes get their place
    scale = figure.dpi / 72
    frame = axes.get_window_extent()
    places = axes.transData.transform([(point.x, point.y) for point in points])
    taken = [(x - 5 * scale, y - 5 * scale, x + 5 * scale, y + 5 * scale) for x, y in places.tolist()]
    height = 1.25 * _LABEL * scale
    # from the upper right: names go where there is room
    for position in np.argsort(-places[:, 1]).tolist():
        x, y = places[position].tolist()
        label = points[position].label
        width = 0.56 * _LABEL * scale * len(label)
        best: tuple[float, float, float, str] | None = None
        for rise in (0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 4.0, -4.0):
            for side in ("left", "right", "center"):
                if side == "center" and rise == 0:
                    continue
                gap = 0 if side == "center" else 8 * scale
                start = {"left": x + gap, "right": x - gap - width, "center": x - width / 2}[side]
                middle = y + rise * height
                box = (start, middle - height / 2, start + width, middle + height / 2)
                over = sum(_overlap(box, other) for other in taken)
                outside = max(0.0, frame.x0 - box[0]) + max(0.0, box[2] - frame.x1)
                outside += max(0.0, frame.y0 - box[1]) + max(0.0, box[3] - frame.y1)
                cost = over + 4 * outside * height + abs(rise) * 12 * scale + (side == "center") * 4 * scale
                if best is None or cost < best[0]:
                    best = (cost, {"left": gap, "right": -gap, "center": 0.0}[side], rise * height, side)
                    kept = box
        assert best is not None
        taken.append(kept)
        far = abs(best[2]) > 1.5 * height
        axes.annotate(
            label,
            (points[position].x, points[position].y),
            (best[1] / scale, best[2] / scale),
            textcoords="offset points",
            ha=best[3],
            va="center",
            fontsize=_LABEL,
            color=INK,
            arrowprops={"arrowstyle": "-", "color": FAINT, "lw": 0.6, "shrinkB": 4} if far else None,
            annotation_clip=False,
            parse_math=False,  # a name may hold a dollar sign
        )


def _overlap(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return width * height if width > 0 and height > 0 else 0.0


def curve_panel(panel: Panel, label: str) -> str:
    """Draw the curves of one value.

    Args:
        panel: The curves.
        label: What x is.
    """
    figure, axes = new_figure(4.7, 2.7)
    for curve in panel.curves:
        mark = "o" if len(curve.x) <= 30 else ""
        dash = _DASHES[curve.run // len(RUNS) % len(_DASHES)]
        axes.plot(
            curve.x, curve.y, color=colour_of(curve.run), lw=1.6, marker=mark, ms=3, mew=0, linestyle=dash
        )
    shown = np.concatenate([curve.y for curve in panel.curves])
    low, high = (float(end) for end in np.percentile(shown, [2, 98]))
    if shown.min() > 0 and high > LOGARITHMIC * low:
        axes.set_yscale("log")
        logarithmic(axes.yaxis, _steps(high / low), 10)
    elif high > low:
        # a first moment far off shall not squeeze the rest
        room = 0.15 * (high - low)
        axes.set_ylim(
            max(float(shown.min()), low - 3 * room) - room, min(float(shown.max()), high + 3 * room) + room
        )
    axes.set_xlim(left=0)
    axes.set_xlabel(label)
    return as_svg(figure)
