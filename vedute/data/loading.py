"""From rows to batches: where the pixels reside, in which order they come, and how a loader resumes.

Here: arrays of images, the rows of one split, the order of an epoch, the loader. Not here:
decoding (``cache.py``), augmentation and the conversion to float (``datamodules.base``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from vedute.batch import Batch, Condition
from vedute.errors import DataError

Encoder = Callable[[Tensor], Tensor]
"""From labels (N,) int64 to condition vectors (N, D) float32; picklable, works on any device."""


class ImageArray(Protocol):
    """Images that can be gathered by row: the prepared cache on disk, or a tensor."""

    def __len__(self) -> int: ...

    def gather(self, rows: Tensor) -> Tensor:
        """Return rows (n,) int64 as (n, C, H, W) uint8 with channels_last strides, own memory."""
        ...


class TensorImages:
    """Images held in memory, of the computer or of an accelerator."""

    def __init__(self, images: np.ndarray, device: torch.device | str = "cpu") -> None:
        """Copy the images to the device.

        Args:
            images: (N, H, W, C) uint8, for example a memory map.
            device: Where they shall reside.
        """
        self._images = torch.empty(images.shape, dtype=torch.uint8, device=device)
        # By pieces: neither a memory map nor an accelerator needs a second copy of the whole in between.
        for start in range(0, len(images), 4096):
            piece = torch.from_numpy(np.array(images[start : start + 4096]))
            self._images[start : start + 4096] = piece

    def __len__(self) -> int:
        return len(self._images)

    def gather(self, rows: Tensor) -> Tensor:
        """Return rows (n,) int64 as (n, C, H, W) uint8 on the images' device."""
        return self._images.index_select(0, rows.to(self._images.device)).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class OneHot:
    """Class positions to one-hot vectors.

    Attributes:
        size: Number D of classes.
    """

    size: int

    def __call__(self, labels: Tensor) -> Tensor:
        """Return (N, D) float32 for labels (N,) int64 in [0, D)."""
        return torch.nn.functional.one_hot(labels, self.size).float()


class ImageRows(Dataset[Batch]):
    """The rows of one split, gathered a whole batch at a time."""

    def __init__(
        self,
        images: ImageArray,
        rows: Tensor,
        labels: Tensor,
        encode: Encoder | None = None,
        copies: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        """Keep where each image is.

        Args:
            images: The array that the split is part of.
            rows: (N,) int64: the rows of the array that make up the split.
            labels: (N,) int64: what the encoder takes.
            encode: From labels to condition vectors; None: no condition.
            copies: How often the split is repeated: its length is ``copies * N``, row ``i`` shows image
                ``i % N``.
            device: Where labels and rows are kept: the device of the images, so that only the
                indices of a batch travel.
        """
        self.images = images
        self.rows = rows.to(device)
        self.labels = labels.to(device)
        self.encode = encode
        self.copies = copies

    def __len__(self) -> int:
        return self.copies * len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        """Return a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        """Gather the images at the given rows of the split.

        Args:
            indices: n rows in [0, len(self)).

        Returns:
            A batch of n images, uint8; ``index`` holds the given rows.
        """
        index = torch.as_tensor(indices, dtype=torch.int64).to(self.rows.device)
        positions = index % len(self.rows) if self.copies > 1 else index
        vector = None if self.encode is None else self.encode(self.labels[positions])
        return Batch(self.images.gather(self.rows[positions]), Condition(vector), index)


class BatchOrder(Sampler[list[int]]):
    """Which rows make up each batch of an epoch: a function of seed, epoch and rank, nothing else.

    Batch b of rank r takes its part of the same global order on every rank, so the ranks' rows are
    disjoint and together complete.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        training: bool,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        """Plan the batches.

        Args:
            size: Number of rows.
            batch_size: Rows in one batch of one rank.
            training: Batches are all full; the rows that are left over differ from epoch to epoch when
                shuffled. Otherwise every row comes exactly once, and the last batch may be smaller.
            shuffle: Order drawn anew each epoch; else ascending.
            seed: Of the order, at least 0.
            rank: Number of this process.
            ranks: Number of processes; each makes the same number of batches.

        Raises:
            DataError: The rows do not make one batch for each rank.
        """
        self.size, self.batch_size, self.training, self.shuffle = size, batch_size, training, shuffle
        self.seed, self.rank, self.ranks = seed, rank, ranks
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
        return self.size // together if self.training else -(-self.size // together)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the epoch's batches on this rank, from batch ``start`` on."""
        order = np.arange(self.size)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        if self.training or self.ranks == 1:
            cuts = np.arange(1, len(self) * self.ranks) * self.batch_size
            order = order[: len(self) * self.ranks * self.batch_size]
            chunks = np.split(order, cuts)
        else:
            # Nearly equal chunks: no rank may run out of batches before the others, which would wait forever.
            chunks = np.array_split(order, len(self) * self.ranks)
        for batch in range(self.start, len(self)):
            yield chunks[batch * self.ranks + self.rank].tolist()


class LoaderState(TypedDict):
    """Where a loader stands: the batches of an epoch that it has given out."""

    epoch: int
    batches: int


def _identity(batch: object) -> object:
    return batch


class ImageLoader:
    """Iterates over the batches of an epoch; can continue in the middle of one.

    On purpose not a DataLoader but around one: Lightning rebuilds DataLoaders to put its own
    samplers in, which would repeat or mix up the shards made here; other iterables it leaves alone.
    It finds ``batch_sampler.sampler.set_epoch``, ``state_dict`` and ``load_state_dict`` by name, and
    saves and loads the state with its checkpoints.
    """

    def __init__(
        self, rows: ImageRows, order: BatchOrder, num_workers: int = 0, pin_memory: bool = False
    ) -> None:
        """Set up the loading.

        Args:
            rows: What to gather from.
            order: Which rows make up each batch.
            num_workers: Processes that gather; 0: this one, which is fast enough unless the disk is slow.
            pin_memory: Copy batches to page-locked memory, from where CUDA devices fetch faster.
        """
        self.rows = rows
        self.batch_sampler = order
        self._batches: DataLoader[Batch] = DataLoader(
            rows,
            batch_sampler=order,
            collate_fn=_identity,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            # Else each start would draw from the global generator, and a resumed epoch, which starts
            # its loader once more, would go on with other augmentations.
            generator=torch.Generator(),
        )
        self._state = LoaderState(epoch=0, batches=0)
        self._resumes = False

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch, also when resuming within one."""
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the epoch that is set when the first batch is asked for.

        Not when the iterator is made: Lightning makes it before it sets the epoch.
        """
        epoch = self.batch_sampler.epoch
        within = self._resumes and self._state["epoch"] == epoch
        self._resumes = False
        self.batch_sampler.start = self._state["batches"] if within else 0
        self._state = LoaderState(epoch=epoch, batches=self.batch_sampler.start)
        for batch in self._batches:
            self._state["batches"] += 1
            yield batch

    def state_dict(self) -> LoaderState:
        """Return where the loader stands; the same on every rank."""
        return LoaderState(epoch=self._state["epoch"], batches=self._state["batches"])

    def load_state_dict(self, state_dict: LoaderState) -> None:
        """Continue after the batches that were given out, if the epoch is the same."""
        self._state = LoaderState(epoch=state_dict["epoch"], batches=state_dict["batches"])
        self._resumes = True
