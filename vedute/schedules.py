"""Schedules: how a learning rate or a loss weight changes while training goes on.

A schedule is a callable from :class:`Progress` to a multiplier. It keeps no state, so a
resumed run continues exactly where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Progress:
    """How far training is.

    Attributes:
        epoch: Epochs done, with fraction.
        fraction: Share of the planned training that is done, in [0, 1]; 0 where no end is planned.
    """

    epoch: float
    fraction: float


Schedule = Callable[[Progress], float]
"""From progress to the multiplier of a learning rate or weight."""


@runtime_checkable
class Budget(Protocol):
    """Something that ends training by another measure than epochs; see ``vedute.callbacks.budget``."""

    @property
    def limited(self) -> bool:
        """Whether it will end training."""

    @property
    def fraction(self) -> float:
        """Share of it that is spent, in [0, 1]; 0 without a limit."""


class Constant:
    """The same multiplier all the time."""

    def __init__(self, value: float = 1.0) -> None:
        """Keep ``value`` as the multiplier."""
        self.value = value

    def __call__(self, progress: Progress) -> float:
        """Return the multiplier, whatever the progress."""
        return self.value


class LinearWarmup:
    """Rises linearly from ``start`` to 1 during the first ``epochs`` epochs, then stays.

    Used for KL weights (Bowman et al. 2016, https://arxiv.org/abs/1511.06349).
    """

    def __init__(self, epochs: float | None = None, start: float = 0.0) -> None:
        """Say how long.

        Args:
            epochs: Above 0; None: the whole training.
            start: The multiplier at the beginning.

        Raises:
            ValueError: ``epochs`` is not above 0.
        """
        if epochs is not None and epochs <= 0:
            raise ValueError(f"LinearWarmup needs epochs > 0, got {epochs}")
        self.epochs = epochs
        self.start = start

    def __call__(self, progress: Progress) -> float:
        """Return the multiplier at this progress."""
        done = progress.fraction if self.epochs is None else min(1.0, progress.epoch / self.epochs)
        return self.start + (1 - self.start) * done


class FromEpoch:
    """0 before an epoch, 1 from it on: a loss term that enters late."""

    def __init__(self, epoch: float) -> None:
        """Start after ``epoch`` >= 0 epochs.

        Raises:
            ValueError: ``epoch`` is negative.
        """
        if epoch < 0:
            raise ValueError(f"FromEpoch needs an epoch of at least 0, got {epoch}")
        self.epoch = epoch

    def __call__(self, progress: Progress) -> float:
        """Return the multiplier at this progress."""
        return float(progress.epoch >= self.epoch)


class WarmupCosine:
    """Linear rise during the first ``warmup`` share of training, then a cosine down to ``final``.

    Source: Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983 (without restarts).
    """

    def __init__(self, warmup: float = 0.05, final: float = 0.0, start: float = 0.001) -> None:
        """Keep the shares.

        Args:
            warmup: Share of training spent rising, in [0, 1).
            final: Multiplier at the end of training.
            start: Multiplier at the beginning, where there is a warm-up.

        Raises:
            ValueError: ``warmup`` is not in [0, 1).
        """
        if not 0 <= warmup < 1:
            raise ValueError(f"WarmupCosine needs warmup in [0, 1), got {warmup}")
        self.warmup = warmup
        self.final = final
        self.start = start

    def __call__(self, progress: Progress) -> float:
        """Return the multiplier at this progress."""
        if progress.fraction < self.warmup:
            return self.start + (1 - self.start) * progress.fraction / self.warmup
        done = (progress.fraction - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
