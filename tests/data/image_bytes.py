"""Image files of every kind, written by Pillow or by a few lines here."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from vedute.data.decoding import Preparation

SIDE = 32
EXACT = Preparation((SIDE, SIDE))
PAD, STRETCH = (Preparation((SIDE, SIDE), resize=mode) for mode in ("pad", "stretch"))


def flat(mode: str, colour: object, size: tuple[int, int] = (SIDE, SIDE), **options: object) -> bytes:
    """Return a file of one colour."""
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, **{"format": "PNG", **options})  # type: ignore[arg-type]
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def deep_png(values: NDArray[np.uint16], transparent: bytes = b"") -> bytes:
    """Return a PNG with 16 bits per channel, (h, w, 1 to 4), which Pillow cannot write."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
        + (chunk(b"tRNS", transparent) if transparent else b"")
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def deep(*values: int) -> NDArray[np.uint16]:
    return np.broadcast_to(np.array(values, dtype=np.uint16), (SIDE, SIDE, len(values)))


def deep_tiff(*values: int) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, deep(*values), photometric="rgb")
    return buffer.getvalue()


def close(pixels: NDArray[np.uint8], expected: ArrayLike, by: float = 1) -> bool:
    return bool(np.abs(pixels.astype(int) - np.asarray(expected)).max() <= by)
