"""The segmenter of images, mask from image: the judge of generators conditioned on masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.base import ImageModule
from vedute.batch import Batch
from vedute.errors import ConfigurationError
from vedute.losses.overlap import binary_cross_entropy, soft_dice
from vedute.metrics.overlap import MaskOverlap
from vedute.networks.segmenters import SegmenterNetwork


class Segmenter(ImageModule):
    """Finds the mask that an image was made from, which judges images made for wanted masks.

    The loss of an image is binary cross-entropy + ``dice_weight`` * soft Dice.
    """

    def __init__(
        self,
        network: Callable[[tuple[int, int], int], SegmenterNetwork],
        dice_weight: float = 1.0,
        **facts: Any,
    ) -> None:
        """Build the segmenter.

        Args:
            network: From image size and image channels to the network.
            dice_weight: Weight of soft Dice, which keeps rare foreground from being ignored; 0 leaves
                it out.
            facts: About the data, and how to optimise; see ``ImageModule``.

        Raises:
            ConfigurationError: The data have no masks, or ``dice_weight`` is below 0.
        """
        super().__init__(**facts)
        if self.condition_channels != 1:
            raise ConfigurationError(
                f"A segmenter needs data with one mask an image; these have "
                f"{self.condition_channels or 'none'} (condition kind '{self.condition_kind}'). Choose data "
                "with masks, e.g. datamodules.aerial.AerialDataModule, or train a classifier (classes) or a "
                "regressor (scores)."
            )
        if not dice_weight >= 0:
            raise ConfigurationError(f"model.dice_weight must be at least 0, got {dice_weight:g}.")
        self.dice_weight = dice_weight
        # A quarter faster than the default layout on a CPU, in float32 and bfloat16 alike.
        built = network(self.image_size, self.image_channels)
        self.network: SegmenterNetwork = built.to(memory_format=torch.channels_last)
        self._overlaps = nn.ModuleDict({f"{stage}_overlap": MaskOverlap() for stage in ("val", "test")})

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, 1, H, W) logits of the foreground of images (N, C, H, W) in [0, 1]."""
        logits: Tensor = self.network(image.contiguous(memory_format=torch.channels_last))
        return logits

    def segment(self, image: Tensor) -> Tensor:
        """Return (N, 1, H, W) float32 in {0, 1}: the mask found in images (N, C, H, W) in [0, 1]."""
        mask: Tensor = (self(image) > 0).float()
        return mask

    def features(self, image: Tensor) -> Tensor:
        """Return (N, F) float32 features of images (N, C, H, W) in [0, 1], for distances between sets."""
        return self.network.features(image.contiguous(memory_format=torch.channels_last)).float()

    def described_networks(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """Return the network with one example image."""
        return {"network": (self.network, (torch.zeros(1, *self.image_shape),))}

    def mask_overlap(self, stage: str) -> MaskOverlap:
        """Return what counts the pixels of ``stage``, ``val`` or ``test``."""
        overlap = self._overlaps[f"{stage}_overlap"]
        assert isinstance(overlap, MaskOverlap)
        return overlap

    def _logits_and_losses(self, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor | float]]:
        """Return (N, 1, H, W) logits and masks, and the losses by name."""
        mask = batch.condition.image
        if mask is None:
            raise ValueError(f"{type(self).__name__} needs batches with masks")
        logits = self(batch.image).float()
        cross_entropy, dice = binary_cross_entropy(logits, mask).mean(), soft_dice(logits, mask).mean()
        loss = cross_entropy + self.dice_weight * dice
        return logits, mask, {"loss": loss, "cross_entropy": cross_entropy, "dice": dice}

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        _, _, losses = self._logits_and_losses(batch)
        self.log_stage("train", losses, len(batch))
        loss = losses["loss"]
        assert isinstance(loss, Tensor)
        return loss

    def _evaluation_step(self, batch: Batch, stage: str) -> None:
        logits, mask, losses = self._logits_and_losses(batch)
        self.mask_overlap(stage).update(logits > 0, mask >= 0.5)
        self.log_stage(stage, losses, len(batch))

    def _log_overlap(self, stage: str) -> None:
        self.log_stage(stage, self.mask_overlap(stage).compute(), batch_size=1)

    def validation_step(self, batch: Batch) -> None:
        """Log the losses of a batch and count its pixels."""
        self._evaluation_step(batch, "val")

    def test_step(self, batch: Batch) -> None:
        """Log the losses of a batch and count its pixels."""
        self._evaluation_step(batch, "test")

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self.mask_overlap("val").reset()

    def on_validation_epoch_end(self) -> None:
        """Log the overlap of all images together."""
        self._log_overlap("val")

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self.mask_overlap("test").reset()

    def on_test_epoch_end(self) -> None:
        """Log the overlap of all images together."""
        self._log_overlap("test")
