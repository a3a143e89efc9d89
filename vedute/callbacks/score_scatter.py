"""Predicted against given scores of a regressor as a picture of its run."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vedute.callbacks.pictures import save_picture
from vedute.metrics.scores import ScoreAgreement
from vedute.report.score_scatter import score_scatter


@runtime_checkable
class HasScores(Protocol):
    """A module that keeps predicted and given scores of ``val`` and ``test``."""

    condition_names: list[str]

    def score_agreement(self, stage: str) -> ScoreAgreement:
        """Return the scores of a stage, in their unit; of several processes all must call it."""


class ScoreScatter(Callback):
    """Draws predicted against given scores of the best validation, and of the test.

    Best is the lowest mean absolute error, as the mean of raters. To ``samples/scores_val.png`` at the
    end of training and ``samples/scores_test.png`` after ``test`` in the run folder, and to every
    logger.
    """

    def __init__(self) -> None:
        """Start without scores."""
        self._best: ScoreAgreement | None = None
        self._epoch = 0

    def state_dict(self) -> dict[str, object]:
        """Return the best validation's scores so far."""
        best = self._best
        return {
            "predicted": None if best is None else best.predicted,
            "given": None if best is None else best.given,
            "epoch": self._epoch,
        }

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Go on from the best scores of the run."""
        predicted, given = state_dict.get("predicted"), state_dict.get("given")
        if isinstance(predicted, Tensor) and isinstance(given, Tensor):
            self._best = ScoreAgreement(predicted, given)
        epoch = state_dict.get("epoch")
        self._epoch = epoch if isinstance(epoch, int) else 0

    @staticmethod
    def _agreement(module: LightningModule, stage: str) -> ScoreAgreement | None:
        if not isinstance(module, HasScores):
            return None
        found = module.score_agreement(stage)  # all ranks take part
        return ScoreAgreement(found.predicted.cpu(), found.given.cpu())

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the scores if they are the best so far."""
        if trainer.sanity_checking:
            return
        agreement = self._agreement(pl_module, "val")
        if agreement is not None and (self._best is None or _error(agreement) < _error(self._best)):
            self._best, self._epoch = agreement, trainer.current_epoch + 1

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the best validation's scores."""
        if self._best is not None:
            self._save(trainer, pl_module, self._best, "val", f"Best validation, epoch {self._epoch}")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the test's scores."""
        agreement = self._agreement(pl_module, "test")
        if agreement is not None:
            self._save(trainer, pl_module, agreement, "test", "Test")

    @staticmethod
    def _save(
        trainer: Trainer, module: LightningModule, agreement: ScoreAgreement, stage: str, what: str
    ) -> None:
        if not trainer.is_global_zero or not isinstance(module, HasScores):
            return
        picture = score_scatter(agreement, module.condition_names, f"{what}: {len(agreement.given)} images")
        save_picture(trainer, picture, f"scores_{stage}", f"scores_{stage}.png")


def _error(agreement: ScoreAgreement) -> float:
    return float(agreement.mean_absolute_error().mean())
