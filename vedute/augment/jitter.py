"""Augmentation of an image's light: brightness, contrast, saturation."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vedute.augment.base import Augmentation, choose
from vedute.batch import Batch
from vedute.errors import ConfigurationError


class ColourJitter(Augmentation):
    """Changes brightness, contrast and saturation of images, each by its own draw.

    In plain torch: the colour augmentations of kornia do the same, but importing kornia takes
    seconds. The target of denoising stays as it is.
    """

    def __init__(
        self,
        probability: float = 1.0,
        brightness: float = 0.1,
        contrast: float = 0.2,
        saturation: float = 0.2,
    ) -> None:
        """Choose how often and how much; draws are uniform.

        Args:
            probability: Chance in [0, 1] that an image is changed.
            brightness: Largest value added to or taken from all pixels, in [0, 1].
            contrast: Distances from the image's mean are multiplied by 1 -+ at most this, in [0, 1].
            saturation: Distances of channels from the pixel's mean likewise, in [0, 1].

        Raises:
            ConfigurationError: A value is outside [0, 1].
        """
        super().__init__()
        given = {
            "probability": probability,
            "brightness": brightness,
            "contrast": contrast,
            "saturation": saturation,
        }
        for name, value in given.items():
            if not 0 <= value <= 1:
                raise ConfigurationError(f"ColourJitter.{name} must lie in [0, 1], got {value:g}.")
        self.probability = probability
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation

    def forward(self, batch: Batch) -> Batch:
        """Change each image with the given probability; images stay in [0, 1]."""
        original = batch.image  # (N, C, H, W)
        count, device = len(original), original.device

        def draw(largest: float) -> Tensor:
            return (2 * torch.rand(count, 1, 1, 1, device=device) - 1) * largest

        image = original + draw(self.brightness)
        image = torch.lerp(image.mean(dim=(1, 2, 3), keepdim=True), image, 1 + draw(self.contrast))
        image = torch.lerp(image.mean(dim=1, keepdim=True), image, 1 + draw(self.saturation))
        chosen = torch.rand(count, device=device) < self.probability
        return replace(batch, image=choose(chosen, image.clamp(0, 1), original))
