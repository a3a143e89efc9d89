"""What augmentations are: modules from Batch to Batch that change some of its images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from vedute.batch import Batch
from vedute.errors import ConfigurationError


class Augmentation(nn.Module, ABC):
    """Changes images of a batch by chance.

    Works on the batch's device. Draws are per image, from torch's global generator. Batches are
    not changed in place.
    """

    @abstractmethod
    def forward(self, batch: Batch) -> Batch:
        """Change images.

        Args:
            batch: Images (N, C, H, W) float32 in [0, 1]; a ``target`` (N, C, H, W) where the original is
                to be produced.

        Returns:
            A new batch, images in [0, 1].
        """


class NumberedAugmentation(Augmentation):
    """Changes images in a fixed number of ways, so that it can also make all copies of an image."""

    def __init__(self, probability: float, copies: int) -> None:
        """Keep what all augmentations have.

        Args:
            probability: Chance in [0, 1] that an image is changed.
            copies: Number of different changes that can be made to one image, at least 1.

        Raises:
            ConfigurationError: The probability is outside [0, 1].
        """
        super().__init__()
        if not 0 <= probability <= 1:
            raise ConfigurationError(
                f"{type(self).__name__}.probability must lie in [0, 1], got {probability:g}."
            )
        self.probability = probability
        self.copies = copies

    def forward(self, batch: Batch) -> Batch:
        """Change each image with the given probability, in one of the possible ways."""
        device = batch.image.device
        chosen = torch.rand(len(batch), device=device) < self.probability
        number = torch.randint(self.copies, (len(batch),), device=device)
        return self.copy(batch, torch.where(chosen, number, -1))

    @abstractmethod
    def copy(self, batch: Batch, number: Tensor) -> Batch:
        """Change image n in way ``number[n]``.

        Args:
            batch: Images (N, C, H, W) float32 in [0, 1].
            number: (N,) int64 in [-1, copies); -1 leaves the image as it is.
        """


def choose(mask: Tensor, changed: Tensor, image: Tensor) -> Tensor:
    """Return (N, C, H, W): ``changed`` where the (N,) mask is True, else ``image``."""
    return torch.where(mask[:, None, None, None], changed, image)


def move_pixels(batch: Batch, function: Callable[[Tensor], Tensor]) -> Batch:
    """Apply a change of geometry to everything that must stay aligned: image, target, condition image.

    A target keeps its colours but moves with its image: denoising never asks to guess a shift.
    """

    def both(value: Tensor | None) -> Tensor | None:
        return None if value is None else function(value)

    condition = replace(batch.condition, image=both(batch.condition.image))
    return replace(batch, image=function(batch.image), target=both(batch.target), condition=condition)


def extend(batch: Batch, extensions: Sequence[NumberedAugmentation], size: int) -> Batch:
    """Make of each image the copy that its row in an extended training set stands for.

    The extended set is the set itself, then copy 0 of every image, copy 1, and so on through the
    copies of the first augmentation, the second, ...

    Args:
        batch: Images (N, C, H, W) float32 in [0, 1]; ``index`` in [0, (1 + number of copies) * size).
        extensions: What makes the copies.
        size: Number of images that are not copies.

    Returns:
        A new batch; ``index`` in [0, size).
    """
    if batch.index is None:
        raise ValueError("a batch of an extended training set needs its index")
    number = batch.index.div(size, rounding_mode="floor") - 1  # -1: the image itself
    batch = replace(batch, index=batch.index % size)
    for extension in extensions:
        batch = extension.copy(batch, torch.where(number < extension.copies, number, -1).clamp(min=-1))
        number = number - extension.copies
    return batch
