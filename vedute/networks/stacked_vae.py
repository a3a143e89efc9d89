"""What the reference's narrow and AlexNet networks (systems S1) share: stages, dense layers, the mirror."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from vedute.networks.conditioning import Conditioning, Raw
from vedute.networks.stages import Down, Stage, Up, dense
from vedute.networks.vae import ConditioningFactory, VAENetwork


class StackedVAE(VAENetwork):
    """Convolutions and dense layers made for images of one size, and the mirror back.

    Images of another size are resized to that and back. Unless another conditioning is given, the
    condition stands as it is beside the features and beside z.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        latent_size: int,
        latent_activation: Literal["linear", "tanh"],
        conditioning: ConditioningFactory | None,
        stages: Sequence[Stage],
        side: int,
        feature_sizes: Sequence[int],
        hidden_sizes: Sequence[int] = (),
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; any.
            image_channels: Channels of an image.
            condition_size: Entries of the condition vector; 0: unconditional.
            latent_size: Entries of the latent vector.
            latent_activation: What mu and logvar pass through.
            conditioning: How the condition enters; None: as it is, beside features and z.
            stages: The convolutions.
            side: Pixels a side of the images that they are made for.
            feature_sizes: Dense layers after them; the last are the features F.
            hidden_sizes: Dense layers between the features, with the condition beside them, and the heads.
        """
        default = partial(Conditioning, embedding=Raw, enters=["features", "latent"])
        super().__init__(
            image_size,
            image_channels,
            condition_size,
            latent_size,
            latent_activation,
            conditioning=conditioning or default,
            inner_size=(side, side),
        )
        reached = side
        for stage in stages:
            reached = stage.after(reached)
        self.map_shape = (stages[-1].channels, reached, reached)
        flat = stages[-1].channels * reached * reached
        self.down = Down(image_channels + self.conditioning.extra_channels, stages, self.conditioning)
        self.feature_size = feature_sizes[-1]
        self.features = dense([flat, *feature_sizes])
        sizes = [self.feature_size + self.conditioning.extra_features, *hidden_sizes]
        self.hidden = dense(sizes)
        self.mu = nn.Linear(sizes[-1], latent_size)
        self.logvar = nn.Linear(sizes[-1], latent_size)
        back = [*reversed(hidden_sizes), *reversed(feature_sizes), flat]
        self.expand = dense([latent_size + self.conditioning.extra_latent, *back])
        self.up = Up(image_channels, stages, side, self.conditioning)

    def encode(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, (N, Z) each; see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        h = self.conditioning.beside_image(self.to_inner(image), embedding)  # (N, C, side, side)
        h = self.features(self.down(h, embedding).flatten(1))  # (N, F)
        h = self.hidden(self.conditioning.beside_features(h, embedding))  # (N, hidden)
        return self.mu(h), self.logvar(h)

    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1]; see the base class."""
        embedding = self.conditioning(condition)  # (N, E)
        h = self.expand(self.conditioning.beside_latent(z, embedding)).reshape(-1, *self.map_shape)
        return self.to_outer(torch.sigmoid(self.up(h, embedding).float()))
