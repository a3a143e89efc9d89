"""Paths: from noise to data, as flow matching learns them, and between two latent vectors or conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vedute.errors import ConfigurationError

Way = Literal["linear", "spherical"]


def between(start: Tensor, end: Tensor, steps: int, path: Way) -> Tensor:
    """Return points on the way from ``start`` to ``end``, both included exactly.

    ``spherical`` turns the direction evenly and changes the length evenly. It is meant for noise: vectors
    of Z standard normal entries have a length of about the root of Z, and the middle of a straight line
    between two of them is shorter by 0.7, which a decoder has never seen (White 2016,
    https://arxiv.org/abs/1609.04468). Where the directions are opposite or a length is 0, it is linear.

    Args:
        start: (N, ...).
        end: (N, ...), of the same shape.
        steps: Number T of points, at least 2.
        path: How to get there.

    Returns:
        (N, T, ...) float32.

    Raises:
        ValueError: The shapes differ, or ``steps`` is below 2.
    """
    if start.shape != end.shape or steps < 2:
        raise ValueError(f"A path needs equal shapes and 2 steps, got {start.shape}, {end.shape} and {steps}")
    first, last = start.double().flatten(1)[:, None], end.double().flatten(1)[:, None]  # (N, 1, Z)
    share = torch.linspace(0, 1, steps, dtype=torch.float64, device=start.device)[None, :, None]  # (1, T, 1)
    line = (1 - share) * first + share * last  # (N, T, Z)
    if path == "spherical":
        lengths = [value.norm(dim=2, keepdim=True) for value in (first, last)]
        units = [
            value / length.clamp_min(1e-12) for value, length in zip((first, last), lengths, strict=True)
        ]
        cosine = (units[0] * units[1]).sum(dim=2, keepdim=True).clamp(-1, 1)  # (N, 1, 1)
        angle = cosine.acos()
        sine = angle.sin()
        turned = ((1 - share) * angle).sin() * units[0] + (share * angle).sin() * units[1]
        turned = turned / sine.clamp_min(1e-12) * ((1 - share) * lengths[0] + share * lengths[1])
        defined = (sine > 1e-6) & (lengths[0] > 1e-12) & (lengths[1] > 1e-12)
        line = torch.where(defined, turned, line)
    points = line.float()
    points[:, 0], points[:, -1] = start.flatten(1), end.flatten(1)  # bit for bit
    return points.reshape(len(start), steps, *start.shape[1:])


@dataclass(frozen=True)
class LinearPath:
    """Straight lines from noise (t = 0) to data (t = 1): x = (1 - t) noise + t data.

    What a network says of a point can be read as a velocity, as data or as noise: with x and t known, each
    gives the others. All take and return (N, ...) with times (N,), and compute in float32 (float64 stays).

    Sources: Lipman et al. 2023, "Flow matching for generative modeling", https://arxiv.org/abs/2210.02747;
    Liu et al. 2023, "Flow straight and fast", https://arxiv.org/abs/2209.03003.

    Attributes:
        smallest: Least 1 - t that a difference is divided by, in (0, 1]. Later than that, a velocity made of
            data is too small by (1 - t) / ``smallest``, so it stays finite, and an ODE that is solved
            there in fine steps keeps a share of about ``smallest`` / e of the noise. Training with
            a network that predicts data uses 0.05, as Li & He 2025, https://arxiv.org/abs/2511.13720;
            sampling wants less than the last step, and ``FlowSampler.direct_ending``.
    """

    smallest: float = 0.05

    def __post_init__(self) -> None:
        """Check the option.

        Raises:
            ConfigurationError: It is out of its range.
        """
        if not 0 < self.smallest <= 1:
            raise ConfigurationError(f"smallest must lie in (0, 1], got {self.smallest:g}.")

    def at(self, noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """Return the points at times ``t`` between noise and data."""
        data = precise(data)
        time = _beside(t, data)
        return (1 - time) * noise.to(data) + time * data

    def velocity(self, noise: Tensor, data: Tensor) -> Tensor:
        """Return the velocity along the line, the same at all times."""
        data = precise(data)
        return data - noise.to(data)

    def data_of(self, x: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
        """Return the end of the line through ``x`` with this velocity."""
        x = precise(x)
        return x + (1 - _beside(t, x)) * velocity.to(x)

    def noise_of(self, x: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
        """Return the beginning of the line through ``x`` with this velocity."""
        x = precise(x)
        return x - _beside(t, x) * velocity.to(x)

    def velocity_of_data(self, x: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """Return the velocity with which the line through ``x`` ends at ``data``; see ``smallest``."""
        x = precise(x)
        return (data.to(x) - x) / (1 - _beside(t, x)).clamp_min(self.smallest)


def precise(x: Tensor) -> Tensor:
    """Return ``x`` in float32 (float64 stays): the state of a flow, whatever the network computes in."""
    return x if x.dtype == torch.float64 else x.float()


def _beside(t: Tensor, x: Tensor) -> Tensor:
    """Return times (N,) in the type of ``x`` and with as many dimensions, (N, 1, ...)."""
    return t.to(x).reshape(-1, *[1] * (x.ndim - 1))
