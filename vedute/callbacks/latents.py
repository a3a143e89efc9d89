"""A table of what each latent dimension carries, epoch by epoch."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vedute.metrics.latent import LatentStatistics
from vedute.run_folder import run_folder


@runtime_checkable
class HasLatents(Protocol):
    """A module that collects latent statistics under ``train_latents``, ``val_latents``, ..."""

    latent_statistics: Mapping[str, LatentStatistics]


class LatentTable(Callback):
    """Writes the KL divergence of each latent dimension to ``latents.csv`` in the run folder.

    One row per epoch and stage: epoch, stage, then the mean KL in nats of each dimension.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the row of the training epoch."""
        self._write(trainer, pl_module, "train")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the row of the validation."""
        if not trainer.sanity_checking:
            self._write(trainer, pl_module, "val")

    def _write(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        if not isinstance(module, HasLatents):
            return
        values: Tensor = module.latent_statistics[f"{stage}_latents"].compute()[0]  # all ranks take part
        if not trainer.is_global_zero:
            return
        path = run_folder(trainer) / "latents.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["epoch", "stage", *(f"kl_{i}" for i in range(len(values)))])
            writer.writerow([trainer.current_epoch, stage, *(f"{value:.5f}" for value in values.tolist())])
