"""A hierarchical VAE network: a latent vector at the top, latent maps at finer resolutions below it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.networks.blocks import ResidualBlock, group_norm
from vedute.networks.vae import (
    LOGVAR_RANGE,
    ConditioningFactory,
    VAENetwork,
    reparameterize,
    require_divisible,
)

LOG_STD_RANGE = (-4.0, 2.0)
"""Logarithms of the prior's standard deviations are kept in this range."""


class LadderVAE(VAENetwork):
    """A latent vector says what the image is of; latent maps at finer resolutions say where its details are.

    From the top down, the prior of each level's map depends on everything above it:
    z_l = m_l(h) + s_l(h) * e_l, with h the decoder's maps so far, and m_l, s_l learned. The network's
    latent vector is not z but all e_l in one row: their prior is N(0, 1), whatever the condition, so
    that the KL, ``decode`` and every latent sampler are those of a VAE with one level.

    The KL is the same: given h, e_l -> z_l is invertible (s_l > 0), and a KL divergence does not
    change when both distributions pass through one invertible map. p(z_l | h) = N(m_l, s_l^2) is the
    image of N(0, 1), and q(z_l | h, x) that of q(e_l | h, x); so KL(q(z_l) || p(z_l)) =
    KL(q(e_l) || N(0, 1)) for each h, and by the chain rule the sum over levels, with h drawn from q
    above, estimates KL(q(z | x) || p(z)). ``forward`` draws so; ``posterior`` follows the means.

    Source: Sonderby et al. 2016 (ladder VAE), https://arxiv.org/abs/1602.02282; posteriors relative
    to the prior after Vahdat & Kautz 2020 (NVAE), https://arxiv.org/abs/2007.03898.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        top_size: int = 64,
        map_channels: Sequence[int] = (4, 2),
        widths: Sequence[int] = (32, 64, 128, 192),
        conditioning: ConditioningFactory | None = None,
    ) -> None:
        """Build the network.

        With the defaults and 64x64 images the maps are 8x8x4 and 16x16x2 below a vector of 64:
        a latent vector of 832 entries.

        Args:
            image_size: Height and width, pixels; multiples of 2 ** number of widths.
            image_channels: Channels of an image.
            condition_size: Entries of the condition vector; 0: unconditional.
            top_size: Entries of the vector at the top.
            map_channels: Channels of the latent maps, the coarsest first: the first has twice the
                resolution of the smallest maps, each next one twice that. Fewer than ``widths``.
            widths: Channels per level of resolution in encoder and decoder, finest first.
            conditioning: How the condition enters; None: an MLP's embedding in every block (FiLM),
                beside the features and beside the top vector.

        Raises:
            ConfigurationError: The image size does not divide, or there are too many latent maps, or
                empty ones.
        """
        levels = len(widths)
        if min(top_size, *map_channels, *widths) < 1 or len(map_channels) >= levels:
            raise ConfigurationError(
                f"{type(self).__name__} needs top_size, map_channels and widths of at least 1, and "
                f"fewer latent maps than widths: got top_size {top_size}, map_channels "
                f"{list(map_channels)}, widths {list(widths)}."
            )
        require_divisible(image_size, 2**levels, type(self).__name__)
        sizes = [(image_size[0] >> level + 1, image_size[1] >> level + 1) for level in range(levels)]
        # The latent maps' shapes, coarsest first.
        shapes = [(channels, *sizes[levels - 2 - position]) for position, channels in enumerate(map_channels)]
        super().__init__(
            image_size,
            image_channels,
            condition_size,
            top_size + sum(math.prod(shape) for shape in shapes),
            conditioning=conditioning,
        )
        self.top_size, self.map_shapes, self.top_map = top_size, shapes, sizes[-1]
        film = self.conditioning.film_size
        area = self.top_map[0] * self.top_map[1]

        channels = 4 * (image_channels + self.conditioning.extra_channels)
        self.down, self.encoder = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            stride = 2 if level else 1  # the first level halves by space-to-depth
            self.down.append(
                nn.Conv2d(widths[level - 1] if level else channels, width, 3, stride=stride, padding=1)
            )
            self.encoder.append(ResidualBlock(width, film))
        self.encoder_norm = group_norm(widths[-1])
        features = widths[-1] * area + self.conditioning.extra_features
        self.mu = nn.Linear(features, top_size)
        top_logvar = nn.Linear(features, top_size)

        self.expand = nn.Linear(top_size + self.conditioning.extra_latent, widths[-1] * area)
        self.decoder = nn.ModuleList(ResidualBlock(width, film) for width in reversed(widths))
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(widths[level], widths[level - 1], 1), nn.Upsample(scale_factor=2, mode="bilinear")
            )
            for level in reversed(range(1, levels))
        )
        map_widths = [widths[levels - 2 - position] for position in range(len(shapes))]
        self.rungs = nn.ModuleList(
            _Rung(width, shape[0]) for width, shape in zip(map_widths, shapes, strict=True)
        )
        self.logvar = nn.ModuleList(
            [top_logvar, *(_zeroed(width, s[0]) for width, s in zip(map_widths, shapes, strict=True))]
        )
        self.decoder_norm = group_norm(widths[0])
        # Zero padding here would draw a frame around every image.
        self.to_image = nn.Conv2d(widths[0], image_channels, 3, padding=1, padding_mode="replicate")

    def forward(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Encode and decode from the top down, drawing each level's noise; see the base class.

        Returns:
            Reconstruction (N, C, H, W) in [0, 1]; e, mu and logvar, (N, Z) each; mu and logvar are
            those of each level given what was drawn above it.
        """
        embedding = self.conditioning(condition)  # (N, E)
        noise, mu, logvar, h = self._climb_down(image, embedding, reparameterize)
        return self._finish(h, embedding, len(self.rungs)), noise, mu, logvar

    def encode(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar of e, (N, Z) each, each level given the means above it."""
        embedding = self.conditioning(condition)  # (N, E)
        _, mu, logvar, _ = self._climb_down(image, embedding, lambda mu, logvar: mu)
        return mu, logvar

    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1] of noise e (N, Z); see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        sizes = [self.top_size, *(math.prod(shape) for shape in self.map_shapes)]
        top, *maps = torch.split(z, sizes, dim=1)
        h = self._start(top, embedding)
        for position, (noise, shape) in enumerate(zip(maps, self.map_shapes, strict=True)):
            h = self._enlarge(h, embedding, position)
            h = self._rung(position).inject(h, noise.reshape(-1, *shape))
        return self._finish(h, embedding, len(maps))

    def _climb_down(
        self, image: Tensor, embedding: Tensor, choose: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Encode; then from the top down, choose each level's noise from its posterior.

        Returns:
            The chosen noise, its mu and its logvar, (N, Z) each, float32; the decoder's maps after
            the last level.
        """
        maps = self._climb_up(image, embedding)
        features = F.silu(self.encoder_norm(maps[-1])).flatten(1)  # (N, width * map area)
        features = self.conditioning.beside_features(features, embedding)
        means, logvars = [self.mu(features).float()], [self._log_variance(0, features)]
        chosen = [choose(means[0], logvars[0])]
        h = self._start(chosen[0], embedding)
        for position in range(len(self.rungs)):
            h = self._enlarge(h, embedding, position)
            rung = self._rung(position)
            seen = rung.compare(h, maps[-2 - position])  # (N, C, h, w)
            means.append(rung.mu(seen).float())
            logvars.append(self._log_variance(position + 1, seen))
            chosen.append(choose(means[-1], logvars[-1]))
            h = rung.inject(h, chosen[-1])
        rows = (torch.cat([part.flatten(1) for part in parts], dim=1) for parts in (chosen, means, logvars))
        noise, mu, logvar = rows
        return noise, mu, logvar, h

    def _climb_up(self, image: Tensor, embedding: Tensor) -> list[Tensor]:
        """Return the encoder's maps (N, widths[k], H / 2^(k+1), W / 2^(k+1)), finest first."""
        h = F.pixel_unshuffle(self.conditioning.beside_image(2 * image - 1, embedding), 2)
        maps = []
        for down, block in zip(self.down, self.encoder, strict=True):
            h = block(down(h), embedding)
            maps.append(h)
        return maps

    def _start(self, top: Tensor, embedding: Tensor) -> Tensor:
        """Return the decoder's first maps (N, widths[-1], h, w) from the top's noise (N, Z)."""
        h = self.expand(self.conditioning.beside_latent(top, embedding))
        h = h.reshape(len(top), -1, *self.top_map)
        start: Tensor = h.contiguous(memory_format=torch.channels_last)
        return start

    def _enlarge(self, h: Tensor, embedding: Tensor, position: int) -> Tensor:
        """Return the maps of the next finer level: (N, C, h, w) -> (N, C', 2 h, 2 w)."""
        larger: Tensor = self.up[position](self.decoder[position](h, embedding))
        return larger

    def _finish(self, h: Tensor, embedding: Tensor, position: int) -> Tensor:
        """Return images (N, C, H, W) in [0, 1] from the maps after the last level with noise."""
        for finer in range(position, len(self.up)):
            h = self._enlarge(h, embedding, finer)
        h = F.silu(self.decoder_norm(self.decoder[-1](h, embedding)))  # (N, widths[0], H/2, W/2)
        h = F.interpolate(h, scale_factor=2, mode="bilinear")
        return torch.sigmoid(self.to_image(h).float())

    def _log_variance(self, level: int, features: Tensor) -> Tensor:
        head = self.logvar.get_submodule(str(level))
        logvar: Tensor = head(features)
        return logvar.float().clamp(*LOGVAR_RANGE)

    def _rung(self, position: int) -> _Rung:
        rung = self.rungs[position]
        assert isinstance(rung, _Rung)
        return rung


class _Rung(nn.Module):
    """One level's latent map: its prior, its posterior's mean, and its way into the decoder."""

    def __init__(self, width: int, channels: int) -> None:
        """Build the level for maps with ``width`` channels and latent maps with ``channels``."""
        super().__init__()
        self.channels = channels
        self.norm = group_norm(2 * width)
        self.both = nn.Conv2d(2 * width, width, 3, padding=1)
        # Posterior and prior start as N(0, 1): training begins without any KL on the maps.
        self.mu = _zeroed(width, channels)
        self.prior = _zeroed(width, 2 * channels)
        self.spread = nn.Conv2d(channels, width, 3, padding=1)

    def compare(self, h: Tensor, seen: Tensor) -> Tensor:
        """Return features (N, C, H, W) of what the encoder saw beside what the decoder has, the same each."""
        features: Tensor = F.silu(self.both(F.silu(self.norm(torch.cat([h, seen.to(h.dtype)], dim=1)))))
        return features

    def inject(self, h: Tensor, noise: Tensor) -> Tensor:
        """Turn noise e (N, L, H, W) into the latent map z, and add it to the maps h (N, C, H, W)."""
        mean, log_std = self.prior(F.silu(h)).float().chunk(2, dim=1)  # (N, L, H, W) each
        z = mean + log_std.clamp(*LOG_STD_RANGE).exp() * noise
        injected: Tensor = h + self.spread(z)
        return injected


def _zeroed(inputs: int, outputs: int) -> nn.Conv2d:
    """Build a 1x1 convolution that starts as zero."""
    conv = nn.Conv2d(inputs, outputs, 1)
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
