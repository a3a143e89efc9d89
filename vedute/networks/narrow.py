"""The reference's narrow network (systems S1): deep, and a latent vector of two entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vedute.networks.stacked_vae import StackedVAE
from vedute.networks.stages import Stage
from vedute.networks.vae import ConditioningFactory

SIDE = 256
"""Pixels a side of the images that the layers work on."""

STAGES = (Stage(128, 16, 4), Stage(128, 7, 2), Stage(256, 4, 2), Stage(256, 3, 2), Stage(256, 4, 2))
"""Convolutions without padding: 256 -> 61 -> 28 -> 13 -> 6 -> 2 pixels."""


class NarrowVAE(StackedVAE):
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
        super().__init__(
            image_size,
            image_channels,
            condition_size,
            latent_size,
            latent_activation,
            conditioning,
            stages=STAGES,
            side=SIDE,
            feature_sizes=[features],
            hidden_sizes=hidden_sizes,
        )
