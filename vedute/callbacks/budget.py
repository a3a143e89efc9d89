"""Training for a given time, and how much time a training took."""

from __future__ import annotations

import logging
import math
import time

from lightning.pytorch import Callback, LightningModule, Trainer

from vedute.errors import ConfigurationError

_log = logging.getLogger("vedute.budget")


class TimeBudget(Callback):
    """Counts the time of a training and ends it when a budget is spent.

    Schedules that depend on the share of the training that is done follow the budget (see
    ``vedute.schedules.Budget``), so a cosine ends with it. Time spent before a run was resumed counts.
    Processor time is the same beside other work, which makes it fit for comparisons of models on a
    shared machine; on a GPU it says little.
    """

    def __init__(self, minutes: float | None = None, processor: bool = False) -> None:
        """Say how long.

        Args:
            minutes: Length of the training, validations included; null: no limit.
            processor: Count minutes of processor time (of all cores together) instead of the clock's.

        Raises:
            ConfigurationError: ``minutes`` is not above 0.
        """
        if minutes is not None and not 0 < minutes < math.inf:
            raise ConfigurationError(
                f"budget.minutes must be a number above 0 (null: no limit), got {minutes}."
            )
        self.minutes = minutes
        self.processor = processor
        self._before = (0.0, 0.0)
        self._start = (0.0, 0.0)
        self._running = False
        self._spent = 0.0

    @property
    def state_key(self) -> str:
        """Where a checkpoint keeps this callback's state, whatever its options."""
        return type(self).__name__

    def _elapsed(self) -> tuple[float, float]:
        """Return wall-clock and processor seconds of the whole training so far."""
        if not self._running:
            return self._before
        wall, processor = time.monotonic() - self._start[0], time.process_time() - self._start[1]
        return self._before[0] + wall, self._before[1] + processor

    def state_dict(self) -> dict[str, float]:
        """Return the time spent so far, seconds."""
        wall, processor = self._elapsed()
        return {"wall_seconds": wall, "processor_seconds": processor}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on counting from a checkpoint's time."""
        self._before = (
            float(state_dict.get("wall_seconds", 0.0)),
            float(state_dict.get("processor_seconds", 0.0)),
        )
        self._spent = self._before[1 if self.processor else 0]

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self.minutes is not None

    @property
    def fraction(self) -> float:
        """Share of the budget that is spent, in [0, 1]; 0 without a limit."""
        return 0.0 if self.minutes is None else min(1.0, self._spent / (60 * self.minutes))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks."""
        self._start = (time.monotonic(), time.process_time())
        self._running = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do not begin where a continued run has spent its budget already."""
        if self.fraction >= 1:
            _log.info("The budget of %g minutes is spent: raise budget.minutes to go on.", self.minutes)
            trainer.should_stop = True

    def on_train_batch_end(self, trainer: Trainer, *args: object) -> None:
        """Look at the clock of rank 0, and end the training when the budget is spent."""
        if self.minutes is None:
            return
        # All ranks follow one clock: a schedule that differed between them would be an error.
        self._spent = trainer.strategy.broadcast(self._elapsed()[1 if self.processor else 0])
        if self.fraction >= 1:
            trainer.should_stop = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clocks."""
        self._before, self._running = self._elapsed(), False
