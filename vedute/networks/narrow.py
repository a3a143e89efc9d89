"""The reference's narrow network (systems S1): deep, and a latent vector of two entries."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from vedute.networks.conditioning import Conditioning, Raw
from vedute.networks.stages import Down, Stage, Up, dense
from vedute.networks.vae import ConditioningFactory, VAENetwork

SIDE = 256
"""Pixels a side of the images that the layers work on."""

STAGES = (Stage(128, 16, 4), Stage(128, 7, 2), Stage(256, 4, 2), Stage(256, 3, 2), Stage(256, 4, 2))
"""Convolutions without padding: 256 -> 61 -> 28 -> 13 -> 6 -> 2 pixels."""


class NarrowVAE(VAENetwork):
    """Five convolutions and five dense layers down to two latent entries, and the mirror back.

    The layers are made for 256x256 images: others are resized to that and back. Unless another
    conditioning is given, the condition stands as it is beside the features and beside z. With RGB
    images and five classes the defaults have 13.49 million weights.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        latent_size: int = 2,
        features: int = 2048,
        hidden_sizes: Sequence[int] = (512, 512, 512),
        latent_activation: Literal["linear", "tanh"] = "linear",
        conditioning: ConditioningFactory | None = None,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; any.
            image_channels: Channels of an image.
            condition_size: Entries of the condition vector; 0: unconditional.
            latent_size: Entries of the latent vector.
            features: Features F that the condition stands beside.
            hidden_sizes: Dense layers between features and latent vector.
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
        self.features = dense([flat, features])
        self.hidden = dense([features + self.conditioning.extra_features, *hidden_sizes])
        self.mu = nn.Linear(hidden_sizes[-1], latent_size)
        self.logvar = nn.Linear(hidden_sizes[-1], latent_size)
        self.expand = dense(
            [latent_size + self.conditioning.extra_latent, *reversed(hidden_sizes), features, flat]
        )
        self.up = Up(image_channels, STAGES, SIDE, self.conditioning)

    def encode(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, (N, Z) each; see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        h = self.conditioning.beside_image(self.to_inner(image), embedding)  # (N, C, 256, 256)
        h = self.features(self.down(h, embedding).flatten(1))  # (N, F)
        h = self.hidden(self.conditioning.beside_features(h, embedding))  # (N, hidden)
        return self.mu(h), self.logvar(h)

    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1]; see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        h = self.expand(self.conditioning.beside_latent(z, embedding)).reshape(-1, *self.map_shape)
        return self.to_outer(torch.sigmoid(self.up(h, embedding).float()))
