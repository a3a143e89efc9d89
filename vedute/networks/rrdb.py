"""The network of ESRGAN and Real-ESRGAN, which makes images two or four times as large."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.networks.blocks import FiLM
from vedute.networks.translators import TranslatorNetwork

_SLOPE = 0.2
_SHARE = 0.2
"""How much of what a block finds is added to its input: without normalisation a deep stack would explode."""


class DenseBlock(nn.Module):
    """Five convolutions, each seeing what all before it found; a fifth of the result is added to the input.

    Source: Wang et al. 2018 (ESRGAN), https://arxiv.org/abs/1809.00219, section 3.1.
    """

    def __init__(self, width: int, growth: int) -> None:
        """Build a block on ``width`` channels in which each convolution adds ``growth`` channels."""
        super().__init__()
        # The names are those of published files.
        self.conv1 = _small(nn.Conv2d(width, growth, 3, padding=1))
        self.conv2 = _small(nn.Conv2d(width + growth, growth, 3, padding=1))
        self.conv3 = _small(nn.Conv2d(width + 2 * growth, growth, 3, padding=1))
        self.conv4 = _small(nn.Conv2d(width + 3 * growth, growth, 3, padding=1))
        self.conv5 = _small(nn.Conv2d(width + 4 * growth, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, width, H, W) from x of the same shape."""
        found = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            found = torch.cat(
                [found, F.leaky_relu(conv(found), _SLOPE)], dim=1
            )  # (N, width + k growth, H, W)
        return torch.add(x, self.conv5(found), alpha=_SHARE)


class DenseBlocks(nn.Module):
    """Three dense blocks; a fifth of their result is added to the input: RRDB."""

    def __init__(self, width: int, growth: int) -> None:
        """Build the blocks; see ``DenseBlock``."""
        super().__init__()
        self.rdb1 = DenseBlock(width, growth)
        self.rdb2 = DenseBlock(width, growth)
        self.rdb3 = DenseBlock(width, growth)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, width, H, W) from x of the same shape."""
        return torch.add(x, self.rdb3(self.rdb2(self.rdb1(x))), alpha=_SHARE)


class RRDB(TranslatorNetwork):
    """Residual-in-residual dense blocks at the small size, then two doublings by nearest neighbours.

    With the defaults and RGB: 16,697,987 weights for 4 times the size. For twice the size the image is first
    rearranged to half its sides and four times its channels (space to depth), as Real-ESRGAN does, and
    sides must be even. Modules have the names of published files; ``vedute.networks.published_rrdb`` reads
    them. In training, pixels outside [0, 1] are left as they are, or nothing would pull them back.

    Sources: Wang et al. 2018 (ESRGAN), https://arxiv.org/abs/1809.00219; Wang et al. 2021 (Real-ESRGAN),
    https://arxiv.org/abs/2107.10833.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_channels: int,
        condition_size: int,
        scale: Literal[2, 4] = 4,
        width: int = 64,
        blocks: int = 23,
        growth: int = 32,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width of the large images, pixels; multiples of 4.
            image_channels: Channels of an image.
            condition_channels: Channels of the small image.
            condition_size: Entries of the condition vector; 0: there is none.
            scale: Pixels of the large image along a side for each pixel of the small one.
            width: Channels of the maps.
            blocks: Blocks of three dense blocks.
            growth: Channels that each convolution of a dense block adds.

        Raises:
            ConfigurationError: A number is out of its range, or the image size does not divide.
        """
        super().__init__(image_size, image_channels, condition_channels, condition_size)
        name = type(self).__name__
        if scale not in (2, 4):
            raise ConfigurationError(f"{name} makes images 2 or 4 times as large, not {scale} times.")
        if min(width, blocks, growth) < 1:
            raise ConfigurationError(
                f"{name} needs width, blocks and growth of at least 1; got {width}, {blocks}, {growth}."
            )
        if any(side < 4 or side % 4 for side in self.image_size):
            raise ConfigurationError(
                f"{name} needs images whose sides are multiples of 4, got "
                f"{self.image_size[0]}x{self.image_size[1]}: change data.image_size."
            )
        self.scale = scale
        self.multiple = 4 // scale
        self.width = width
        self.growth = growth
        self.conv_first = nn.Conv2d(condition_channels * self.multiple**2, width, 3, padding=1)
        self.body = nn.Sequential(*(DenseBlocks(width, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(width, width, 3, padding=1)
        self.conv_up1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_up2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_hr = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, image_channels, 3, padding=1)
        self.film = FiLM(condition_size, width) if condition_size else None

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Return (N, C, h * scale, w * scale), in [0, 1] outside training; see the base class."""
        self.check_size(image)
        h = self.conv_first(
            F.pixel_unshuffle(image, self.multiple)
        )  # (N, width, h, w); x2: of half the sides
        if self.film is not None:
            h = self.film(h, condition)
        h = h + self.conv_body(self.body(h))
        for conv in (self.conv_up1, self.conv_up2):
            h = F.leaky_relu(
                conv(F.interpolate(h, scale_factor=2.0, mode="nearest")), _SLOPE
            )  # twice the sides
        out: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(h), _SLOPE)).float()
        return out if self.training else out.clamp(0, 1)


def _small(layer: nn.Conv2d) -> nn.Conv2d:
    """Initialise with a tenth of He's standard deviation, as the source does in dense blocks."""
    nn.init.kaiming_normal_(layer.weight)
    with torch.no_grad():
        layer.weight.mul_(0.1)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
