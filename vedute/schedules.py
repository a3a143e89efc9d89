"""Schedules: how a learning rate or a loss weight changes while training goes on.

A schedule is a callable from :class:`Progress` to a multiplier. It keeps no state, so a
resumed run continues exactly where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from vedute.errors import ConfigurationError


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


def follows_fraction(schedule: Schedule) -> bool:
    """Whether a schedule depends on the share of the training that is done."""
    return len({schedule(Progress(0.0, share / 8)) for share in range(9)}) > 1


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
        """Keep ``value`` as the multiplier.

        Raises:
            ConfigurationError: It is negative or no number.
        """
        self.value = _at_least_zero("Constant needs a value", value)

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
            ConfigurationError: ``epochs`` is not above 0, or ``start`` is negative or no number.
        """
        if epochs is not None and not 0 < epochs < math.inf:
            raise ConfigurationError(f"LinearWarmup needs epochs > 0 (null: the whole run), got {epochs}.")
        self.epochs = epochs
        self.start = _at_least_zero("LinearWarmup needs a start", start)

    def __call__(self, progress: Progress) -> float:
        """Return the multiplier at this progress."""
        done = progress.fraction if self.epochs is None else min(1.0, progress.epoch / self.epochs)
        return self.start + (1 - self.start) * done


class FromEpoch:
    """0 before an epoch, 1 from it on: a loss term that enters late."""

    def __init__(self, epoch: float) -> None:
        """Start after ``epoch`` >= 0 epochs.

        Raises:
            ConfigurationError: ``epoch`` is negative or no number.
        """
        self.epoch = _at_least_zero("FromEpoch needs an epoch", epoch)

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
            ConfigurationError: ``warmup`` is not in [0, 1), or another one is negative or no number.
        """
        if not 0 <= warmup < 1:
            raise ConfigurationError(f"WarmupCosine needs warmup in [0, 1), got {warmup}.")
        self.warmup = warmup
        self.final = _at_least_zero("WarmupCosine needs a final multiplier", final)
        self.start = _at_least_zero("WarmupCosine needs a start", start)

    def __call__(self, progress: Progress) -> float:
        """Return the multiplier at this progress."""
        if progress.fraction < self.warmup:
            return self.start + (1 - self.start) * progress.fraction / self.warmup
        done = (progress.fraction - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


class SigmoidFall:
    """From 1 to 0 along a sigmoid between two shares of a run.

    Source: the curriculum of Zhang et al. 2025 (alpha-Flow), https://arxiv.org/abs/2510.20771.
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, steepness: float = 25.0) -> None:
        """Say where and how steeply.

        Args:
            start: Share of the run before which it is 1, or nearly so.
            end: Share of the run from which it is 0, or nearly so.
            steepness: Of the sigmoid, per whole run.

        Raises:
            ConfigurationError: A number is out of its range.
        """
        if not 0 <= start < end <= 1 or steepness <= 0:
            raise ConfigurationError(
                f"SigmoidFall needs 0 <= start < end <= 1 and a steepness above 0, got {start:g}, {end:g}, "
                f"{steepness:g}."
            )
        self.start, self.end, self.steepness = start, end, steepness

    def __call__(self, progress: Progress) -> float:
        """Return the value at a place of the run."""
        if progress.fraction >= self.end or progress.fraction < self.start:
            return float(progress.fraction < self.start)
        middle = (self.start + self.end) / 2
        return 1 / (1 + math.exp(self.steepness * (progress.fraction - middle)))


class WarmupDecay:
    """Linear rise, constant, and a linear fall to ``final`` at the end: also called trapezoid.

    The length of the constant part can be changed without changing what came before it.

    Source: Hägele et al. 2024, https://arxiv.org/abs/2405.18392.
    """

    def __init__(self, warmup: float = 0.03, decay: float = 0.3, final: float = 0.0) -> None:
        """Keep the shares.

        Args:
            warmup: Share of training spent rising, in [0, 1).
            decay: Share of training spent falling, at its end, in [0, 1 - warmup].
            final: Multiplier at the end of training.

        Raises:
            ConfigurationError: A share is out of its range, or ``final`` negative or no number.
        """
        if not 0 <= warmup < 1 or not 0 <= decay <= 1 - warmup:
            raise ConfigurationError(
                f"WarmupDecay needs warmup in [0, 1) and decay in [0, 1 - warmup], got {warmup}, {decay}."
            )
        self.warmup = warmup
        self.decay = decay
        self.final = _at_least_zero("WarmupDecay needs a final multiplier", final)

    def __call__(self, progress: Progress) -> float:
        """Return the multiplier at this progress."""
        if progress.fraction < self.warmup:
            return max(0.001, progress.fraction / self.warmup)
        left = (1 - progress.fraction) / self.decay if self.decay else 1.0
        return self.final + (1 - self.final) * min(1.0, left)


def check_schedule(schedule: Schedule, option: str) -> None:
    """Make sure that something given as a schedule is one.

    Args:
        schedule: What was given.
        option: Where, for the message.

    Raises:
        ConfigurationError: Called with the progress it returns no number of at least 0.
    """
    for progress in (Progress(0.0, 0.0), Progress(1.0, 1.0)):
        try:
            value = float(schedule(progress))
        except TypeError as error:
            raise ConfigurationError(
                f"{option}: {type(schedule).__name__} is no schedule, which makes a multiplier of the "
                "progress of training: choose one of vedute.schedules, e.g. LinearWarmup."
            ) from error
        _at_least_zero(f"{option}: {type(schedule).__name__} must return a multiplier", value)


def _at_least_zero(what: str, value: float) -> float:
    if not 0 <= value < math.inf:
        raise ConfigurationError(f"{what} of at least 0, got {value}.")
    return value
