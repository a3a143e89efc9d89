"""Which images make up each batch of an epoch, on each process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from vedute.errors import DataError

Shuffle = Literal["none", "full", "shards"]
"""How an epoch is ordered: ascending; any row at any time; or file by file, mixed within a buffer."""

Rows = NDArray[np.int64]

BUFFER = 8192
"""Rows that are mixed with each other when an epoch goes file by file."""


class BatchOrder(Sampler[list[int]]):
    """Which rows make up each batch of an epoch: a function of the arguments and the epoch, nothing else.

    All ranks plan the same epoch and each takes its own part of it, so that in an unweighted epoch
    the ranks' rows are disjoint.

    How many: in training every rank makes ``size // (batch_size * ranks)`` full batches; the rows that
    are left over differ from epoch to epoch. Otherwise every row comes exactly once over all ranks,
    in batches of nearly equal size. No row is ever repeated to fill a batch, so there is no padding.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        training: bool,
        shuffle: Shuffle,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        weights: NDArray[np.float64] | None = None,
        shards: Sequence[int] = (),
        workers: int = 0,
    ) -> None:
        """Plan the batches.

        Args:
            size: Number of rows.
            batch_size: Rows in one batch of one rank.
            training: Batches are all full; otherwise every row comes exactly once, and batches may be
                smaller.
            shuffle: ``none``: ascending. ``full``: an order drawn anew each epoch. ``shards``: the order of
                the shards is drawn, each rank and each worker reads its own stretch of them, and rows
                are mixed within a buffer: for sets that do not fit in memory, on disks that read
                neighbouring data much faster than scattered data.
            seed: Of the order, at least 0.
            rank: Number of this process.
            ranks: Number of processes; each makes the same number of batches.
            weights: (size,) at least 0: training rows are drawn with replacement in this proportion.
            shards: Number of rows in each shard, in order; their sum is ``size``. Empty: one shard.
            workers: Processes that gather the batches of this rank, in turn.

        Raises:
            DataError: The rows do not make one batch for each rank.
        """
        self.size, self.batch_size, self.training = size, batch_size, training
        self.shuffle: Shuffle = shuffle if training else "none"
        self.seed, self.rank, self.ranks = seed, rank, ranks
        self.weights = None if weights is None else np.asarray(weights, dtype=np.float64) / np.sum(weights)
        self.shards = np.asarray(shards if len(shards) else [size], dtype=np.int64)
        if self.shards.sum() != size or (self.weights is not None and len(self.weights) != size):
            raise ValueError(f"{size} rows need as many in shards and weights")
        self.workers = max(workers, 1)
        self.epoch = 0
        self.start = 0
        if training and size < batch_size * ranks:
            processes = f" on each of {ranks} processes" if ranks > 1 else ""
            raise DataError(
                f"A batch of {batch_size}{processes} is larger than the training split of {size} images. "
                f"Set data.batch_size to {max(size // ranks, 1)} or less."
            )
        if size < ranks:
            raise DataError(
                f"A split of {size} images cannot be shared by {ranks} processes. Use fewer devices."
            )

    @property
    def sampler(self) -> BatchOrder:
        """Itself: where Lightning looks for ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next (Lightning calls this)."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch on each rank."""
        together = self.batch_size * self.ranks
        if self.training:
            return self.size // together
        # At least a row for each rank: a batch of one may become one of two, but none is empty.
        return min(-(-self.size // together), self.size // self.ranks)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the epoch's batches on this rank, from batch ``start`` on."""
        batches = self._batches()
        for batch in range(self.start, len(self)):
            yield batches[batch].tolist()

    def _batches(self) -> Sequence[Rows]:
        """Return the rows of each batch of this rank."""
        if self.training and self.shuffle == "shards":
            return self._shard_batches()
        order = self._order()
        if self.training or self.ranks == 1:
            order = order[: len(self) * self.ranks * self.batch_size]
            chunks = np.split(order, np.arange(1, len(self) * self.ranks) * self.batch_size)
        else:
            # Nearly equal chunks: no rank may run out of batches before the others, which would wait forever.
            chunks = np.array_split(order, len(self) * self.ranks)
        return chunks[self.rank :: self.ranks]

    def _order(self) -> Rows:
        if self.shuffle == "none" and self.weights is None:
            return np.arange(self.size)
        draw = np.random.default_rng([self.seed, self.epoch])
        if self.weights is not None:
            return draw.choice(self.size, self.size, replace=True, p=self.weights)
        return draw.permutation(self.size)

    def _shard_batches(self) -> Sequence[Rows]:
        """Return the batches of this rank, file by file.

        The shards, in their drawn order, make one long row. Each rank takes an equal stretch of it, and
        each worker of the rank an equal stretch of that; only the shards at the ends of stretches are
        read twice. Batch b is gathered by worker b % workers, so it is cut from that worker's stretch.
        """
        draw = np.random.default_rng([self.seed, self.epoch])
        starts = np.concatenate([[0], np.cumsum(self.shards)])
        pieces = [np.arange(starts[shard], starts[shard + 1]) for shard in draw.permutation(len(self.shards))]
        order = np.concatenate(pieces)
        if self.weights is not None:
            # Drawing how often each row comes, in place, keeps the neighbours together.
            order = np.repeat(order, draw.multinomial(self.size, self.weights)[order])
        # The rows that are left over are another stretch each epoch.
        order = np.roll(order, draw.integers(self.size))
        stretch = order[: len(self) * self.ranks * self.batch_size]
        stretch = stretch.reshape(self.ranks, len(self), self.batch_size)[self.rank]
        mixed = [
            _mixed(part.reshape(-1), draw).reshape(part.shape)
            for part in np.array_split(stretch, self.workers)
            if len(part)
        ]
        longest = max(len(part) for part in mixed)
        return [part[turn] for turn in range(longest) for part in mixed if turn < len(part)]


def _mixed(rows: Rows, draw: np.random.Generator) -> Rows:
    """Return the rows mixed as by a shuffle buffer: each comes at most about a buffer away from its place.

    Sorting by the place plus a draw of up to a buffer's length does at once what taking random
    elements out of a sliding buffer does one by one.
    """
    return rows[np.argsort(np.arange(len(rows)) + draw.uniform(0, BUFFER, len(rows)), kind="stable")]
