"""How fast training is, and how much of it is waiting for data."""

from __future__ import annotations

import time

from lightning.pytorch import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Logs ``train/images_per_second`` and ``train/data_wait``, the share of time spent waiting for data.

    Data wait is the time between the end of one batch and the start of the next, which
    holds the loader, the transfer to the device and the augmentation. Both are means over
    the batches since they were logged last.
    """

    def __init__(self, every_n_batches: int = 50) -> None:
        """Log every ``every_n_batches`` training batches and at the end of an epoch."""
        if every_n_batches < 1:
            raise ValueError(f"Throughput needs every_n_batches >= 1, got {every_n_batches}")
        self.every_n_batches = every_n_batches
        self._reset(None)

    def _reset(self, now: float | None) -> None:
        self._last_end = now
        self._wait = self._total = 0.0
        self._images = self._batches = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock without what lies between two epochs (validation, grids)."""
        self._reset(time.perf_counter())

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Note how long the batch took to arrive."""
        now = time.perf_counter()
        if self._last_end is not None:
            self._wait += now - self._last_end
            self._total += now - self._last_end
        self._start = now

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Note how long the step took; log now and then."""
        now = time.perf_counter()
        self._total += now - self._start
        self._last_end = now
        self._images += len(batch) * trainer.world_size  # type: ignore[arg-type]  # every batch has a length
        self._batches += 1
        if self._batches >= self.every_n_batches or trainer.is_last_batch:
            values = {
                "train/images_per_second": self._images / max(self._total, 1e-9),
                "train/data_wait": self._wait / max(self._total, 1e-9),
            }
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.fit_loop.epoch_loop.total_batch_idx)
            self._reset(now)
