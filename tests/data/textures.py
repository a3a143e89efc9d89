"""Small pictures whose class is in their texture and colour: cheap to draw, and to be learned in seconds."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CLASSES = 3


def textures(labels: Tensor, seed: int, size: int = 16) -> Tensor:
    """Draw (N, 3, size, size) pictures in [0, 1]: noisy stripes of any colour whose slope is the class."""
    generator = torch.Generator().manual_seed(seed)
    count = len(labels)
    phase, width = (torch.rand(count, 1, 1, generator=generator) for _ in range(2))
    angle = labels.view(-1, 1, 1) * torch.pi / CLASSES
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    along = torch.cos(angle) * column + torch.sin(angle) * row
    stripes = torch.sin(along * (1.2 + 0.6 * width) + 2 * torch.pi * phase)  # (N, size, size)
    colour = 0.3 + 0.4 * torch.rand(count, 3, 1, 1, generator=generator)
    noise = 0.1 * torch.randn(count, 3, size, size, generator=generator)
    return (colour + 0.2 * stripes[:, None] + noise).clamp(0, 1)


def blurred(image: Tensor) -> Tensor:
    """Return pictures without their finest detail."""
    return F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), 3, stride=1)


def classes(count: int) -> Tensor:
    """Return (count,) int64 classes in turn."""
    return torch.arange(count) % CLASSES
