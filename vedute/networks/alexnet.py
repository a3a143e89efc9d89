"""The reference's AlexNet network (systems S1): AlexNet's layers, and their mirror."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from vedute.networks.conditioning import Conditioning, Raw
from vedute.networks.stages import Down, Stage, Up, dense
from vedute.networks.vae import ConditioningFactory, VAENetwork

SIDE = 227
"""Pixels a side of the images that the layers work on."""

STAGES = (
    Stage(96, 11, stride=4, pool=True),
    Stage(256, 5, padding=2, pool=True),
    Stage(384, 3, padding=1),
    Stage(384, 3, padding=1),
    Stage(256, 3, padding=1, pool=True),
)
"""227 -> 27 -> 13 -> 13 -> 13 -> 6 pixels."""


class AlexNetVAE(VAENetwork):
    """AlexNet with latent heads instead of classes, and its mirror as decoder.

    The layers are made for 227x227 images: others are resized to that and back. Unless another
    conditioning is given, the condition stands as it is beside the features and beside z. With RGB
    images and five classes the defaults have 167 million weights.

    Source: Krizhevsky et al. 2012, "ImageNet Classification with Deep Convolutional Neural
    Networks" (NeurIPS).
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        latent_size: int = 4096,
        features: int = 4096,
        latent_activation: Literal["linear", "tanh"] = "linear",
        conditioning: ConditioningFactory | None = None,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; any.
            image_channels: Channels of an image.
            condition_size: Entries of the condition vector; 0: unconditional.
            latent_size: Entries of the latent vector.
            features: Features F that the condition stands beside, and entries of the layer before.
            latent_activation: What mu and logvar pass through.
            conditioning: How the condition enters; None: as it is, beside features and z.
        """
        default = partial(Conditioning, embedding=Raw, enters=["features", "latent"])
        super().__init__(
            image_size,
            image_channels,
            condition_size,
            latent_size,
            latent_activation,
            conditioning=conditioning or default,
            inner_size=(SIDE, SIDE),
        )
        side = SIDE
        for stage in STAGES:
            side = stage.after(side)
        self.map_shape = (STAGES[-1].channels, side, side)
        flat = STAGES[-1].channels * side * side
        self.down = Down(image_channels + self.conditioning.extra_channels, STAGES, self.conditioning)
        self.feature_size = features
        self.features = dense([flat, features, features])
        self.mu = nn.Linear(features + self.conditioning.extra_features, latent_size)
        self.logvar = nn.Linear(features + self.conditioning.extra_features, latent_size)
        self.expand = dense([latent_size + self.conditioning.extra_latent, features, features, flat])
        self.up = Up(image_channels, STAGES, SIDE, self.conditioning)

    def encode(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, (N, Z) each; see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        h = self.conditioning.beside_image(self.to_inner(image), embedding)  # (N, C, 227, 227)
        h = self.features(self.down(h, embedding).flatten(1))  # (N, F)
        h = self.conditioning.beside_features(h, embedding)
        return self.mu(h), self.logvar(h)

    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1]; see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        h = self.expand(self.conditioning.beside_latent(z, embedding)).reshape(-1, *self.map_shape)
        return self.to_outer(torch.sigmoid(self.up(h, embedding).float()))
