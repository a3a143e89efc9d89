"""How images are drawn from a trained flow: steps, solver, schedule and guidance as one object."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vedute.errors import ConfigurationError
from vedute.pretrained import did_you_mean
from vedute.sampling.guidance import guided, guided_batched
from vedute.sampling.solvers import SOLVERS, Solver, Velocity, adaptive, euler, stochastic
from vedute.sampling.times import check_schedule, time_grid

ADAPTIVE = "adaptive"
"""The name of the solver that chooses its own steps."""


@dataclass(frozen=True)
class FlowSampler:
    """From noise to data by a flow, and back. Other options: ``dataclasses.replace(sampler, steps=20)``.

    Attributes:
        steps: Number of steps; the solver ``adaptive`` chooses its own.
        solver: ``euler`` (one evaluation of the network a step), ``midpoint``, ``heun`` (two), ``rk4`` (four)
            or ``adaptive`` (three, in steps as the tolerance allows).
        schedule: Where the steps are: ``uniform``, ``shifted`` (short ones near noise), ``cosine`` (short
            ones near both ends) or ``karras``; ``adaptive`` has none.
        guidance: 1: as learned under the condition; above 1: more typical of it; 0: without condition.
        guidance_interval: First and last time with guidance, from 0 (noise) to 1 (data).
        tolerance: Allowed error of a step of ``adaptive``.
        noise_scale: Above 0: noise is renewed on the way (see ``solvers.stochastic``).
        direct_ending: The last step is Euler's, so that the network is never asked at t = 1, where
            a prediction of data says nothing about the velocity.
    """

    steps: int = 16
    solver: str = "heun"
    schedule: str = "uniform"
    guidance: float = 1.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    tolerance: float = 1e-3
    noise_scale: float = 0.0
    direct_ending: bool = False

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigurationError: One is unknown or out of its range, or two contradict each other.
        """
        names = [*SOLVERS, ADAPTIVE]
        if self.solver not in names:
            near = did_you_mean(self.solver, names)
            raise ConfigurationError(
                f"No solver '{self.solver}'; there are {', '.join(names)}. {near}".rstrip()
            )
        if self.steps < 1:
            raise ConfigurationError(f"A flow needs at least 1 step, got steps {self.steps}.")
        check_schedule(self.schedule)
        if not 0 <= self.guidance < math.inf:
            raise ConfigurationError(
                f"guidance must be at least 0 (0: without condition, 1: as learned), got {self.guidance:g}."
            )
        interval = tuple(self.guidance_interval)
        if len(interval) != 2 or not 0 <= interval[0] < interval[1] <= 1:
            raise ConfigurationError(
                "guidance_interval must be two times from 0 (noise) to 1 (data), the earlier one first; got "
                f"{list(interval)}."
            )
        object.__setattr__(self, "guidance_interval", interval)  # a list in YAML
        if not 0 < self.tolerance < 1:
            raise ConfigurationError(f"tolerance must lie between 0 and 1, got {self.tolerance:g}.")
        if not 0 <= self.noise_scale < math.inf:
            raise ConfigurationError(f"noise_scale must be at least 0, got {self.noise_scale:g}.")
        for option, used in (("noise_scale", self.noise_scale > 0), ("direct_ending", self.direct_ending)):
            if used and self.solver == ADAPTIVE:
                raise ConfigurationError(
                    f"The solver adaptive cannot be used with {option}: choose one of {', '.join(SOLVERS)}, "
                    f"or leave {option} out."
                )

    def run(
        self,
        strong: Velocity,
        weak: Velocity | None,
        noise: Tensor,
        seeds: Tensor,
        doubled: Velocity | None = None,
        start: float = 0.0,
    ) -> Tensor:
        """Go from noise to data.

        Args:
            strong: Velocity with the condition.
            weak: Velocity without it, or of a worse network; None: there is none.
            noise: (N, ...) states at ``start``; standard normal at 0.
            seeds: (N,) int64, of noise that is renewed on the way.
            doubled: Both velocities in one evaluation (see ``guidance.guided_batched``); None: one by one.
            start: Time to begin at, in [0, 1): above 0 for states that :meth:`invert` stopped at.

        Returns:
            (N, ...) data, float32 (float64 stays).

        Raises:
            ConfigurationError: Guidance without a weak velocity, or ``start`` out of its range.
            VeduteError: The solver ``adaptive`` does not get to the end.
        """
        velocity = self._velocity(strong, weak, doubled)
        if self.solver == ADAPTIVE:
            _check_start(start)
            return adaptive(velocity, noise, start, 1.0, self.tolerance)
        times = self.times(start)
        if not self.direct_ending:
            return self._follow(velocity, noise, times, seeds)
        x = self._follow(velocity, noise, times[:-1], seeds) if len(times) > 2 else noise
        return euler(velocity, x, times[-2:])

    def invert(
        self,
        strong: Velocity,
        weak: Velocity | None,
        data: Tensor,
        doubled: Velocity | None = None,
        end: float = 0.0,
    ) -> Tensor:
        """Go from data back to the noise that :meth:`run` makes them of, as far as the steps are fine enough.

        No noise is renewed. Guidance is as in :meth:`run`; strong guidance drives noise far from standard
        normal, so edits are better inverted with guidance 1.

        Args:
            strong: See :meth:`run`.
            weak: See :meth:`run`.
            data: (N, ...).
            doubled: See :meth:`run`.
            end: Time to stop at, in [0, 1): above 0, more of the data is left.

        Returns:
            (N, ...) states at ``end``, float32 (float64 stays).

        Raises:
            ConfigurationError: See :meth:`run`.
            VeduteError: See :meth:`run`.
        """
        velocity = self._velocity(strong, weak, doubled)
        if self.solver == ADAPTIVE:
            _check_start(end)
            return adaptive(velocity, data, 1.0, end, self.tolerance)
        times = self.times(end).flip(0)
        solver = SOLVERS[self.solver]
        if not self.direct_ending:
            return solver(velocity, data, times)
        # Euler's step with the slope at its other end: the network is not asked at t = 1 here either.
        second = times[1]
        x = euler(lambda x, t: velocity(x, second.to(t).expand(len(x))), data, times[:2])
        return solver(velocity, x, times[1:]) if len(times) > 2 else x

    def times(self, start: float = 0.0) -> Tensor:
        """Return the times at which steps begin and end, (S + 1,) from ``start`` to 1.

        With a ``start`` above 0 only the steps after it remain.

        Raises:
            ConfigurationError: ``start`` is out of its range.
        """
        _check_start(start)
        times = time_grid(self.steps, self.schedule)
        later = times[1:-1][times[1:-1] > start + 1e-6]  # no step of rounding errors
        return torch.cat([times.new_tensor([start]), later, times[-1:]])

    def evaluations(self) -> int | None:
        """Return how often the network computes a row for one image; None: as the tolerance demands.

        With guidance it is two rows: with the condition and without.
        """
        if self.solver == ADAPTIVE:
            return None
        rows = 0

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            nonlocal rows
            rows += len(x)
            return x

        self.run(velocity, velocity, torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64))
        return rows

    def _follow(self, velocity: Velocity, x: Tensor, times: Tensor, seeds: Tensor) -> Tensor:
        solver: Solver = SOLVERS[self.solver]
        if self.noise_scale > 0:
            return stochastic(velocity, x, times, self.noise_scale, seeds, solver)
        return solver(velocity, x, times)

    def _velocity(self, strong: Velocity, weak: Velocity | None, doubled: Velocity | None) -> Velocity:
        """Return the guided velocity."""
        if self.guidance == 1:
            return strong
        if self.guidance and doubled is not None:
            return guided_batched(strong, doubled, self.guidance, self.guidance_interval)
        if weak is None:
            raise ConfigurationError(
                f"guidance {self.guidance:g} needs a velocity without condition, or of a guiding network, "
                "and there is none: set guidance to 1."
            )
        return guided(strong, weak, self.guidance, self.guidance_interval)


def _check_start(start: float) -> None:
    if not 0 <= start < 1:
        raise ConfigurationError(f"A flow can be entered and left at times in [0, 1), got {start:g}.")
