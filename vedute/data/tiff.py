"""Reading windows of TIFF files: only the strips or tiles that a window needs are read and decoded.

The file formats and codecs are those of tifffile and imagecodecs: BigTIFF, strips and tiles, planar
configuration contiguous and separate, none, PackBits, LZW, Deflate, Zstandard, LZMA, JPEG, WebP, ...
Of files with several pages the first is read.

A file is checked against its own header when it is opened: the number of strips or tiles, and that
each lies within the file. A strip or tile is decoded as a whole. Where it is larger than
``LARGEST_CHUNK``, the file cannot be read by windows in bounded memory and is refused; files without
compression are no such case, their rows are read one by one.

What the numbers mean as grey values and colours is in ``tiff_values.py``; where the picture lies on the
ground in ``georeference.py``.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from vedute.errors import DataError

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
"""Names that count as TIFF files, in lower case."""

WHITE_IS_ZERO, PALETTE, CMYK, YCBCR = 0, 3, 5, 6
"""Values of ``TiffImage.photometric``."""

LARGEST_CHUNK = 1 << 30
"""Bytes that a strip or tile may take when decoded: a whole file in one compressed strip is decoded whole."""

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"

# What tifffile warns of is checked here, and said in one message with the file's path.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

Values = NDArray[np.generic]
"""(H, W, samples) of the file's own type."""


def is_tiff(path: Path) -> bool:
    """Whether a file's name is that of a TIFF."""
    return path.suffix.lower() in TIFF_SUFFIXES


@dataclass(frozen=True)
class _Place:
    """Where in the picture a strip or tile lies."""

    top: int
    left: int
    height: int
    width: int


