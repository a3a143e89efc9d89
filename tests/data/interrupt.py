"""Callbacks that end a run in the middle, for tests of resuming."""

from __future__ import annotations

import os
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from vedute.callbacks.checkpoint import BestAndLast


class Die(Callback):
    """Ends the process at once, as a kill does, before one training batch."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.epoch = epoch
        self.batch = batch

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            os._exit(137)


class SaveAndDie(Die):
    """Writes ``last.ckpt`` in the middle of the epoch first, as the interval of minutes does."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx + 1) == (self.epoch, self.batch):
            assert isinstance(trainer.checkpoint_callback, ModelCheckpoint)
            trainer.save_checkpoint(Path(str(trainer.checkpoint_callback.dirpath)) / "last.ckpt")


class Stop(Checkpoint):  # so that it comes last
    """Writes ``last.ckpt`` amid an epoch and ends the training."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.epoch, self.batch = epoch, batch

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx + 1) == (self.epoch, self.batch):
            (keeper,) = (one for one in trainer.callbacks if isinstance(one, BestAndLast))  # type: ignore[attr-defined]
            keeper._write(trainer, keeper.last)
            raise KeyboardInterrupt
