"""Callbacks for trainings that are interrupted."""

from __future__ import annotations

import os
import time

from lightning.pytorch import Callback, LightningModule, Trainer


class Slow(Callback):
    """Waits before each training batch."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        time.sleep(self.seconds)


class Signal(Callback):
    """Sends this process a signal in one training batch."""

    def __init__(self, epoch: int, batch: int, number: int) -> None:
        self.place = (epoch, batch)
        self.number = number

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == self.place:
            os.kill(os.getpid(), self.number)
