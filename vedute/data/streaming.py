"""Images decoded whenever they are asked for: for sets that are too large to be prepared."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedute.data.building import add_record
from vedute.data.decoding import ImageBatch, Preparation
from vedute.data.source import Source
from vedute.errors import DataError

logger = logging.getLogger(__name__)


class DecodedImages:
    """The images of a source, read and decoded on demand; nothing is kept.

    Gathering goes through a batch in the order of the source, which is that of the disk. It is as
    fast as decoding is, so it wants worker processes and, on slow disks, ``shuffle: shards``.
    """

    def __init__(
        self,
        source: Source,
        preparation: Preparation,
        on_error: Literal["raise", "skip"] = "raise",
        records: NDArray[np.int64] | None = None,
    ) -> None:
        """Keep where the images are.

        Args:
            source: The images.
            preparation: What is done to each.
            on_error: Whether ``gather`` stops at a broken record, or :meth:`try_gather` is to be used.
            records: (N,) ascending, which records of the source are the images; None: all.
        """
        self.source = source
        self.preparation = preparation
        self.on_error = on_error
        self.records = np.arange(len(source)) if records is None else records
        self.shape = (len(self.records), *preparation.image_size, preparation.stored_channels)

    def __len__(self) -> int:
        """Return the number of images N, those that turn out to be broken included."""
        return self.shape[0]

    def gather(self, rows: Tensor | NDArray[np.int64]) -> Tensor:
        """Decode images.

        Args:
            rows: (n,) integers in [0, N), in any order, repeated or not.

        Returns:
            (n, C, H, W) uint8 with channels_last strides.

        Raises:
            DataError: A record is broken.
        """
        images, _, problem = self._gather(rows)
        if problem is not None:
            raise DataError(f"{problem} To leave broken images out, set on_error to skip.") from problem
        return images

    def try_gather(self, rows: Tensor | NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Decode images, where broken ones are black.

        Args:
            rows: As for :meth:`gather`.

        Returns:
            As :meth:`gather`, and (n,) bool: which images could be read.
        """
        images, readable, _ = self._gather(rows)
        return images, readable

    def _gather(self, rows: Tensor | NDArray[np.int64]) -> tuple[Tensor, Tensor, DataError | None]:
        unique, places = np.unique(np.asarray(rows), return_inverse=True)
        images = np.zeros((len(unique), *self.shape[1:]), dtype=np.uint8)
        readable = np.zeros(len(unique), dtype=bool)
        first: DataError | None = None
        # Taken out as it fills, so that at most one batch of decoded originals is held.
        batch, waiting = ImageBatch(self.preparation), list[int]()
        wanted = self.records[unique].tolist()
        for row, entry in enumerate(self.source.read(wanted)):
            try:
                add_record(batch, entry)
            except DataError as problem:
                logger.warning("%s", problem)
                first = first or problem
            else:
                waiting.append(row)
                readable[row] = True
            if batch.full:
                images[waiting] = batch.take()
                waiting.clear()
        images[waiting] = batch.take()
        stacked = torch.from_numpy(images[places]).permute(0, 3, 1, 2)
        return stacked, torch.from_numpy(readable[places]), first


def equal_shards(size: int, shard_size: int) -> Sequence[int]:
    """Return how many of ``size`` records lie in each stretch of ``shard_size``, in order."""
    return [min(shard_size, size - start) for start in range(0, size, shard_size)]
