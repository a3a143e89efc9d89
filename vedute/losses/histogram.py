"""Distance between the colours of images, wherever they are, one value per sample."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from vedute.errors import ConfigurationError
from vedute.losses.terms import ImageLoss

HistogramDistance = Literal["earth_mover", "squared", "absolute"]
"""How two histograms are compared; see :class:`ColourHistogram`."""


def soft_histogram(image: Tensor, bins: int) -> Tensor:
    """Histogram of each channel: a value counts for the two nearest bins, by its distance to them.

    Bins are centred at 0, 1 / (bins - 1), ..., 1: every value in [0, 1] lies between two of them, so
    that each has a gradient and the shares sum to 1.

    Args:
        image: (N, C, H, W); values outside [0, 1] count as 0 or 1, without gradient.
        bins: Number of bins K, at least 2.

    Returns:
        (N, C, K) float32 shares of the pixels.
    """
    values = image.float().flatten(2).clamp(0, 1) * (bins - 1)  # (N, C, P)
    lower = values.detach().floor().clamp_max(bins - 2)
    above = values - lower  # share that the upper bin gets
    rows = torch.arange(values.shape[0] * values.shape[1], device=image.device).view(*values.shape[:2], 1)
    index = (rows * bins + lower.long()).flatten()  # flat: such sums are reproducible on GPUs, too
    counts = torch.zeros(values.shape[0] * values.shape[1] * bins, device=image.device)
    counts = counts.index_add(0, index, (1 - above).flatten())
    counts = counts.index_add(0, index + 1, above.flatten())
    return counts.view(*values.shape[:2], bins) / values.shape[2]


class ColourHistogram(ImageLoss):
    """Distance between the histograms of generated and wanted images, channel by channel.

    Sees which colours there are and how many, not where: it moves colour casts and missing contrast,
    and needs another term beside it. Histograms are soft (:func:`soft_histogram`).

    * ``earth_mover``: the mean distance that values must be moved, in [0, 1]: the area between
      the cumulative histograms. Pulls from any distance.
    * ``squared``, ``absolute``: sums over bins, which see only neighbouring bins.

    The mean over channels is taken. Source of the soft bins: Ustinova & Lempitsky 2016,
    https://arxiv.org/abs/1611.00822; of the matching by distances: Rubner et al. 2000,
    https://doi.org/10.1023/A:1026543900054.
    """

    def __init__(
        self, bins: int = 64, distance: HistogramDistance = "earth_mover", weight: float = 1.0
    ) -> None:
        """Choose bins and distance.

        Args:
            bins: Bins per channel, at least 2.
            distance: ``earth_mover``, ``squared`` or ``absolute``.
            weight: Weight of the term.

        Raises:
            ConfigurationError: A value out of its range.
        """
        super().__init__(weight)
        if bins < 2:
            raise ConfigurationError(f"A histogram needs at least 2 bins, got {bins}.")
        if distance not in get_args(HistogramDistance):
            known = ", ".join(get_args(HistogramDistance))
            raise ConfigurationError(f"A distance of histograms is one of {known}, not '{distance}'.")
        self.bins, self.distance = bins, distance

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Return (N,) distances."""
        difference = soft_histogram(image, self.bins) - soft_histogram(target, self.bins)  # (N, C, K)
        if self.distance == "earth_mover":
            per_channel = difference.cumsum(dim=2).abs().sum(dim=2) / (self.bins - 1)
        elif self.distance == "squared":
            per_channel = difference.square().sum(dim=2)
        else:
            per_channel = difference.abs().sum(dim=2)
        return per_channel.mean(dim=1)
