"""Steps of the Trainer and of hand-written loops in turns, on the same batches."""

from __future__ import annotations

import logging
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from lightning_modules.base import ImageModule
from vedute.batch import Batch, Condition
from vedute.hardware import best_precision

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

WARM_UP = 3
"""Rounds that are left out."""


def now() -> float:
    """Return the time in seconds, after all that a GPU was asked for is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Images:
    """As many equal-sized batches of random images as asked for, all in memory."""

    def __init__(self, batches: int, batch_size: int, module: ImageModule) -> None:
        """Draw them, with conditions of the module's kind; four different ones that repeat."""
        generator = torch.Generator().manual_seed(0)
        self.batches = batches
        self.kept = []
        for _ in range(4):
            image = torch.rand(batch_size, 3, *module.image_size, generator=generator)
            condition = Condition()
            if module.condition_size:
                label = torch.randint(module.condition_size, (batch_size,), generator=generator)
                condition.vector = F.one_hot(label, module.condition_size).float()
            if module.condition_channels:
                condition.image = (image[:, :1] > 0.5).float()
            # As the datamodules deliver them: channels last.
            self.kept.append(Batch(image.contiguous(memory_format=torch.channels_last), condition))

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.batches

    def __getitem__(self, position: int) -> Batch:
        """Return a batch."""
        return self.kept[position % len(self.kept)]


class Interleaved(Callback):
    """Times the Trainer's steps, and before each one a step of every hand-written loop."""

    def __init__(self, others: dict[str, Callable[[Batch], Tensor]]) -> None:
        """Keep the loops to compare with."""
        self.others = others
        self.seconds: dict[str, list[float]] = {name: [] for name in (*others, "package")}
        self._started = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Run and time the other loops on the same batch, then start the clock."""
        with torch.enable_grad():
            for name, step in self.others.items():
                started = now()
                step(batch)
                self.seconds[name].append(now() - started)
        self._started = now()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Stop the clock."""
        self.seconds["package"].append(now() - self._started)

    def median(self, name: str) -> float:
        """Return the median time of a loop's step, seconds."""
        return statistics.median(self.seconds[name][WARM_UP:])

    def ratio(self, name: str, other: str) -> float:
        """Return how often a step of ``name`` fits into one of ``other``: the median over rounds."""
        pairs = zip(self.seconds[other], self.seconds[name], strict=True)
        return statistics.median([a / b for a, b in pairs][WARM_UP:])


def measure(
    module: ImageModule, others: dict[str, Callable[[Batch], Tensor]], rounds: int, batch_size: int
) -> Interleaved:
    """Train a module under the Trainer and the other loops beside it, on a GPU if there is one.

    Args:
        module: The package's own.
        others: Hand-written steps by name, on the same device.
        rounds: Measured steps of each.
        batch_size: Images in a batch.

    Returns:
        The times.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    timing = Interleaved(others)
    steps = rounds + WARM_UP
    trainer = Trainer(
        accelerator="gpu" if torch.cuda.is_available() else "cpu",
        devices=1,
        max_epochs=1,
        precision=best_precision("auto"),
        callbacks=[timing],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    images = Images(steps, batch_size, module)
    trainer.fit(module, DataLoader(images, batch_size=None, shuffle=False))  # type: ignore[arg-type]
    return timing


def report(name: str, module: ImageModule, timing: Interleaved, batch_size: int) -> None:
    """Print the times of all loops."""
    weights = sum(one.numel() for one in module.parameters() if one.requires_grad)
    height, width = module.image_size
    print(
        f"{name}: {weights:,} weights, {height}x{width}, batch {batch_size}, "
        f"{DEVICE}, {torch.get_num_threads()} threads, {best_precision('auto')}"
    )
    for loop in timing.seconds:
        seconds = timing.median(loop)
        print(
            f"{loop:<28}{1000 * seconds:8.1f} ms {batch_size / seconds:9.0f} images/s   "
            f"{timing.ratio(loop, 'plain'):5.2f} x as fast as plain"
        )
