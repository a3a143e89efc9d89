"""The callback with which ddp.py learns how fast a training is once it runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

from interleaved import now
from lightning.pytorch import Callback, LightningModule, Trainer

from vedute.batch import Batch
from vedute.errors import ConfigurationError


class SteadySpeed(Callback):
    """Writes the time of some training steps after others to a file, and ends the training.

    The time goes from the end of one batch to the end of a later one of the same epoch: what happens between
    epochs is left out, and the clock waits for a GPU only where it starts and stops.
    """

    def __init__(self, path: str, warm_up: int, steps: int) -> None:
        """Measure ``steps`` steps after ``warm_up`` others, and write to ``path``."""
        self.path = path
        self.warm_up = warm_up
        self.steps = steps
        self._done = self._measured = self._images = 0
        self._seconds = self._waited = 0.0
        self._began: float | None = None
        self._ended = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make sure that there is something to measure."""
        if trainer.num_training_batches < 2:
            raise ConfigurationError(
                f"An epoch has {trainer.num_training_batches} batch of {trainer.world_size} processes, at "
                "least 2 are needed: give more images (--data.root) or a smaller --data.batch_size."
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Note how long the batch took to arrive."""
        if self._began is not None:
            self._waited += time.perf_counter() - self._ended

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Count the batch; start and stop the clock."""
        self._done += 1
        if self._began is not None:
            self._measured += 1
            self._images += len(batch) * trainer.world_size
            if trainer.is_last_batch or self._measured == self.steps:
                self._seconds += now() - self._began
                self._began = None
        elif self._done >= self.warm_up and not trainer.is_last_batch:
            self._began = now()
        self._ended = time.perf_counter()
        if self._measured == self.steps:
            trainer.should_stop = True
            if trainer.is_global_zero:
                found = {"images": self._images, "seconds": self._seconds, "waited": self._waited}
                Path(self.path).write_text(json.dumps({**found, "batch_size": len(batch)}))
