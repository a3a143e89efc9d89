"""What the dimensions of a latent space carry, as a picture."""

from __future__ import annotations

import io

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vedute.metrics.latent_correlation import Correlation

_INK, _FAINT, _TRAIN, _VAL, _LINE = "#282828", "#8a8a85", "#d9822b", "#3f78b5", "#c2446a"
_DPI = 110
_MOST_CELLS = 400  # the panel has about 600 pixels


def dimension_order(correlation: Correlation, low_variance: float) -> NDArray[np.int64]:
    """Return an order of the dimensions that puts those side by side that vary together.

    Dimensions of low variance come last, by falling variance. The others are sorted by the second
    smallest eigenvector of the normalised Laplacian of the squared correlations, which places strongly
    connected ones close to each other.

    Source: Atkins et al. 1998, "A Spectral Algorithm for Seriation and the Consecutive Ones Problem"
    (https://doi.org/10.1137/S0097539795285771).

    Args:
        correlation: Of Z dimensions.
        low_variance: At most this is a low variance.

    Returns:
        (Z,) a permutation.
    """
    variance = correlation.variance.double()
    varying = (variance > low_variance).nonzero()[:, 0]
    low = (variance <= low_variance).nonzero()[:, 0]
    low = low[variance[low].argsort(descending=True, stable=True)]
    if len(varying) > 2:
        matrix = correlation.matrix.double()[varying][:, varying]
        # Opposite dimensions say the same as well, but among them a checkerboard shows nothing: they attract
        # each other less than those of one sign, which then make a block of their own.
        strength = matrix.square() * torch.where(matrix > 0, 1.0, 0.25)
        strength.fill_diagonal_(0)
        degree = strength.sum(dim=1)
        # Normalised, so that a few dimensions with hardly any connection do not decide alone.
        scale = degree.clamp_min(1e-12).rsqrt()
        laplacian = torch.diag((degree > 0).double()) - scale[:, None] * strength * scale[None, :]
        second = torch.linalg.eigh(laplacian)[1][:, 1] * scale
        second = second * second[second.abs().argmax()].sign()
        varying = varying[second.argsort(stable=True)]
    return torch.cat([varying, low]).numpy()


def latent_picture(
    correlation: Correlation,
    title: str,
    low_variance: float,
    kl: dict[str, Tensor] | None = None,
) -> Image.Image:
    """Draw the correlations of latent dimensions, their variances and what KL divergence they cost.

    Args:
        correlation: Of Z dimensions.
        title: Stands above.
        low_variance: A dimension that varies less is marked as such.
        kl: Mean KL divergence of each dimension in nats, (Z,), by what it is of (``training``,
            ``validation``; at most two); None or empty: no panel.

    Returns:
        A picture.
    """
    kl = kl or {}
    figure = Figure(figsize=(12.2, 6.3), dpi=_DPI, facecolor="white", layout="constrained")
    figure.suptitle(title, size=11, color=_INK)
    panels = figure.subplot_mosaic(
        [["matrix", "variance"], ["matrix", "kl"]] if kl else [["matrix", "variance"]], width_ratios=[1.1, 1]
    )
    _matrix_panel(figure, panels["matrix"], correlation, low_variance)
    _variance_panel(panels["variance"], correlation.variance.cpu().numpy(), low_variance)
    if kl:
        _kl_panel(panels["kl"], {name: values.cpu().numpy() for name, values in kl.items()})
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def _matrix_panel(figure: Figure, axes: Axes, correlation: Correlation, low_variance: float) -> None:
    order = dimension_order(correlation, low_variance)
    size = len(order)
    values = _strongest(correlation.matrix.cpu().numpy()[np.ix_(order, order)])
    extent = (-0.5, size - 0.5, size - 0.5, -0.5)
    drawn = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest", extent=extent)
    axes.set_title("correlation of the latent means", size=9, color=_INK, loc="left")
    axes.tick_params(labelsize=7, colors=_FAINT, length=0)
    if size <= 32:
        names = [str(number) for number in order]
        axes.set_xticks(range(size), names, rotation=90 if size > 16 else 0)
        axes.set_yticks(range(size), names)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("dimensions, those that vary together side by side", size=8, color=_FAINT)
    for spine in axes.spines.values():
        spine.set_color(_FAINT)
        spine.set_linewidth(0.5)
    low = correlation.low_variance(low_variance)
    if 0 < low < size:
        edge = size - low - 0.5
        for line in (axes.axhline, axes.axvline):
            line(edge, color=_INK, lw=0.8, ls=(0, (3, 3)))
        side = "left" if low > size / 4 else "right"
        place = edge if side == "left" else size - 0.5
        axes.annotate(
            f"{low} of low variance",
            (place, -0.5),
            xytext=(0, 3),
            textcoords="offset points",
            size=8,
            color=_INK,
            ha=side,
            va="bottom",
        )
    bar = figure.colorbar(drawn, ax=axes, fraction=0.045, pad=0.02)
    bar.ax.tick_params(labelsize=7, colors=_FAINT)


