"""Which photo of OpenStreetView-5M shows which country, and where its file lies: millions in small arrays.

Each folder is listed once; an index of 5,000,000 photos takes about 60 MB. Nothing here opens an image,
and nothing slow to import is needed. The metadata are read by ``street_view_csv``.

Source: Astruc et al. 2024, "OpenStreetView-5M: The Many Roads to Global Visual Geolocation" (CVPR),
https://huggingface.co/datasets/osv5m/osv5m
"""

from __future__ import annotations

import logging
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from vedute.data.street_view_csv import COUNTRY, ID, NAMED, Rows, read_rows, some
from vedute.errors import DataError

logger = logging.getLogger(__name__)

IMAGES = "images"
PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""What CSV files and folders of parts are called."""
SUFFIXES = frozenset({"jpg", "jpeg", "png", "webp"})
"""Files that count as photos, whatever their names' case."""


@dataclass(frozen=True)
class Files:
    """The photos in and below a folder, in no order.

    Attributes:
        folder: The folder that was listed.
        ids: (F,) int64, from the file names.
        places: (F,) uint16, positions in ``table``.
        table: Folders, each with a suffix of files that lie in it: ``("images/train/00", ".jpg")``.
        others: Names of some files that are no photos with a number, of ``others_count``.
        others_count: Number of such files.
    """

    folder: Path
    ids: NDArray[np.int64]
    places: NDArray[np.uint16]
    table: list[tuple[str, str]]
    others: list[str]
    others_count: int


class PhotoPaths(Sequence[Path]):
    """Paths made when they are asked for; a slice copies 10 bytes a photo, and travels to workers so."""

    def __init__(
        self, ids: NDArray[np.int64], places: NDArray[np.uint16], table: list[tuple[str, str]]
    ) -> None:
        """Keep (N,) ids and where each lies, as in :class:`Files`."""
        self._ids, self._places, self._table = ids, places, table

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> PhotoPaths: ...
    def __getitem__(self, index: int | slice) -> Path | PhotoPaths:
        if isinstance(index, slice):
            return PhotoPaths(self._ids[index], self._places[index], self._table)
        folder, suffix = self._table[self._places[index]]
        return Path(folder, f"{self._ids[index]}{suffix}")


@dataclass(frozen=True)
class PhotoIndex:
    """The photos of one part that have both a row and a file, in the order of the rows.

    Attributes:
        ids: (N,) int64.
        countries: (N,) uint16, positions in ``country_names()``.
        places: (N,) uint16, positions in ``table``.
        table: Folders and suffixes, see :class:`Files`.
    """

    ids: NDArray[np.int64]
    countries: NDArray[np.uint16]
    places: NDArray[np.uint16]
    table: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.intp]) -> PhotoIndex:
        """Return the photos at the given rows."""
        return PhotoIndex(self.ids[rows], self.countries[rows], self.places[rows], self.table)

    def paths(self) -> PhotoPaths:
        """Return the files, computed on demand."""
        return PhotoPaths(self.ids, self.places, self.table)


def list_files(folder: Path) -> Files:
    """List the photos in and below a folder, without opening any.

    Links to folders are followed, but no folder is visited twice, so that a loop of links ends. Hidden
    files and folders are passed over.

    Raises:
        DataError: A photo lies in two places, or a folder cannot be read.
    """
    ids, places = array("q"), array("H")
    table: list[tuple[str, str]] = []
    others: list[str] = []
    others_count = 0
    seen: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    while waiting:
        place = waiting.pop()
        below: list[str] = []
        numbers: dict[str, int] = {}  # of this folder's suffixes, in the table
        try:
            status = Path(place).stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_symlink() and not Path(entry.path).exists():  # to nothing, or to itself
                        others_count += 1
                        others += [entry.name] if len(others) < NAMED else []
                        continue
                    stem, dot, suffix = entry.name.rpartition(".")
                    # Without leading zeros, or the name could not be made from the number again.
                    if dot and stem.isdecimal() and stem.isascii() and stem[0] != "0" and entry.is_file():
                        number = numbers.get(suffix)
                        if number is None and suffix.lower() in SUFFIXES:
                            number = numbers[suffix] = len(table)
                            table.append((place, dot + suffix))
                        if number is not None:
                            ids.append(int(stem))
                            places.append(number)
                            continue
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        below.append(entry.path)
                    else:
                        others_count += 1
                        others += [entry.name] if len(others) < NAMED else []
        except OverflowError:
            raise DataError(
                f"{place}: a number is beyond 63 bits, or there are over 65535 folders."
            ) from None
        except OSError as error:
            raise DataError(f"The folder {place} cannot be read: {error.strerror}.") from error
        waiting += sorted(below, reverse=True)
    arrays = np.frombuffer(ids, np.int64), np.frombuffer(places, np.uint16)
    files = Files(folder, *arrays, table, others, others_count)
    _check_single(files)
    return files


