"""The reference's AlexNet network (systems S1): AlexNet's layers, and their mirror."""

from __future__ import annotations

from typing import Literal

from vedute.networks.stacked_vae import StackedVAE
from vedute.networks.stages import Stage
from vedute.networks.vae import ConditioningFactory

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


class AlexNetVAE(StackedVAE):
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
        super().__init__(
            image_size,
            image_channels,
            condition_size,
            latent_size,
            latent_activation,
            conditioning,
            stages=STAGES,
            side=SIDE,
            feature_sizes=[features, features],
        )
