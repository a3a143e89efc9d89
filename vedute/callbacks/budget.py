"""Training for a given time or number of images, and how much of both a training took."""

from __future__ import annotations

import logging
import math
import time

from lightning.pytorch import Callback, LightningModule, Trainer

from vedute.batch import Batch
from vedute.errors import ConfigurationError

_log = logging.getLogger("vedute.budget")


STATE = "TimeBudget"
"""Where checkpoints keep what a training has spent."""


class TrainingBudget(Callback):
    """Counts the time and the images of a training, and ends it when a budget is spent.

    Schedules that depend on the share of the training that is done follow the budget (see
    ``vedute.schedules.Budget``), so a cosine ends with it. Time spent before a run was resumed counts.
    Processor time is the same beside other work, which makes it fit for comparisons of models on a
    shared machine; on a GPU it says little. Images are the same on every machine and for every batch size.
    """

    def __init__(
        self, minutes: float | None = None, processor: bool = False, images: int | None = None
    ) -> None:
        """Say how long; of two limits, the first that is reached ends the training.

        Args:
            minutes: Length of the training, validations included; null: no limit.
            processor: Count minutes of processor time (of all cores together) instead of the clock's.
            images: Number of images that all processes together train on, each as often as it is seen;
                null: no limit.

        Raises:
            ConfigurationError: ``minutes`` or ``images`` is not above 0.
        """
        if minutes is not None and not 0 < minutes < math.inf:
            raise ConfigurationError(
                f"budget.minutes must be a number above 0 (null: no limit), got {minutes}."
            )
        if images is not None and images < 1:
            raise ConfigurationError(f"budget.images must be at least 1 (null: no limit), got {images}.")
        self.minutes = minutes
        self.processor = processor
        self.images = images
        self._before = (0.0, 0.0)
        self._start = (0.0, 0.0)
        self._running = False
        self._spent = 0.0
        self._seen = 0

    @property
    def state_key(self) -> str:
        """Where a checkpoint keeps this callback's state, whatever its options."""
        return STATE

    def _elapsed(self) -> tuple[float, float]:
        """Return wall-clock and processor seconds of the whole training so far."""
        if not self._running:
            return self._before
        wall, processor = time.monotonic() - self._start[0], time.process_time() - self._start[1]
        return self._before[0] + wall, self._before[1] + processor

    def state_dict(self) -> dict[str, float]:
        """Return the time spent so far, seconds, and the images seen."""
        wall, processor = self._elapsed()
        return {"wall_seconds": wall, "processor_seconds": processor, "images": self._seen}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on counting from a checkpoint's time."""
        self._before = (
            float(state_dict.get("wall_seconds", 0.0)),
            float(state_dict.get("processor_seconds", 0.0)),
        )
        self._spent = self._before[1 if self.processor else 0]
        self._seen = int(state_dict.get("images", 0))

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self.minutes is not None or self.images is not None

    @property
    def fraction(self) -> float:
        """Share of the budget that is spent, in [0, 1]; 0 without a limit."""
        time_spent = 0.0 if self.minutes is None else self._spent / (60 * self.minutes)
        images_spent = 0.0 if self.images is None else self._seen / self.images
        return min(1.0, max(time_spent, images_spent))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks."""
        self._start = (time.monotonic(), time.process_time())
        self._running = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do not begin where a continued run has spent its budget already."""
        if self.fraction >= 1:
            _log.info("The budget is spent: raise budget.minutes or budget.images to go on.")
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Count the images, look at the clock of rank 0, and end the training when the budget is spent."""
        self._seen += len(batch) * trainer.world_size
        if not self.limited:
            return
        # All ranks follow one clock: a schedule that differed between them would be an error. Their
        # batches are of one length, except perhaps the last of an epoch.
        elapsed = (self._elapsed()[1 if self.processor else 0], self._seen)
        self._spent, self._seen = trainer.strategy.broadcast(elapsed)
        if self.fraction >= 1:
            trainer.should_stop = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clocks."""
        self._before, self._running = self._elapsed(), False
