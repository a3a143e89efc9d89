"""From rows to batches: where the pixels reside, what a row of a split is, and how a loader resumes.

Here: arrays of images, the rows of one split, the loader. Not here: the order of an epoch
(``order.py``), decoding (``cache.py``), augmentation and the conversion to float (``datamodules.base``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NotRequired, Protocol, TypedDict

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vedute.batch import Batch, Condition
from vedute.data.labels import Encoder
from vedute.data.order import BatchOrder
from vedute.data.streaming import DecodedImages
from vedute.errors import DataError

_TRIES = 32
"""Broken images in a row that a stream looks past."""


class ImageArray(Protocol):
    """Images that can be gathered by row: the prepared cache on disk, a tensor, or files decoded as asked."""

    def __len__(self) -> int: ...

    def gather(self, rows: Tensor) -> Tensor:
        """Return rows (n,) int64 as (n, C, H, W) uint8 with channels_last strides, own memory."""
        ...


class ShapedImages(ImageArray, Protocol):
    """Images of which it is known how many and how large they are."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        ...


class TensorImages:
    """Images held in memory, of the computer or of an accelerator."""

    def __init__(self, images: ShapedImages, device: torch.device | str = "cpu") -> None:
        """Copy the images to the device.

        Args:
            images: N images, such as the prepared ones.
            device: Where they shall reside.
        """
        self._images = torch.empty(images.shape, dtype=torch.uint8, device=device)  # (N, H, W, C)
        # By pieces: an accelerator needs no second copy of the whole in between.
        for start in range(0, len(images), 4096):
            rows = torch.arange(start, min(start + 4096, len(images)))
            self._images[start : start + 4096] = images.gather(rows).permute(0, 2, 3, 1).to(device)

    def __len__(self) -> int:
        return len(self._images)

    def gather(self, rows: Tensor) -> Tensor:
        """Return rows (n,) int64 as (n, C, H, W) uint8 on the images' device."""
        return self._images.index_select(0, rows.to(self._images.device)).permute(0, 3, 1, 2)


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
        mask: bool = False,
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
            mask: The last channel of an image is its mask: the condition image.
        """
        self.images = images
        self.rows = rows.to(device)
        self.labels = labels.to(device)
        self.encode = encode
        self.copies = copies
        self.mask = mask

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
            A batch of n images, uint8; ``index`` holds the given rows (of a stand-in for a broken
            image: its own).
        """
        index = torch.as_tensor(indices, dtype=torch.int64).to(self.rows.device)
        positions = index % len(self.rows) if self.copies > 1 else index
        image, found = self._gather(positions)
        index = index - positions + found  # the same copy of the image that was found
        vector = None if self.encode is None else self.encode(self.labels[found])
        if not self.mask:
            return Batch(image, Condition(vector), index)
        return Batch(image[:, :-1], Condition(vector, image[:, -1:]), index)

    def _gather(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images at positions (n,) of the split, and which positions they are from.

        Where images are decoded on demand and one is broken, the next readable one of the split stands
        in with all that belongs to it: its label and its index.
        """
        if not isinstance(self.images, DecodedImages) or self.images.on_error == "raise":
            return self.images.gather(self.rows[positions]), positions
        image, readable = self.images.try_gather(self.rows[positions])
        for _ in range(_TRIES):
            if readable.all():
                return image, positions
            lacking = (~readable).nonzero()[:, 0]
            positions = positions.clone()
            positions[lacking] = (positions[lacking] + 1) % len(self.rows)
            image[lacking], readable[lacking] = self.images.try_gather(self.rows[positions[lacking]])
        raise DataError(
            f"{_TRIES} broken images follow each other in the split: 'inspect' lists them. Remove them."
        )


class LoaderState(TypedDict):
    """Where a loader stands: the batches of an epoch that it has given out.

    ``images`` is how many all processes together train on with one batch each; states from before it was
    kept are without.
    """

    epoch: int
    batches: int
    images: NotRequired[int]


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
        self.regrouped = False
        """Whether the state that it continues was that of another batch size or number of processes."""

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch, also when resuming within one."""
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the epoch that is set when the first batch is asked for.

        Not when the iterator is made: Lightning makes it before it sets the epoch.
        """
        epoch = self.batch_sampler.epoch
        self.batch_sampler.start = self.position(epoch)
        self._resumes = False
        self._state = LoaderState(epoch=epoch, batches=self.batch_sampler.start)
        for batch in self._batches:
            self._state["batches"] += 1
            yield batch

    def state_dict(self) -> LoaderState:
        """Return where the loader stands; the same on every rank."""
        return LoaderState(**self._state, images=self._images)

    def load_state_dict(self, state_dict: LoaderState) -> None:
        """Continue after the batches that were given out, if the epoch is the same.

        With another batch size or number of processes: after as many images, rounded down to whole batches.
        """
        before = state_dict.get("images", self._images)
        self._state = LoaderState(
            epoch=state_dict["epoch"], batches=state_dict["batches"] * before // self._images
        )
        self._resumes, self.regrouped = True, before != self._images

    def position(self, epoch: int) -> int:
        """Return the batch of an epoch where this loader continues; 0: it does not."""
        within = self._resumes and self._state["epoch"] == epoch
        return self._state["batches"] if within else 0

    @property
    def _images(self) -> int:
        return self.batch_sampler.batch_size * self.batch_sampler.ranks
