"""A plain residual generator and discriminator without normalisation, after R3GAN.

Both are built of one kind of block. Stability comes from the loss (relativistic pairs, zero-centred
penalties: ``vedute.losses.adversarial``), not from tricks in the networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.networks.blocks import FiLM, NoiseInjection
from vedute.networks.conditioning import MLP
from vedute.networks.discriminators import Discriminator, Judgement
from vedute.networks.generators import GeneratorNetwork, to_unit_range
from vedute.networks.vae import require_divisible

_SLOPE = 0.2
_GAIN = (2 / (1 + _SLOPE**2)) ** 0.5
"""What a leaky ReLU takes from the root mean square of its input."""


class PlainBlock(nn.Module):
    """Residual block of a 1x1, a grouped 3x3 and a 1x1 convolution; an embedding may modulate it.

    Starts as the identity, so that a deep stack without normalisation keeps the signal's size. Grouped
    convolutions of 16 channels took half the time of plain 3x3 ones on a CPU.

    Source: Huang et al. 2024 (R3GAN), https://arxiv.org/abs/2501.05441, section 3; it is ResNeXt's block (Xie
    et al. 2017, https://arxiv.org/abs/1611.05431) without normalisation.
    """

    def __init__(self, channels: int, embedding_size: int = 0, expansion: int = 1) -> None:
        """Build the block.

        Args:
            channels: Channels of the maps.
            embedding_size: Entries E of the embedding that modulates the inner maps; 0: none does.
            expansion: Inner channels for each channel.
        """
        super().__init__()
        inner = channels * expansion
        groups = inner // 16 if inner % 16 == 0 else 1
        self.expand = scaled(nn.Conv2d(channels, inner, 1))
        self.spread = scaled(nn.Conv2d(inner, inner, 3, padding=1, groups=groups))
        self.reduce = scaled(nn.Conv2d(inner, channels, 1), gain=0)
        self.film = FiLM(embedding_size, inner) if embedding_size else None

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Return (N, C, H, W) from x (N, C, H, W) and embedding (N, E)."""
        h = self.expand(x)
        if self.film is not None and embedding is not None:
            h = self.film(h, embedding)
        h = self.spread(F.leaky_relu(h, _SLOPE))
        residual: Tensor = self.reduce(F.leaky_relu(h, _SLOPE))
        return x + residual


