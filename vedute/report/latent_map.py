"""A map of latent vectors as a picture, coloured by condition.

Not here: how vectors become points (``vedute.report.projection``).
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from numpy.typing import NDArray
from PIL import Image

_INK, _FAINT, _REST, _DOT = "#282828", "#8a8a85", "#d0cfca", "#3f78b5"
_DPI = 110
_MOST_COLOURS = 20  # classes that a person can tell apart by colour
_MOST_SCORES = 6
_MOST_PICTURES = 90

Points = NDArray[np.float32]  # (N, 2)


@dataclass(frozen=True)
class Colouring:
    """What the points of a map are coloured by. Both None: by how many lie around.

    Attributes:
        classes: N names.
        scores: (N, D), NaN where one is missing; a panel for each of the first six.
        names: D names of the scores.
    """

    classes: Sequence[str] | None = None
    scores: NDArray[np.float32] | None = None
    names: Sequence[str] = ()


def map_picture(
    points: Points,
    axes_names: tuple[str, str],
    title: str,
    colouring: Colouring,
    images: NDArray[np.uint8] | None = None,
) -> Image.Image:
    """Draw a map: points coloured by condition, and beside them some of the images in their places.

    Args:
        points: (N, 2).
        axes_names: What the two coordinates are.
        title: Stands above.
        colouring: What colours mean.
        images: (N, H, W, C) small images; None: no panel with images.

    Returns:
        A picture. Of more than 20 classes the 20 with most images have a colour.
    """
    scores = colouring.scores
    panels = 1 if scores is None else min(_MOST_SCORES, scores.shape[1])
    total = panels + (images is not None)
    columns = 2 if total == 4 else min(total, 3 if total < 7 else 4)
    rows = math.ceil(total / columns)
    side = 5.6 if rows == 1 and columns < 3 else 4.2
    figure = Figure(
        figsize=(side * columns + 0.6, side * rows + 0.5), dpi=_DPI, facecolor="white", layout="constrained"
    )
    figure.suptitle(title, size=11, color=_INK)
    every = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in every:
        _frame(axes, points, axes_names)
    if scores is not None:
        for column, axes in enumerate(every[:panels]):
            _score_panel(figure, axes, points, scores[:, column], colouring.names[column])
    elif colouring.classes is not None:
        _class_panel(every[0], points, colouring.classes)
    else:
        _density_panel(figure, every[0], points)
    for axes in every[total:]:
        axes.set_axis_off()
    if images is not None:
        _picture_panel(figure, every[panels], points, images)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def _frame(axes: Axes, points: Points, names: tuple[str, str]) -> None:
    """Set the same limits in all panels, a little wider than the points."""
    axes.tick_params(labelsize=7, colors=_FAINT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.set_xlabel(names[0], size=8, color=_INK)
    axes.set_ylabel(names[1], size=8, color=_INK)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.05 * np.maximum(high - low, 1e-6)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])


def _dots(count: int) -> tuple[float, float]:
    """Return the area and the opacity of a dot, smaller and fainter the more there are."""
    return min(30.0, max(3.0, 20000 / count)), min(0.85, max(0.3, 2500 / count))


def _class_panel(axes: Axes, points: Points, classes: Sequence[str]) -> None:
    area, opacity = _dots(len(points))
    labels = np.array(classes)
    names, counts = np.unique(labels, return_counts=True)
    shown = names[np.argsort(-counts, kind="stable")[:_MOST_COLOURS]]
    rest = ~np.isin(labels, shown)
    # Without greys, which are for the rest; strong ones first.
    tones = [mpl.colormaps["tab20"](number)[:3] for number in (*range(0, 20, 2), *range(1, 20, 2))]
    palette = [tone for tone in tones if max(tone) - min(tone) > 0.1] + [(0.1, 0.1, 0.45), (0.0, 0.35, 0.2)]
    if rest.any():
        axes.scatter(points[rest, 0], points[rest, 1], s=area, color=_REST, alpha=opacity, linewidths=0)
    # In one mixed order, so that no class lies on top of another; the legend's dots are drawn apart.
    colours = {name: palette[number] for number, name in enumerate(sorted(shown))}
    order = np.random.default_rng(0).permutation(np.flatnonzero(~rest))
    axes.scatter(
        points[order, 0],
        points[order, 1],
        s=area,
        color=[colours[label] for label in labels[order]],
        alpha=opacity,
        linewidths=0,
    )
    if rest.any():
        colours[f"{len(names) - len(shown)} others"] = mpl.colors.to_rgb(_REST)
    for name, colour in colours.items():
        axes.scatter([], [], s=30, color=[colour], linewidths=0, label=name)
    axes.legend(
        fontsize=8 if len(colours) <= 10 else 7,
        frameon=False,
        labelcolor=_INK,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.1),
        ncols=len(colours) if len(colours) <= 5 else 4,
        handletextpad=0.2,
        columnspacing=1.2,
    )


def _score_panel(figure: Figure, axes: Axes, points: Points, values: NDArray[np.float32], name: str) -> None:
    area, opacity = _dots(len(points))
    known = np.isfinite(values)
    axes.scatter(points[~known, 0], points[~known, 1], s=area, color=_REST, alpha=opacity, linewidths=0)
    order = np.random.default_rng(0).permutation(np.flatnonzero(known))
    drawn = axes.scatter(
        points[order, 0], points[order, 1], s=area, c=values[order], cmap="viridis", linewidths=0
    )
    bar = figure.colorbar(drawn, ax=axes, fraction=0.045, pad=0.02)
    bar.ax.tick_params(labelsize=7, colors=_FAINT)
    bar.outline.set_visible(False)
    axes.set_title(name, size=9, color=_INK, loc="left")


def _density_panel(figure: Figure, axes: Axes, points: Points) -> None:
    """Colour each point by how many lie around it; few points are drawn plainly."""
    area, opacity = _dots(len(points))
    if len(points) < 500:
        axes.scatter(points[:, 0], points[:, 1], s=area, color=_DOT, alpha=opacity, linewidths=0)
        return
    cells = 48
    counts, *edges = np.histogram2d(points[:, 0], points[:, 1], bins=cells)
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    for _ in range(2):  # a cell and about three around it on each side
        counts = np.apply_along_axis(np.convolve, 0, counts, kernel, "same")
        counts = np.apply_along_axis(np.convolve, 1, counts, kernel, "same")
    places = [
        np.clip(np.searchsorted(edge, points[:, axis], side="right") - 1, 0, cells - 1)
        for axis, edge in enumerate(edges)
    ]
    around = counts[places[0], places[1]] / counts.max()
    order = np.argsort(around, kind="stable")
    drawn = axes.scatter(
        points[order, 0], points[order, 1], s=area, c=around[order], cmap="viridis", linewidths=0
    )
    bar = figure.colorbar(drawn, ax=axes, fraction=0.045, pad=0.02)
    bar.set_ticks([around.min(), 1.0], labels=["few", "many"])
    bar.set_label("images around", size=8, color=_INK)
    bar.ax.tick_params(labelsize=7, colors=_FAINT)
    bar.outline.set_visible(False)


def _picture_panel(figure: Figure, axes: Axes, points: Points, images: NDArray[np.uint8]) -> None:
    """Draw images in their places as long as they do not cover each other, the outermost first."""
    figure.draw_without_rendering()  # now the panel has its size
    height, width = images.shape[1:3]
    longest = 34.0  # pixels of the picture
    zoom = longest / max(height, width)
    half = np.array([width * zoom / 2 + 1, height * zoom / 2 + 1])
    axes.scatter(points[:, 0], points[:, 1], s=1.5, color=_REST, linewidths=0, zorder=1)
    places = axes.transData.transform(points)  # (N, 2) pixels
    taken: list[int] = []
    for row in _outermost_first(places, 6 * _MOST_PICTURES):
        apart = np.abs(places[taken] - places[row]) >= 2 * half if taken else np.ones((1, 2), dtype=bool)
        if apart.any(axis=1).all():
            taken.append(row)
        if len(taken) == _MOST_PICTURES:
            break
    for row in taken:
        pixels = images[row]
        pixels = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
        # OffsetImage counts in points of 1/72 inch.
        box = AnnotationBbox(OffsetImage(pixels, zoom=zoom * 72 / _DPI), points[row], frameon=False, pad=0)
        box.set_in_layout(False)
        axes.add_artist(box)


def _outermost_first(places: NDArray[np.float64], count: int) -> list[int]:
    """Return rows of which each is as far as possible from those before it, from the middle outwards."""
    unique = np.unique(places, axis=0, return_index=True)[1]
    rows = unique[np.linspace(0, len(unique) - 1, min(len(unique), 20000)).round().astype(int)]
    candidates = places[rows]
    current = int(np.square(candidates - np.median(candidates, axis=0)).sum(axis=1).argmin())
    nearest = np.full(len(rows), np.inf)
    chosen: list[int] = []
    for _ in range(min(count, len(rows))):
        chosen.append(int(rows[current]))
        nearest = np.minimum(nearest, np.square(candidates - candidates[current]).sum(axis=1))
        current = int(nearest.argmax())
    return chosen
