"""Solvers of a flow's differential equation: pure functions of a velocity, a state and times.

They know neither networks nor conditions, and run either way: from noise to data (t from 0 to 1), and back.
A row never depends on the others of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from vedute.errors import VeduteError
from vedute.sampling.paths import precise
from vedute.sampling.seeds import seeded_normal

Velocity = Callable[[Tensor, Tensor], Tensor]
"""From states (N, ...) and times (N,) to velocities (N, ...)."""

Solver = Callable[[Velocity, Tensor, Tensor], Tensor]
"""From a velocity, states (N, ...) and times (S + 1,) to the states at the last time."""

_STREAM = 100_000
"""Of the noise of the first stochastic step; see ``seeds``. Below are those of images and strategies."""


@dataclass(frozen=True)
class Scheme:
    """An explicit Runge-Kutta scheme.

    Attributes:
        nodes: Where in a step each slope is taken, in [0, 1].
        rows: What the earlier slopes weigh on the way to it.
        weights: What the slopes weigh at the end.
        lower: The same for an estimate of lower order, by which the error is judged; empty: there is none.
    """

    nodes: Sequence[float]
    rows: Sequence[Sequence[float]]
    weights: Sequence[float]
    lower: Sequence[float] = ()

    def slopes(
        self, velocity: Velocity, x: Tensor, start: Tensor, end: Tensor, first: Tensor | None = None
    ) -> list[Tensor]:
        """Return the slopes of a step, (N, ...) each.

        Args:
            velocity: Of the flow.
            x: (N, ...) states at ``start``.
            start: (N,) times.
            end: (N,) times.
            first: (N, ...) the first slope, where it is known.
        """
        length = _column(end - start, x)
        slopes = [velocity(x, start).to(x) if first is None else first]
        for node, row in zip(self.nodes[1:], self.rows[1:], strict=True):
            # lerp meets ``end`` exactly at the node 1: a time never lies outside of [0, 1].
            slopes.append(velocity(x + length * _weighted(row, slopes), torch.lerp(start, end, node)).to(x))
        return slopes


EULER = Scheme((0,), ((),), (1,))
MIDPOINT = Scheme((0, 1 / 2), ((), (1 / 2,)), (0, 1))
HEUN = Scheme((0, 1), ((), (1,)), (1 / 2, 1 / 2))
RUNGE_KUTTA = Scheme(
    (0, 1 / 2, 1 / 2, 1), ((), (1 / 2,), (0, 1 / 2), (0, 0, 1)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)
)
BOGACKI_SHAMPINE = Scheme(
    (0, 1 / 2, 3 / 4, 1),
    ((), (1 / 2,), (0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    (2 / 9, 1 / 3, 4 / 9, 0),
    (7 / 24, 1 / 4, 1 / 3, 1 / 8),
)


def euler(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """Follow a flow by straight steps: order 1, one evaluation a step.

    Args:
        velocity: Of the flow.
        x: (N, ...) at the first time.
        times: (S + 1,), increasing or decreasing.

    Returns:
        (N, ...) at the last time, float32 (float64 stays).
    """
    return _solve(EULER, velocity, x, times)


def midpoint(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """Follow a flow by the slope amid each step: order 2, two evaluations, none at the end; see ``euler``."""
    return _solve(MIDPOINT, velocity, x, times)


def heun(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """Follow a flow by the mean slope of both ends of a step: order 2, two evaluations; see ``euler``."""
    return _solve(HEUN, velocity, x, times)


def rk4(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """Follow a flow by the classical Runge-Kutta scheme: order 4, four evaluations a step; see ``euler``."""
    return _solve(RUNGE_KUTTA, velocity, x, times)


SOLVERS: dict[str, Solver] = {"euler": euler, "midpoint": midpoint, "heun": heun, "rk4": rk4}
"""The solvers with fixed steps, by name."""


def _solve(scheme: Scheme, velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    x, times = _begin(x, times)
    for start, end in pairwise(times):
        slopes = scheme.slopes(velocity, x, start.expand(len(x)), end.expand(len(x)))
        x = x + (end - start) * _weighted(scheme.weights, slopes)
    return x


def adaptive(
    velocity: Velocity, x: Tensor, start: float, end: float, tolerance: float, most_steps: int = 1000
) -> Tensor:
    """Follow a flow in steps as long as the error allows, each row in its own (Bogacki & Shampine 1989).

    Order 3, three evaluations a step. All rows are evaluated until the last has arrived, because a velocity
    knows the conditions of exactly these rows.

    Args:
        velocity: Of the flow.
        x: (N, ...) at ``start``.
        start: Time.
        end: Time, above or below ``start``.
        tolerance: Allowed error of a step, root mean square over a row's entries, each relative to its size
            plus 1.
        most_steps: Steps after which to give up; those that are tried in vain count.

    Returns:
        (N, ...) at ``end``, float32 (float64 stays).

    Raises:
        VeduteError: It is not there after ``most_steps``, or steps become too short (values that are not
            finite, or a jump).
    """
    scheme, span = BOGACKI_SHAMPINE, abs(end - start)
    x, (begin, finish) = _begin(x, torch.tensor([start, end]))
    if not len(x) or not span:
        return x
    t = begin.repeat(len(x))
    size = torch.full_like(t, span * min(0.1, tolerance ** (1 / 3)))  # (N,) length of the next step
    active = torch.ones_like(t, dtype=torch.bool)
    first: Tensor | None = None
    for _ in range(most_steps):
        last = size >= 0.99 * (finish - t).abs()  # rather a little longer than a tiny step at the end
        goal = torch.where(last, finish, t + size * (finish - begin).sign())
        goal = torch.where(active, goal, t)
        slopes = scheme.slopes(velocity, x, t, goal, first)
        length = _column(goal - t, x)
        found = x + length * _weighted(scheme.weights, slopes)
        error = length * (_weighted(scheme.weights, slopes) - _weighted(scheme.lower, slopes))
        allowed = tolerance * (1 + torch.maximum(x.abs(), found.abs()))
        ratio = (error / allowed).square().flatten(1).mean(dim=1).sqrt().nan_to_num(nan=torch.inf)  # (N,)
        accepted = active & (ratio <= 1)
        x = torch.where(_column(accepted, x), found, x)
        first = torch.where(_column(accepted, x), slopes[-1], slopes[0])  # the last slope is the next first
        size = (goal - t).abs() * (0.9 * ratio.clamp_min(1e-9) ** (-1 / 3)).clamp(0.2, 5)
        t = torch.where(accepted, goal, t)
        active = active & ~(accepted & last)
        unfinished, stuck = torch.stack([active.any(), (active & (size < 1e-6 * span)).any()]).tolist()
        if stuck:
            raise VeduteError(
                f"The adaptive solver's steps became too short in {int(active.sum())} of {len(x)} images: "
                "the network's values are not finite or jump. Check the checkpoint, or use a solver with "
                f"fixed steps: {', '.join(SOLVERS)}."
            )
        if not unfinished:
            return x
    raise VeduteError(
        f"The adaptive solver needs more than {most_steps} steps for {int(active.sum())} of {len(x)} images "
        f"at the tolerance {tolerance:g}. Choose a larger tolerance, or a solver with fixed steps: "
        f"{', '.join(SOLVERS)}."
    )


def stochastic(
    velocity: Velocity,
    x: Tensor,
    times: Tensor,
    noise_scale: float,
    seeds: Tensor,
    solver: Solver = heun,
) -> Tensor:
    """Follow a flow while its noise is renewed: a differential equation with the same distributions.

    For linear paths and standard normal noise it is dx = (v - s (x - t v)) dt + sqrt(2 s (1 - t)) dW
    with s = ``noise_scale`` (Ma et al. 2024, "SiT", https://arxiv.org/abs/2401.08740). Each step of length h
    first goes back along the path by exchanging noise, from t to t exp(-s h), which is exact whatever the
    step; then the solver goes forward by the flow (as Karras et al. 2022, https://arxiv.org/abs/2206.00364,
    algorithm 2). The last step ends with the flow, so no noise is left in images. Backwards (from data to
    noise) the distributions are kept as well; an image's own noise is not found again.

    Args:
        velocity: Of the flow.
        x: (N, ...) at the first time.
        times: (S + 1,), increasing or decreasing.
        noise_scale: s, per unit of time; 0: no noise is renewed, and the solver alone remains.
        seeds: (N,) int64, of the new noise.
        solver: With fixed steps.

    Returns:
        (N, ...) at the last time, float32 (float64 stays).
    """
    x, times = _begin(x, times)
    for step, (start, end) in enumerate(pairwise(times)):
        if noise_scale > 0:
            kept = torch.exp(-noise_scale * (end - start).abs())
            back = kept * start
            new = ((1 - back).square() - (kept * (1 - start)).square()).clamp_min(0).sqrt()
            x = kept * x + new * seeded_normal(seeds, x.shape[1:], x.device, _STREAM + step).to(x)
            start = back
        x = solver(velocity, x, torch.stack([start, end]))
    return x


def _begin(x: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Return state and times in the precision and on the device of the state."""
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(f"A solver needs times of the shape (S + 1,) with S > 0, got {tuple(times.shape)}")
    x = precise(x)
    return x, times.to(x)


def _weighted(weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    """Return the weighted sum of the slopes; those that weigh nothing are not touched."""
    terms = [slope * weight for weight, slope in zip(weights, slopes, strict=True) if weight]
    return sum(terms[1:], start=terms[0])


def _column(values: Tensor, x: Tensor) -> Tensor:
    """Return (N,) values with as many dimensions as ``x``, (N, 1, ...)."""
    return values.reshape(-1, *[1] * (x.ndim - 1))
