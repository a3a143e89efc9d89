"""Times of a flow, t = 0 noise and t = 1 data: those drawn in training, and those a solver stops at."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vedute.errors import ConfigurationError
from vedute.pretrained import did_you_mean


class TrainingTimes(ABC):
    """How the times are distributed at which a flow is trained."""

    def __call__(
        self, count: int, device: torch.device | str = "cpu", generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw times, each by itself.

        Args:
            count: Number N.
            device: Where they lie.
            generator: Of the same device; None: the global one.

        Returns:
            (N,) float32 in [0, 1].
        """
        return self._draw(count, torch.device(device), generator)

    @abstractmethod
    def density(self, t: Tensor) -> Tensor:
        """Return the density at times in (0, 1), of any shape."""

    @abstractmethod
    def _draw(self, count: int, device: torch.device, generator: torch.Generator | None) -> Tensor: ...


@dataclass(frozen=True)
class UniformTimes(TrainingTimes):
    """All times alike."""

    def density(self, t: Tensor) -> Tensor:
        """Return ones; see the base class."""
        return torch.ones_like(t)

    def _draw(self, count: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
        return torch.rand(count, device=device, generator=generator)


@dataclass(frozen=True)
class LogitNormalTimes(TrainingTimes):
    """Times whose logit is normal: most of them in the middle, where the network's task is hardest.

    Source: Esser et al. 2024 (Stable Diffusion 3), https://arxiv.org/abs/2403.03206, where t = 1 is noise:
    its location has the opposite sign.

    Attributes:
        mean: Of the logit; below 0: more noise.
        deviation: Of the logit; larger: more times near both ends, which are never reached.
    """

    mean: float = 0.0
    deviation: float = 1.0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigurationError: One is out of its range.
        """
        if not math.isfinite(self.mean) or not 0 < self.deviation < math.inf:
            raise ConfigurationError(
                "LogitNormalTimes needs a finite mean and a deviation above 0; got "
                f"mean {self.mean:g}, deviation {self.deviation:g}."
            )

    def density(self, t: Tensor) -> Tensor:
        """Return the density; see the base class."""
        standard = (torch.logit(t) - self.mean) / self.deviation
        constant = self.deviation * math.sqrt(2 * math.pi)
        return torch.exp(-0.5 * standard.square()) / (constant * t * (1 - t))

    def _draw(self, count: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
        normal = torch.randn(count, device=device, generator=generator)
        return torch.sigmoid(self.mean + self.deviation * normal)


@dataclass(frozen=True)
class SkewedTimes(TrainingTimes):
    """Uniform times shifted towards noise, of which large images need more; see :func:`shifted`.

    Attributes:
        shift: Above 1: more noise; 1: uniform; below 1: less noise.
    """

    shift: float = 3.0

    def __post_init__(self) -> None:
        """Check the option.

        Raises:
            ConfigurationError: It is not above 0.
        """
        _check_shift(self.shift)

    def density(self, t: Tensor) -> Tensor:
        """Return the density; see the base class."""
        return self.shift / (1 + (self.shift - 1) * t).square()

    def _draw(self, count: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
        return shifted(torch.rand(count, device=device, generator=generator), self.shift)


def shifted(t: Tensor, shift: float) -> Tensor:
    """Move times in [0, 1] towards noise (``shift`` above 1) or data (below 1); both ends stay.

    The ratio of signal to noise, t / (1 - t), is divided by ``shift``. An image whose sides are ``shift``
    times as long is then as uncertain as before: more pixels say the same.
    Source: Esser et al. 2024, https://arxiv.org/abs/2403.03206, equation 23.
    """
    return t / (t + shift * (1 - t))


def _uniform(u: Tensor, shift: float) -> Tensor:
    return u


def _cosine(u: Tensor, shift: float) -> Tensor:
    return torch.sin(0.5 * math.pi * u).square()


def _karras(u: Tensor, shift: float) -> Tensor:
    """Return evenly spaced seventh roots of (1 - t) / t, from 80 to 0.002 (Karras et al. 2022)."""
    first, last = 80 ** (1 / 7), 0.002 ** (1 / 7)
    root: Tensor = first + u * (last - first)
    return (1 + root.pow(7)).reciprocal()


SCHEDULES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "uniform": _uniform,
    "shifted": shifted,
    "cosine": _cosine,
    "karras": _karras,
}
"""Increasing functions of evenly spaced places in [0, 1] and of the shift, which only ``shifted`` uses."""


def check_schedule(name: str) -> None:
    """Refuse a schedule that does not exist.

    Raises:
        ConfigurationError: With the names that do.
    """
    if name not in SCHEDULES:
        near = did_you_mean(name, list(SCHEDULES))
        raise ConfigurationError(f"No schedule '{name}'; there are {', '.join(SCHEDULES)}. {near}".rstrip())


def time_grid(steps: int, schedule: str = "uniform", shift: float = 3.0) -> Tensor:
    """Return the times at which a solver's steps begin and end.

    Args:
        steps: Number S.
        schedule: ``uniform``; ``shifted``: short steps near noise (see :func:`shifted`); ``cosine``: short
            steps near both ends; ``karras``: those of EDM (Karras et al. 2022, https://arxiv.org/abs/2206.00364),
            very short near both ends.
        shift: Of the schedule ``shifted``.

    Returns:
        (S + 1,) float64, strictly increasing from exactly 0 to exactly 1. Flip it to go from data to noise.

    Raises:
        ConfigurationError: No steps, an unknown schedule, or a shift that is not above 0.
    """
    if steps < 1:
        raise ConfigurationError(f"A flow needs at least 1 step, got steps {steps}.")
    check_schedule(schedule)
    _check_shift(shift)
    times: Tensor = SCHEDULES[schedule](torch.linspace(0, 1, steps + 1, dtype=torch.float64), shift)
    times[0], times[-1] = 0, 1
    return times


def _check_shift(shift: float) -> None:
    if not 0 < shift < math.inf:
        raise ConfigurationError(f"shift must be above 0 and finite (1: uniform), got {shift:g}.")
