"""Images in the order in which a grid lays them out."""

from __future__ import annotations

import torch
from torch import Tensor


def beside_conditions(images: Tensor, condition: Tensor, real: Tensor | None = None) -> Tensor:
    """Put each condition before the images that were made from it, to be laid out in rows.

    Args:
        images: (R * K, C, H, W) in [0, 1], K of each condition in turn.
        condition: (R, c, h, w) in [0, 1].
        real: (R, C, H, W) in [0, 1], real images of the conditions, which stand second; None: unknown.

    Returns:
        (R * (K + 1), C, H, W); one more in each row with real images.
    """
    channels, size = images.shape[1], images.shape[-2:]
    first = condition.to(images).clamp(0, 1)
    if first.shape[-2:] != size:
        first = torch.nn.functional.interpolate(first, size=size, mode="nearest")
    if first.shape[1] != channels:  # e.g. a mask beside colour images
        first = first.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1)
    grouped = images.reshape(len(first), -1, channels, *size)  # (R, K, C, H, W)
    known = [first] if real is None else [first, real.to(images)]
    return torch.cat([*(part[:, None] for part in known), grouped], dim=1).flatten(0, 1)
