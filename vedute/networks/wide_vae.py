"""The reference's wide and wide+ networks (systems S1): no pooling, dense latents.

Kept for comparison: its dense layers on up to 1,048,576 features hold nearly all weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.networks.conditioning import Conditioning, Raw
from vedute.networks.vae import ConditioningFactory, VAENetwork, require_divisible


class SameTransposedConv(nn.Module):
    """A 2x2 transposed convolution that keeps the size (stride 1) or doubles it (stride 2), then ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Build it from ``inputs`` to ``outputs`` channels with stride 1 or 2."""
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 2, stride=stride)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, stride * H, stride * W)."""
        height, width = x.shape[2] * self.stride, x.shape[3] * self.stride
        # Stride 1 gives one row and column too many: 'same' crops the last ones.
        return F.relu(self.conv(x)[:, :, :height, :width])


class WidePlusVAE(VAENetwork):
    """One encoder, one decoder, no pooling, a very wide flat feature vector F.

    At 128x128 with the default widths F = 64*64*256 (208.3 million weights at latent size
    64 and five classes); at 64x64 F = 32*32*256. Unless another conditioning is given, the
    condition is a further channel of the encoder's image, and stands beside z. The reference's
    'wide' is this class with other widths, tanh, and the condition beside the features instead:
    configs/cvae_wide_d2_landscapes.yaml.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        latent_size: int = 64,
        encoder_widths: Sequence[int] = (16, 32, 64, 128, 256),
        decoder_widths: Sequence[int] = (128, 64, 32, 16),
        encoder_stride_at: int = 2,
        decoder_stride_at: int = 1,
        latent_activation: Literal["linear", "tanh"] = "linear",
        conditioning: ConditioningFactory | None = None,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; even.
            image_channels: Channels of an image.
            condition_size: Entries of the condition vector; 0: unconditional.
            latent_size: Entries of the latent vector.
            encoder_widths: Channels of the 3x3 convolutions.
            decoder_widths: Channels of the 2x2 transposed convolutions.
            encoder_stride_at: Position of the encoder's convolution with stride 2.
            decoder_stride_at: Position of the decoder's transposed convolution with stride 2.
            latent_activation: What mu and logvar pass through.
            conditioning: How the condition enters; None: as it is, as an image channel (through a
                dense layer) and beside z.

        Raises:
            ConfigurationError: A side of the image is odd, or a stride's position does not exist.
        """
        default = partial(Conditioning, embedding=Raw, enters=["image", "latent"])
        super().__init__(
            image_size,
            image_channels,
            condition_size,
            latent_size,
            latent_activation,
            conditioning or default,
        )
        for part, position, widths in (
            ("encoder", encoder_stride_at, encoder_widths),
            ("decoder", decoder_stride_at, decoder_widths),
        ):
            if not 0 <= position < len(widths):
                raise ConfigurationError(
                    f"{type(self).__name__}: {part}_stride_at counts from 0 and must be below the number of "
                    f"{part}_widths ({len(widths)}), got {position}."
                )
        require_divisible(image_size, 2, type(self).__name__)
        height, width = image_size
        self.map_shape = (encoder_widths[-1], height // 2, width // 2)
        features = self.map_shape[0] * self.map_shape[1] * self.map_shape[2]
        self.feature_size = features
        channels = [image_channels + self.conditioning.extra_channels, *encoder_widths]
        self.encoder = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], 3, stride=2 if i == encoder_stride_at else 1, padding=1)
            for i in range(len(encoder_widths))
        )
        self.encoder_films = self.conditioning.films(encoder_widths)
        flat = features + self.conditioning.extra_features
        self.mu = nn.Linear(flat, latent_size)
        self.logvar = nn.Linear(flat, latent_size)
        self.expand = nn.Linear(latent_size + self.conditioning.extra_latent, features)
        channels = [encoder_widths[-1], *decoder_widths]
        self.decoder = nn.ModuleList(
            SameTransposedConv(channels[i], channels[i + 1], 2 if i == decoder_stride_at else 1)
            for i in range(len(decoder_widths))
        )
        self.decoder_films = self.conditioning.films(decoder_widths)
        self.to_image = nn.Conv2d(decoder_widths[-1], image_channels, 2)

    def encode(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, (N, Z) each; see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        h = self.conditioning.beside_image(image, embedding)  # (N, C or C + 1, H, W)
        for index, conv in enumerate(self.encoder):
            h = self.encoder_films.at(index, F.relu(conv(h)), embedding)
        h = self.conditioning.beside_features(h.flatten(1), embedding)  # (N, F) or (N, F + E)
        return self.mu(h), self.logvar(h)

    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1]; see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        h = F.relu(self.expand(self.conditioning.beside_latent(z, embedding))).reshape(-1, *self.map_shape)
        h = h.contiguous(memory_format=torch.channels_last)
        h = self.decoder_films.through(self.decoder, h, embedding)
        # A 2x2 'same' convolution pads one row and column at the end.
        return torch.sigmoid(self.to_image(F.pad(h, (0, 1, 0, 1))).float())
