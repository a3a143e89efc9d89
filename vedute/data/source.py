"""What every reader of image files promises: records in a fixed order, in parts that can be read in parallel.

Here live the abstract ``Source`` and ``Part``; the readers are in ``tfrecord.py`` and
``image_folder.py``. Nothing here decodes an image: that is ``decoding.py``, and ``cache.py``
does it once for a whole source.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vedute.errors import DataError

PART_SIZE = 128
"""Records in one part, about: enough to outweigh its overhead, few enough to balance many cores."""


@dataclass(frozen=True)
class Record:
    """One encoded image with its label.

    Attributes:
        payload: The image file's bytes (JPEG, PNG, ...).
        label: The class number as stored, None where there is none.
        origin: Where it comes from, for messages: ``Train/00003.tfrecord, record 17``.
    """

    payload: bytes
    label: int | None
    origin: str


class Part(ABC):
    """A unit of work: some consecutive records of a source."""

    @abstractmethod
    def count(self) -> int:
        """Return the number of records, broken ones included, without reading them."""

    @abstractmethod
    def read(self) -> Iterator[Record | DataError]:
        """Read ``count()`` records in order; in place of each broken one comes what is wrong with it."""

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
    """A set of encoded images in a fixed order."""

    @abstractmethod
    def files(self) -> list[Path]:
        """Return all files the records come from; their paths, sizes and times identify the data."""

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
        return sum(part.count() for part in self.parts())

    def labels(self) -> NDArray[np.int64]:
        """Read the labels (N,) without decoding images; -1 where a record has none.

        Raises:
            DataError: A record is broken.
        """
        labels = [record.label for part in self.parts() for record in part.records()]
        return np.array([-1 if label is None else label for label in labels], dtype=np.int64)


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key that puts ``2.tfrecord`` before ``10.tfrecord``."""
    pieces = re.split(r"([0-9]+)", str(path))
    return [(1, int(piece), piece) if piece.isdecimal() else (0, 0, piece) for piece in pieces]


def short_name(path: Path) -> str:
    """Return the last two components of a path, which name a file well enough in a message."""
    return "/".join(path.parts[-2:])
