"""``checkpoints/last.ckpt`` and ``checkpoints/best.ckpt`` of a run."""

from __future__ import annotations

import errno
import os
import secrets
import time
from pathlib import Path
from typing import Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from vedute.errors import ConfigurationError
from vedute.files import whole
from vedute.run_folder import CHECKPOINTS, is_trial, run_folder


class WholeFileIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, straight to the disk.

    Lightning's own first fills memory with a copy, and its temporary file may lie on another
    disk, from where moving it is not atomic.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, object], path: str | Path, storage_options: object = None
    ) -> None:
        """Write ``checkpoint`` to ``path``.

        Raises:
            VeduteError: The disk is full or the folder cannot be written.
        """
        with whole(Path(path)) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:
                # torch's writer reports a full disk as a RuntimeError of its own
                if "No space left" in str(error) or "file write failed" in str(error):
                    raise OSError(errno.ENOSPC, str(error)) from error
                raise


LOGGED_STEP = "logged_step"
"""Where a checkpoint keeps the last step whose rows in the loggers belong to it."""


class BestAndLast(ModelCheckpoint):
    """Keeps the newest and the best state of a run, under fixed names.

    ``last.ckpt`` is written after every epoch, every ``minutes`` within one, and when the
    job's scheduler asks the process to end; training resumed from it is as if it had never
    stopped. ``best.ckpt`` is the state with the best value of ``monitor``. Both are replaced
    whole: a kill while one is written leaves the one before.
    """

    def __init__(
        self, monitor: str | None = "val/loss", mode: Literal["min", "max"] = "min", minutes: float = 10.0
    ) -> None:
        """Say what best means.

        Args:
            monitor: The logged value that decides ``best.ckpt``; None: best is the last.
            mode: Whether lower (``min``) or higher (``max``) is better.
            minutes: Longest time between two writings of ``last.ckpt``, minutes.
        """
        if minutes <= 0:
            raise ConfigurationError(f"checkpoint.minutes must be above 0, got {minutes}.")
        super().__init__(
            monitor=monitor, mode=mode, auto_insert_metric_name=False, enable_version_counter=False
        )
        self.seconds = minutes * 60
        self._written_at = 0.0
        self._validated = False

    @property
    def state_key(self) -> str:
        """Where a checkpoint keeps this callback's state, whatever its options."""
        return type(self).__name__

    def state_dict(self) -> dict[str, object]:
        """Return the best score so far."""
        score = self.best_model_score
        return {
            "monitor": self.monitor,
            "mode": self.mode,
            "best_score": None if score is None else float(score),
        }

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Go on from the best score of the run, if it is this run's and means the same."""
        score = state_dict.get("best_score")
        same = (state_dict.get("monitor"), state_dict.get("mode")) == (self.monitor, self.mode)
        if same and isinstance(score, float) and self.best.is_file():
            self.best_model_score = torch.tensor(score)
            self.best_model_path = str(self.best)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Note the last step whose logged rows belong to the state that is saved."""
        loop = trainer.fit_loop.epoch_loop
        batches = loop.batch_progress.total
        # Lightning counts a step for the loggers after its validation; then the next has begun.
        processed = getattr(batches, "processed")  # noqa: B009  # Lightning's types know less than its objects
        amid = batches.completed < processed or trainer.validating
        checkpoint[LOGGED_STEP] = loop._batches_that_stepped - (0 if amid else 1)

    @property
    def last(self) -> Path:
        """Path of ``last.ckpt``."""
        return Path(self.dirpath or ".") / "last.ckpt"

    @property
    def best(self) -> Path:
        """Path of ``best.ckpt``."""
        return Path(self.dirpath or ".") / "best.ckpt"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the run's folder, and clear what a kill left half-written."""
        self.dirpath = str(run_folder(trainer) / CHECKPOINTS)
        if stage == "fit" and trainer.is_global_zero and not is_trial(trainer):
            for leftover in Path(self.dirpath).glob(".*.partial"):
                leftover.unlink(missing_ok=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and put the loader where the checkpoint left it."""
        self._written_at = time.monotonic()
        # Lightning forgets to when a schedule asked for the number of steps before it had restored
        # its loops; nothing happens here when it did not.
        trainer.fit_loop._load_combined_loader_states()

    def on_train_batch_end(self, trainer: Trainer, *args: object) -> None:
        """Write ``last.ckpt`` when its time has come, at a point that can be resumed exactly."""
        loop = trainer.fit_loop.epoch_loop
        batch = loop.batch_progress.current.ready
        # Before a validation and at the end of an epoch the writing can wait for what follows;
        # amid an accumulation the gradients, which no checkpoint holds, would be lost.
        waits = loop.batch_progress.is_last_batch or batch % trainer.accumulate_grad_batches != 0
        check = trainer.val_check_batch or float("inf")
        if waits or (check != float("inf") and batch % int(check) == 0):
            return
        due = time.monotonic() - self._written_at >= self.seconds or trainer.received_sigterm
        if trainer.strategy.broadcast(due):
            self._write(trainer, self.last)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that ``monitor`` has a new value; write ``best.ckpt`` amid an epoch."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self._validated = True
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch and self._is_better(trainer):
            self._write(trainer, self.best)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``last.ckpt``, and let it be ``best.ckpt`` too where it is the best."""
        better = self._is_better(trainer)
        self._write(trainer, self.last)
        if better:
            self._same(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do nothing: every training ends with the end of an epoch, whole or not."""

    def _is_better(self, trainer: Trainer) -> bool:
        """Whether this state is the best so far; if so, its score is kept."""
        if self.monitor is None:
            return True
        score = trainer.callback_metrics.get(self.monitor)
        if score is None:
            if self._validated:
                known = ", ".join(sorted(trainer.callback_metrics))
                raise ConfigurationError(
                    f"checkpoint.monitor '{self.monitor}' is not logged. Logged: {known}."
                )
            return False
        score = score.detach().float().cpu()
        best = self.best_model_score
        better = best is None or bool(score < best if self.mode == "min" else score > best)
        better = trainer.strategy.reduce_boolean_decision(better and not bool(score.isnan()))
        self.current_score = score
        if better:
            self.best_model_score, self.best_model_path = score, str(self.best)
        return better

    def _write(self, trainer: Trainer, path: Path) -> None:
        if is_trial(trainer):
            return
        if path == self.last:
            self.last_model_path = str(path)
            self._written_at = time.monotonic()
        self._save_checkpoint(trainer, str(path))

    def _same(self, trainer: Trainer) -> None:
        """Make ``best.ckpt`` the file that ``last.ckpt`` is now, without writing it again."""
        if is_trial(trainer):
            return
        self.best_model_path = str(self.best)
        if trainer.is_global_zero:
            temporary = self.best.with_name(f".best.{secrets.token_hex(4)}.partial")
            try:
                os.link(self.last, temporary)
                temporary.replace(self.best)
            except OSError:  # file systems without hard links, sharded checkpoints (folders)
                temporary.unlink(missing_ok=True)
                linked = False
            else:
                linked = True
        else:
            linked = True
        if not trainer.strategy.reduce_boolean_decision(linked):
            self._write(trainer, self.best)
