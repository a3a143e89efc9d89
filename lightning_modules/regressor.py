"""The regressor of scores from an image: the judge of generators conditioned on scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.base import ImageModule
from vedute.batch import Batch
from vedute.errors import ConfigurationError
from vedute.metrics.scores import ScoreAgreement, ScorePairs
from vedute.networks.classifiers import ClassifierNetwork


class Regressor(ImageModule):
    """Predicts how an image is rated, which judges images made for wanted scores.

    Learns standardised scores, so that every rater counts the same whatever the range they use.
    Errors are told in the unit of the scores.
    """

    def __init__(
        self,
        network: Callable[[tuple[int, int], int, int], ClassifierNetwork],
        huber_delta: float | None = 1.0,
        **facts: Any,
    ) -> None:
        """Build the regressor.

        Args:
            network: From image size, image channels and number of scores to the network.
            huber_delta: Errors above this many standard deviations of the scores count linearly, those
                below squared, which forgives single odd ratings; null: all squared.
            facts: About the data, and how to optimise; see ``ImageModule``.

        Raises:
            ConfigurationError: The data have no scores, or ``huber_delta`` is out of range.
        """
        super().__init__(**facts)
        if self.condition_kind != "score" or not self.condition_names:
            raise ConfigurationError(
                f"A regressor needs data with scores (condition kind 'score'); these have the kind "
                f"'{self.condition_kind}'. Choose data with scores, e.g. datamodules.cars.CarsDataModule, or "
                "train a classifier (classes) or a segmenter (masks)."
            )
        if huber_delta is not None and not huber_delta > 0:
            raise ConfigurationError(f"model.huber_delta must be above 0, or null, got {huber_delta:g}.")
        self.huber_delta = huber_delta
        # A quarter faster than the default layout on a CPU, in float32 and bfloat16 alike.
        built = network(self.image_size, self.image_channels, self.condition_size)
        self.network = built.to(memory_format=torch.channels_last)
        self._pairs = nn.ModuleDict(
            {f"{stage}_scores": ScorePairs(self.condition_size) for stage in ("val", "test")}
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, D) standardised scores of images (N, C, H, W) in [0, 1] of the trained size."""
        return self.score(self.features(image))

    def features(self, image: Tensor) -> Tensor:
        """Return (N, F) pooled features of images (N, C, H, W) in [0, 1]."""
        return self.network.features(image.contiguous(memory_format=torch.channels_last))

    def score(self, features: Tensor) -> Tensor:
        """Return (N, D) float32 standardised scores of features (N, F)."""
        # In bfloat16, which has 256 steps between 1 and 2, many scores would be equal and share a rank.
        with torch.autocast(features.device.type, enabled=False):
            return self.network.classify(features.float())

    def in_units(self, vector: Tensor) -> Tensor:
        """Return (N, D) scores in the data set's unit of standardised ones (N, D)."""
        return vector * vector.new_tensor(self.condition_scale) + vector.new_tensor(self.condition_mean)

    def described_networks(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """Return the network with one example image."""
        return {"network": (self.network, (torch.zeros(1, *self.image_shape),))}

    def score_agreement(self, stage: str) -> ScoreAgreement:
        """Return all predicted and given scores of ``stage`` (``val`` or ``test``), in their unit.

        Of several processes all must call it.
        """
        agreement: ScoreAgreement = self._score_pairs(stage).compute()
        return agreement

    def _score_pairs(self, stage: str) -> ScorePairs:
        pairs = self._pairs[f"{stage}_scores"]
        assert isinstance(pairs, ScorePairs)
        return pairs

    def _predicted_and_given(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return (N, D) predicted and given standardised scores."""
        if batch.condition.vector is None:
            raise ValueError(f"{type(self).__name__} needs batches with a condition vector")
        return self(batch.image), batch.condition.vector

    def _loss(self, predicted: Tensor, given: Tensor) -> Tensor:
        if self.huber_delta is None:
            return F.mse_loss(predicted, given)
        return F.huber_loss(predicted, given, delta=self.huber_delta)

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        predicted, given = self._predicted_and_given(batch)
        loss = self._loss(predicted, given)
        error = self.in_units(predicted.detach()) - self.in_units(given)
        self.log_stage("train", {"loss": loss, "mae": error.abs().mean()}, len(batch))
        return loss

    def _evaluation_step(self, batch: Batch, stage: str) -> None:
        predicted, given = self._predicted_and_given(batch)
        self._score_pairs(stage).update(self.in_units(predicted), self.in_units(given))
        self.log_stage(stage, {"loss": self._loss(predicted, given)}, len(batch))

    def _log_agreement(self, stage: str) -> None:
        agreement = self.score_agreement(stage)
        values: dict[str, Tensor | float] = {}
        for name, by_rater in (
            ("mae", agreement.mean_absolute_error()),
            ("rank_correlation", agreement.rank_correlation()),
        ):
            by_rater = by_rater.to(self.device)
            values[name] = by_rater.mean()
            values |= {
                f"{name}/{rater}": value for rater, value in zip(self.condition_names, by_rater, strict=True)
            }
        self.log_stage(stage, values, len(agreement.given))

    def validation_step(self, batch: Batch) -> None:
        """Log the loss of a batch and keep its scores."""
        self._evaluation_step(batch, "val")

    def test_step(self, batch: Batch) -> None:
        """Log the loss of a batch and keep its scores."""
        self._evaluation_step(batch, "test")

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation's scores."""
        self._score_pairs("val").reset()

    def on_validation_epoch_end(self) -> None:
        """Log mean absolute error and rank correlation, in total and of each rater."""
        self._log_agreement("val")

    def on_test_epoch_start(self) -> None:
        """Forget the last test's scores."""
        self._score_pairs("test").reset()

    def on_test_epoch_end(self) -> None:
        """Log mean absolute error and rank correlation, in total and of each rater."""
        self._log_agreement("test")
