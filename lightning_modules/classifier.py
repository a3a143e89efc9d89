"""The classifier of images by their class: the judge of conditional generators (systems S1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassConfusionMatrix

from lightning_modules.base import ImageModule
from vedute.batch import Batch
from vedute.errors import ConfigurationError
from vedute.networks.classifiers import ClassifierNetwork


class Classifier(ImageModule):
    """Classifier of images, which judges what a generator makes.

    Learns from class probabilities, so that fuzzy labels (cut-out, mixed scenes) serve as they
    are: a label whose sum is below 1 counts that much less.
    """

    def __init__(
        self,
        network: Callable[[tuple[int, int], int, int], ClassifierNetwork],
        label_smoothing: float = 0.0,
        **facts: Any,
    ) -> None:
        """Build the classifier.

        Args:
            network: From image size, image channels and number of classes to the network.
            label_smoothing: Share of each training label spread evenly over all classes, in [0, 1).
            facts: About the data, and how to optimise; see ``ImageModule``.

        Raises:
            ConfigurationError: The data have no classes, or only one; or smoothing out of range.
        """
        super().__init__(**facts)
        if self.condition_kind != "class" or len(self.condition_names) < 2:
            known = ", ".join(self.condition_names) or "none"
            raise ConfigurationError(
                f"A classifier needs data with at least two classes; these have the condition kind "
                f"'{self.condition_kind}' and the names: {known}. Choose other data, or more data.classes."
            )
        if not 0 <= label_smoothing < 1:
            raise ConfigurationError(f"model.label_smoothing must lie in [0, 1), got {label_smoothing:g}.")
        built = network(self.image_size, self.image_channels, self.condition_size)
        # A quarter faster than the default layout on a CPU, in float32 and bfloat16 alike.
        self.network = built.to(memory_format=torch.channels_last)
        self.label_smoothing = label_smoothing
        self.confusion = nn.ModuleDict(
            {
                f"{stage}_confusion": MulticlassConfusionMatrix(self.condition_size)
                for stage in ("val", "test")
            }
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, D) logits of images (N, C, H, W) in [0, 1] of the size it was trained on."""
        return self.classify(self.features(image))

    def features(self, image: Tensor) -> Tensor:
        """Return (N, F) pooled features of images (N, C, H, W) in [0, 1]."""
        return self.network.features(image.contiguous(memory_format=torch.channels_last))

    def classify(self, features: Tensor) -> Tensor:
        """Return (N, D) logits of features (N, F)."""
        return self.network.classify(features)

    def described_networks(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """Return the network with one example image."""
        return {"network": (self.network, (torch.zeros(1, *self.image_shape),))}

    def confusion_matrix(self, stage: str) -> MulticlassConfusionMatrix:
        """Return what counts ``stage`` (``val`` or ``test``): true classes in rows, recognised in columns."""
        matrix = self.confusion[f"{stage}_confusion"]
        assert isinstance(matrix, MulticlassConfusionMatrix)
        return matrix

    def _logits_and_label(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return (N, D) float32 logits and (N, D) class probabilities."""
        if batch.condition.vector is None:
            raise ValueError(f"{type(self).__name__} needs batches with a condition vector")
        return self(batch.image).float(), batch.condition.vector

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        logits, label = self._logits_and_label(batch)
        loss = F.cross_entropy(logits, label, label_smoothing=self.label_smoothing)
        accuracy = (logits.argmax(1) == label.argmax(1)).float().mean()
        self.log_stage("train", {"loss": loss, "accuracy": accuracy}, len(batch))
        return loss

    def _evaluation_step(self, batch: Batch, stage: str) -> None:
        logits, label = self._logits_and_label(batch)
        self.confusion_matrix(stage).update(logits, label.argmax(1))
        # Not smoothed: comparable between judges of different smoothing.
        self.log_stage(stage, {"loss": F.cross_entropy(logits, label)}, len(batch))

    def _log_accuracy(self, stage: str) -> None:
        confusion = self.confusion_matrix(stage).compute()  # (D, D), all ranks together
        total = int(confusion.sum())
        values = {"accuracy": confusion.trace() / total}
        for name, row, right in zip(self.condition_names, confusion, confusion.diagonal(), strict=True):
            if row.sum() > 0:
                values[f"accuracy/{name}"] = right / row.sum()
        self.log_stage(stage, values, total)

    def validation_step(self, batch: Batch) -> None:
        """Log the loss of a batch and count what it is taken for."""
        self._evaluation_step(batch, "val")

    def test_step(self, batch: Batch) -> None:
        """Log the loss of a batch and count what it is taken for."""
        self._evaluation_step(batch, "test")

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self.confusion_matrix("val").reset()

    def on_validation_epoch_end(self) -> None:
        """Log the accuracy, in total and of each class."""
        self._log_accuracy("val")

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self.confusion_matrix("test").reset()

    def on_test_epoch_end(self) -> None:
        """Log the accuracy, in total and of each class."""
        self._log_accuracy("test")
