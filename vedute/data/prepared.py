"""Prepared images as they lie on disk: memory-mapped arrays (shards), the labels, and a manifest.

``cache.py`` writes them; here they are opened, checked and read.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LABELS = "labels.npy"
RECORDS = "records.npy"
MANIFEST = "manifest.json"
FORMAT = 3
"""Raised when the files' layout or the meaning of a preparation changes; older caches are rebuilt."""

HEADER_SIZE = 128
"""Bytes before the pixels in a shard."""


def shard_name(number: int) -> str:
    """Return the name of a file of images."""
    return f"images-{number:05d}.npy"


def images_header(shape: tuple[int, int, int, int]) -> bytes:
    """Return the ``.npy`` header of a uint8 array (N, H, W, C); its length does not depend on N."""
    buffer = BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    header = buffer.getvalue()
    if len(header) != HEADER_SIZE:
        raise RuntimeError(f"the header of {shape} has {len(header)} bytes instead of {HEADER_SIZE}")
    return header


class PreparedImages:
    """Images of one size that are ready to be read in any order, any number of times.

    Only the pages that are read are loaded, and the system may drop them again, so a set may be
    larger than the memory. Copies to other processes open the same files.

    Attributes:
        shape: (N, H, W, C); C counts the mask's channel where there are masks.
        labels: (N,) int64, as the source gave them, -1 for none.
        records: (N,) int64, ascending: which record of the source each image was.
        shards: Number of images in each file, in order.
        skipped: What was left out and why, one line for each record.
        unclear_masks: How many masks held more than two values and were cut at the threshold.
        folder: Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        """Open a complete cache.

        Args:
            folder: A folder that ``prepare`` has written.

        Raises:
            OSError: A file is missing.
            ValueError: A file is not what it should be.
        """
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        self.folder = folder
        self.skipped: list[str] = list(manifest["skipped"])
        self.unclear_masks = int(manifest["unclear_masks"])
        self.labels: NDArray[np.int64] = np.load(folder / LABELS)
        self.records: NDArray[np.int64] = np.load(folder / RECORDS)
        self.shards = [int(count) for count in manifest["shards"]]
        # np.asarray: indexing the memmap class itself costs 20 us more.
        self._pixels = [
            np.asarray(np.load(folder / shard_name(number), mmap_mode="r"))
            for number in range(len(self.shards))
        ]
        self._starts = np.concatenate([[0], np.cumsum(self.shards)])
        self.shape = (int(self._starts[-1]), *self._pixels[0].shape[1:])
        if [len(pixels) for pixels in self._pixels] != self.shards or not (
            len(self.labels) == len(self.records) == len(self)
        ):
            raise ValueError(f"{folder} holds other numbers of images, labels and records than it says")

    def __len__(self) -> int:
        """Return the number of images N."""
        count: int = self.shape[0]
        return count

    def __reduce__(self) -> tuple[type[PreparedImages], tuple[Path]]:
        """Pickle as the folder alone, so that no other process gets a copy of the pixels."""
        return PreparedImages, (self.folder,)

    def gather(self, rows: Tensor | NDArray[np.int64]) -> Tensor:
        """Read images.

        Args:
            rows: (n,) integers in [0, N), in any order, repeated or not.

        Returns:
            (n, C, H, W) uint8 in memory of its own, strided as channels last.

        Raises:
            IndexError: A row is out of range.
        """
        index = rows.numpy() if isinstance(rows, Tensor) else rows
        if len(self._pixels) == 1:
            gathered = self._pixels[0].take(index, axis=0)
        else:
            if len(index) and not 0 <= index.min() <= index.max() < len(self):
                raise IndexError(f"rows {index.min()} to {index.max()} of {len(self)} images")
            gathered = np.empty((len(index), *self.shape[1:]), dtype=np.uint8)
            shards = np.searchsorted(self._starts, index, side="right") - 1
            for shard in np.unique(shards):
                places = np.flatnonzero(shards == shard)
                gathered[places] = self._pixels[shard].take(index[places] - self._starts[shard], axis=0)
        return torch.from_numpy(gathered).permute(0, 3, 1, 2)


def open_prepared(folder: Path, fingerprint: str) -> PreparedImages | None:
    """Open a cache if it is complete and belongs to the source as it is now, else return None.

    Args:
        folder: Where the cache would be.
        fingerprint: Identifies the source's files with their sizes and times.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT or manifest["fingerprint"] != fingerprint:
            return None
        return PreparedImages(folder)
    except (OSError, ValueError, KeyError, TypeError):  # missing, damaged or cut: to be written anew
        return None
