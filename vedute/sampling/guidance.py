"""Guidance: a velocity moved away from a weaker one, so that images show more of their condition.

The weak velocity is the same network's without condition (Ho & Salimans 2022,
https://arxiv.org/abs/2207.12598) or that of a smaller or less trained network (autoguidance, Karras et al.
2024, https://arxiv.org/abs/2406.02507). Within an interval of times only: Kynkäänniemi et al. 2024,
https://arxiv.org/abs/2404.07724.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vedute.sampling.paths import precise
from vedute.sampling.solvers import Velocity

_ALWAYS = (0.0, 1.0)


def guided(
    strong: Velocity, weak: Velocity, scale: float, interval: tuple[float, float] = _ALWAYS
) -> Velocity:
    """Return weak + ``scale`` (strong - weak) at times in the interval, and ``strong`` elsewhere.

    Args:
        strong: With the condition, or of the better network.
        weak: Without, or of the worse one. Not evaluated at the scale 1 nor where no row's time is in the
            interval.
        scale: 1: ``strong``; 0: ``weak``, within the interval; above 1: beyond ``strong``.
        interval: First and last time with guidance, in [0, 1], both included.
    """

    def both(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return strong(x, t), weak(x, t)

    return _guided(strong, weak, both, scale, interval)


def guided_batched(
    strong: Velocity, doubled: Velocity, scale: float, interval: tuple[float, float] = _ALWAYS
) -> Velocity:
    """Return the same as :func:`guided`, with strong and weak velocities from one evaluation.

    Args:
        strong: Of N rows: used alone where the weak velocity is not needed.
        doubled: From 2 N rows, states and times each twice in a row, to the strong velocities of the first
            N and the weak ones of the other N.
        scale: See :func:`guided`.
        interval: See :func:`guided`.
    """

    def both(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        first, second = doubled(torch.cat([x, x]), torch.cat([t, t])).chunk(2)
        return first, second

    def weak(x: Tensor, t: Tensor) -> Tensor:
        return both(x, t)[1]

    return _guided(strong, weak, both, scale, interval)


def _guided(
    strong: Velocity,
    weak: Velocity,
    both: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    scale: float,
    interval: tuple[float, float],
) -> Velocity:
    if scale == 1:
        return strong
    first, last = interval
    if scale == 0 and first <= 0 and last >= 1:
        return weak

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        if first <= 0 and last >= 1:  # nothing to look up: no wait for the device
            wanted, away = both(x, t)
            return _beyond(wanted, away, scale)
        within = (t >= first) & (t <= last)
        if not within.any():
            return strong(x, t)
        wanted, away = both(x, t)
        return torch.where(
            within.reshape(-1, *[1] * (x.ndim - 1)), _beyond(wanted, away, scale), precise(wanted)
        )

    return velocity


def _beyond(strong: Tensor, weak: Tensor, scale: float) -> Tensor:
    """Return the guided velocity; in float32 at least, because it is a small difference enlarged."""
    strong, weak = precise(strong), precise(weak)
    return weak + scale * (strong - weak)
