"""Networks that find what belongs to the foreground of an image: the core of the judge of masks.

Here: images to one logit per pixel. Not here: losses, augmentation, Lightning.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError


class SegmenterNetwork(nn.Module, ABC):
    """What every segmenter network offers: a logit of the foreground for each pixel.

    Subclasses take ``(image_size, image_channels)`` first: a module that is given the class by
    configuration supplies them from the data set.
    """

    def __init__(self, image_size: tuple[int, int], image_channels: int) -> None:
        """Keep the sizes.

        Args:
            image_size: Height and width, pixels.
            image_channels: Channels C of an image.
        """
        super().__init__()
        self.image_size = image_size
        self.image_channels = image_channels

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Return (N, 1, H, W) logits of images (N, C, H, W) in [0, 1]."""

    @abstractmethod
    def features(self, image: Tensor) -> Tensor:
        """Return (N, F): what images (N, C, H, W) in [0, 1] show, wherever it is."""


class DoubleConvolution(nn.Sequential):
    """Two 3x3 convolutions with batch normalisation and ReLU; H and W stay."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Build the block from ``inputs`` to ``outputs`` channels."""
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [
                nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        super().__init__(*layers)


class UNet(SegmenterNetwork):
    """A small U-Net: maps are halved level by level, then doubled, each beside the map of its level.

    With the defaults and three channels: 488,001 weights. It takes images of any size whose sides can
    be halved as often as there are levels below the first.

    Source: Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597; here padded, with batch
    normalisation, and doubled by interpolation instead of transposed convolutions, which leave a
    checkerboard.
    """

    def __init__(
        self, image_size: tuple[int, int], image_channels: int, widths: Sequence[int] = (16, 32, 64, 128)
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; multiples of 2 ** (levels - 1).
            image_channels: Channels C of an image.
            widths: Channels of each level, from the full size down.

        Raises:
            ConfigurationError: A side that cannot be halved so often.
        """
        super().__init__(image_size, image_channels)
        self.levels = len(widths)
        self._check(*image_size)
        self.first = DoubleConvolution(image_channels, widths[0])
        self.down = nn.ModuleList(DoubleConvolution(a, b) for a, b in pairwise(widths))
        self.up = nn.ModuleList(
            DoubleConvolution(deep + shallow, shallow) for shallow, deep in reversed(list(pairwise(widths)))
        )
        self.head = nn.Conv2d(widths[0], 1, 1)

    def _check(self, height: int, width: int) -> None:
        factor = 2 ** (self.levels - 1)
        if height % factor or width % factor:
            raise ConfigurationError(
                f"{type(self).__name__} with {self.levels} levels needs images whose height and width are "
                f"multiples of {factor}, got {height}x{width}: change data.image_size or give fewer widths."
            )

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, 1, H, W) logits of images (N, C, H, W) in [0, 1].

        Raises:
            ConfigurationError: A side of the images that cannot be halved so often.
        """
        maps = self._maps(image)
        h = maps.pop()
        for block in self.up:
            h = F.interpolate(h, scale_factor=2, mode="nearest")
            h = block(torch.cat([h, maps.pop()], dim=1))  # (N, widths[k], H / 2^k, W / 2^k)
        logits: Tensor = self.head(h)
        return logits

    def features(self, image: Tensor) -> Tensor:
        """Return (N, widths[-1]): means over the coarsest maps."""
        return self._maps(image)[-1].mean(dim=(2, 3))

    def _maps(self, image: Tensor) -> list[Tensor]:
        """Return the maps on the way down, (N, widths[k], H / 2^k, W / 2^k)."""
        self._check(*image.shape[-2:])
        maps = [self.first(2 * image - 1)]
        for block in self.down:
            maps.append(block(F.max_pool2d(maps[-1], 2)))
        return maps
