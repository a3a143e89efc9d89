"""The reference's street-view network (systems S2): strided convolutions, BatchNorm, LeakyReLU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from vedute.networks.conditioning import Conditioning, Dense
from vedute.networks.vae import ConditioningFactory, VAENetwork, require_divisible

LEAK = 0.2
"""Slope of LeakyReLU below zero."""


def _halve(inputs: int, outputs: int) -> nn.Sequential:
    """Build a 3x3 convolution that halves the map: (N, inputs, H, W) -> (N, outputs, H/2, W/2)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(LEAK, inplace=True),
    )


def _enlarge(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Build a 3x3 transposed convolution: (N, inputs, H, W) -> (N, outputs, stride * H, stride * W)."""
    return nn.Sequential(
        # No bias: BatchNorm subtracts the mean right after it.
        nn.ConvTranspose2d(inputs, outputs, 3, stride, padding=1, output_padding=stride - 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(LEAK, inplace=True),
    )


class StreetViewVAE(VAENetwork):
    """Convolutions down to 1/16, dense latents, transposed convolutions back up.

    Unless another conditioning is given, an embedding of the condition (one dense layer) stands
    beside the encoder's features and beside z. With 84 countries and 128x128 RGB images the
    defaults have 14,186,531 weights.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        latent_size: int = 256,
        widths: Sequence[int] = (32, 64, 128, 256),
        hidden_size: int = 256,
        embedding_size: int = 256,
        conditioning: ConditioningFactory | None = None,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; multiples of 2 ** number of widths.
            image_channels: Channels of an image.
            condition_size: Entries of the condition vector; 0: unconditional.
            latent_size: Entries of the latent vector.
            widths: Channels per level, finest first; the decoder mirrors the encoder.
            hidden_size: Entries of the dense layer before the latent heads.
            embedding_size: Size of the condition's embedding in the default conditioning.
            conditioning: How the condition enters; None: a dense layer with LeakyReLU, beside the
                features and beside z.

        Raises:
            ConfigurationError: The image size does not divide.
        """
        default = partial(
            Conditioning, embedding=partial(Dense, size=embedding_size), enters=["features", "latent"]
        )
        super().__init__(
            image_size, image_channels, condition_size, latent_size, conditioning=conditioning or default
        )
        require_divisible(image_size, 2 ** len(widths), type(self).__name__)
        self.map_shape = (widths[-1], image_size[0] >> len(widths), image_size[1] >> len(widths))
        features = self.map_shape[0] * self.map_shape[1] * self.map_shape[2]

        channels = [image_channels + self.conditioning.extra_channels, *widths]
        self.encoder = nn.ModuleList(_halve(channels[i], channels[i + 1]) for i in range(len(widths)))
        self.encoder_films = self.conditioning.films(widths)
        self.hidden = nn.Sequential(
            nn.Linear(features + self.conditioning.extra_features, hidden_size), nn.ReLU(inplace=True)
        )
        self.mu = nn.Linear(hidden_size, latent_size)
        self.logvar = nn.Linear(hidden_size, latent_size)

        self.expand = nn.Sequential(
            nn.Linear(latent_size + self.conditioning.extra_latent, features),
            nn.LeakyReLU(LEAK, inplace=True),
        )
        channels = [widths[-1], *reversed(widths)]
        self.decoder = nn.ModuleList(
            _enlarge(channels[i], channels[i + 1], stride=2 if i else 1) for i in range(len(widths))
        )
        self.decoder_films = self.conditioning.films(channels[1:])
        self.to_image = nn.ConvTranspose2d(
            channels[-1], image_channels, 3, stride=2, padding=1, output_padding=1
        )

    def encode(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, (N, Z) each; see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        h = self.conditioning.beside_image(image, embedding)
        h = self.encoder_films.through(self.encoder, h, embedding)  # (N, widths[-1], H / 2^n, W / 2^n)
        h = self.hidden(self.conditioning.beside_features(h.flatten(1), embedding))  # (N, hidden)
        return self.mu(h), self.logvar(h)

    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1]; see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        h = self.expand(self.conditioning.beside_latent(z, embedding)).unflatten(1, self.map_shape)
        h = h.contiguous(memory_format=torch.channels_last)
        h = self.decoder_films.through(self.decoder, h, embedding)
        return torch.sigmoid(self.to_image(h).float())
