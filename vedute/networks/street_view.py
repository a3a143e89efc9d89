"""The reference's street-view network (systems S2): strided convolutions, BatchNorm, LeakyReLU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vedute.networks.vae import VAENetwork, require_divisible

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

    An embedding of the condition stands beside the encoder's features and beside z. With 84
    countries and 128x128 RGB images the defaults have 14,186,531 weights.
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
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; multiples of 2 ** number of widths.
            image_channels: Channels of an image.
            condition_size: Entries of the condition vector; 0: unconditional.
            latent_size: Entries of the latent vector.
            widths: Channels per level, finest first; the decoder mirrors the encoder.
            hidden_size: Entries of the dense layer before the latent heads.
            embedding_size: Size of the condition's embedding.

        Raises:
            ConfigurationError: The image size does not divide.
        """
        super().__init__(image_size, image_channels, condition_size, latent_size)
        require_divisible(image_size, 2 ** len(widths), type(self).__name__)
        self.map_shape = (widths[-1], image_size[0] >> len(widths), image_size[1] >> len(widths))
        features = self.map_shape[0] * self.map_shape[1] * self.map_shape[2]
        embedding = embedding_size if condition_size else 0
        self.embed_condition = (
            nn.Sequential(nn.Linear(condition_size, embedding), nn.LeakyReLU(LEAK, inplace=True))
            if condition_size
            else None
        )

        channels = [image_channels, *widths]
        self.encoder = nn.Sequential(*(_halve(channels[i], channels[i + 1]) for i in range(len(widths))))
        self.hidden = nn.Sequential(nn.Linear(features + embedding, hidden_size), nn.ReLU(inplace=True))
        self.mu = nn.Linear(hidden_size, latent_size)
        self.logvar = nn.Linear(hidden_size, latent_size)

        self.expand = nn.Sequential(
            nn.Linear(latent_size + embedding, features), nn.LeakyReLU(LEAK, inplace=True)
        )
        channels = [*reversed(widths)]
        self.decoder = nn.Sequential(
            _enlarge(channels[0], channels[0], stride=1),
            *(_enlarge(channels[i], channels[i + 1], stride=2) for i in range(len(channels) - 1)),
            nn.ConvTranspose2d(channels[-1], image_channels, 3, stride=2, padding=1, output_padding=1),
        )

    def _beside(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return (N, F + E): x (N, F) with the embedded condition beside it."""
        if self.embed_condition is None:
            return x
        embedding = self.embed_condition(condition)  # (N, E)
        return torch.cat([x.to(embedding.dtype), embedding], dim=1)

    def encode(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, (N, Z) each; see the base class."""
        h = self.encoder(image).flatten(1)  # (N, F)
        h = self.hidden(self._beside(h, condition))  # (N, hidden)
        return self.mu(h), self.logvar(h)

    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1]; see the base class."""
        h = self.expand(self._beside(z, condition)).unflatten(1, self.map_shape)
        h = self.decoder(h.contiguous(memory_format=torch.channels_last))  # (N, C, H, W)
        return torch.sigmoid(h.float())