def match(
    parts: Sequence[Rows], files: Files, on_error: Literal["raise", "skip"] = "raise"
) -> list[PhotoIndex]:
    """Bring the rows of one or several CSV files together with the files in a folder.

    Rows without files are usual (the archive is mostly downloaded in part), files without rows harmless:
    both are counted in the log, the first few by name.

    Args:
        parts: Rows of CSV files; a photo may occur in one of them only.
        files: The folder with their photos.
        on_error: What a photo in two parts does: an error, or it is left out of the later one.

    Returns:
        An index for each of ``parts``; empty where none of its photos is there.

    Raises:
        DataError: A photo is in two parts.
    """
    order = np.argsort(files.ids)
    sorted_ids = files.ids[order]
    used = np.zeros(len(order), dtype=bool)  # by position in sorted_ids
    indices = []
    for rows in parts:
        # Sought in ascending order, three times as fast: memory is read from one end to the other.
        row_order = np.argsort(rows.ids)
        position = np.empty(len(row_order), dtype=np.intp)
        position[row_order] = np.searchsorted(sorted_ids, rows.ids[row_order])
        position[position == len(sorted_ids)] = 0
        found = sorted_ids[position] == rows.ids if len(sorted_ids) else np.zeros(len(rows.ids), dtype=bool)
        again = found & used[position] if len(used) else found
        if again.any():
            what = f"{np.count_nonzero(again)} photos of {rows.path.name} are in another part too"
            if on_error == "raise":
                raise DataError(
                    f"{what}: {some(rows.ids[again])}. Photos that train may not test: remove the rows from "
                    "one of the files, or set data.on_error to skip to leave them out of this one."
                )
            logger.warning("%s, and are left out of it: %s.", what, some(rows.ids[again]))
            found &= ~again
        position = position[found]
        used[position] = True
        _log_rows(rows, found, files.folder)
        places = files.places[order[position]]
        indices.append(PhotoIndex(rows.ids[found], rows.countries[found], places, files.table))
    if not used.all():
        names = ", ".join(rows.path.name for rows in parts)
        logger.warning(
            "%d photos in %s have no row with a country in %s, and are left out: %s.",
            np.count_nonzero(~used), files.folder, names, some(sorted_ids[~used]),
        )  # fmt: skip
    if files.others_count:
        logger.warning(
            "%d files in %s are no photos named by a number: %s.",
            files.others_count, files.folder, some(files.others, files.others_count),
        )  # fmt: skip
    return indices


def _log_rows(rows: Rows, found: NDArray[np.bool_], folder: Path) -> None:
    if rows.without_country:
        logger.warning(
            "%d rows of %s have no country and are left out.", rows.without_country, rows.path.name
        )
    if not found.all():
        missing = rows.ids[~found]
        logger.warning(
            "%d of %d rows of %s have no photo in %s: %s.",
            len(missing), len(found), rows.path.name, folder, some(missing),
        )  # fmt: skip


def _check_single(files: Files) -> None:
    order = np.argsort(files.ids, kind="stable")
    ordered = files.ids[order]
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        first, second = (
            Path(files.table[files.places[row]][0], f"{files.ids[row]}{files.table[files.places[row]][1]}")
            for row in order[twice[0] : twice[0] + 2]
        )
        raise DataError(
            f"{len(twice)} photos lie in two places, e.g. {first} and {second}. Remove one of each."
        )


def open_index(root: Path, on_error: Literal["raise", "skip"] = "raise") -> dict[str, PhotoIndex]:
    """Read the metadata and list the photos of a data set in OpenStreetView-5M's layout.

    ``train.csv`` and ``test.csv`` are the parts of those names, with photos in ``images/train`` and
    ``images/test``; a lone CSV file, whatever its name, is the training part. Photos may also lie in
    ``images`` without folders of parts, or in numbered folders beside the CSV files.

    Args:
        root: The folder of the CSV files, or the one above.
        on_error: What wrong rows do, see :func:`read_rows`.

    Returns:
        ``train``, and ``val`` and ``test`` where they have photos.

    Raises:
        DataError: There are no metadata, or no photos of theirs.
    """
    metadata = _metadata(root)
    own = {part: file.parent / IMAGES / file.stem for part, file in metadata.items()}
    grouped: dict[Path, list[str]] = {}  # parts by the folder of their photos
    for part, file in metadata.items():
        if own[part].is_dir():
            grouped[own[part]] = [part]
        elif any(folder.is_dir() for folder in own.values()):
            logger.warning("%s does not exist: %s is not used.", own[part], file.name)
        else:
            shared = file.parent / IMAGES
            grouped.setdefault(shared if shared.is_dir() else file.parent, []).append(part)
    found: dict[str, PhotoIndex] = {}
    for folder, parts in grouped.items():
        rows = [read_rows(metadata[part], on_error) for part in parts]
        found |= zip(parts, match(rows, list_files(folder), on_error), strict=True)
    present = {part: index for part, index in found.items() if len(index)}
    if "train" not in present and len(present) == 1:
        ((part, index),) = present.items()
        logger.warning("Only %s has photos: it is the training part.", metadata[part].name)
        return {"train": index}
    if "train" not in present:
        raise DataError(
            f"No photo of {' or '.join(file.name for file in metadata.values())} is in "
            f"{' or '.join(map(str, grouped))}. Looked for <id>.jpg there and below. Check data.root."
        )
    return present


def _metadata(root: Path) -> dict[str, Path]:
    """Return the CSV file of each part, ``train`` among them."""
    below = sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))
    for folder in [root, *below]:
        files = [file for file in sorted(folder.glob("*.[cC][sS][vV]")) if not file.name.startswith(".")]
        parts = {PARTS[file.stem.casefold()]: file for file in files if file.stem.casefold() in PARTS}
        if len(files) == 1:
            return {"train": files[0]}
        if "train" in parts:
            unused = [file.name for file in files if file not in parts.values()]
            if unused:
                logger.warning("Not used: %s, beside %s.", ", ".join(unused), parts["train"])
            return parts
        if files:
            raise DataError(
                f"{folder} has several CSV files and no train.csv: {', '.join(file.name for file in files)}. "
                "Name them train.csv, val.csv and test.csv, or keep one."
            )
    raise DataError(
        f"{root} has no CSV file. Looked there and one level below for train.csv and test.csv, or a single "
        f"one, with columns {ID} and {COUNTRY}, beside a folder {IMAGES}. Check data.root."
    )
