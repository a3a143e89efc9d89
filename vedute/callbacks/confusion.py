"""The confusion matrix of a classifier as a picture of its run."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric

from vedute.callbacks.pictures import save_picture
from vedute.report.confusion import confusion_picture


@runtime_checkable
class HasConfusion(Protocol):
    """A module that counts what each class is taken for, in ``val`` and ``test``."""

    condition_names: list[str]

    def confusion_matrix(self, stage: str) -> Metric:
        """Return the metric whose ``compute`` is (D, D): true classes in rows."""


class ConfusionPicture(Callback):
    """Draws the confusion matrix of the most accurate validation, and of the test.

    To ``samples/confusion_val.png`` at the end of training and ``samples/confusion_test.png``
    after ``test`` in the run folder, and to every logger.
    """

    def __init__(self) -> None:
        """Start without a matrix."""
        self._best: Tensor | None = None
        self._epoch = 0

    def state_dict(self) -> dict[str, object]:
        """Return the best matrix so far."""
        return {"best": self._best, "epoch": self._epoch}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Go on from the best matrix of the run."""
        best, epoch = state_dict.get("best"), state_dict.get("epoch")
        self._best = best if isinstance(best, Tensor) else None
        self._epoch = epoch if isinstance(epoch, int) else 0

    @staticmethod
    def _compute(module: LightningModule, stage: str) -> Tensor | None:
        if not isinstance(module, HasConfusion):
            return None
        matrix: Tensor = module.confusion_matrix(stage).compute()  # all ranks take part
        return matrix.detach().cpu()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the matrix if it is the most accurate so far."""
        if trainer.sanity_checking:
            return
        matrix = self._compute(pl_module, "val")
        if matrix is not None and (self._best is None or _accuracy(matrix) > _accuracy(self._best)):
            self._best, self._epoch = matrix, trainer.current_epoch + 1

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the best validation's matrix."""
        if self._best is not None:
            self._save(trainer, pl_module, self._best, "val", f"validation, epoch {self._epoch}")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the test's matrix."""
        matrix = self._compute(pl_module, "test")
        if matrix is not None:
            self._save(trainer, pl_module, matrix, "test", "test")

    @staticmethod
    def _save(trainer: Trainer, module: LightningModule, matrix: Tensor, stage: str, what: str) -> None:
        if not trainer.is_global_zero or not isinstance(module, HasConfusion):
            return
        names = module.condition_names
        title = f"{_accuracy(matrix):.1%} right ({what})"
        picture = confusion_picture(matrix, names, names, title)
        save_picture(trainer, picture, f"confusion_{stage}", f"confusion_{stage}.png")


def _accuracy(matrix: Tensor) -> float:
    return float(matrix.trace() / torch.clamp(matrix.sum(), min=1))
