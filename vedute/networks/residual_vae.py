"""The default VAE network: convolutions down to a small map, residual blocks, FiLM."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.networks.blocks import NoiseInjection, ResidualBlock, group_norm
from vedute.networks.conditioning import MLP, Conditioning
from vedute.networks.vae import ConditioningFactory, VAENetwork, require_divisible


class ResidualVAE(VAENetwork):
    """Encoder and decoder with one resolution level per width, meeting at a small map.

    Each level halves the map. With four levels, 64x64 images meet at 4x4, where a dense
    layer of a few hundred thousand weights does what takes the reference's networks
    (S1 wide+) hundreds of millions. Unless another conditioning is given, the condition modulates
    every block (FiLM), so that it cannot be ignored, and also stands beside z and the features.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        latent_size: int = 128,
        encoder_widths: Sequence[int] = (32, 64, 128, 192),
        decoder_widths: Sequence[int] = (32, 64, 128, 192),
        encoder_blocks: int = 1,
        decoder_blocks: int = 1,
        embedding_size: int = 64,
        conditioning: ConditioningFactory | None = None,
        finish_width: int = 0,
        noise: bool = False,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; multiples of 2 ** number of levels.
            image_channels: Channels of an image.
            condition_size: Entries of the condition vector; 0: unconditional.
            latent_size: Entries of the latent vector.
            encoder_widths: Channels per level, finest first.
            decoder_widths: Channels per level, finest first; as many as the encoder's.
            encoder_blocks: Residual blocks per level of the encoder.
            decoder_blocks: Residual blocks per level of the decoder.
            embedding_size: Size of the condition's embedding in the default conditioning.
            conditioning: How the condition enters; None: an MLP's embedding in every block (FiLM),
                beside the features and beside z.
            finish_width: Channels of a last convolution at the image's full size; 0: none. It costs a third
                of the decoder's time; with an adversarial loss one layer less leaves doubled lines at edges.
            noise: Whether noise is added to the decoder's maps of every size, for texture: worth it with
                an adversarial loss, which asks for texture; a pixel loss alone teaches to ignore it.

        Raises:
            ConfigurationError: The image size does not divide, or encoder and decoder have different
                numbers of levels, or none; or a number is out of its range.
        """
        default = partial(Conditioning, embedding=partial(MLP, size=embedding_size))
        super().__init__(
            image_size, image_channels, condition_size, latent_size, conditioning=conditioning or default
        )
        if len(encoder_widths) != len(decoder_widths):
            raise ConfigurationError(
                "encoder_widths and decoder_widths must have the same length, got "
                f"{len(encoder_widths)} and {len(decoder_widths)}."
            )
        if (
            not encoder_widths
            or min(*encoder_widths, *decoder_widths) < 1
            or min(encoder_blocks, decoder_blocks, finish_width) < 0
        ):
            raise ConfigurationError(
                f"{type(self).__name__} needs at least one level, widths of at least 1 and blocks of at "
                f"least 0: got encoder_widths {list(encoder_widths)}, decoder_widths {list(decoder_widths)}, "
                f"encoder_blocks {encoder_blocks}, decoder_blocks {decoder_blocks}, finish_width "
                f"{finish_width}."
            )
        levels = len(encoder_widths)
        require_divisible(image_size, 2**levels, type(self).__name__)
        self.map_size = (image_size[0] >> levels, image_size[1] >> levels)
        map_area = self.map_size[0] * self.map_size[1]
        film = self.conditioning.film_size

        channels = image_channels + self.conditioning.extra_channels
        # Space-to-depth in front: the finest level works on half the resolution, a quarter the cost.
        self.encoder = nn.ModuleList([nn.Conv2d(4 * channels, encoder_widths[0], 3, padding=1)])
        for level, width in enumerate(encoder_widths):
            if level:
                self.encoder.append(nn.Conv2d(encoder_widths[level - 1], width, 3, stride=2, padding=1))
            self.encoder.extend(ResidualBlock(width, film) for _ in range(encoder_blocks))
        self.encoder_norm = group_norm(encoder_widths[-1])
        features = encoder_widths[-1] * map_area + self.conditioning.extra_features
        self.mu = nn.Linear(features, latent_size)
        self.logvar = nn.Linear(features, latent_size)

        self.expand = nn.Linear(latent_size + self.conditioning.extra_latent, decoder_widths[-1] * map_area)
        self.decoder = nn.ModuleList()
        for level in reversed(range(levels)):
            width = decoder_widths[level]
            self.decoder.extend(ResidualBlock(width, film) for _ in range(decoder_blocks))
            if noise:
                size = (image_size[0] >> level + 1, image_size[1] >> level + 1)
                self.decoder.append(NoiseInjection(width, size))
            if level:
                # Bilinear upsampling: pixel shuffle left a lattice that short trainings did not lose.
                self.decoder.append(
                    nn.Sequential(
                        nn.Conv2d(width, decoder_widths[level - 1], 1),
                        nn.Upsample(scale_factor=2, mode="bilinear"),
                    )
                )
        self.decoder_norm = group_norm(decoder_widths[0])
        finish: list[nn.Module] = []
        if finish_width:
            finish = [nn.Conv2d(decoder_widths[0], finish_width, 3, padding=1)]
            finish += [NoiseInjection(finish_width, image_size)] if noise else []
            finish += [nn.SiLU()]
        self.finish = nn.Sequential(*finish)
        # Zero padding here would draw a frame around every image.
        self.to_image = nn.Conv2d(
            finish_width or decoder_widths[0], image_channels, 3, padding=1, padding_mode="replicate"
        )

    def encode(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, (N, Z) each; see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        h = self.conditioning.beside_image(2 * image - 1, embedding)
        h = F.pixel_unshuffle(h, 2)  # (N, 4C, H/2, W/2)
        for layer in self.encoder:
            h = layer(h, embedding) if isinstance(layer, ResidualBlock) else layer(h)
        h = F.silu(self.encoder_norm(h)).flatten(1)  # (N, width * map area)
        h = self.conditioning.beside_features(h, embedding)
        return self.mu(h), self.logvar(h)

    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1]; see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        h = self.expand(self.conditioning.beside_latent(z, embedding))
        h = h.reshape(len(z), -1, *self.map_size).contiguous(memory_format=torch.channels_last)
        for layer in self.decoder:
            h = layer(h, embedding) if isinstance(layer, ResidualBlock) else layer(h)
        h = F.silu(self.decoder_norm(h))  # (N, width, H/2, W/2)
        h = F.interpolate(h, scale_factor=2, mode="bilinear")  # (N, width, H, W)
        return torch.sigmoid(self.to_image(self.finish(h)).float())
