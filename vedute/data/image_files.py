"""Image files as a source: listed by folder, by table, or computed from an index. Nothing is decoded here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from vedute.data.image_bytes import file_problem, read_file
from vedute.data.source import PART_SIZE, Part, Record, Source, natural_order, printable, short_name
from vedute.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Names that count as images, in lower case; everything else in a folder is passed over."""


def image_files(folder: Path) -> list[Path]:
    """Return the image files in and below a folder in natural order, without hidden ones.

    Links to files and folders are followed, except where that ends in a loop: to a folder that was already
    visited, or to one that holds this folder.

    Raises:
        DataError: The folder does not exist.
    """
    return sorted((file for file in visible_files(folder) if is_image(file)), key=natural_order)


def is_image(path: Path) -> bool:
    """Whether a file's name is that of an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def visible_files(folder: Path) -> Iterator[Path]:
    """Yield the files in and below a folder, in no order, without hidden ones.

    Raises:
        DataError: The folder does not exist, or one below cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"The folder {folder} does not exist. Check the path, and that its disk is mounted.")
    # Images in folders above are not this folder's: a class would get those of all others.
    seen = {_identity(above) for above in folder.resolve().parents}
    for place, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        identity = _identity(Path(place))
        if identity in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # os.walk lists broken links and pipes as files: only what can be read counts.
        yield from (
            path
            for name in files
            if not name.startswith(".")
            for path in [Path(place, name)]
            if path.is_file()
        )


def _refuse(error: OSError) -> None:
    """Refuse a folder that cannot be listed: its images would be missing without a word."""
    raise DataError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error


def _identity(folder: Path) -> tuple[int, int]:
    """Return what is the same for all paths to one folder."""
    status = folder.stat()
    return status.st_dev, status.st_ino


@dataclass(frozen=True)
class _FilesPart(Part):
    paths: Sequence[Path]
    labels: NDArray[np.int64]
    masks: Sequence[Path] | None

    def count(self) -> int:
        return len(self.labels)

    def read(self, positions: Sequence[int] | None = None) -> Iterator[Record | DataError]:
        for position in range(self.count()) if positions is None else positions:
            path = self.paths[position]
            label = int(self.labels[position])
            try:
                mask = None if self.masks is None else read_file(self.masks[position])
                yield Record(read_file(path), None if label < 0 else label, short_name(path), mask)
            except DataError as error:
                yield error


class _Parts(Sequence[_FilesPart]):
    """Parts that are cut when they are asked for: millions of files have many thousands."""

    def __init__(
        self, paths: Sequence[Path], labels: NDArray[np.int64], masks: Sequence[Path] | None
    ) -> None:
        self._paths, self._labels, self._masks = paths, labels, masks

    def __len__(self) -> int:
        return -(-len(self._labels) // PART_SIZE)

    @overload
    def __getitem__(self, index: int) -> _FilesPart: ...
    @overload
    def __getitem__(self, index: slice) -> list[_FilesPart]: ...
    def __getitem__(self, index: int | slice) -> _FilesPart | list[_FilesPart]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        start = index % len(self) * PART_SIZE
        piece = slice(start, start + PART_SIZE)
        masks = None if self._masks is None else self._masks[piece]
        return _FilesPart(self._paths[piece], self._labels[piece], masks)


class FileSource(Source):
    """Image files in a given order, with labels and masks where there are any."""

    def __init__(
        self,
        paths: Sequence[Path],
        labels: Sequence[int] | NDArray[np.int64] | None = None,
        masks: Sequence[Path] | None = None,
    ) -> None:
        """Keep where the files are; none is opened yet.

        Args:
            paths: N files; may be a sequence that makes each path when it is asked for.
            labels: (N,) class numbers or rows of a table, -1 for none; None: no labels.
            masks: N files with the images' masks; None: no masks.
        """
        self._paths = paths
        self._labels = (
            np.full(len(paths), -1, dtype=np.int64) if labels is None else np.asarray(labels, dtype=np.int64)
        )
        self._masks = masks
        for name, values in (("labels", self._labels), ("masks", masks)):
            if values is not None and len(values) != len(paths):
                raise ValueError(f"{len(paths)} files need as many {name}, got {len(values)}")

    def files(self) -> Iterable[Path]:
        """Return the image files, then the masks."""
        yield from self._paths
        yield from self._masks or ()

    def settings(self) -> dict[str, str]:
        """Return what kind of source this is; labels are no part of what is prepared."""
        return {"reader": "files", "masks": "" if self._masks is None else "one for each image"}

    def parts(self) -> Sequence[Part]:
        """Return the files in parts."""
        return _Parts(self._paths, self._labels, self._masks)

    def broken(self) -> list[DataError]:
        """Return the files that are missing, empty or too large; other faults show when they are decoded."""
        return [problem for path in self.files() if (problem := file_problem(path)) is not None]

    def file_names(self, rows: Sequence[int]) -> list[str]:
        """Return the path of each image, without opening it."""
        return [printable(self._paths[row].as_posix()) for row in rows]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._labels)

    def known_labels(self) -> NDArray[np.int64]:
        """Return the labels (N,), -1 where there is none, without opening a file."""
        return self._labels.copy()


def class_folder_source(root: Path, class_folders: Sequence[str], labels: Sequence[int]) -> FileSource:
    """List the images in and below class folders: all of one have its label.

    Args:
        root: The folder that holds the class folders.
        class_folders: Their names below ``root``.
        labels: One class number for each of them, -1 for images without a label.

    Raises:
        DataError: A class folder is missing or holds no image.
    """
    paths: list[Path] = []
    numbers: list[int] = []
    for class_folder, label in zip(class_folders, labels, strict=True):
        found = image_files(root / class_folder)
        if not found:
            suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
            raise DataError(
                f"The folder {root / class_folder} holds no image; looked for files named {suffixes}."
            )
        paths += found
        numbers += [label] * len(found)
    return FileSource(paths, numbers)
