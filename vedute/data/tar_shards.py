"""Images in tar files, in the WebDataset convention: members of one name make one sample.

``0001.jpg``, ``0001.cls``, ``0001.json`` in a tar file are one sample with a label and further
fields. The format is plain tar, so that any tool writes and reads it; see
https://github.com/webdataset/webdataset. Unlike its reader, which goes through files from front to back,
this one knows where each member lies, so that every process reads just the samples of its batches,
an epoch has an exact length, and a killed run resumes in the middle of one.

Here: the index of the members and reading by it. Not here: what the fields mean.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from vedute.data.image_bytes import MAXIMUM_FILE
from vedute.data.image_files import IMAGE_SUFFIXES
from vedute.data.source import PART_SIZE, Part, Record, Source, short_name
from vedute.errors import DataError
from vedute.files import cache_folder, whole

TAR_SUFFIXES = (".tar",)

_FORMAT = 1  # raised when the index' content changes
_NONE = (-1, -1)
_LARGEST_TEXT = 16 * 10**6  # bytes of a label or a JSON member
_PADDING = 1 << 20  # bytes of zeros that may follow the end mark, and that are looked at


@dataclass(frozen=True)
class TarIndex:
    """Where the n samples of one tar file lie.

    Attributes:
        images: (n, 2) int64: first byte and number of bytes of each image.
        masks: The same of each mask; -1 where there is none.
        keys: (n,) the samples' names.
        fields: (n,) text of each field that was asked for; missing ones are empty.
        extensions: All kinds of members that the file has, for messages.
    """

    images: NDArray[np.int64]
    masks: NDArray[np.int64]
    keys: NDArray[np.str_]
    fields: Mapping[str, NDArray[np.str_]]
    extensions: Sequence[str]


def index_tar(path: Path, fields: Sequence[str], mask: str | None = None) -> TarIndex:
    """List the samples of a tar file without reading images; the list is kept in the cache.

    Args:
        path: The file, not compressed.
        fields: What else to read of each sample: an extension (``cls``: its text), or a field of a JSON
            member (``json.score``).
        mask: Extension of masks, e.g. ``mask.png``; None: there are none.

    Raises:
        DataError: The file is no tar file, is damaged or compressed, or a sample is not usable.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    wanted = [str(path.resolve()), status.st_size, status.st_mtime_ns, list(fields), mask, _FORMAT]
    digest = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:24]
    kept = cache_folder() / "indexes" / f"{digest}.npz"
    try:
        with np.load(kept) as arrays:
            texts = {name: arrays[f"field_{number}"] for number, name in enumerate(fields)}
            return TarIndex(
                arrays["images"], arrays["masks"], arrays["keys"], texts, arrays["extensions"].tolist()
            )
    except (OSError, ValueError, KeyError):  # not there, or cut by a crash: to be made anew
        pass
    index = _read_index(path, fields, mask)
    arrays = {f"field_{number}": index.fields[name] for number, name in enumerate(fields)}
    extensions = np.array(index.extensions, dtype=np.str_)
    arrays |= {"images": index.images, "masks": index.masks, "keys": index.keys, "extensions": extensions}
    with whole(kept) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return index


class _Sample:
    """What is known of one sample while its members are listed."""

    def __init__(self) -> None:
        self.image = _NONE
        self.mask = _NONE
        self.fields: dict[str, str] = {}


