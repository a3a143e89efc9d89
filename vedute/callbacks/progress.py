"""How a training shows that it is alive: a bar in a terminal, lines in a log file."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar

_LINE_SECONDS = 60.0


def _values(trainer: Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.progress_bar_metrics.items()}


class LossBar(RichProgressBar):
    """Lightning's bar with the losses, without the version number that our runs do not have."""

    def __init__(self) -> None:
        """Redraw every fifth batch: drawing costs a few milliseconds."""
        super().__init__(refresh_rate=5)

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the values beside the bar, four digits each."""
        # a short name leaves the bar on one line
        return {name.removeprefix("train/"): f"{value:.4g}" for name, value in _values(trainer).items()}

    def _get_train_description(self, current_epoch: int) -> str:
        """Return the words before the bar, counting from 1 (Lightning counts from 0)."""
        total = self.trainer.max_epochs
        return f"Epoch {current_epoch + 1}" + (f"/{total}" if total not in (None, -1) else "")


class Lines(Callback, ABC):
    """A line per epoch, and one a minute in long epochs; subclasses say where to."""

    def __init__(self) -> None:
        """Start the clocks."""
        super().__init__()
        self._epoch_start = self._last_line = time.monotonic()

    @abstractmethod
    def say(self, line: str) -> None:
        """Write a line."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self._epoch_start = self._last_line = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, *args: object) -> None:
        """Write a line when the last is a minute ago."""
        if time.monotonic() - self._last_line >= _LINE_SECONDS:
            self._last_line = time.monotonic()
            batch = trainer.fit_loop.epoch_loop.batch_progress.current.ready
            self._line(trainer, f" batch {batch}/{trainer.num_training_batches}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch's line."""
        self._line(trainer, "")

    def _line(self, trainer: Trainer, where: str) -> None:
        total = f"/{trainer.max_epochs}" if trainer.max_epochs not in (None, -1) else ""
        values = "  ".join(f"{name} {value:.4g}" for name, value in _values(trainer).items())
        seconds = time.monotonic() - self._epoch_start
        self.say(f"epoch {trainer.current_epoch + 1}{total}{where}  {values}  ({seconds:.1f} s)")


class EpochLines(Lines, ProgressBar):
    """The lines on stdout, where that is no terminal: a sign of life in a job's log."""

    _enabled = True

    def disable(self) -> None:
        """Say nothing: ranks other than the first."""
        self._enabled = False

    def enable(self) -> None:
        """Print again."""
        self._enabled = True

    def say(self, line: str) -> None:
        """Print a line at once."""
        if self._enabled:
            print(line, flush=True)
