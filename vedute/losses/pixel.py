"""Distances between images, pixel by pixel, one value per sample."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_squared_error(image: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over channels and pixels.

    Args:
        image: (N, C, H, W) in [0, 1].
        target: (N, C, H, W) in [0, 1].

    Returns:
        (N,).
    """
    return (image - target).square().flatten(1).mean(dim=1)


def peak_signal_to_noise_ratio(mse: Tensor) -> Tensor:
    """PSNR of images in [0, 1], from their mean squared error.

    Args:
        mse: (N,) mean squared errors.

    Returns:
        (N,), in decibels.
    """
    return -10 * torch.log10(mse.clamp_min(1e-10))
