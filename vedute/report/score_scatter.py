"""Predicted against given scores as a picture."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from vedute.metrics.scores import ScoreAgreement

_INK, _FAINT, _DOT, _MEAN = "#282828", "#8a8a85", "#3f78b5", "#c2446a"
_MOST_DOTS = 2000
_FEW_VALUES = 25  # up to so many different given scores get a mean each


def score_scatter(agreement: ScoreAgreement, names: Sequence[str], title: str) -> Image.Image:
    """Draw a panel per rater: a dot per image, and the mean prediction for each given score.

    Args:
        agreement: Scores (N, D), in the unit that is shown.
        names: Names of the D raters.
        title: Stands above the panels.

    Returns:
        A picture; each panel has a line where predicted and given scores are equal.
    """
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(
        figsize=(max(4.2, 3.1 * columns), 3.1 * rows + 0.5), facecolor="white", layout="constrained"
    )
    figure.suptitle(title, size=11, color=_INK)
    errors, correlations = agreement.mean_absolute_error(), agreement.rank_correlation()
    predicted, given = (value.cpu().numpy() for value in (agreement.predicted, agreement.given))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name, column in zip(panels, names, range(len(names)), strict=False):
        _panel(axes, predicted[:, column], given[:, column])
        told = f"MAE {float(errors[column]):.3g}, rank correlation {float(correlations[column]):.2f}"
        axes.set_title(name, size=10, color=_INK, loc="left", pad=16)
        axes.text(0, 1.025, told, transform=axes.transAxes, size=8, color=_FAINT)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes in panels[: len(names)][-columns:]:
        axes.set_xlabel("given score", size=9, color=_INK)
    for axes in panels[::columns]:
        axes.set_ylabel("predicted score", size=9, color=_INK)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return Image.open(buffer).convert("RGB")


def _panel(axes: Axes, predicted: NDArray[np.float32], given: NDArray[np.float32]) -> None:
    axes.tick_params(labelsize=8, colors=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    if not len(given):
        return
    values = np.unique(given)
    low, high = float(values[0]), float(values[-1])
    margin = 0.06 * (high - low or 1)
    axes.axline((low, low), slope=1, color=_FAINT, lw=1, ls=(0, (4, 3)), zorder=1)
    shown = slice(None, None, math.ceil(len(given) / _MOST_DOTS))
    few = len(values) <= _FEW_VALUES
    x = given[shown]
    if few and len(values) > 1:  # dots of one score side by side
        width = 0.3 * float(np.diff(values).min())
        x = x + np.random.default_rng(0).uniform(-width, width, len(x)).astype(np.float32)
    opacity = min(0.7, max(0.15, 100 / len(x)))
    axes.plot(x, predicted[shown], "o", ms=3.5, mew=0, color=_DOT, alpha=opacity, zorder=2)
    if few:
        means = [float(predicted[given == value].mean()) for value in values]
        axes.plot(values, means, "o-", ms=4, lw=1.2, color=_MEAN, zorder=3, label="mean")
        axes.legend(fontsize=8, frameon=False, loc="upper left", handlelength=1.5)
    axes.set_xlim(low - margin, high + margin)
    lowest, highest = min(low, float(predicted.min())), max(high, float(predicted.max()))
    axes.set_ylim(lowest - margin, highest + margin)
