"""The framing of TFRecord files: reading with every checksum verified, counting, and writing.

The `tfrecord <https://github.com/vahidk/tfrecord>`_ package has a reader that verifies neither
checksum, must be told about gzip, and cannot say which record is broken; so the framing is read
here. Each record is its length (uint64, little endian), the masked CRC32C of these eight bytes, the
data, and the masked CRC32C of the data. See https://www.tensorflow.org/tutorials/load_data/tfrecord.
What the data mean is ``tfrecord.py``'s business.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import crc32c

from vedute.data.source import short_name
from vedute.errors import DataError
from vedute.files import whole

LARGEST_RECORD = 512 * 10**6
"""Bytes of the largest record that is read, as of the largest image file."""

_GZIP_MAGIC = b"\x1f\x8b"
_HEADER = struct.Struct("<QI")  # length, its masked CRC32C
_CHECKSUM = struct.Struct("<I")
_BUFFER = 1 << 17  # larger buffers slow down folders of one-record files


def _masked_checksum(data: bytes) -> int:
    checksum: int = crc32c.crc32c(data)
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def open_records(path: Path) -> BinaryIO:
    """Open a TFRecord file, decompressing it where it starts like a gzip file.

    Raises:
        OSError: It cannot be opened.
    """
    stream = path.open("rb", buffering=_BUFFER)
    if stream.read(2) == _GZIP_MAGIC:
        stream.close()
        return io.BufferedReader(gzip.GzipFile(path, mode="rb"), _BUFFER)
    stream.seek(0)
    return stream


def _is_gzip(path: Path) -> bool:
    with path.open("rb", buffering=0) as stream:
        return stream.read(2) == _GZIP_MAGIC


def _length(header: bytes, origin: str, record: int) -> int:
    """Check a record's header and return its length in bytes.

    Raises:
        DataError: The file ends here, the length does not match its checksum, or is too large.
    """
    if len(header) < _HEADER.size:
        raise DataError(
            f"{origin}, record {record}: the file is truncated (it ends within the record's header)."
        )
    length, checksum = _HEADER.unpack(header)
    if _masked_checksum(header[:8]) != checksum:
        hint = (
            " This may be no TFRecord file, or one compressed otherwise than with gzip."
            if record == 0
            else ""
        )
        raise DataError(
            f"{origin}, record {record}: the checksum (CRC32C) of the record's length does not match; "
            f"this record and all after it cannot be read.{hint} Restore the file from its source."
        )
    if length > LARGEST_RECORD:
        raise DataError(
            f"{origin}, record {record} has {length / 1e6:,.0f} MB; records of at most "
            f"{LARGEST_RECORD // 10**6} MB are read. Write the file again without it."
        )
    return int(length)


def read_frames(stream: BinaryIO, origin: str, first: int, verify: bool) -> Iterator[bytes | DataError]:
    """Yield each record's data; a DataError in place of a broken one. After a broken length it ends."""
    record = first
    while True:
        try:
            header = stream.read(_HEADER.size)
            if not header:
                return
            length = _length(header, origin, record)
            data = stream.read(length)
            footer = stream.read(_CHECKSUM.size)
        except DataError as error:
            yield error
            return
        except (EOFError, OSError, zlib.error) as error:  # how gzip reports truncated and damaged files
            yield DataError(
                f"{origin}, record {record} cannot be read: {error}. "
                "The file is truncated or damaged; restore it from its source."
            )
            return
        if len(data) < length or len(footer) < _CHECKSUM.size:
            yield _truncated(origin, record, length, len(data))
            return
        if verify and _masked_checksum(data) != _CHECKSUM.unpack(footer)[0]:
            yield DataError(
                f"{origin}, record {record}: the checksum (CRC32C) of the record's data does not match; "
                "the data are damaged. Restore the file from its source."
            )
        else:
            yield data
        record += 1


def _truncated(origin: str, record: int, length: int, present: int) -> DataError:
    return DataError(
        f"{origin}, record {record}: the file is truncated (the record has {length:,} bytes, {present:,} of "
        "them are there). Restore the file from its source."
    )


def read_records(path: Path, verify: bool = True) -> Iterator[bytes]:
    """Yield the records of a TFRecord file, which may be compressed with gzip.

    Args:
        path: The file.
        verify: Check the data's checksums; those of the lengths are always checked.

    Yields:
        Each record's data, usually a serialised ``tf.train.Example``.

    Raises:
        DataError: The file is missing, truncated or damaged; names file and record number (from 0).
    """
    try:
        stream = open_records(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    with stream:
        for frame in read_frames(stream, short_name(path), 0, verify):
            if isinstance(frame, DataError):
                raise frame
            yield frame


@dataclass(frozen=True)
class Listing:
    """Where a file's records start.

    Attributes:
        offsets: The byte at which each whole record starts; all 0 in a gzip file.
        error: What is wrong after them, None where the file ends well.
        seekable: Whether reading can start at an offset (not in a gzip file).
    """

    offsets: tuple[int, ...]
    error: DataError | None
    seekable: bool


def list_records(path: Path) -> Listing:
    """Find where the records of a file start, from their lengths alone; never raises for broken files."""
    offsets: list[int] = []
    origin = short_name(path)
    try:
        if _is_gzip(path):
            with open_records(path) as stream:
                for frame in read_frames(stream, origin, 0, verify=False):
                    if isinstance(frame, DataError):
                        return Listing(tuple(offsets), frame, seekable=False)
                    offsets.append(0)
            return Listing(tuple(offsets), None, seekable=False)
        with path.open("rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size == 0:  # a legal file without records, but nobody writes one on purpose
                raise DataError(f"{origin} is empty (0 bytes). Restore it from its source, or delete it.")
            offset = 0
            while offset < size:
                stream.seek(offset)
                length = _length(stream.read(_HEADER.size), origin, len(offsets))
                end = offset + _HEADER.size + length + _CHECKSUM.size
                if end > size:
                    present = min(length, size - offset - _HEADER.size)
                    raise _truncated(origin, len(offsets), length, present)
                offsets.append(offset)
                offset = end
    except DataError as error:
        return Listing(tuple(offsets), error, seekable=True)
    except OSError as error:
        return Listing((), DataError(f"{path} cannot be read: {error.strerror}."), seekable=True)
    return Listing(tuple(offsets), None, seekable=True)


def count_records(path: Path) -> int:
    """Count the records of a TFRecord file from their lengths alone.

    Raises:
        DataError: The file is missing, truncated, or no TFRecord file.
    """
    listing = list_records(path)
    if listing.error is not None:
        raise listing.error
    return len(listing.offsets)


def write_frames(path: Path, records: Iterable[bytes], compress: bool = False) -> None:
    """Write records' data to a file, whole or not at all; equal records give equal files.

    Args:
        path: The file.
        records: Each record's data.
        compress: Compress with gzip.

    Raises:
        VeduteError: The disk is full or the place cannot be written.
    """
    with whole(path) as temporary, temporary.open("wb") as file:
        # No name and no time in the gzip header, so that equal data give equal files.
        stream = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) if compress else file
        for data in records:
            length = struct.pack("<Q", len(data))
            stream.write(length + _CHECKSUM.pack(_masked_checksum(length)))
            stream.write(data + _CHECKSUM.pack(_masked_checksum(data)))
        if stream is not file:
            stream.close()