def _read_index(path: Path, fields: Sequence[str], mask: str | None) -> TarIndex:
    samples: dict[str, _Sample] = {}
    extensions: set[str] = set()
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                key, _, extension = name.partition(".")
                if member.isfile() and key:  # names that begin with a dot are no samples
                    extensions.add(extension.lower())
                    sample = samples.setdefault(f"{folder}/{key}" if folder else key, _Sample())
                    _add(sample, tar, member, extension.lower(), fields, mask, path)
            _check_end(path, tar)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except (tarfile.TarError, EOFError) as error:
        raise DataError(
            f"{path} is no plain tar file, or is damaged ({error}). Compressed archives cannot be read in "
            "any order: unpack them, or write them again without compression."
        ) from error
    without = [key for key, sample in samples.items() if sample.image == _NONE]
    if without or not samples:
        what = (
            f"{len(without):,} samples without an image (the first is {without[0]})"
            if without
            else "no samples"
        )
        raise DataError(
            f"{path} holds {what}; its members end in: {', '.join(sorted(extensions)) or 'nothing'}. "
            "Members of one name up to the first dot make a sample, and one of them is an image."
        )
    found = list(samples.values())
    return TarIndex(
        np.array([sample.image for sample in found], dtype=np.int64),
        np.array([sample.mask for sample in found], dtype=np.int64),
        np.array(list(samples), dtype=np.str_),
        {name: np.array([sample.fields.get(name, "") for sample in found], dtype=np.str_) for name in fields},
        sorted(extensions),
    )


def _check_end(path: Path, tar: tarfile.TarFile) -> None:
    """Refuse a file whose list of members ended too early, which tarfile passes over in silence."""
    with path.open("rb") as file:
        file.seek(tar.offset)
        block, rest = file.read(tarfile.BLOCKSIZE), file.read(_PADDING)
    if not block:
        raise DataError(
            f"{path} is truncated: it has no end mark, so members may be missing. Restore it from its source."
        )
    if any(block):
        raise DataError(
            f"{path} is damaged: there is no member at byte {tar.offset:,}, where one should begin. Restore "
            "it from its source."
        )
    if any(rest):
        raise DataError(
            f"{path} goes on after its end mark, as tar files that were joined do. Give them one by one."
        )


def _add(
    sample: _Sample,
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    extension: str,
    fields: Sequence[str],
    mask: str | None,
    path: Path,
) -> None:
    place = (member.offset_data, member.size)
    if extension == mask:
        sample.mask = place
    elif f".{extension}" in IMAGE_SUFFIXES:
        if sample.image != _NONE:
            raise DataError(
                f"{path}: {member.name} is a second image of its sample. One a sample is needed; a mask has "
                "a name of its own, such as 0001.mask.png (data.mask)."
            )
        sample.image = place
    elif extension in fields:
        sample.fields[extension] = _text(tar, member, path).strip()
    elif extension == "json" and any(name.startswith("json.") for name in fields):
        values = _json(tar, member, path)
        for name in fields:
            value = values.get(name.removeprefix("json.")) if name.startswith("json.") else None
            if isinstance(value, str | int | float):
                sample.fields[name] = str(value)


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> str:
    if member.size > _LARGEST_TEXT:
        raise DataError(
            f"{path}: {member.name} has {member.size / 1e6:,.0f} MB; labels and JSON of at most "
            f"{_LARGEST_TEXT // 10**6} MB are read."
        )
    file = tar.extractfile(member)
    assert file is not None  # it is a regular file
    try:
        return file.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: {member.name} is no UTF-8 text.") from error


