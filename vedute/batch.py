"""What flows from data sets to models: ``Batch`` and ``Condition``.

Both are plain dataclasses that Lightning moves between devices field by field. They are
not frozen, because Lightning's transfer assigns fields; by convention nobody mutates them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

ConditionKind = Literal["none", "class", "score", "image"]
"""What a condition means: nothing, class probabilities, standardised scores, or an image."""


def _map(value: Tensor | None, function: Callable[[Tensor], Tensor]) -> Tensor | None:
    return None if value is None else function(value)


@dataclass
class Condition:
    """What an image is wanted to be. Both fields None: unconditional.

    Attributes:
        vector: (N, D) float32: one-hot class, class probabilities (fuzzy label) or
            standardised scores.
        image: (N, C, H, W) float32 in [0, 1] (uint8 before the device transfer): a mask,
            edges or a low-resolution input.
    """

    vector: Tensor | None = None
    image: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of conditions N, 0 when both fields are None."""
        for value in (self.vector, self.image):
            if value is not None:
                return len(value)
        return 0

    def map(self, function: Callable[[Tensor], Tensor]) -> Condition:
        """Apply ``function`` to every tensor that is present."""
        return Condition(_map(self.vector, function), _map(self.image, function))

    def __getitem__(self, index: slice | Tensor) -> Condition:
        """Select rows: a slice, an index tensor or a boolean mask."""
        return self.map(lambda tensor: tensor[index])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Condition:
        """Move every tensor to ``device``."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Condition:
        """Copy every tensor to page-locked memory (DataLoader calls this by name)."""
        return self.map(Tensor.pin_memory)


@dataclass
class Batch:
    """A batch of images with their conditions.

    Attributes:
        image: (N, C, H, W) float32 in [0, 1]; uint8 in [0, 255] in storage and on the way to
            the device, converted there by the datamodule.
        condition: N conditions.
        index: (N,) int64, the row of each image in its split.
        target: (N, C, H, W) like ``image``: what the model shall produce, where that is not
            the image itself (denoising: augmented image in, original out). None: the image.
    """

    image: Tensor
    condition: Condition = field(default_factory=Condition)
    index: Tensor | None = None
    target: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of images N."""
        return len(self.image)

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Apply ``function`` to every tensor that is present."""
        return Batch(
            function(self.image),
            self.condition.map(function),
            _map(self.index, function),
            _map(self.target, function),
        )

    def __getitem__(self, index: slice | Tensor) -> Batch:
        """Select rows: a slice, an index tensor or a boolean mask."""
        return self.map(lambda tensor: tensor[index])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Move every tensor to ``device``."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Copy every tensor to page-locked memory (DataLoader calls this by name)."""
        return self.map(Tensor.pin_memory)


def _join(values: Sequence[Tensor | None], name: str) -> Tensor | None:
    present = [value for value in values if value is not None]
    if not present:
        return None
    if len(present) != len(values):
        raise ValueError(f"{name} is None in some of the batches to join, and a tensor in others")
    return torch.cat(present)


def collate(batches: Sequence[Batch]) -> Batch:
    """Join batches along N, keeping None fields None.

    Raises:
        ValueError: A field is None in some of them only, or there are none.
    """
    if not batches:
        raise ValueError("collate needs at least one batch")
    return Batch(
        torch.cat([batch.image for batch in batches]),
        Condition(
            _join([batch.condition.vector for batch in batches], "condition.vector"),
            _join([batch.condition.image for batch in batches], "condition.image"),
        ),
        _join([batch.index for batch in batches], "index"),
        _join([batch.target for batch in batches], "target"),
    )
