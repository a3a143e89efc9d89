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
            pixels, alpha = over_white(pixels, alpha), None
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


FULL_VALUES = (1, 255, 65535)
"""Values that may mean full foreground in a mask."""


@dataclass(frozen=True)
class MaskScale:
    """What the values of a mask mean. Decided once for a whole file, never for a piece of it.

    Attributes:
        full: The value of full foreground.
        inverted: Whether instead ``full`` is the background, and 0 the foreground.
    """

    full: int
    inverted: bool = False

    def apply(self, values: NDArray[Any]) -> Pixels:
        """Bring values to the range of 8 bits; what is between no and full foreground stays between.

        Args:
            values: Any shape, numbers in [0, full].

        Returns:
            uint8 of the same shape, foreground 255.

        Raises:
            DataError: Values are beyond the range or no numbers.
        """
        lowest, highest = values.min(), values.max()
        if not (lowest >= 0 and highest <= self.full):
            raise _no_mask(lowest, highest)
        if self.full == 255 and values.dtype == np.uint8:
            pixels: Pixels = values
        elif values.dtype.kind in "bu" and self.full == 1:
            pixels = values.astype(np.uint8) * np.uint8(255)
        else:
            pixels = np.rint(values * (255.0 / self.full)).astype(np.uint8)
            between = (values > 0) & (values < self.full)
            if between.any():  # 1 of 65535 must not look like a clear 0
                pixels[between] = np.clip(pixels[between], 1, 254)
        return 255 - pixels if self.inverted else pixels


def mask_scale(highest: float, white_is_zero: bool = False) -> MaskScale:
    """Say what the values of a mask file mean, by the highest of the whole file.

    Full foreground is the smallest of 1, 255 and 65535 that no value exceeds, so masks of 0 and 1, of 0 and
    255, and 16-bit ones all mean what they show, whatever type they are stored in.

    Args:
        highest: The highest value in the file, as stored.
        white_is_zero: Whether the file says that 0 is white. White is foreground, so the values are
            inverted; but not if 1 is the highest: then these are the numbers of two classes, as some programs
            write them under this tag, and 1 is foreground.

    Raises:
        DataError: The value is negative, above 65535 or no number.
    """
    if not 0 <= highest <= FULL_VALUES[-1]:  # true for NaN as well
        raise _no_mask(highest, highest)
    full = next(top for top in FULL_VALUES if highest <= top)
    return MaskScale(full, white_is_zero and highest != 1)


def as_mask(values: NDArray[Any], white_is_zero: bool = False) -> MaskPixels:
    """Bring a mask of any type to the range of 8 bits, by the rules of :func:`mask_scale`.

    Args:
        values: The whole mask as stored: (h, w), (h, w, 1), or (h, w, 3) of which the brightest channel
            counts; no alpha.
        white_is_zero: Whether the file says that 0 is white.

    Raises:
        DataError: Values are negative, above 65535 or no numbers.
    """
    if values.ndim == 3:
        values = values[:, :, 0] if values.shape[2] == 1 else values.max(axis=2)
    lowest, highest = values.min(), values.max()
    if not (lowest >= 0 and highest <= FULL_VALUES[-1]):  # false for NaN as well
        raise _no_mask(lowest, highest)
    return finished_mask(mask_scale(highest, white_is_zero).apply(values)[:, :, None])


def finished_mask(pixels: Pixels) -> MaskPixels:
    """Take a decoded mask as it is: 0 background, 255 foreground, anything else unclear.

    It may be a piece of a mask, so its highest value says nothing: 1 is nearly black, never full foreground.

    Args:
        pixels: (h, w, 1) uint8.

    Raises:
        DataError: The array is of another shape or type.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 1 or 0 in pixels.shape:
        raise DataError(
            f"an array of shape {pixels.shape} and type {pixels.dtype}; expected (height, width, 1) and uint8"
        )
    return MaskPixels(pixels, bool(((pixels != 0) & (pixels != 255)).any()))


def _no_mask(lowest: object, highest: object) -> DataError:
    return DataError(f"values from {lowest} to {highest}; expected 0 and 1, 0 and 255, or 0 and 65535")


def averaged(pixels: Pixels, factor: int) -> Pixels:
    """Average blocks of factor x factor pixels; at the lower and right edge smaller ones."""
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(pixels[:, :, channel])).reduce(factor))
        for channel in range(pixels.shape[2])
    ]
    return np.stack(planes, axis=2)


def averaged_mask(pixels: Pixels, factor: int) -> Pixels:
    """Average blocks of a mask (h, w, 1) and cut them at one half, so that averaging makes no greys.

    Blocks with greys of the file become 1 and 254 instead of 0 and 255: the mask still counts as unclear.
    """
    result = np.where(averaged(pixels, factor) >= 128, 255, 0).astype(np.uint8)
    unclear = (pixels != 0) & (pixels != 255)
    if unclear.any():
        for axis in (0, 1):
            starts = np.arange(0, pixels.shape[axis], factor)
            unclear = np.logical_or.reduceat(unclear, starts, axis=axis)
        result[unclear] = np.clip(result[unclear], 1, 254)
    return result


def over_white(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Lay (h, w, any channels) over white by its alpha (h, w, 1)."""
    result = np.empty(pixels.shape, dtype=np.uint8)
    rows = max(1, _BLOCK // (pixels.shape[1] * pixels.shape[2]))
    for start in range(0, len(pixels), rows):
        block = slice(start, start + rows)
        share = alpha[block].astype(np.uint16)
        result[block] = (pixels[block] * share + 255 * (255 - share) + 127) // 255  # at most 65152
    return result