def _json(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> Mapping[str, object]:
    try:
        values = json.loads(_text(tar, member, path))
    except (ValueError, RecursionError) as error:  # too long numbers, too deep lists
        raise DataError(f"{path}: {member.name} is no JSON ({error}).") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: {member.name} holds no JSON object with named fields.")
    return values


@dataclass(frozen=True)
class _TarPart(Part):
    path: Path
    images: NDArray[np.int64]  # (n, 2)
    masks: NDArray[np.int64] | None
    keys: NDArray[np.str_]
    first: int  # row of the first sample in the source

    def count(self) -> int:
        return len(self.images)

    def read(self, positions: Sequence[int] | None = None) -> Iterator[Record | DataError]:
        chosen = range(self.count()) if positions is None else positions
        with ExitStack() as stack:
            file: BinaryIO | None = None
            for position in chosen:
                try:
                    if file is None:
                        file = stack.enter_context(self.path.open("rb"))
                    entry = self._read_one(file, position)
                except OSError as error:
                    entry = DataError(f"{short_name(self.path)} cannot be read: {error.strerror}.")
                yield entry

    def _read_one(self, file: BinaryIO, position: int) -> Record | DataError:
        origin = f"{short_name(self.path)}, {self.keys[position]}"
        pieces = []
        for places in (self.images, self.masks):
            if places is not None:
                start, size = (int(value) for value in places[position])
                if size > MAXIMUM_FILE:
                    return DataError(
                        f"{origin} has {size / 1e6:,.0f} MB; images of at most {MAXIMUM_FILE // 10**6} MB "
                        "are read. Cut it into tiles, or take it out."
                    )
                file.seek(start)
                pieces.append(file.read(size))
        mask = pieces[1] if len(pieces) > 1 else None
        return Record(pieces[0], self.first + position, origin, mask)


class TarSource(Source):
    """The samples of tar files; a record's label is its number, which the fields are looked up by."""

    def __init__(self, files: Sequence[Path], fields: Sequence[str] = (), mask: str | None = None) -> None:
        """Keep the list of files; they are indexed when they are first asked about.

        Args:
            files: Tar files, read in the given order.
            fields: What else to read of each sample; see ``index_tar``.
            mask: Extension of masks; None: there are none.
        """
        self._paths = list(files)
        self._wanted = list(fields)
        self._mask = mask

    @cached_property
    def _indexes(self) -> list[TarIndex]:
        console = Console(stderr=True)
        paths: Iterable[Path] = track(
            self._paths,
            "Indexing tar files",
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        indexes = [index_tar(path, self._wanted, self._mask) for path in paths]
        for path, index in zip(self._paths, indexes, strict=True):
            if self._mask is not None and (index.masks < 0).any():
                key = index.keys[np.flatnonzero(index.masks[:, 0] < 0)[0]]
                raise DataError(
                    f"{path}: the sample {key} has no mask (no member {key}.{self._mask}); the members "
                    f"end in: {', '.join(index.extensions)}."
                )
        return indexes

    @property
    def extensions(self) -> list[str]:
        """All kinds of members, for messages."""
        return sorted({extension for index in self._indexes for extension in index.extensions})

    def origin(self, record: int) -> str:
        """Return where a record comes from, for messages, without reading it."""
        for path, index in zip(self._paths, self._indexes, strict=True):
            if record < len(index.keys):
                return f"{short_name(path)}, {index.keys[record]}"
            record -= len(index.keys)
        raise IndexError(record)

    def file_names(self, rows: Sequence[int]) -> list[str]:
        """Return the tar file and the key of each record, without reading it."""
        return [self.origin(row) for row in rows]

    def field(self, name: str) -> list[str]:
        """Return a field's text of each record, empty where it is missing."""
        return [str(text) for index in self._indexes for text in index.fields[name]]

    def files(self) -> list[Path]:
        """Return the tar files."""
        return list(self._paths)

    def settings(self) -> dict[str, str]:
        """Return which members are masks."""
        return {"reader": "tar", "mask": self._mask or ""}

    @cached_property
    def _parts(self) -> list[_TarPart]:
        parts: list[_TarPart] = []
        first = 0
        for path, index in zip(self._paths, self._indexes, strict=True):
            for start in range(0, len(index.images), PART_SIZE):
                piece = slice(start, start + PART_SIZE)
                masks = index.masks[piece] if self._mask is not None else None
                parts.append(_TarPart(path, index.images[piece], masks, index.keys[piece], first + start))
            first += len(index.images)
        return parts

    def parts(self) -> Sequence[Part]:
        """Return pieces of the files."""
        return self._parts

    def shards(self) -> list[int]:
        """Return the number of samples in each file."""
        return [len(index.images) for index in self._indexes]

    def broken(self) -> list[DataError]:
        """Return nothing: a damaged tar file is an error when it is indexed."""
        return []

    def known_labels(self) -> NDArray[np.int64]:
        """Return the records' numbers."""
        return np.arange(len(self), dtype=np.int64)
