"""ESRGAN (systems S3): a small image in, the same image two or four times as large out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.optim import Adam

from lightning_modules.translation import TranslationModule
from vedute.augment.degradation import Bicubic, Degradation
from vedute.batch import Batch, Condition
from vedute.errors import CheckpointError, ConfigurationError, named
from vedute.networks.published_rrdb import load_published, published_network
from vedute.networks.rrdb import RRDB
from vedute.networks.unet_discriminator import UNetDiscriminator


class ESRGAN(TranslationModule):
    """Learns to undo a degradation of the data's images, first by pixels, then with a discriminator.

    Where the data have classes, scores or masks, they play no part. ``loss_schedules`` for
    ``adversarial`` and a perceptual loss (``vedute.schedules.FromEpoch``) make the two phases.

    Source: Wang et al. 2018, https://arxiv.org/abs/1809.00219.
    """

    sees_condition: ClassVar[bool] = False

    def __init__(self, degradation: Degradation | None = None, **options: Any) -> None:
        """Build the networks.

        Args:
            degradation: Makes the small images; null: bicubic, by a factor of 4.
            options: See ``TranslationModule``, ``AdversarialModule`` and ``ImageModule``.

        Raises:
            ConfigurationError: The network enlarges by another factor than the degradation shrinks by, or
                the images cannot be shrunk by it.
        """
        super().__init__(**options)
        self.degradation = degradation or Bicubic(4)
        self.degradation.output_size(self.image_size)
        if self.network.scale != self.scale:
            raise ConfigurationError(
                f"The network enlarges {self.network.scale} times, but the degradation shrinks {self.scale} "
                "times: give both the same scale."
            )

    @classmethod
    def published(cls, path: Path) -> ESRGAN:
        """Return a model that enlarges by a published file's weights, of whatever size they are.

        Raises:
            CheckpointError: See ``vedute.networks.published_rrdb.load_published``.
        """
        network = published_network(path)
        return cls(
            degradation=Bicubic(network.scale),
            network=lambda *_: network,
            discriminator=partial(UNetDiscriminator, width=1),  # not used: such files have none
            image_size=network.image_size,
            image_channels=network.image_channels,
            condition_kind="none",
            condition_names=[],
            train_size=1,
            optimizer=Adam,
        )

    def load_published(self, path: Path) -> None:
        """Give the network a published file's weights, for a training to begin with.

        Raises:
            CheckpointError: They are of another network.
        """
        if not isinstance(self.network, RRDB):
            raise CheckpointError(
                f"{path}: published weights are of vedute.networks.rrdb.RRDB, but the network is "
                f"{named(type(self.network))}."
            )
        load_published(self.network, path)

    @property
    def scale(self) -> int:
        """How many times as high and wide images become."""
        return self.degradation.scale

    def _choose_conditions(self) -> None:
        """Take images of the data as conditions, not the data's own."""
        self.condition_kind = "image"
        self.condition_names = []
        self.condition_channels = self.image_channels

    def condition_of(self, batch: Batch) -> Condition:
        """Return the batch's images, shrunken: the same each time but in training."""
        image = batch.image if batch.target is None else batch.target
        if self.training:
            return Condition(image=self.degradation(image))
        rows = torch.arange(len(batch)) if batch.index is None else batch.index
        return Condition(image=self.degradation.seeded(image, rows))
