"""Random numbers that depend on the seed and the place in training, on nothing else."""

from __future__ import annotations

import os
import random

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

_TRANSFER, _STEP = 0, 1


class Reproducible(Callback):
    """Seeds torch, numpy and random before each training batch from (seed, epoch, batch, rank).

    A run that was killed and resumed therefore draws the same latent noise and the same
    augmentations as one that was never stopped, and what a callback draws during validation
    cannot change training. Each batch is seeded twice: before it is transferred, which is when
    it is augmented and for which Lightning has no hook, and before its step.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the first batch, also when it lies in the middle of an epoch."""
        self._seed_next(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the epoch's first batch."""
        self._seed_next(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Seed this batch's step."""
        _seed(trainer, batch_idx, _STEP)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Seed the next batch."""
        _seed(trainer, batch_idx + 1, _TRANSFER)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the next batch again: validation may have drawn numbers."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._seed_next(trainer)

    def _seed_next(self, trainer: Trainer) -> None:
        _seed(trainer, trainer.fit_loop.epoch_loop.batch_progress.current.ready, _TRANSFER)


def _seed(trainer: Trainer, batch: int, purpose: int) -> None:
    seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
    words = [seed, trainer.current_epoch, batch, trainer.global_rank, purpose]
    word = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])
    # Not torch.manual_seed: it visits every backend, a millisecond for each call.
    torch.default_generator.manual_seed(word % 2**63)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # untyped in torch
        torch.cuda.manual_seed_all(word % 2**63)
    random.seed(word)
    np.random.seed(word % 2**32)
