"""Rules for channels, transparency, bit depth and masks, on arrays alone.

Here nothing is decoded (``image_bytes.py``), cropped or resized (``decoding.py``).

Channels mean: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. The rules from each to each:

* Grey becomes three equal channels; colour becomes one channel by ITU-R 601 luma.
* Alpha that is not wanted is laid over white. Alpha that is wanted and missing is opaque.
* 16 bits are scaled by their full range: 65535 becomes 255.
* EXIF orientations 1 to 8 are turned upright.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vedute.errors import DataError

Pixels = NDArray[np.uint8]
"""(H, W, C) in [0, 255]."""

ALPHA_CHANNELS = (2, 4)
"""Numbers of channels of which the last is alpha, in image files."""

_BLOCK = 1 << 20  # values that are worked on at a time, so that wide intermediate types stay small


def with_channels(pixels: Pixels, channels: int) -> Pixels:
    """Return an image with the wanted channels; the same array where nothing is to be done.

    Args:
        pixels: (h, w, c) with c from 1 to 4; 2 and 4 have alpha last.
        channels: The wanted number C, 1 to 4.

    Returns:
        (h, w, C) uint8.
    """
    if pixels.shape[2] == channels:
        return pixels
    alpha: Pixels | None = None
    if pixels.shape[2] in ALPHA_CHANNELS:
        pixels, alpha = pixels[:, :, :-1], pixels[:, :, -1:]
        if channels not in ALPHA_CHANNELS:
            pixels, alpha = _over_white(pixels, alpha), None
    colours = 3 if channels > 2 else 1
    if pixels.shape[2] < colours:
        pixels = np.repeat(pixels, 3, axis=2)
    elif pixels.shape[2] > colours:
        pixels = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))[:, :, None]
    if channels not in ALPHA_CHANNELS:
        return pixels
    if alpha is None:
        alpha = np.full((*pixels.shape[:2], 1), 255, dtype=np.uint8)
    return np.concatenate([pixels, alpha], axis=2)


def to_8_bit(deep: NDArray[Any]) -> Pixels:
    """Scale integers of any type with values in [0, 65535] to [0, 255], rounded; the shape stays."""
    result = np.empty(deep.shape, dtype=np.uint8)
    rows = max(1, _BLOCK * len(deep) // max(1, deep.size))
    for start in range(0, len(deep), rows):
        wide = deep[start : start + rows].astype(np.uint32)
        result[start : start + rows] = (wide * 255 + 32767) // 65535
    return result


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn and mirror an image (h, w, C) as its EXIF orientation says, without a copy.

    Args:
        pixels: The image as stored.
        orientation: 1 to 8 as in the EXIF standard, tag 0x0112; anything else counts as 1.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


@dataclass(frozen=True)
class MaskPixels:
    """A mask before it is cropped, resized and cut at the threshold.

    Attributes:
        pixels: (h, w, 1) uint8, foreground 255.
        unclear: Whether there are values besides no and full foreground.
    """

    pixels: Pixels
    unclear: bool


def as_mask(values: NDArray[Any]) -> MaskPixels:
    """Bring a mask of any type to the range of 8 bits.

    The full foreground is the smallest of 1, 255 and 65535 that no value exceeds, so masks of 0 and
    1, of 0 and 255, and 16-bit ones all mean what they show, whatever type they are stored in.

    Args:
        values: (h, w), (h, w, 1), or (h, w, 3) of which the brightest channel counts; no alpha.

    Raises:
        DataError: Values are negative, above 65535 or no numbers.
    """
    if values.ndim == 3:
        values = values[:, :, 0] if values.shape[2] == 1 else values.max(axis=2)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    lowest, highest = values.min(), values.max()
    if not (lowest >= 0 and highest <= 65535):  # false for NaN as well
        raise DataError(f"values from {lowest} to {highest}; expected 0 and 1, 0 and 255, or 0 and 65535")
    full = next(top for top in (1, 255, 65535) if highest <= top)
    unclear = bool(((values != 0) & (values != full)).any())
    if full == 255 and values.dtype == np.uint8:
        pixels: Pixels = values
    else:
        pixels = np.rint(values * (255.0 / full)).astype(np.uint8)
    return MaskPixels(pixels[:, :, None], unclear)


def _over_white(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Lay (h, w, 1 or 3) over white by its alpha (h, w, 1)."""
    result = np.empty(pixels.shape, dtype=np.uint8)
    rows = max(1, _BLOCK // (pixels.shape[1] * pixels.shape[2]))
    for start in range(0, len(pixels), rows):
        block = slice(start, start + rows)
        share = alpha[block].astype(np.uint16)
        result[block] = (pixels[block] * share + 255 * (255 - share) + 127) // 255  # at most 65152
    return result
