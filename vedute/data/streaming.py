"""Images decoded whenever they are asked for: for sets that are too large to be prepared."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedute.data.decoding import ImageBatch, Preparation
from vedute.data.source import Record, Source
from vedute.errors import DataError

logger = logging.getLogger(__name__)

_TRIES = 32


class DecodedImages:
    """The images of a source, read and decoded on demand; nothing is kept.

    Gathering goes through a batch in the order of the source, which is that of the disk. It is as
    fast as decoding is, so it wants worker processes and, on slow disks, ``shuffle: shards``.
    """

    def __init__(
        self, source: Source, preparation: Preparation, on_error: Literal["raise", "skip"] = "raise"
    ) -> None:
        """Keep where the images are.

        Args:
            source: The images.
            preparation: What is done to each.
            on_error: ``raise`` stops at a broken record; ``skip`` takes the next one that can be read in
                its place, and says so.
        """
        self.source = source
        self.preparation = preparation
        self.on_error = on_error
        self.shape = (len(source), *preparation.image_size, preparation.stored_channels)

    def __len__(self) -> int:
        """Return the number of images N, broken ones included."""
        return self.shape[0]

    def gather(self, rows: Tensor | NDArray[np.int64]) -> Tensor:
        """Decode images.

        Args:
            rows: (n,) integers in [0, N), in any order, repeated or not.

        Returns:
            (n, C, H, W) uint8 with channels_last strides.

        Raises:
            DataError: A record is broken, or with ``skip`` many that follow each other are.
        """
        unique, places = np.unique(np.asarray(rows), return_inverse=True)
        # Pieces are taken out as they fill, so that at most one batch of decoded originals is held.
        batch, taken = ImageBatch(self.preparation), []
        for row, entry in zip(unique.tolist(), self.source.read(unique.tolist()), strict=True):
            self._add(batch, row, entry)
            if batch.full:
                taken.append(batch.take())
        taken.append(batch.take())
        return torch.from_numpy(np.concatenate(taken)[places]).permute(0, 3, 1, 2)

    def _add(self, batch: ImageBatch, row: int, entry: Record | DataError) -> None:
        problem = _try_to_add(batch, entry)
        if problem is None:
            return
        if self.on_error == "raise":
            raise DataError(f"{problem} To take the next image instead, set on_error to skip.") from problem
        for other, following in self._following(row):
            if _try_to_add(batch, following) is None:
                logger.warning("%s Record %d stands in for record %d.", problem, other, row)
                return
        raise DataError(f"{problem} The {_TRIES} records after it are broken too.") from problem

    def _following(self, row: int) -> Iterator[tuple[int, Record | DataError]]:
        for offset in range(1, _TRIES + 1):
            other = (row + offset) % len(self)
            yield from zip([other], self.source.read([other]), strict=True)


def _try_to_add(batch: ImageBatch, entry: Record | DataError) -> DataError | None:
    if isinstance(entry, DataError):
        return entry
    try:
        batch.add(entry.payload, entry.mask)
    except DataError as error:
        return DataError(f"{entry.origin}: the payload is {error}.")
    return None


def equal_shards(size: int, shard_size: int) -> Sequence[int]:
    """Return how many of ``size`` records lie in each stretch of ``shard_size``, in order."""
    return [min(shard_size, size - start) for start in range(0, size, shard_size)]
