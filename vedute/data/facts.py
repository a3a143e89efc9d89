"""What one record is: its size, format, bit depth, and what it looks like. Collected by ``survey.py``.

Ordinary JPEGs are decoded at a reduced size, which takes a fraction of the time; everything else by the
same decoder as in training (``image_bytes.py``), so what is unreadable there is unreadable here.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vedute.data.duplicates import GRID_SIDE, HASH_SIDE, look_of
from vedute.data.image_bytes import decode_file, decode_mask, plain_jpeg_size
from vedute.data.pixels import MaskPixels, Pixels, finished_mask
from vedute.data.source import Record
from vedute.errors import DataError

FACTS = np.dtype(
    [
        ("number", np.int64),  # of the record in its part
        ("width", np.int32),  # pixels, upright
        ("height", np.int32),
        ("bytes", np.int64),  # of the image file; of pixels that came decoded, their memory
        ("kind", np.int16),  # position in a list of Kind
        ("rotated", np.bool_),  # by EXIF
        ("content", np.uint64),  # hash of the bytes or pixels
        ("look", np.uint64),  # perceptual hash
        ("grid", np.uint8, (GRID_SIDE * GRID_SIDE * 3,)),  # mean colours
        ("contrast", np.float32),  # standard deviation of the grey values, 0 to 127.5
        ("foreground", np.float32),  # share of the mask, 0 to 1; NaN without a mask
        ("unclear_mask", np.bool_),  # the mask has more than two values
    ]
)
"""One row for each image."""

_SMALL = 64  # pixels of the shorter side that remain at least
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
_PNG_DEPTH = 24  # place of the bit depth in a PNG file
_CHANNEL_NAMES = {1: "grey", 2: "grey, alpha", 3: "RGB", 4: "four channels"}
_MODE_NAMES = {
    "1": "black and white",
    "L": "grey",
    "I;16": "grey",
    "I": "grey",
    "F": "grey, float",
    "LA": "grey, alpha",
    "P": "palette",
    "PA": "palette, alpha",
    "RGB": "RGB",
    "RGBA": "RGB, alpha",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    "LAB": "LAB",
}


@dataclass(frozen=True, order=True)
class Kind:
    """What files of one kind have in common.

    Attributes:
        format: ``JPEG``, ``PNG``, ...; ``pixels`` of records that come decoded, such as windows of a TIFF.
        mode: Channels and their meaning, in words.
        bits: Of each channel.
    """

    format: str
    mode: str
    bits: int


def facts_of(record: Record) -> tuple[Kind, NDArray[np.void]]:
    """Look at one record.

    Returns:
        Its kind, and one row of ``FACTS`` without ``number`` and ``kind``.

    Raises:
        DataError: Image or mask cannot be read, or they differ in size.
    """
    row = np.zeros((), dtype=FACTS)
    payload = record.payload
    if isinstance(payload, bytes):
        pixels = small_pixels(payload)
        kind, (height, width), row["rotated"] = _header(payload, pixels)
        row["bytes"], content = len(payload), payload
    else:
        pixels = payload
        height, width, channels = payload.shape
        kind = Kind("pixels", _CHANNEL_NAMES.get(channels, f"{channels} channels"), 8 * payload.itemsize)
        row["bytes"], content = payload.nbytes, np.ascontiguousarray(payload).tobytes()
    row["width"], row["height"] = width, height
    row["content"] = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
    small = to_picture(pixels)
    small = small.reduce(max(1, min(small.size) // _SMALL))
    grey = np.asarray(
        small.convert("L").resize((HASH_SIDE, HASH_SIDE), Image.Resampling.BILINEAR), np.float64
    )
    row["look"] = look_of(grey)
    row["contrast"] = grey.std()
    row["grid"] = np.asarray(small.resize((GRID_SIDE, GRID_SIDE), Image.Resampling.BOX)).reshape(-1)
    row["foreground"] = np.nan
    if record.mask is not None:
        mask = mask_of(record.mask)
        if mask.pixels.shape[:2] != (height, width):
            mask_height, mask_width = mask.pixels.shape[:2]
            raise DataError(
                f"{record.origin}: the mask is {mask_height} x {mask_width} pixels, its image {height} x "
                f"{width}; they must be equal."
            )
        row["foreground"], row["unclear_mask"] = (mask.pixels >= 128).mean(), mask.unclear
    return kind, row


def small_pixels(payload: bytes, side: int = _SMALL) -> Pixels:
    """Decode an image file to (h, w, 3); JPEG reduced while decoding, to about ``side`` pixels or more.

    Raises:
        DataError: It cannot be read.
    """
    if plain_jpeg_size(payload) is not None:
        try:
            with Image.open(io.BytesIO(payload)) as image:
                image.draft("RGB", (side, side))
                pixels: Pixels = np.asarray(image.convert("RGB"))
                return pixels
        except Exception:  # Pillow raises nearly anything; the usual decoder says what is wrong
            return decode_file(payload, 3)
    return decode_file(payload, 3)


def mask_of(mask: bytes | Pixels) -> MaskPixels:
    """Decode a mask."""
    return decode_mask(mask) if isinstance(mask, bytes) else finished_mask(mask)


def to_picture(pixels: Pixels) -> Image.Image:
    """Return (h, w, C) as an RGB picture: grey for one or two channels, else the first three."""
    shown = pixels[:, :, :1].repeat(3, axis=2) if pixels.shape[2] < 3 else pixels[:, :, :3]
    return Image.fromarray(np.ascontiguousarray(shown))


def _header(payload: bytes, pixels: Pixels) -> tuple[Kind, tuple[int, int], bool]:
    """Return the kind of a readable file, its upright (height, width), and whether EXIF turns it."""
    with Image.open(io.BytesIO(payload)) as image:
        width, height = image.size
        if (width - height) * (pixels.shape[1] - pixels.shape[0]) < 0:  # the decoder has turned it
            width, height = height, width
        try:
            known = "exif" in image.info or image.format == "TIFF"
            rotated = known and image.getexif().get(_ORIENTATION, 1) in range(2, 9)
        except Exception:  # nearly anything for damaged EXIF, which the decoder ignores too
            rotated = False
        mode = "I;16" if image.mode.startswith("I;16") else image.mode
        kind = Kind(image.format or "unknown", _MODE_NAMES.get(mode, mode), _bits(image, payload))
        return kind, (height, width), rotated


def _bits(image: Image.Image, payload: bytes) -> int:
    """Return the bits of a channel as the file has them: Pillow reduces 16-bit colour to 8."""
    if image.format == "PNG":
        return payload[_PNG_DEPTH]
    if image.format == "TIFF":
        stored = image.tag_v2.get(_BITS_PER_SAMPLE, 8)  # type: ignore[attr-defined]  # of TIFF files
        return int(stored[0] if isinstance(stored, tuple) else stored)
    return {"1": 1, "I": 32, "F": 32}.get(image.mode, 16 if image.mode.startswith("I;16") else 8)
