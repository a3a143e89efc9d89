"""Networks from image to image: the generators of pix2pix.

Here: a plain U-Net, one of residual blocks, and a ResNet. Not here: networks that make the image larger
(``vedute.networks.rrdb``).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.networks.blocks import FiLM
from vedute.networks.generators import to_unit_range
from vedute.networks.norms import Norm, make_norm, needs_bias
from vedute.networks.translation import (
    TranslatorNetwork,
    check_options,
    choose_halvings,
    initialise,
)

__all__ = ["TranslatorNetwork", "UNet", "ResidualUNet", "ResnetGenerator"]


class UNet(TranslatorNetwork):
    """pix2pix's U-Net: strided convolutions down to one pixel, transposed ones up, beside each other.

    54,413,955 weights at 256x256 with RGB masks and batch normalisation. Dropout in the three innermost
    layers of the way up is what it has for noise: in training only, so that in use an image depends on
    its mask alone.

    Source: Isola et al. 2017, https://arxiv.org/abs/1611.07004, appendix 6.1.1.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_channels: int,
        condition_size: int,
        width: int = 64,
        levels: int | None = None,
        norm: Norm = "batch",
        dropout: float = 0.5,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; multiples of 2 ** ``levels``.
            image_channels: Channels of an image.
            condition_channels: Channels of a condition image.
            condition_size: Entries of the condition vector; 0: there is none.
            width: Channels of the first map; each further one has twice as many, up to eight times.
            levels: Halvings; null: as many as the image size has, at most 8.
            norm: Normalisation. ``instance`` does not depend on the other images of a batch.
            dropout: Probability of leaving out an entry of an inner map, in training.

        Raises:
            ConfigurationError: A number is out of its range, or the image size does not divide.
        """
        super().__init__(image_size, image_channels, condition_channels, condition_size)
        name = type(self).__name__
        levels = choose_halvings(self.image_size, levels, 8, name)
        check_options(name, width, dropout, norm)
        self.multiple = 2**levels
        widths = [min(width << level, 8 * width) for level in range(levels)]
        bias = needs_bias(norm)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()  # innermost first
        for level, (finer, coarser) in enumerate(pairwise([condition_channels, *widths])):
            inner = level == levels - 1
            # Neither the outermost map nor the innermost, which can be a single pixel, is normalised.
            plain = level == 0 or inner
            self.down.append(
                nn.Sequential(
                    nn.Conv2d(finer, coarser, 4, stride=2, padding=1, bias=bias),
                    nn.Identity() if plain else make_norm(norm, coarser, name),
                )
            )
            outputs = finer if level else image_channels
            inputs = coarser if inner else 2 * coarser
            up: list[nn.Module] = [
                nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=bias or level == 0)
            ]
            if level:
                up.append(make_norm(norm, outputs, name))
                if dropout and level >= levels - 3:
                    up.append(nn.Dropout(dropout))
            self.up.insert(0, nn.Sequential(*up))
        self.film = FiLM(condition_size, widths[-1]) if condition_size else None
        initialise(self)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Return (N, C, h, w) in [0, 1]; see the base class."""
        self.check_size(image)
        h = 2 * image - 1
        maps: list[Tensor] = []
        for down in self.down:
            h = down(F.leaky_relu(h, 0.2) if maps else h)  # (N, width, h/2, w/2) and halves of it
            maps.append(h)
        h = maps.pop()
        if self.film is not None:
            h = self.film(h, condition)
        for up in self.up:
            h = up(F.relu(h))  # (N, width, 2h, 2w)
            if maps:
                h = torch.cat([h, maps.pop()], dim=1)
        return to_unit_range(h)


