"""Paths between two latent vectors, and between two conditions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

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
