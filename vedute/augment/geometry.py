"""Augmentations of where things are: image, target and condition image move together."""

from __future__ import annotations

import torch
from torch import Tensor

from vedute.augment.base import NumberedAugmentation, choose, move_pixels
from vedute.batch import Batch
from vedute.errors import ConfigurationError


class HorizontalFlip(NumberedAugmentation):
    """Mirrors images left to right."""

    def __init__(self, probability: float = 0.5) -> None:
        """Choose how often.

        Args:
            probability: Chance in [0, 1] that an image is mirrored.
        """
        super().__init__(probability, copies=1)

    def copy(self, batch: Batch, number: Tensor) -> Batch:
        """Mirror image n where ``number[n]`` is 0."""
        return move_pixels(batch, lambda image: choose(number >= 0, image.flip(-1), image))


class Shift(NumberedAugmentation):
    """Moves images by some pixels; what comes into view is the image mirrored at its edge."""

    def __init__(self, probability: float = 0.5, pixels: int = 4) -> None:
        """Choose how often and how far.

        Args:
            probability: Chance in [0, 1] that an image is moved.
            pixels: Largest distance along each side, pixels, at least 1.

        Raises:
            ConfigurationError: ``pixels`` is below 1.
        """
        if pixels < 1:
            raise ConfigurationError(f"Shift.pixels must be at least 1, got {pixels}.")
        super().__init__(probability, copies=(2 * pixels + 1) ** 2 - 1)
        self.pixels = pixels

    def copy(self, batch: Batch, number: Tensor) -> Batch:
        """Move image n by the vector with number ``number[n]``, counted row by row without (0, 0)."""
        side = 2 * self.pixels + 1
        still = side * side // 2
        number = torch.where(number < 0, still, number + (number >= still))
        down = number.div(side, rounding_mode="floor") - self.pixels  # (N,) in [-pixels, pixels]
        right = number % side - self.pixels

        def moved(image: Tensor) -> Tensor:
            count, _, height, width = image.shape
            if self.pixels >= min(height, width):
                raise ConfigurationError(
                    f"Shift.pixels ({self.pixels}) must be smaller than the image ({height} x {width})."
                )
            rows = self._mirrored(height, down)[:, :, None]  # (N, H, 1)
            columns = self._mirrored(width, right)[:, None, :]  # (N, 1, W)
            images = torch.arange(count, device=image.device)[:, None, None]
            return image.permute(0, 2, 3, 1)[images, rows, columns].permute(0, 3, 1, 2)

        return move_pixels(batch, moved)

    @staticmethod
    def _mirrored(side: int, offset: Tensor) -> Tensor:
        """Return (N, side): where each pixel comes from, mirrored at both edges."""
        source = (torch.arange(side, device=offset.device) - offset[:, None]).abs()
        return (side - 1) - (side - 1 - source).abs()
