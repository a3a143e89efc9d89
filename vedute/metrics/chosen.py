"""Which images of a set are kept, shown or trained on; and keeping them while all pass by."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from vedute.errors import DataError
from vedute.metrics.features import eight_bit

Batches = Iterable[tuple[Tensor, Tensor | None]]
"""Images (n, C, H, W) in [0, 1] and their (n,) classes."""


def advancing(batches: Batches, advance: Callable[[int], None]) -> Batches:
    """Pass batches on, moving a bar after each."""
    for image, label in batches:
        yield image, label
        advance(len(image))


class KeptImages:
    """Keeps some of the generated images as they pass by, and refuses what are no images."""

    def __init__(self, rows: Tensor) -> None:
        """Say which rows to keep, (n,) int64 in order."""
        self.rows = rows
        self.images: list[Tensor] = []

    def taken_from(self, batches: Batches) -> Batches:
        """Pass batches on.

        Raises:
            DataError: An image holds NaN or infinite values.
        """
        start = 0
        for image, label in batches:
            if not image.isfinite().all():
                raise DataError(
                    "The model generates images that are no numbers (NaN or infinite): its training has "
                    "diverged. Take an earlier checkpoint, or train with a lower learning rate."
                )
            here = self.rows[(self.rows >= start) & (self.rows < start + len(image))] - start
            self.images.append((eight_bit(image[here.to(image.device)]) * 255).round().byte().cpu())
            start += len(image)
            yield image, label

    def of(self, rows: Tensor) -> Tensor:
        """Return kept images (n, C, H, W) in [0, 1] by their rows."""
        if len(self.images) > 1:
            self.images = [torch.cat(self.images)]
        return self.images[0][torch.searchsorted(self.rows, rows)].float() / 255


def first_of_each(labels: Tensor | None, count: int, each: int) -> Tensor:
    """Return the rows of the first images of each class; without classes, of so many squared of all."""
    if labels is None:
        return torch.arange(min(count, each * each))
    return torch.cat([torch.where(labels == label)[0][:each] for label in range(int(labels.max()) + 1)])


def some_of_each(labels: Tensor, each: int, seed: int) -> Tensor:
    """Return rows of at most so many images of each class, in order."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for label in range(int(labels.max()) + 1):
        rows = torch.where(labels == label)[0]
        parts.append(rows[torch.randperm(len(rows), generator=generator)[:each]])
    return torch.cat(parts).sort().values


def drawn(count: int, most: int, seed: int) -> Tensor:
    """Return at most so many of ``count`` rows, in order."""
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:most].sort().values