class ResidualUNet(TranslatorNetwork):
    """A U-Net of residual blocks, doubled by interpolation.

    Transposed convolutions leave a checkerboard (Odena et al. 2016,
    https://distill.pub/2016/deconv-checkerboard); nearest neighbours and a 3x3 convolution do not.
    On the way up each level adds the map of its size, so that it costs half of joining them.

    Source: Zhang et al. 2018, "Road extraction by deep residual U-Net", https://arxiv.org/abs/1711.10684;
    blocks of He et al. 2016, https://arxiv.org/abs/1603.05027.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_channels: int,
        condition_size: int,
        width: int = 32,
        levels: int | None = None,
        blocks: int = 1,
        norm: Norm = "batch",
        dropout: float = 0.5,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; multiples of 2 ** ``levels``.
            image_channels: Channels of an image.
            condition_channels: Channels of a condition image.
            condition_size: Entries of the condition vector; 0: there is none.
            width: Channels at full size; each level has twice as many, up to eight times.
            levels: Halvings; null: as many as the image size has, at most 6.
            blocks: Residual blocks a level on each way, below the full size.
            norm: Normalisation. ``instance`` does not depend on the other images of a batch.
            dropout: Probability of leaving out an entry of the innermost maps, in training.

        Raises:
            ConfigurationError: A number is out of its range, or the image size does not divide.
        """
        super().__init__(image_size, image_channels, condition_channels, condition_size)
        name = type(self).__name__
        levels = choose_halvings(self.image_size, levels, 6, name)
        check_options(name, min(width, blocks), dropout, norm)
        self.multiple = 2**levels
        widths = [min(width << level, 8 * width) for level in range(levels + 1)]
        self.first = nn.Conv2d(condition_channels, width, 3, padding=1)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()  # innermost first
        for level, (finer, coarser) in enumerate(pairwise(widths), start=1):
            # The innermost map can be a single pixel, which normalisation would make 0.
            kind = "none" if level == levels else norm
            self.down.append(
                nn.Sequential(
                    nn.Conv2d(finer, coarser, 4, stride=2, padding=1),
                    *(NormalisedBlock(coarser, kind, 0.0, name) for _ in range(blocks)),
                )
            )
            self.up.insert(
                0,
                nn.Sequential(
                    *(
                        NormalisedBlock(coarser, kind, dropout if level >= levels - 1 else 0.0, name)
                        for _ in range(blocks)
                    ),
                    nn.Conv2d(coarser, finer, 1),
                    nn.Upsample(scale_factor=2, mode="nearest"),
                ),
            )
        self.last = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=needs_bias(norm)),
            make_norm(norm, width, name),
            nn.ReLU(),
            nn.Conv2d(width, image_channels, 3, padding=1),
        )
        self.film = FiLM(condition_size, widths[-1]) if condition_size else None

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Return (N, C, h, w) in [0, 1]; see the base class."""
        self.check_size(image)
        h = self.first(2 * image - 1)  # (N, width, h, w)
        maps = []
        for down in self.down:
            maps.append(h)
            h = down(h)  # (N, widths[k], h / 2^k, w / 2^k)
        if self.film is not None:
            h = self.film(h, condition)
        for up in self.up:
            h = up(h) + maps.pop()  # (N, widths[k], h / 2^k, w / 2^k)
        return to_unit_range(self.last(h))


class NormalisedBlock(nn.Module):
    """Residual block: norm, ReLU, 3x3 convolution, twice; starts near the identity."""

    def __init__(self, channels: int, norm: str, dropout: float, network: str) -> None:
        """Build the block; ``norm`` as :func:`make_norm` takes it, dropout between the convolutions."""
        super().__init__()
        last = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            last.weight.mul_(0.1)
        self.layers = nn.Sequential(
            make_norm(norm, channels, network),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=needs_bias(norm)),
            make_norm(norm, channels, network),
            nn.ReLU(),
            *([nn.Dropout(dropout)] if dropout else []),
            last,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) from x (N, C, H, W)."""
        residual: Tensor = self.layers(x)
        return x + residual


class ResnetGenerator(TranslatorNetwork):
    """Two halvings, residual blocks at a quarter of the size, two doublings; reflected at the borders.

    With 9 blocks, width 64, RGB masks and instance normalisation: 11,378,179 weights.

    Source: Johnson et al. 2016, https://arxiv.org/abs/1603.08155, as pix2pix and CycleGAN use it (Zhu et al.
    2017, https://arxiv.org/abs/1703.10593, appendix 7.2).
    """

    multiple = 4

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_channels: int,
        condition_size: int,
        width: int = 64,
        blocks: int = 9,
        norm: Norm = "batch",
        dropout: float = 0.5,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; multiples of 4, at least 8.
            image_channels: Channels of an image.
            condition_channels: Channels of a condition image.
            condition_size: Entries of the condition vector; 0: there is none.
            width: Channels at full size; twice as many at a half, four times at a quarter.
            blocks: Residual blocks.
            norm: Normalisation. ``instance`` does not depend on the other images of a batch.
            dropout: Probability of leaving out an entry inside the blocks, in training.

        Raises:
            ConfigurationError: A number is out of its range, or the image size does not divide.
        """
        super().__init__(image_size, image_channels, condition_channels, condition_size)
        name = type(self).__name__
        choose_halvings(self.image_size, 2, 2, name)
        check_options(name, min(width, blocks), dropout, norm)
        bias = needs_bias(norm)

        def then_norm(layer: nn.Module, channels: int) -> list[nn.Module]:
            return [layer, make_norm(norm, channels, name), nn.ReLU()]

        def doubling(inputs: int) -> nn.Module:
            return nn.ConvTranspose2d(
                inputs, inputs // 2, 3, stride=2, padding=1, output_padding=1, bias=bias
            )

        self.down = nn.Sequential(
            nn.ReflectionPad2d(3),
            *then_norm(nn.Conv2d(condition_channels, width, 7, bias=bias), width),
            *then_norm(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=bias), 2 * width),
            *then_norm(nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1, bias=bias), 4 * width),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReflectionPad2d(1),
                *then_norm(nn.Conv2d(4 * width, 4 * width, 3, bias=bias), 4 * width),
                *([nn.Dropout(dropout)] if dropout else []),
                nn.ReflectionPad2d(1),
                nn.Conv2d(4 * width, 4 * width, 3, bias=bias),
                make_norm(norm, 4 * width, name),
            )
            for _ in range(blocks)
        )
        self.up = nn.Sequential(
            *then_norm(doubling(4 * width), 2 * width),
            *then_norm(doubling(2 * width), width),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, image_channels, 7),
        )
        self.film = FiLM(condition_size, 4 * width) if condition_size else None
        initialise(self)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Return (N, C, h, w) in [0, 1]; see the base class. Sides are at least 8."""
        self.check_size(image)
        if min(image.shape[-2:]) < 8:
            raise ConfigurationError(
                f"{type(self).__name__} takes images of at least 8x8 pixels, got "
                f"{image.shape[-2]}x{image.shape[-1]}."
            )
        h = self.down(2 * image - 1)  # (N, 4 * width, h / 4, w / 4)
        if self.film is not None:
            h = self.film(h, condition)
        for block in self.blocks:
            h = h + block(h)
        return to_unit_range(self.up(h))  # (N, C, h, w)
