"""Features that see layout, colours and sharpness, without any network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vedute.metrics.features import FeatureExtractor, pixel_features

_GRID = 4  # cells a side for colours
_CELLS = 2  # cells a side for details
_LEVELS = 3
_LEAST = 8  # pixels a side of the coarsest level
_FLOOR = 1 / 255  # below a level of 8 bits there is no detail


def detail_features(channels: int, image_size: tuple[int, int]) -> FeatureExtractor:
    """Return mean colours of 4x4 cells, and how much detail there is in 2x2 cells at up to three scales.

    Detail of a scale is what halving and doubling the image loses: the logarithm of its mean absolute value,
    so that half and twice the right amount are equally wrong. Unlike pixels of shrunken images these
    features tell blurred and noisy images from sharp ones; with 3 channels there are 84, so that distances
    of a few hundred images mean something. What the details show, only a network sees.

    After Burt & Adelson 1983, "The Laplacian pyramid as a compact image code".

    Args:
        channels: Channels C of the images.
        image_size: Height and width of the images, pixels.
    """
    levels = 1
    while levels < _LEVELS and min(image_size) >> levels >= _LEAST:
        levels += 1
    size = channels * (_GRID**2 + levels * _CELLS**2)

    def extract(image: Tensor) -> Tensor:
        image = image.float()
        parts = [F.adaptive_avg_pool2d(image, _GRID).flatten(1)]
        for _ in range(levels):
            # Sides of one pixel and odd ones: the pool takes what is there.
            smaller = F.avg_pool2d(image, 2, ceil_mode=True)
            smooth = F.interpolate(smaller, size=image.shape[-2:], mode="bilinear", align_corners=False)
            amount = F.adaptive_avg_pool2d((image - smooth).abs(), _CELLS)
            # A tenth: a factor of e in detail weighs as much as a tenth of the range in colour.
            parts.append(0.1 * torch.log(amount + _FLOOR).flatten(1))
            image = smaller
        return torch.cat(parts, dim=1)

    return FeatureExtractor("details", size, f"none; {levels} scales", extract)


def plain_features(channels: int, image_size: tuple[int, int]) -> list[FeatureExtractor]:
    """Return all features that need no network: ``pixels`` and ``details``."""
    return [pixel_features(channels, image_size), detail_features(channels, image_size)]
