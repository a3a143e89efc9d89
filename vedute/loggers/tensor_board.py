"""TensorBoard's event files."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger
from lightning_utilities.core.rank_zero import rank_zero_only


class RunTensorBoardLogger(TensorBoardLogger):
    """TensorBoard event files in the run folder itself."""

    def __init__(self, folder: Path, kept_step: int | None = None) -> None:
        """Log to ``folder``; TensorBoard hides what it has after ``kept_step``."""
        super().__init__(folder, name="", version="", default_hp_metric=False)
        if kept_step is not None:
            self._kwargs["purge_step"] = kept_step + 1

    @rank_zero_only
    def log_hyperparams(self, *args: object, **kwargs: object) -> None:
        """Do nothing: ``config.yaml`` holds them, and TensorBoard's table needs a final metric."""

    @rank_zero_only
    def save(self) -> None:
        """Write the events out, and not the ``hparams.yaml`` that Lightning's logger adds."""
        if self._experiment is not None:
            self._experiment.flush()