class TiffImage:
    """The first picture of a TIFF file, read in windows.

    Attributes:
        path: The file.
        height: Rows.
        width: Columns.
        samples: Numbers in one pixel.
        dtype: Their type in memory; bool for one bit.
        bits: Bits of one number in the file, 1 to 64.
        photometric: What the numbers mean, as the TIFF tag says: 0 and 1 grey, 2 RGB, 3 palette, ...
        alpha: The last sample is transparency, as the file says (ExtraSamples 1 or 2).
        premultiplied: It is, and the colours are multiplied by it already (ExtraSamples 1).
        colours: (2^bits, 3) uint8, the colours of a palette picture; else None.
    """

    def __init__(self, path: Path) -> None:
        """Read the header. The file is closed again until a window is read.

        Args:
            path: A TIFF file.

        Raises:
            DataError: The file cannot be read, is no TIFF, of a kind that is not supported, or contradicts
                itself.
        """
        self.path = path
        self._file: BinaryIO | None = None
        self._kept: dict[int, Values] = {}
        try:
            with tifffile.TiffFile(path) as file:
                page = file.pages.first
                self._read_header(page)
                size = file.filehandle.size
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
        except DataError:
            raise
        except Exception as error:  # damaged headers make tifffile raise nearly anything
            raise DataError(f"{path} is no TIFF, or its header is damaged ({error}).") from error
        self._check(size)

    def _read_header(self, page: tifffile.TiffPage) -> None:
        self._page = page
        if page.imagedepth != 1 or page.dtype is None or not page.dataoffsets:
            raise DataError(
                f"{self.path} holds no picture of a kind that can be read ({page.dtype}, {page.shape})."
            )
        self.height, self.width = int(page.imagelength), int(page.imagewidth)
        self.samples = int(page.samplesperpixel)
        self.dtype: np.dtype[np.generic] = np.dtype(page.dtype)
        self.bits = int(page.bitspersample)
        self.photometric = int(page.photometric)
        last = int(page.extrasamples[-1]) if page.extrasamples else 0
        self.alpha, self.premultiplied = last in (1, 2), last == 1
        self._stored = self.dtype.newbyteorder(page.parent.byteorder)
        self._separate = page.planarconfig == 2 and self.samples > 1
        self._compressed = page.compression != 1
        self._offsets, self._counts = list(page.dataoffsets), list(page.databytecounts)
        tables = (
            {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
            if page.compression in (6, 7, 34892, 33007)
            else {}
        )
        self._tables: dict[str, bytes | None] = tables
        self._decoder = page.decode  # made while the file is open: for JPEG it looks into the data
        if page.is_tiled:
            self._chunk = (int(page.tilelength), int(page.tilewidth))
        else:
            self._chunk = (min(int(page.rowsperstrip), self.height), self.width)
        self.colours: NDArray[np.uint8] | None = None
        if self.photometric == PALETTE:
            if page.colormap is None:
                raise DataError(f"{self.path} is a palette picture without a palette. Write the file again.")
            table = np.asarray(page.colormap)  # (3, 2^bits), in some files 8 bits instead of 16
            self.colours = (table >> 8 if table.max(initial=0) > 255 else table).astype(np.uint8).T

    def _check(self, size: int) -> None:
        """Refuse a header that cannot be true of a file of ``size`` bytes."""
        if min(self.height, self.width, self.samples, *self._chunk) < 1:
            raise DataError(
                f"{self.path} claims {self.height} x {self.width} x {self.samples}: there are no pixels."
            )
        kind = "tiles" if self._page.is_tiled else "strips"
        claim = f"{self.path} claims {self.height} x {self.width} pixels"
        chunks = self._rows * self._columns * (self.samples if self._separate else 1)
        if len(self._offsets) != chunks or len(self._counts) != chunks:
            raise DataError(
                f"{claim} in {chunks:,} {kind}, but has {len(self._offsets):,}. The file is damaged."
            )
        ends = [offset + count for offset, count in zip(self._offsets, self._counts, strict=True)]
        missing = [number for number, count in enumerate(self._counts) if count == 0]
        if missing:
            raise DataError(
                f"{claim}, but {len(missing):,} of {chunks:,} {kind} are missing, from {missing[0]} on. "
                "Write the file again, with all its data."
            )
        if max(ends) > size:
            raise DataError(
                f"{claim} in {max(ends):,} bytes, but has {size:,}: it is truncated, or lies about its size."
            )
        if not self._compressed:
            needed = self._packed_bytes()
            if sum(self._counts) < needed:
                raise DataError(
                    f"{claim}, which takes {needed:,} bytes, but holds {sum(self._counts):,}: "
                    "the file is truncated, or lies about its size."
                )
        if not self._direct and self._chunk_bytes > LARGEST_CHUNK:
            raise DataError(
                f"{self.path} has {kind} of {self._chunk[0]:,} x {self._chunk[1]:,} pixels, which decoded "
                f"take {self._chunk_bytes / 1e9:.1f} GB; at most {LARGEST_CHUNK / 1e9:.1f} GB are read at a "
                "time. Write the file again in tiles, e.g. gdal_translate -co TILED=YES -co COMPRESS=DEFLATE."
            )

    def _packed_bytes(self) -> int:
        """Return the bytes that the pixels take without compression; rows begin at whole bytes."""
        per_row = math.ceil(self.width * self.bits * (1 if self._separate else self.samples) / 8)
        return per_row * self.height * (self.samples if self._separate else 1)

    @property
    def _rows(self) -> int:
        return math.ceil(self.height / self._chunk[0])

    @property
    def _columns(self) -> int:
        return math.ceil(self.width / self._chunk[1])

    @property
    def _chunk_bytes(self) -> int:
        return math.prod(self._chunk) * (1 if self._separate else self.samples) * self.dtype.itemsize

    @property
    def _direct(self) -> bool:
        """Whether the rows lie in the file as they are, strip by strip."""
        page = self._page
        whole_numbers = self.bits == 8 * self.dtype.itemsize and self.dtype != np.bool_
        return (
            not self._compressed
            and page.predictor == 1
            and page.fillorder == 1
            and not page.is_tiled
            and not self._separate
            and whole_numbers
            and not page.is_subsampled
        )

    # Reading.

    def __enter__(self) -> TiffImage:
        """Keep the file open until the block ends."""
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}.") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._kept = {}

    def read(self, rows: tuple[int, int], columns: tuple[int, int], samples: int | None = None) -> Values:
        """Read a window. To be called in a ``with`` block.

        Strips and tiles that reach below the window are kept for the next one, so that reading a picture
        from top to bottom decodes each once.

        Args:
            rows: First row and the one after the last, in [0, height].
            columns: First column and the one after the last, in [0, width].
            samples: How many numbers of each pixel are wanted, from the first; None: all.

        Returns:
            (rows, columns, samples) as stored: not scaled, palette numbers not looked up.

        Raises:
            DataError: A strip or tile is damaged.
        """
        if self._file is None:
            raise RuntimeError("read a TiffImage in a with block")
        (top, bottom), (left, right) = rows, columns
        if not (0 <= top < bottom <= self.height and 0 <= left < right <= self.width):
            raise ValueError(f"no window {rows} x {columns} in {self.height} x {self.width}")
        wanted = self.samples if samples is None else min(samples, self.samples)
        if self._direct:
            return self._read_rows(top, bottom)[:, left:right, :wanted]
        result = np.empty((bottom - top, right - left, wanted), dtype=self.dtype)
        kept: dict[int, Values] = {}
        planes = range(wanted) if self._separate else range(1)
        for plane in planes:
            target = result[:, :, plane : plane + 1] if self._separate else result
            for down in range(top // self._chunk[0], math.ceil(bottom / self._chunk[0])):
                for along in range(left // self._chunk[1], math.ceil(right / self._chunk[1])):
                    number = (plane * self._rows + down) * self._columns + along
                    chunk = self._decode(number)
                    if (down + 1) * self._chunk[0] > bottom:
                        kept[number] = chunk
                    self._paste(chunk, down, along, target, (top, left))
        self._kept = kept
        return result

    def _paste(self, chunk: Values, down: int, along: int, target: Values, corner: tuple[int, int]) -> None:
        """Copy the part of a decoded strip or tile that lies in the window whose upper left is ``corner``."""
        y, x = down * self._chunk[0] - corner[0], along * self._chunk[1] - corner[1]
        height, width = target.shape[:2]
        first_row, first_column = max(y, 0), max(x, 0)
        last_row, last_column = min(y + chunk.shape[0], height), min(x + chunk.shape[1], width)
        target[first_row:last_row, first_column:last_column] = chunk[
            first_row - y : last_row - y, first_column - x : last_column - x, : target.shape[2]
        ]

    def _read_rows(self, top: int, bottom: int) -> Values:
        """Read rows that lie in the file as they are."""
        assert self._file is not None
        result = np.empty((bottom - top, self.width, self.samples), dtype=self._stored)
        row_bytes = self.width * self.samples * self.dtype.itemsize
        row = top
        while row < bottom:
            strip, inside = divmod(row, self._chunk[0])
            last = min(bottom, (strip + 1) * self._chunk[0])
            # Strips mostly follow each other without a gap: one read for all of them.
            while (
                last < bottom
                and self._offsets[strip + 1] == self._offsets[strip] + self._chunk[0] * row_bytes
            ):
                strip += 1
                last = min(bottom, (strip + 1) * self._chunk[0])
            self._file.seek(self._offsets[row // self._chunk[0]] + inside * row_bytes)
            piece = result[row - top : last - top].reshape(-1).view(np.uint8)
            if self._file.readinto(piece.data) != piece.nbytes:  # type: ignore[attr-defined]
                raise DataError(f"{self.path}: rows {row} to {last} are missing; the file is truncated.")
            row = last
        return result.astype(self.dtype, copy=False)

    def _decode(self, number: int) -> Values:
        """Read and decode a strip or tile, (h, w, samples)."""
        assert self._file is not None
        if number in self._kept:
            return self._kept[number]
        self._file.seek(self._offsets[number])
        data = self._file.read(self._counts[number])
        try:
            if self._tables and not (data.startswith(_JPEG_START) and _JPEG_END in data):
                raise ValueError("it is no whole JPEG")  # the decoder would make grey of the rest
            decoded = self._decoder(data, number, **self._tables)[0]
        except Exception as error:  # the codecs raise nearly anything for damaged data
            kind = "tile" if self._page.is_tiled else "strip"
            raise DataError(
                f"{self.path}: {kind} {number} of {len(self._offsets)} cannot be decoded: {error}."
            ) from error
        chunk: Values = np.asarray(decoded)[0]  # (1, h, w, samples)
        return chunk
