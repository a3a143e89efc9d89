"""Flips and turns for pictures without an up and down, as seen from the air.

Image, target and condition image move together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vedute.augment.base import NumberedAugmentation, choose, move_pixels
from vedute.batch import Batch
from vedute.errors import ConfigurationError


class VerticalFlip(NumberedAugmentation):
    """Mirrors images top to bottom."""

    def __init__(self, probability: float = 0.5) -> None:
        """Choose how often.

        Args:
            probability: Chance in [0, 1] that an image is mirrored.
        """
        super().__init__(probability, copies=1)

    def copy(self, batch: Batch, number: Tensor) -> Batch:
        """Mirror image n where ``number[n]`` is 0."""
        return move_pixels(batch, lambda image: choose(number >= 0, image.flip(-2), image))


class Rotate90(NumberedAugmentation):
    """Turns images by 90, 180 or 270 degrees, exactly: no pixel changes its value.

    With the default probability the four positions are equally likely. Flips in both directions and
    this one together give each of the eight positions of a square.
    """

    def __init__(self, probability: float = 0.75) -> None:
        """Choose how often.

        Args:
            probability: Chance in [0, 1] that an image is turned.
        """
        super().__init__(probability, copies=3)

    def copy(self, batch: Batch, number: Tensor) -> Batch:
        """Turn image n counter-clockwise by ``number[n] + 1`` quarters of a circle.

        Raises:
            ConfigurationError: The images are not square.
        """
        height, width = batch.image.shape[-2:]
        if height != width:
            raise ConfigurationError(
                f"Rotate90 needs square images, these are {height} x {width}. Set data.image_size to one "
                "number, or use the flips alone: both together turn by 180 degrees."
            )

        def turned(image: Tensor) -> Tensor:
            half = choose((number + 1) >= 2, image.flip((-2, -1)), image)  # 180 degrees
            odd = (number + 1) % 2 == 1
            return choose(odd, torch.rot90(half, 1, (-2, -1)), half)

        return move_pixels(batch, turned)