def _strongest(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shrink a matrix to at most 400 rows: a cell has the strongest of its values.

    A mean would hide single pairs, and turn strong ones of both signs into none.
    """
    block = -(-len(matrix) // _MOST_CELLS)
    if block == 1:
        return matrix
    missing = -len(matrix) % block
    padded = np.pad(matrix, (0, missing))
    cells = len(padded) // block
    blocks = padded.reshape(cells, block, cells, block).transpose(0, 2, 1, 3).reshape(cells, cells, -1)
    strongest = np.abs(blocks).argmax(axis=2)
    return np.take_along_axis(blocks, strongest[..., None], axis=2)[..., 0]


def _plain(axes: Axes, title: str, size: int) -> None:
    axes.set_title(title, size=9, color=_INK, loc="left")
    axes.tick_params(labelsize=7, colors=_FAINT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.set_xlim(0, size)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("dimensions, largest first", size=8, color=_FAINT)


def _steps(axes: Axes, values: NDArray[np.float32], colour: str, label: str | None, filled: bool) -> None:
    """Draw a bar for each value; without gaps, since there may be a thousand."""
    edges = np.arange(len(values) + 1)
    if filled:
        axes.stairs(values, edges, fill=True, color=colour, label=label, lw=0)
    else:
        axes.stairs(values, edges, fill=False, color=colour, label=label, lw=1.4, baseline=None)


def _variance_panel(axes: Axes, variance: NDArray[np.float32], low_variance: float) -> None:
    floor = 1e-6
    ordered = np.sort(np.maximum(variance, floor))[::-1]
    _plain(axes, "variance of the latent means", len(ordered))
    _steps(axes, ordered, _VAL, None, filled=True)
    axes.set_yscale("log")
    bottom = max(floor, min(float(ordered[-1]), low_variance) / 3)
    axes.set_ylim(bottom, max(float(ordered[0]), low_variance) * 2)
    axes.axhline(low_variance, color=_LINE, lw=1, ls=(0, (4, 3)))
    axes.annotate(
        f"low: {low_variance:g}",
        (1, low_variance),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        size=8,
        color=_LINE,
        ha="right",
        va="bottom",
        bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 1},
    )


def _kl_panel(axes: Axes, kl: dict[str, NDArray[np.float32]]) -> None:
    """Draw the last series as bars and the one before it as a line, in the order of the last."""
    (name, main), *others = reversed(kl.items())
    order = np.argsort(-main, kind="stable")
    _plain(axes, "KL divergence of each dimension, nats", len(main))
    _steps(axes, main[order], _VAL, f"{name}, {main.sum():.3g} together", filled=True)
    for other, values in others:
        _steps(axes, values[order], _TRAIN, f"{other}, {values.sum():.3g} together", filled=False)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, labelcolor=_INK, loc="upper right", framealpha=0.8, edgecolor="none")
