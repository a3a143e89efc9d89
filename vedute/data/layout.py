"""Finding a data set's parts in a folder as people unpack archives: split folders, some levels down.

Nothing here opens a file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from vedute.data.image_files import IMAGE_SUFFIXES
from vedute.data.source import natural_order
from vedute.errors import DataError

logger = logging.getLogger("vedute.data.layout")

Found = TypeVar("Found")

RECORD_SUFFIXES = (".tfrecord", ".tfrecords", ".tfrec")
PART_NAMES = {
    "train": "train", "training": "train", "training data": "train",
    "val": "val", "valid": "val", "validation": "val", "validation data": "val",
    "test": "test", "testing": "test", "testing data": "test",
}  # fmt: skip
"""How split folders are called, in lower case."""


def find_below(root: Path, accept: Callable[[Path], Found | None], depth: int) -> Found | None:
    """Return what ``accept`` makes of the first folder that it accepts, the nearest to ``root`` first.

    Args:
        root: Where to begin.
        accept: Returns None for a folder that is not the wanted one.
        depth: Levels below ``root`` to look at.
    """
    level = [root]
    for _ in range(depth + 1):
        for folder in level:
            found = accept(folder)
            if found is not None:
                return found
        level = [child for folder in level for child in _folders(folder)]
    return None


def record_parts(folder: Path) -> Mapping[str, list[Path]] | None:
    """Return the TFRecord files of each part of a data set; see ``shard_parts``."""
    return shard_parts(folder, RECORD_SUFFIXES)


def shard_parts(folder: Path, suffixes: tuple[str, ...]) -> Mapping[str, list[Path]] | None:
    """Return the shards of each part of a data set, None where the folder holds no training records.

    Either in split folders (``Train``, ``Valid``, ``Test``; any case), or shards directly in the
    folder: those whose names begin with ``val`` or ``test`` are these parts, all others train.

    Args:
        folder: Where to look, not below its split folders.
        suffixes: How names of shards end, in lower case; ``.gz`` may follow.

    Raises:
        DataError: A split folder beside one with records holds none.
    """
    parts = {part: _record_files(child, suffixes) for part, child in _part_folders(folder).items()}
    if parts.get("train"):
        for part, files in parts.items():
            if not files:
                raise DataError(
                    f"{_part_folders(folder)[part]} holds no file named *{suffixes[0]}, though the folders "
                    "beside it do. Complete the data set, or remove the empty folder."
                )
        return parts
    shards: dict[str, list[Path]] = {"train": [], "val": [], "test": []}
    for file in _record_files(folder, suffixes):
        part = next((part for part in ("test", "val") if file.name.lower().startswith(part)), "train")
        shards[part].append(file)
    return {part: files for part, files in shards.items() if files} if shards["train"] else None


def class_folder_parts(folder: Path) -> Mapping[str, Path] | None:
    """Return the folder of each part of a data set of class folders, None where there is no training part.

    A part (``Training Data``, ``Validation Data``, ``Testing Data``, or shorter) holds one folder of
    images for each class.
    """
    parts = _part_folders(folder)
    return parts if "train" in parts and any(map(_has_image, _folders(parts["train"]))) else None


def class_folders(folder: Path) -> list[str]:
    """Return the names of the class folders of one part, in order."""
    return [child.name for child in _folders(folder)]


def _folders(folder: Path) -> list[Path]:
    try:
        children = [child for child in folder.iterdir() if not child.name.startswith(".") and child.is_dir()]
    except OSError as error:
        _pass_over(folder, error)
        return []
    return sorted(children, key=natural_order)


def _part_folders(folder: Path) -> dict[str, Path]:
    named = ((PART_NAMES.get(child.name.casefold()), child) for child in _folders(folder))
    return {part: child for part, child in named if part is not None}


def _files(folder: Path) -> Iterator[Path]:
    try:
        yield from (child for child in folder.iterdir() if not child.name.startswith(".") and child.is_file())
    except OSError as error:
        _pass_over(folder, error)


def _pass_over(folder: Path, error: OSError) -> None:
    """Refuse a part that cannot be read; other such folders may well not belong to the data set."""
    if folder.name.casefold() in PART_NAMES:
        raise DataError(f"The folder {folder} cannot be read: {error.strerror}.") from error
    logger.warning("The folder %s cannot be read and is passed over: %s.", folder, error.strerror)


def _record_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    names = ((file, file.name.lower().removesuffix(".gz")) for file in _files(folder))
    return sorted((file for file, name in names if name.endswith(suffixes)), key=natural_order)


def _has_image(folder: Path) -> bool:
    return any(file.suffix.lower() in IMAGE_SUFFIXES for file in _files(folder))
