"""What every reader of image files promises: records in a fixed order, in parts that can be read in parallel.

Here live the abstract ``Source`` and ``Part``; readers are in ``tfrecord.py``, ``image_files.py``,
``tiles.py`` and ``tar_shards.py``. Nothing here decodes an image: that is ``decoding.py``, and
``cache.py`` does it once for a whole source.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vedute.errors import DataError

Pixels = NDArray[np.uint8]
"""(H, W, C) in [0, 255]."""

PART_SIZE = 128
"""Records in one part, about: enough to outweigh its overhead, few enough to balance many cores."""


_SURROGATE = re.compile("[\ud800-\udfff]")  # Python's stand-ins for bytes that are no UTF-8


@dataclass(frozen=True)
class Record:
    """One image with its label and, where the data set has masks, its mask.

    Attributes:
        payload: The image file's bytes (JPEG, PNG, ...), or pixels that are decoded already.
        label: The class number as stored, or the row of the data set's table; None where there is none.
        origin: Where it comes from, for messages: ``Train/00003.tfrecord, record 17``.
        mask: A mask of the image's size: a file's bytes, or finished pixels (H, W, 1) with background 0
            and foreground 255. Pixels are not scaled again, because they may be a piece of a file; other
            values count as unclear and are cut at one half. None: no masks.
    """

    payload: bytes | Pixels
    label: int | None
    origin: str
    mask: bytes | Pixels | None = None


class Part(ABC):
    """A unit of work: some consecutive records of a source."""

    @abstractmethod
    def count(self) -> int:
        """Return the number of records, broken ones included, without reading them."""

    @abstractmethod
    def read(self, positions: Sequence[int] | None = None) -> Iterator[Record | DataError]:
        """Read records in order; in place of each broken one comes what is wrong with it.

        Args:
            positions: Ascending, in [0, count()); None: all.
        """

    def records(self) -> Iterator[Record]:
        """Read the records in order.

        Raises:
            DataError: A record is broken.
        """
        for entry in self.read():
            if isinstance(entry, DataError):
                raise entry
            yield entry


class Source(ABC):
    """A set of images in a fixed order."""

    @abstractmethod
    def files(self) -> Iterable[Path]:
        """Return all files the records come from; their paths, sizes and times identify the data.

        There may be millions of them: they are gone through, not kept.
        """

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Return what else decides which records there are, such as feature names."""

    @abstractmethod
    def parts(self) -> Sequence[Part]:
        """Return the parts in order. Broken files make parts with broken records, not exceptions."""

    @abstractmethod
    def broken(self) -> list[DataError]:
        """Return what is wrong with the files, as far as it shows without reading the images."""

    def __len__(self) -> int:
        """Return the number of records, broken ones included, without decoding images."""
        return self._starts[-1]

    @cached_property
    def _starts(self) -> list[int]:
        """The first record of each part, and the number of all records."""
        return [0, *accumulate(part.count() for part in self.parts())]

    def read(self, rows: Sequence[int]) -> Iterator[Record | DataError]:
        """Read some records, each part once.

        Args:
            rows: Ascending, in [0, len(self)).
        """
        first = 0
        while first < len(rows):
            part = bisect_right(self._starts, rows[first]) - 1
            last = first
            while last < len(rows) and rows[last] < self._starts[part + 1]:
                last += 1
            yield from self.parts()[part].read([row - self._starts[part] for row in rows[first:last]])
            first = last

    def file_names(self, rows: Sequence[int]) -> list[str]:
        """Return which file each record is from: its path, or where several share a file, its origin.

        Reads the records, where a source does not know better.

        Args:
            rows: Ascending, in [0, len(self)).
        """
        return ["" if isinstance(entry, DataError) else entry.origin for entry in self.read(rows)]

    def shards(self) -> list[int] | None:
        """Return how many records each file holds where files are best read from front to back; else None."""
        return None

    def known_labels(self) -> NDArray[np.int64] | None:
        """Return the labels (N,), -1 for none, where they are known without reading records; else None."""
        return None

    def readable_labels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which records (N,) can be read at all, and their labels (N,); images are not decoded."""
        known = self.known_labels()
        if known is not None:
            return np.arange(len(known)), known
        entries = (entry for part in self.parts() for entry in part.read())
        found = [
            (number, -1 if entry.label is None else entry.label)
            for number, entry in enumerate(entries)
            if not isinstance(entry, DataError)
        ]
        records, labels = np.array(found, dtype=np.int64).reshape(-1, 2).T
        return records, labels

    def labels(self) -> NDArray[np.int64]:
        """Read the labels (N,) without decoding images; -1 where a record has none.

        Raises:
            DataError: A record is broken.
        """
        known = self.known_labels()
        if known is not None:
            return known
        labels = [record.label for part in self.parts() for record in part.records()]
        return np.array([-1 if label is None else label for label in labels], dtype=np.int64)


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key that puts ``2.tfrecord`` before ``10.tfrecord``."""
    pieces = re.split(r"([0-9]+)", str(path))
    return [(1, int(piece), piece) if piece.isdecimal() else (0, 0, piece) for piece in pieces]


def short_name(path: Path) -> str:
    """Return the last two components of a path, which name a file well enough in a message."""
    return printable("/".join(path.parts[-2:]))


def printable(text: str) -> str:
    r"""Write out the bytes of file names that are no UTF-8 (``caf\xe9.jpg``): they cannot be printed."""
    return text if text.isascii() else _SURROGATE.sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
