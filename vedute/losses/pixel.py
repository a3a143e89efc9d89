"""Distances between images, pixel by pixel, one value per sample."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, get_args

import torch
from torch import Tensor

from vedute.errors import ConfigurationError
from vedute.losses.terms import ImageLoss

Reduction = Literal["sum", "mean"]
"""How the values of a sample's channels and pixels become one."""


def mean_squared_error(image: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over channels and pixels.

    Args:
        image: (N, C, H, W) in [0, 1].
        target: (N, C, H, W) in [0, 1].

    Returns:
        (N,).
    """
    return (image - target).square().flatten(1).mean(dim=1)


def mean_absolute_error(image: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over channels and pixels.

    Args:
        image: (N, C, H, W) in [0, 1].
        target: (N, C, H, W) in [0, 1].

    Returns:
        (N,).
    """
    return (image - target).abs().flatten(1).mean(dim=1)


def peak_signal_to_noise_ratio(mse: Tensor) -> Tensor:
    """PSNR of images in [0, 1], from their mean squared error.

    Args:
        mse: (N,) mean squared errors.

    Returns:
        (N,), in decibels.
    """
    return -10 * torch.log10(mse.clamp_min(1e-10))


class PixelError(ImageLoss):
    """An error of the pixels, their mean or their sum."""

    def __init__(self, reduction: Reduction = "mean", weight: float = 1.0) -> None:
        """Choose ``sum`` or ``mean`` over a sample's channels and pixels.

        Args:
            reduction: The sum is C * H * W times the mean.
            weight: Weight of the term.

        Raises:
            ConfigurationError: Another reduction, or a negative weight.
        """
        super().__init__(weight)
        if reduction not in get_args(Reduction):
            raise ConfigurationError(
                f"A reduction is one of {', '.join(get_args(Reduction))}, not '{reduction}'."
            )
        self.reduction = reduction

    @abstractmethod
    def mean_error(self, image: Tensor, target: Tensor) -> Tensor:
        """Return (N,) mean errors of float32 images (N, C, H, W)."""

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Return (N,) errors of images in [0, 1]."""
        error = self.mean_error(image.float(), target.float())
        return error * target[0].numel() if self.reduction == "sum" else error


class SquaredError(PixelError):
    """Squared error of the pixels, their mean or, as system S2 has it, their sum.

    With ``sum`` and weight 0.5 it is the negative log likelihood of a decoder with variance 1, less a
    constant.
    """

    def mean_error(self, image: Tensor, target: Tensor) -> Tensor:
        """Return (N,); see :func:`mean_squared_error`."""
        return mean_squared_error(image, target)


class AbsoluteError(PixelError):
    """Absolute error of the pixels (L1), their mean or their sum."""

    def mean_error(self, image: Tensor, target: Tensor) -> Tensor:
        """Return (N,); see :func:`mean_absolute_error`."""
        return mean_absolute_error(image, target)
