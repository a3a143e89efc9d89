"""``checkpoints/last.ckpt`` and ``checkpoints/best.ckpt`` of a run, and the next best if wanted."""

from __future__ import annotations

import errno
import math
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from vedute.cluster.ending import Preemption, agreed
from vedute.data.loading import ImageLoader
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


_DUE, _ASKED = 1, 2
"""Why ``last.ckpt`` is written amid an epoch: its time has come, or the training was asked to end."""

LOGGED_STEP = "logged_step"
"""Where a checkpoint keeps the last step whose rows in the loggers belong to it."""


class BestAndLast(ModelCheckpoint):
    """Keeps the newest and the best state of a run, under fixed names.

    ``last.ckpt`` is written after every epoch, every ``minutes`` within one, and when the
    job's scheduler asks the process to end; training resumed from it is as if it had never
    stopped. ``best.ckpt`` is the state with the best value of ``monitor``; ``best-2.ckpt``,
    ``best-3.ckpt``, ... are the next, as many as wanted. All are replaced whole: a kill while
    one is written leaves the one before. The disk needs room for one more than there are.
    """

    def __init__(
        self,
        monitor: str | None = "val/loss",
        mode: Literal["min", "max"] = "min",
        minutes: float = 10.0,
        keep: int = 1,
    ) -> None:
        """Say what best means.

        Args:
            monitor: The logged value that decides ``best.ckpt``; None: best is the last.
            mode: Whether lower (``min``) or higher (``max``) is better.
            minutes: Longest time between two writings of ``last.ckpt``, minutes.
            keep: Number of best states that are kept.

        Raises:
            ConfigurationError: A number is out of its range, or several are kept without a ``monitor``.
        """
        if minutes <= 0:
            raise ConfigurationError(f"checkpoint.minutes must be above 0, got {minutes}.")
        if keep < 1 or (keep > 1 and monitor is None):
            needs = (
                "needs checkpoint.monitor to tell which are the best" if keep > 1 else "must be at least 1"
            )
            raise ConfigurationError(f"checkpoint.keep {needs}, got {keep}.")
        super().__init__(
            monitor=monitor, mode=mode, auto_insert_metric_name=False, enable_version_counter=False
        )
        self.seconds = minutes * 60
        self.keep = keep
        self._scores: list[float] = []
        self._written_at = 0.0
        self._validated = False
        self._preemption: Preemption | None = None

    @property
    def state_key(self) -> str:
        """Where a checkpoint keeps this callback's state, whatever its options."""
        return type(self).__name__

    def state_dict(self) -> dict[str, object]:
        """Return the best scores so far, best first."""
        return {
            "monitor": self.monitor,
            "mode": self.mode,
            "best_score": self._scores[0] if self._scores else None,
            "scores": list(self._scores),
        }

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Go on from the best scores of the run, if they are this run's and mean the same."""
        if (state_dict.get("monitor"), state_dict.get("mode")) != (self.monitor, self.mode):
            return
        scores = state_dict.get("scores", [state_dict.get("best_score")])
        assert isinstance(scores, list)
        for rank, score in enumerate(scores[: self.keep]):
            if not isinstance(score, float) or not self.ranked(rank).is_file():
                break
            self._scores.append(score)
        if self._scores:
            self._announce()

    def _announce(self) -> None:
        """Say what the best is, by the names that Lightning's loggers know."""
        self.best_model_score = torch.tensor(self._scores[0])
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
        return self.ranked(0)

    def ranked(self, rank: int) -> Path:
        """Path of the state that only ``rank`` others are better than."""
        return Path(self.dirpath or ".") / (f"best-{rank + 1}.ckpt" if rank else "best.ckpt")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the run's folder, and clear what a kill left half-written."""
        self.dirpath = str(run_folder(trainer) / CHECKPOINTS)
        callbacks: list[Callback] = getattr(trainer, "callbacks", [])
        self._preemption = next((one for one in callbacks if isinstance(one, Preemption)), None)
        if stage == "fit" and trainer.is_global_zero and not is_trial(trainer):
            for leftover in Path(self.dirpath).glob(".*.partial"):
                leftover.unlink(missing_ok=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and put the loader where the checkpoint left it."""
        self._written_at = time.monotonic()
        # Lightning forgets to when a schedule asked for the number of steps before it had restored
        # its loops; nothing happens here when it did not.
        trainer.fit_loop._load_combined_loader_states()
        loader = trainer.train_dataloader
        if isinstance(loader, ImageLoader) and loader.regrouped:
            _recount(trainer, loader)

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
        wish = _DUE if time.monotonic() - self._written_at >= self.seconds else 0
        if self._preemption is not None and self._preemption.asked:
            wish = _ASKED
        wish = agreed(trainer, wish)  # one exchange for both
        if wish:
            self._write(trainer, self.last)
        if wish == _ASKED and self._preemption is not None:
            self._preemption.checkpoint_written()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that ``monitor`` has a new value; keep a state that is good amid an epoch."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self._validated = True
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return  # the end of the epoch does it
        rank = self._rank(trainer)
        if rank is not None:
            self._write(trainer, self.ranked(rank))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``last.ckpt``, and keep it where it is one of the best too."""
        rank = self._rank(trainer)
        self._write(trainer, self.last)
        if rank is not None:
            self._same(trainer, self.ranked(rank))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do nothing: every training ends with the end of an epoch, whole or not."""

    def _rank(self, trainer: Trainer) -> int | None:
        """Return this state's place among the best, 0 the first, and make room for it; None: it has none."""
        if self.monitor is None:
            self.best_model_path = str(self.best)
            return 0
        score = trainer.callback_metrics.get(self.monitor)
        if score is None:
            if self._validated:
                known = ", ".join(sorted(trainer.callback_metrics))
                raise ConfigurationError(
                    f"checkpoint.monitor '{self.monitor}' is not logged. Logged: {known}."
                )
            return None
        self.current_score = score.detach().float().cpu()
        value = trainer.strategy.broadcast(float(self.current_score))  # all ranks do the same
        if math.isnan(value):
            return None
        rank = sum(not (value < one if self.mode == "min" else value > one) for one in self._scores)
        if rank >= self.keep:
            return None
        if trainer.is_global_zero and not is_trial(trainer):
            for before in reversed(range(rank, min(len(self._scores), self.keep - 1))):
                _repeat(self.ranked(before), self.ranked(before + 1))
        self._scores = [*self._scores[:rank], value, *self._scores[rank:]][: self.keep]
        self._announce()
        return rank

    def _write(self, trainer: Trainer, path: Path) -> None:
        if is_trial(trainer):
            return
        if path == self.last:
            self.last_model_path = str(path)
            self._written_at = time.monotonic()
        self._save_checkpoint(trainer, str(path))

    def _same(self, trainer: Trainer, path: Path) -> None:
        """Make ``path`` the file that ``last.ckpt`` is now, without writing it again."""
        if is_trial(trainer):
            return
        linked = not trainer.is_global_zero or _link(self.last, path)
        if not trainer.strategy.reduce_boolean_decision(linked):
            self._write(trainer, path)


def _recount(trainer: Trainer, loader: ImageLoader) -> None:
    """Count batches as if all had been of today's size: schedules and an epoch's end follow the count."""
    done = loader.position(trainer.current_epoch)
    progress = trainer.fit_loop.epoch_loop.batch_progress
    for counted, batches in (
        (progress.current, done),
        (progress.total, trainer.current_epoch * len(loader) + done),
    ):
        # What was saved at the end of a batch was not completed yet; Lightning makes up for that.
        open_ = getattr(counted, "processed") - counted.completed  # noqa: B009  # its types know less
        for name in ("ready", "started", "processed"):
            setattr(counted, name, batches)
        counted.completed = batches - open_


def _link(source: Path, target: Path) -> bool:
    """Let two names mean one file, ``target`` always a whole one; False where that cannot be."""
    temporary = _beside(target)
    try:
        os.link(source, temporary)
        temporary.replace(target)
    except OSError:  # file systems without hard links, sharded checkpoints (folders)
        temporary.unlink(missing_ok=True)
        return False
    return True


def _repeat(source: Path, target: Path) -> None:
    """Keep a checkpoint under another name too, since its own will mean another one."""
    if not source.exists() or _link(source, target):
        return
    temporary = _beside(target)
    if source.is_dir():
        shutil.copytree(source, temporary)
        shutil.rmtree(target, ignore_errors=True)
    else:
        shutil.copyfile(source, temporary)
    temporary.replace(target)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial")
