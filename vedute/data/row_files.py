"""Writing pictures row by row, so that their size is not bounded by the memory.

TIFF (deflate, in tiles where the picture is large, with its place on the ground) and PNG are written while
the rows come. JPEG and WebP are collected first; their formats end at 65,535 and 16,383 pixels a side.
Files appear under their names only when they are complete.

Sources: PNG, https://www.w3.org/TR/png-3/; GeoTIFF in ``georeference.py``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from vedute.data.georeference import Georeference, geotiff_tags
from vedute.data.pixels import Pixels
from vedute.errors import ConfigurationError
from vedute.files import whole

FORMATS = {".png": "png", ".tif": "tif", ".tiff": "tif", ".jpg": "jpg", ".jpeg": "jpg", ".webp": "webp"}
"""Formats that can be written, by the ending of a file's name."""

_LARGEST_SIDE = {"png": 2**31 - 1, "tif": 2**32 - 1, "jpg": 65535, "webp": 16383}
_CHANNELS = {"png": (1, 2, 3, 4), "tif": (1, 2, 3, 4), "jpg": (1, 3), "webp": (1, 3, 4)}
_TILE = 256  # side of a TIFF's tiles
_CLASSIC_BYTES = 1 << 31  # of pixels; larger files are BigTIFF, whose offsets have 64 bits
_BUFFER_BYTES = 16 << 20  # of tiles that are compressed at a time
_PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
_PNG_LEVEL = 3  # half the time of zlib's default, for files that are 3 % larger
_UP = 2  # PNG's filter 'Up': each pixel less the one above, which compresses well and is one subtraction
_QUALITY = 95  # of JPEG and WebP

Shape = tuple[int, int, int]
"""(H, W, C)."""


def check_writable(path: Path, shape: Shape) -> str:
    """Return the format of a picture's file by its name, and make sure that it can hold the picture.

    Raises:
        ConfigurationError: The name ends in something else, or the format holds no such pictures.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ConfigurationError(
            f"{path}: pictures are written as {', '.join(sorted(FORMATS))}. Give a name that ends in one of "
            "these."
        )
    if max(shape[:2]) > _LARGEST_SIDE[kind]:
        raise ConfigurationError(
            f"{path} would have {shape[0]:,} x {shape[1]:,} pixels, but {kind.upper()} ends at "
            f"{_LARGEST_SIDE[kind]:,} a side. Write TIFF or PNG."
        )
    if shape[2] not in _CHANNELS[kind]:
        raise ConfigurationError(
            f"{path} would have {shape[2]} channels, which {kind.upper()} cannot hold. Write TIFF or PNG."
        )
    return kind


def write_rows(
    path: Path, blocks: Iterable[Pixels], shape: Shape, georeference: Georeference | None = None
) -> None:
    """Write a picture from rows that are made while it is written.

    Args:
        path: The file; its folder is made. Its ending says the format.
        blocks: Rows (h, W, C) uint8 from top to bottom, H in all.
        shape: (H, W, C) of the picture.
        georeference: Where it lies, for TIFF; None: a picture without a place.

    Raises:
        ConfigurationError: See :func:`check_writable`.
        VeduteError: The disk is full or the place cannot be written.
        ValueError: There are more or fewer rows.
    """
    kind = check_writable(path, shape)
    rows = _counted(blocks, shape)
    with whole(path) as temporary:
        if kind == "tif":
            _write_tiff(temporary, rows, shape, georeference)
        elif kind == "png":
            with temporary.open("wb") as file:
                _write_png(file, rows, shape)
        else:
            pixels = np.concatenate(list(rows))
            image = Image.fromarray(pixels[:, :, 0] if shape[2] == 1 else pixels)
            image.save(temporary, format="JPEG" if kind == "jpg" else "WEBP", quality=_QUALITY)


def _counted(blocks: Iterable[Pixels], shape: Shape) -> Iterator[Pixels]:
    count = 0
    for block in blocks:
        if block.dtype != np.uint8 or block.shape[1:] != shape[1:]:
            raise ValueError(f"rows of {block.shape} {block.dtype} for a picture of {shape}")
        count += len(block)
        yield block
    if count != shape[0]:
        raise ValueError(f"{count} rows for a picture of {shape}")


def _write_tiff(path: Path, rows: Iterator[Pixels], shape: Shape, place: Georeference | None) -> None:
    height, width, channels = shape
    # Pixels of one strip's file are at hand anyway: small pictures are one tile, padded in the file only.
    tile = tuple(min(_TILE, -(-side // 16) * 16) for side in (height, width))
    tifffile.imwrite(
        path,
        _tiles(rows, (tile[0], tile[1])),
        shape=shape if channels > 1 else shape[:2],
        dtype=np.uint8,
        tile=tile,
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        predictor=True,
        metadata=None,
        software="vedute",
        extratags=[] if place is None else geotiff_tags(place),
        bigtiff=height * width * channels > _CLASSIC_BYTES,
        buffersize=_BUFFER_BYTES,
    )


def _tiles(rows: Iterator[Pixels], tile: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Cut rows into the tiles of a TIFF, the last ones filled up with black."""
    for band in _bands(rows, tile[0]):
        filled = np.pad(band, ((0, -len(band) % tile[0]), (0, -band.shape[1] % tile[1]), (0, 0)))
        for left in range(0, filled.shape[1], tile[1]):
            piece = np.ascontiguousarray(filled[:, left : left + tile[1]])
            yield piece[:, :, 0] if piece.shape[2] == 1 else piece


def _bands(rows: Iterator[Pixels], height: int) -> Iterator[Pixels]:
    """Regroup rows into bands of one height; the last may be lower."""
    waiting: list[Pixels] = []
    count = 0
    for block in rows:
        while count + len(block) >= height:
            yield np.concatenate([*waiting, block[: height - count]])
            block, waiting, count = block[height - count :], [], 0  # what is left of it
        if len(block):
            waiting.append(block)
            count += len(block)
    if waiting:
        yield np.concatenate(waiting)


def _write_png(file: BinaryIO, rows: Iterator[Pixels], shape: Shape) -> None:
    height, width, channels = shape
    write = _chunk_writer(file)
    file.write(b"\x89PNG\r\n\x1a\n")
    write(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _PNG_COLOURS[channels], 0, 0, 0))
    compressor = zlib.compressobj(_PNG_LEVEL)
    above = np.zeros((1, width * channels), dtype=np.uint8)
    for block in rows:
        flat = block.reshape(len(block), -1)
        before = np.concatenate([above, flat[:-1]])
        lines = np.concatenate([np.full((len(flat), 1), _UP, dtype=np.uint8), flat - before], axis=1)
        write(b"IDAT", compressor.compress(lines.tobytes()))
        above = flat[-1:].copy()
    write(b"IDAT", compressor.flush())
    write(b"IEND", b"", empty=True)


def _chunk_writer(file: BinaryIO) -> Callable[..., None]:
    def write(name: bytes, content: bytes, empty: bool = False) -> None:
        if content or empty:
            file.write(struct.pack(">I", len(content)) + name + content)
            file.write(struct.pack(">I", zlib.crc32(name + content)))

    return write
