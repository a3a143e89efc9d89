"""The rated-cars network (systems S4): ResNet18's features, a decoder of transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from vedute.errors import ConfigurationError
from vedute.networks.conditioning import Conditioning, Raw
from vedute.networks.stages import he_initialised
from vedute.networks.vae import ConditioningFactory, VAENetwork, require_divisible
from vedute.pretrained import load_torchvision, published

DIVISOR = 32
"""How often ResNet18 halves images: by 2 to the power of 5."""

STAGE_WIDTHS = (64, 128, 256, 512)
"""Channels of ResNet18's four stages; the last are the features."""


class ResNetVAE(VAENetwork):
    """ResNet18 (pretrained where its weights are on the machine) and a decoder with batch normalisation.

    The mean over ResNet18's last maps are 512 features. Unless another conditioning is given, the
    condition stands as it is beside them and beside z. The decoder begins with a map of 1 / 2^n of
    the image, n the number of its widths: 7x7 for 224x224.

    Source: He et al. 2016, https://arxiv.org/abs/1512.03385 (the encoder).
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        latent_size: int = 512,
        decoder_widths: Sequence[int] = (32, 64, 128, 256, 512),
        weights: str | None = None,
        conditioning: ConditioningFactory | None = None,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; multiples of 32, and of 2 ** number of widths.
            image_channels: Channels of an image. Other than three are mixed to three by a 1x1
                convolution in front, which starts so that grey images and RGB pass as they are.
            condition_size: Entries of the condition vector; 0: unconditional.
            latent_size: Entries of the latent vector.
            decoder_widths: Channels per level, finest first; each level doubles the map.
            weights: The encoder's: name of published weights (IMAGENET1K_V1) or a file; None: any that
                are on this machine, else from scratch with a warning; ``random``: from scratch.
            conditioning: How the condition enters; None: as it is, beside features and z.

        Raises:
            ConfigurationError: The image size does not divide, there are no widths, or no such weights.
            CheckpointError: The file of the weights is damaged or of another network.
        """
        default = partial(Conditioning, embedding=Raw, enters=["features", "latent"])
        super().__init__(
            image_size, image_channels, condition_size, latent_size, conditioning=conditioning or default
        )
        if not decoder_widths:
            raise ConfigurationError(f"{type(self).__name__} needs at least one entry in decoder_widths.")
        levels = len(decoder_widths)
        require_divisible(image_size, max(DIVISOR, 2**levels), type(self).__name__)

        channels = image_channels + self.conditioning.extra_channels
        self.to_rgb = _to_rgb(image_channels, channels) if channels != 3 else nn.Identity()
        colours = published("resnet18")[0]
        self.register_buffer("mean", torch.tensor(colours.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(colours.deviation).view(1, 3, 1, 1), persistent=False)
        resnet = load_torchvision("resnet18", weights)
        parts = (resnet.get_submodule(name) for name in ("conv1", "bn1", "relu", "maxpool"))
        self.stem = nn.Sequential(*parts)
        self.stages = nn.ModuleList(resnet.get_submodule(f"layer{n}") for n in (1, 2, 3, 4))
        self.encoder_films = self.conditioning.films(STAGE_WIDTHS)
        features = STAGE_WIDTHS[-1] + self.conditioning.extra_features
        self.mu = nn.Linear(features, latent_size)
        self.logvar = nn.Linear(features, latent_size)

        self.map_shape = (decoder_widths[-1], image_size[0] >> levels, image_size[1] >> levels)
        area = self.map_shape[1] * self.map_shape[2]
        self.expand = nn.Sequential(
            he_initialised(
                nn.Linear(latent_size + self.conditioning.extra_latent, decoder_widths[-1] * area)
            ),
            nn.ReLU(inplace=True),
        )
        widths = [*reversed(decoder_widths)]
        self.decoder = nn.ModuleList(_double(wide, narrow) for wide, narrow in pairwise(widths))
        self.decoder_films = self.conditioning.films(widths[1:])
        self.to_image = nn.ConvTranspose2d(widths[-1], image_channels, 4, stride=2, padding=1)

    def encode(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, (N, Z) each; see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        h = self.to_rgb(self.conditioning.beside_image(image, embedding))  # (N, 3, H, W)
        h = self.stem((h - self.mean) / self.std)  # (N, 64, H/4, W/4)
        h = self.encoder_films.through(self.stages, h, embedding)
        h = h.mean(dim=(2, 3))  # (N, 512)
        h = self.conditioning.beside_features(h, embedding)
        return self.mu(h), self.logvar(h)

    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1]; see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        h = self.expand(self.conditioning.beside_latent(z, embedding)).unflatten(1, self.map_shape)
        h = h.contiguous(memory_format=torch.channels_last)
        h = self.decoder_films.through(self.decoder, h, embedding)
        return torch.sigmoid(self.to_image(h).float())


def _double(inputs: int, outputs: int) -> nn.Sequential:
    """Build a layer that doubles the map: (N, inputs, H, W) -> (N, outputs, 2 H, 2 W)."""
    return nn.Sequential(
        # No bias: BatchNorm subtracts the mean right after it.
        he_initialised(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _to_rgb(image_channels: int, channels: int) -> nn.Conv2d:
    """Build the mixture of channels to three that pretrained layers take, a 1x1 convolution.

    It starts as grey to three equal channels, or as the first three channels; what else there is
    (alpha, a condition's channel) has weight 0.
    """
    mix = nn.Conv2d(channels, 3, 1, bias=False)
    with torch.no_grad():
        mix.weight.zero_()
        for colour in range(3):
            mix.weight[colour, colour if image_channels >= 3 else 0] = 1
    return mix
