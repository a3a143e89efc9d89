"""DCGAN's generator and discriminator, unconditional as published or under a condition."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from vedute.errors import ConfigurationError
from vedute.networks.discriminators import Discriminator, Judgement
from vedute.networks.generators import GeneratorNetwork, to_unit_range
from vedute.networks.norms import ConditionalBatchNorm, make_norm
from vedute.networks.vae import require_divisible

_SMALLEST = 4
"""Pixels of the longer side of the smallest map, where it is a power of two."""


class DCGANGenerator(GeneratorNetwork):
    """Transposed convolutions from a map of about 4x4 up to the image, each doubling the sides.

    With the defaults, RGB and without a condition: 3,576,704 weights at 64x64. A condition sets gain and
    bias of every batch normalisation.

    Source: Radford et al. 2016, https://arxiv.org/abs/1511.06434.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        noise_size: int = 100,
        width: int = 64,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; multiples of 2 ** number of doublings: 64x64 has 4, from
                4x4; 48x64 has 4, from 3x4; 128x128 has 5.
            image_channels: Channels of an image.
            condition_size: Entries of the condition vector; 0: unconditional.
            noise_size: Entries of the noise.
            width: Channels of the last map before the image; every coarser one has twice as many.

        Raises:
            ConfigurationError: A number below 1, or the image size does not divide.
        """
        super().__init__(image_size, image_channels, condition_size, noise_size)
        levels = _levels(self.image_size, width, type(self).__name__)
        widths = _widths(width, levels)[::-1]  # coarsest first
        self.map_size = (self.image_size[0] >> levels, self.image_size[1] >> levels)
        # A transposed convolution of 1x1 maps, as the source has it, is this dense layer.
        self.expand = nn.Linear(noise_size, widths[0] * self.map_size[0] * self.map_size[1], bias=False)
        self.norms = nn.ModuleList(ConditionalBatchNorm(channels, condition_size) for channels in widths)
        self.doublings = nn.ModuleList(
            nn.ConvTranspose2d(coarser, finer, 4, stride=2, padding=1, bias=False)
            for coarser, finer in pairwise([*widths, image_channels])
        )
        for layer in (self.expand, *self.doublings):
            nn.init.normal_(layer.weight, std=0.02)

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Return (N, C, H, W) in [0, 1]; see the base class."""
        h = self.expand(noise).unflatten(1, (-1, *self.map_size))  # (N, coarsest width, h, w)
        for norm, double in zip(self.norms, self.doublings, strict=True):
            h = double(F.relu(norm(h, condition)))  # (N, half the width, 2h, 2w)
        return to_unit_range(h)


class DCGANDiscriminator(Discriminator):
    """Strided convolutions down to a map of about 4x4, and one logit of that map.

    With the defaults, RGB and without a condition: 2,765,568 weights at 64x64. A condition is compared
    with the last map's sum (projection), so classes, fuzzy labels and scores work alike. Batch
    normalisation lets the images of a batch depend on each other: give real and generated images in
    separate batches, and use ``spectral`` where a gradient penalty or a small batch does not go with it.

    Sources: Radford et al. 2016, https://arxiv.org/abs/1511.06434; projection: Miyato & Koyama 2018,
    https://arxiv.org/abs/1802.05637; spectral normalisation: Miyato et al. 2018,
    https://arxiv.org/abs/1802.05957.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        width: int = 64,
        spectral: bool = False,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; see ``DCGANGenerator``.
            image_channels: Channels of an image.
            condition_size: Entries of the condition vector; 0: unconditional.
            width: Channels of the first map; every coarser one has twice as many.
            spectral: Spectral normalisation of all weights in place of batch normalisation.

        Raises:
            ConfigurationError: A number below 1, or the image size does not divide.
        """
        super().__init__(image_size, image_channels, condition_size)
        levels = _levels(image_size, width, type(self).__name__)
        widths = _widths(width, levels)
        map_size = (image_size[0] >> levels, image_size[1] >> levels)
        convolutions: list[nn.Module] = [
            nn.Conv2d(finer, coarser, 4, stride=2, padding=1, bias=spectral)
            for finer, coarser in pairwise([image_channels, *widths])
        ]
        judge: nn.Module = nn.Conv2d(widths[-1], 1, map_size, bias=False)
        project: nn.Module | None = (
            nn.Linear(condition_size, widths[-1], bias=False) if condition_size else None
        )
        layers = [*convolutions, judge, *([] if project is None else [project])]
        for layer in layers:
            nn.init.normal_(layer.get_parameter("weight"), std=0.02)
        if spectral:
            layers = [spectral_norm(layer) for layer in layers]
        self.convolutions = nn.ModuleList(convolutions)
        # The source has none behind the first convolution.
        norm = "none" if spectral else "batch"
        self.norms = nn.ModuleList(
            make_norm("none" if level == 0 else norm, channels, type(self).__name__)
            for level, channels in enumerate(widths)
        )
        self.judge = judge
        self.project = project

    @property
    def feature_count(self) -> int:
        """One feature map a level."""
        return len(self.convolutions)

    def forward(self, image: Tensor, condition: Tensor) -> Judgement:
        """Return logits (N, 1) and a feature map a level; see the base class."""
        h = 2 * image - 1
        features = []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            h = F.leaky_relu(norm(convolution(h)), 0.2)
            features.append(h)  # (N, width, H/2, W/2) and halves of it
        logits: Tensor = self.judge(h).flatten(1)  # (N, 1)
        if self.project is not None:
            # Over the root of the area: a weight of the projection counts as much as one of the judge.
            pooled = h.sum(dim=(2, 3)) * (h.shape[2] * h.shape[3]) ** -0.5  # (N, coarsest width)
            logits = logits + (self.project(condition) * pooled).sum(dim=1, keepdim=True)
        return Judgement(logits.float(), features)


def _levels(image_size: tuple[int, int], width: int, network: str) -> int:
    """Return how often the smallest map is doubled.

    Raises:
        ConfigurationError: A width below 1, or an image that is too small or does not divide.
    """
    if width < 1:
        raise ConfigurationError(f"{network} needs a width of at least 1, got {width}.")
    levels = max(1, int(math.log2(max(image_size) / _SMALLEST))) if max(image_size) >= _SMALLEST else 1
    require_divisible(image_size, 2**levels, network)
    return levels


def _widths(width: int, levels: int) -> list[int]:
    """Return the channels of the maps, finest first."""
    return [width << level for level in range(levels)]
