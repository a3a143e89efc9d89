"""Prepared images as they lie on disk: one memory-mapped array, the labels, and a manifest.

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

IMAGES = "images.npy"
LABELS = "labels.npy"
MANIFEST = "manifest.json"
FORMAT = 1
"""Raised when the files' layout or the meaning of a preparation changes; older caches are rebuilt."""

HEADER_SIZE = 128
"""Bytes before the pixels in ``images.npy``."""


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
    larger than the memory. Copies to other processes open the same file.

    Attributes:
        images: (N, H, W, C) uint8, mapped from disk, read-only.
        labels: (N,) int64, the class numbers as stored in the source, -1 for none.
        skipped: What was left out and why, one line for each record.
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
        self.images: NDArray[np.uint8] = np.load(folder / IMAGES, mmap_mode="r")
        self.labels: NDArray[np.int64] = np.load(folder / LABELS)
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images have {len(self.labels)} labels")
        self._pixels = np.asarray(self.images)  # indexing the memmap class itself costs 20 us more

    def __len__(self) -> int:
        """Return the number of images N."""
        return len(self.labels)

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
        return torch.from_numpy(self._pixels.take(index, axis=0)).permute(0, 3, 1, 2)


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
