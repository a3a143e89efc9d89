"""Augmentations of what is seen: colours and holes. The target of denoising stays as it is."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vedute.augment.base import NumberedAugmentation, choose
from vedute.batch import Batch
from vedute.errors import ConfigurationError


class Grayscale(NumberedAugmentation):
    """Replaces every channel by the mean of the channels; their number is kept."""

    def __init__(self, probability: float = 0.1) -> None:
        """Choose how often.

        Args:
            probability: Chance in [0, 1] that an image turns grey.
        """
        super().__init__(probability, copies=1)

    def copy(self, batch: Batch, number: Tensor) -> Batch:
        """Turn image n grey where ``number[n]`` is 0."""
        grey = batch.image.mean(dim=1, keepdim=True).expand_as(batch.image)
        return replace(batch, image=choose(number >= 0, grey, batch.image))


class CutOut(NumberedAugmentation):
    """Sets one cell of a grid over the image to zero; the label fades by the masked share.

    Source of cutting out: DeVries & Taylor 2017, https://arxiv.org/abs/1708.04552; the grid of
    positions and the fuzzy label (one-hot * (1 - masked share)) are those of the landscape CVAE that
    Vedute rebuilds.
    """

    def __init__(self, probability: float = 0.5, grid: int = 3, fuzzy_label: bool = True) -> None:
        """Choose how often and how large.

        Args:
            probability: Chance in [0, 1] that an image loses a cell.
            grid: Cells along each side: a cell is 1/grid of the height and of the width (to the pixel).
            fuzzy_label: Multiply the condition vector by (1 - masked share); false for scores, whose
                meaning a hole does not change.

        Raises:
            ConfigurationError: ``grid`` is below 2 (nothing of the image would be left).
        """
        if grid < 2:
            raise ConfigurationError(f"CutOut.grid must be at least 2, got {grid}.")
        super().__init__(probability, copies=grid * grid)
        self.grid = grid
        self.fuzzy_label = fuzzy_label

    def copy(self, batch: Batch, number: Tensor) -> Batch:
        """Mask cell ``number[n]`` of image n, counted row by row."""
        height, width = batch.image.shape[-2:]
        # -1 (leave alone) floors to row -1, which no pixel has.
        row, column = number.div(self.grid, rounding_mode="floor"), number % self.grid
        masked = (self._cells(height, number) == row[:, None])[:, :, None]  # (N, H, 1)
        masked = masked & (self._cells(width, number) == column[:, None])[:, None, :]  # (N, H, W)
        image = batch.image.masked_fill(masked[:, None], 0)
        vector = batch.condition.vector
        if self.fuzzy_label and vector is not None:
            left = 1 - masked.float().mean(dim=(1, 2))  # (N,)
            vector = vector * left[:, None].to(vector.dtype)
        return replace(batch, image=image, condition=replace(batch.condition, vector=vector))

    def _cells(self, side: int, like: Tensor) -> Tensor:
        """Return (side,): the cell, along one side, that each pixel lies in."""
        return torch.arange(side, device=like.device) * self.grid // side
