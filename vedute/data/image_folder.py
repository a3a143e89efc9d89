"""Reading image files that lie in folders, one folder a class. Images are not decoded here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vedute.data.source import PART_SIZE, Part, Record, Source, natural_order, short_name
from vedute.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Names that count as images, in lower case; everything else in a folder is passed over."""


def image_files(folder: Path) -> list[Path]:
    """Return the image files in and below a folder in natural order, without hidden ones.

    Raises:
        DataError: The folder does not exist.
    """
    if not folder.is_dir():
        raise DataError(f"The folder {folder} does not exist. Check the path, and that its disk is mounted.")
    found = (
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(piece.startswith(".") for piece in path.relative_to(folder).parts)
        and path.is_file()
    )
    return sorted(found, key=natural_order)


@dataclass(frozen=True)
class _FilesPart(Part):
    paths: tuple[Path, ...]
    labels: tuple[int, ...]

    def count(self) -> int:
        return len(self.paths)

    def read(self) -> Iterator[Record | DataError]:
        for path, label in zip(self.paths, self.labels, strict=True):
            try:
                yield Record(path.read_bytes(), None if label < 0 else label, short_name(path))
            except OSError as error:
                yield DataError(f"{short_name(path)} cannot be read: {error.strerror}.")


class ImageFolderSource(Source):
    """Image files in folders: all images in and below a class folder have its label."""

    def __init__(self, root: Path, class_folders: Sequence[str], labels: Sequence[int]) -> None:
        """List the image files; none is opened yet.

        Args:
            root: The folder that holds the class folders.
            class_folders: Their names below ``root``; ``"."`` is ``root`` itself.
            labels: One class number for each of them, -1 for images without a label.

        Raises:
            DataError: A class folder is missing or holds no image.
        """
        if len(class_folders) != len(labels):
            raise ValueError(f"{len(class_folders)} class folders need as many labels, got {len(labels)}")
        self.root = Path(root)
        self._files: list[Path] = []
        self._labels: list[int] = []
        for class_folder, label in zip(class_folders, labels, strict=True):
            folder = self.root / class_folder
            found = image_files(folder)
            if not found:
                suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
                raise DataError(f"The folder {folder} holds no image; looked for files named {suffixes}.")
            self._files += found
            self._labels += [label] * len(found)

    def files(self) -> list[Path]:
        """Return all image files, class folder by class folder."""
        return list(self._files)

    def settings(self) -> dict[str, str]:
        """Return the labels, which decide the content beside the files."""
        return {"reader": "image folder", "labels": ",".join(map(str, self._labels))}

    @cached_property
    def _parts(self) -> list[_FilesPart]:
        starts = range(0, len(self._files), PART_SIZE)
        return [
            _FilesPart(
                tuple(self._files[start : start + PART_SIZE]),
                tuple(self._labels[start : start + PART_SIZE]),
            )
            for start in starts
        ]

    def parts(self) -> Sequence[Part]:
        """Return the files in parts."""
        return self._parts

    def broken(self) -> list[DataError]:
        """Return nothing: an image file shows its faults only when it is decoded."""
        return []

    def labels(self) -> NDArray[np.int64]:
        """Return the labels (N,), -1 where there is none, without opening a file."""
        return np.array(self._labels, dtype=np.int64)