def scaled(layer: nn.Conv2d | nn.Linear, gain: float = _GAIN) -> nn.Module:
    """Initialise weights with a standard deviation of ``gain`` / sqrt(inputs), biases with 0.

    Source: He et al. 2015, https://arxiv.org/abs/1502.01852.
    """
    nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResidualGenerator(GeneratorNetwork):
    """A dense layer to a small map, and levels of residual blocks with bilinear doubling between them.

    An embedding of the condition stands beside the noise and modulates every block. Works for classes,
    fuzzy labels and scores alike.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        noise_size: int = 64,
        widths: Sequence[int] = (16, 32, 64, 128, 192),
        blocks: int = 1,
        expansion: int = 2,
        embedding_size: int = 64,
        noise: bool = True,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; multiples of 2 ** (number of widths - 1).
            image_channels: Channels of an image.
            condition_size: Entries of the condition vector; 0: unconditional.
            noise_size: Entries of the noise.
            widths: Channels per level, finest first; the finest has the image's size.
            blocks: Residual blocks per level.
            expansion: Inner channels of a block for each of its channels.
            embedding_size: Entries of the condition's embedding.
            noise: Whether noise is added to the maps of every size, for texture.

        Raises:
            ConfigurationError: A number is out of its range, or the image size does not divide.
        """
        super().__init__(image_size, image_channels, condition_size, noise_size)
        _check(self.image_size, widths, len(widths) - 1, blocks, expansion, type(self).__name__)
        levels = len(widths) - 1
        self.map_size = (self.image_size[0] >> levels, self.image_size[1] >> levels)
        self.embedding = MLP(condition_size, embedding_size)
        entries = self.embedding.size
        area = self.map_size[0] * self.map_size[1]
        self.expand = scaled(nn.Linear(noise_size + entries, widths[-1] * area))
        self.levels = nn.ModuleList(
            nn.ModuleList(PlainBlock(width, entries, expansion) for _ in range(blocks))
            for width in reversed(widths)
        )
        sizes = [(self.image_size[0] >> level, self.image_size[1] >> level) for level in range(len(widths))]
        self.noises = nn.ModuleList(
            NoiseInjection(width, size) if noise else nn.Identity()
            for width, size in zip(reversed(widths), reversed(sizes), strict=True)
        )
        # In front of the doubling, where the map is a quarter; no activation stands behind them.
        self.narrowings = nn.ModuleList(
            scaled(nn.Conv2d(widths[level], widths[level - 1], 1), gain=1) for level in range(levels, 0, -1)
        )
        self.to_image = scaled(nn.Conv2d(widths[0], image_channels, 1), gain=1)

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Return (N, C, H, W) in [0, 1]; see the base class."""
        embedding = self.embedding(condition)  # (N, E)
        h = self.expand(torch.cat([noise, embedding.to(noise.dtype)], dim=1))
        h = h.unflatten(1, (-1, *self.map_size))  # (N, coarsest width, h, w)
        for index, blocks in enumerate(self.levels):
            if index:
                # The block behind it sharpens what the doubling smoothed. At full size one 3x3 convolution
                # to the image in its place left stairs and doubled lines at edges; pixel shuffle, a lattice.
                h = F.interpolate(self.narrowings[index - 1](h), scale_factor=2.0, mode="bilinear")
            h = self.noises[index](h)
            for block in blocks:  # type: ignore[attr-defined]  # a ModuleList
                h = block(h, embedding)  # (N, width, h * 2^index, w * 2^index)
        return to_unit_range(self.to_image(F.leaky_relu(h, _SLOPE)))


class ResidualDiscriminator(Discriminator):
    """The generator mirrored: residual blocks with bilinear halving, a dense layer, a projection.

    Space-to-depth stands in front: the finest blocks work on half the resolution, a quarter the cost.
    No layer looks at two images, so gradient penalties are exact.

    Sources: Huang et al. 2024 (R3GAN), https://arxiv.org/abs/2501.05441; projection: Miyato & Koyama 2018,
    https://arxiv.org/abs/1802.05637.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        widths: Sequence[int] = (32, 64, 128, 192),
        blocks: int = 1,
        expansion: int = 1,
        hidden_size: int = 256,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; multiples of 2 ** number of widths.
            image_channels: Channels of an image.
            condition_size: Entries of the condition vector; 0: unconditional.
            widths: Channels per level, finest first; the finest has half the image's sides.
            blocks: Residual blocks per level.
            expansion: Inner channels of a block for each of its channels.
            hidden_size: Size of the features that the condition is compared with.

        Raises:
            ConfigurationError: A number is out of its range, or the image size does not divide.
        """
        super().__init__(image_size, image_channels, condition_size)
        levels = len(widths)
        _check(image_size, (*widths, hidden_size), levels, blocks, expansion, type(self).__name__)
        area = (image_size[0] >> levels) * (image_size[1] >> levels)
        self.from_image = scaled(nn.Conv2d(4 * image_channels, widths[0], 3, padding=1))
        self.levels = nn.ModuleList(
            nn.ModuleList(PlainBlock(width, 0, expansion) for _ in range(blocks)) for width in widths
        )
        self.widenings = nn.ModuleList(
            scaled(nn.Conv2d(widths[level - 1], widths[level], 1), gain=1) for level in range(1, levels)
        )
        self.dense = scaled(nn.Linear(widths[-1] * area, hidden_size))
        self.judge = scaled(nn.Linear(hidden_size, 1), gain=1)
        self.project = (
            scaled(nn.Linear(condition_size, hidden_size, bias=False), gain=1) if condition_size else None
        )

    @property
    def feature_count(self) -> int:
        """One feature map a level."""
        return len(self.levels)

    def forward(self, image: Tensor, condition: Tensor) -> Judgement:
        """Return logits (N, 1) and a feature map a level; see the base class."""
        h = self.from_image(F.pixel_unshuffle(2 * image - 1, 2))  # (N, widths[0], H/2, W/2)
        features = []
        for index, blocks in enumerate(self.levels):
            if index:
                # Means of 2x2: bilinear halving. The 1x1 convolution comes after it, on a quarter.
                h = self.widenings[index - 1](F.avg_pool2d(h, 2))
            for block in blocks:  # type: ignore[attr-defined]  # a ModuleList
                h = block(h)
            features.append(h)  # (N, width, H/2, W/2) and halves of it
        hidden = F.leaky_relu(self.dense(F.leaky_relu(h, _SLOPE).flatten(1)), _SLOPE)  # (N, hidden)
        logits: Tensor = self.judge(hidden)  # (N, 1)
        if self.project is not None:
            # In proportion to the judge's own share: a sum over hidden entries would drown it.
            match = (self.project(condition) * hidden).sum(dim=1, keepdim=True)
            logits = logits + match * hidden.shape[1] ** -0.5
        return Judgement(logits.float(), features)


def _check(
    image_size: tuple[int, int],
    widths: Sequence[int],
    halvings: int,
    blocks: int,
    expansion: int,
    network: str,
) -> None:
    """Check numbers.

    Raises:
        ConfigurationError: One is out of its range, or the image size does not divide.
    """
    if not widths or min(*widths, blocks, expansion) < 1:
        raise ConfigurationError(
            f"{network} needs at least one level, and widths, blocks and expansion of at least 1; got widths "
            f"{list(widths)}, blocks {blocks}, expansion {expansion}."
        )
    require_divisible(image_size, 2**halvings, network)
