"""Noise that depends on a seed per image, never on the batch an image is in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def seeded_normal(
    seeds: Tensor, shape: Sequence[int], device: torch.device | str = "cpu", stream: int = 0
) -> Tensor:
    """Draw standard normal noise, row n from ``seeds[n]`` alone.

    Drawn on the CPU, so that the same seed gives the same image on every device.

    Args:
        seeds: (N,) int64.
        shape: Shape of one row.
        device: Where the result lies.
        stream: Another number gives independent noise for the same seeds.

    Returns:
        (N, *shape) float32.
    """
    generator = torch.Generator()
    rows = []
    for seed in seeds.tolist():
        generator.manual_seed((int(seed) * 1_000_003 + stream) % 2**63)
        rows.append(torch.randn(tuple(shape), generator=generator))
    if not rows:
        return torch.empty((0, *shape), device=device)
    return torch.stack(rows).to(device)
