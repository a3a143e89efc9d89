"""From the numbers of a TIFF mask to 0 and 255, by the rules of ``pixels.mask_scale``.

What a value means is a property of the file: a window of a mask of 0 to 255 may by chance hold only 0 and 1,
and one that is all foreground may hold a single value. So before the first window of a file is read, the file
is scanned for its highest value, band by band. The scan ends where the meaning is settled: at the first value
above 1 in 8 bits, above 255 in more. Only masks of 0 and 1, or without foreground, are scanned to their end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vedute.data.pixels import FULL_VALUES, MaskScale, Pixels, mask_scale
from vedute.data.tiff import WHITE_IS_ZERO, TiffImage, Values
from vedute.errors import DataError

_SCAN_BYTES = 8 << 20  # of values that are looked at at a time


@dataclass(frozen=True)
class MaskMeaning:
    """What the numbers of a mask file mean.

    Attributes:
        scale: From values to foreground.
        by_colour: The values are those of the palette's greys; else the numbers themselves count.
    """

    scale: MaskScale
    by_colour: bool = False


def mask_meaning(path: Path) -> MaskMeaning:
    """Say what the numbers of a mask file mean; the file is scanned once, then the answer is remembered.

    Bands that cannot be decoded are passed over here: reading them will say what is wrong.

    Raises:
        DataError: The file cannot be read, or its values have no clear meaning.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    return _meaning(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _meaning(path: Path, size: int, changed: int) -> MaskMeaning:
    with TiffImage(path) as image:
        if image.colours is not None:
            return _palette_meaning(image)
        inverted = image.photometric == WHITE_IS_ZERO
        if image.dtype == np.bool_:
            return MaskMeaning(MaskScale(1, inverted))
        return MaskMeaning(mask_scale(_highest(image), inverted))


def _highest(image: TiffImage) -> float:
    """Return the highest value of the file, or one that leaves no question."""
    settled = FULL_VALUES[0 if image.dtype.itemsize == 1 else -2]
    highest = 0.0
    for values in _bands(image):
        band = _one_channel(values, image)
        lowest, top = band.min(), band.max()
        if not (lowest >= 0 and top <= FULL_VALUES[-1]):  # true for NaN as well
            raise DataError(
                f"{image.path} is a mask with values from {lowest} to {top}; "
                "expected 0 and 1, 0 and 255, or 0 and 65535."
            )
        highest = max(highest, float(top))
        if highest > settled:
            break
    return highest


def _palette_meaning(image: TiffImage) -> MaskMeaning:
    """Count greys by their colours; other palettes are for show, there the numbers count."""
    assert image.colours is not None
    used = np.zeros(1 << 16, dtype=bool)
    for values in _bands(image):
        used[values[:, :, 0].astype(np.intp)] = True
    numbers = np.flatnonzero(used)
    colours = image.colours[np.minimum(numbers, len(image.colours) - 1)]
    if bool((colours == colours[:, :1]).all()):
        return MaskMeaning(mask_scale(int(colours.max(initial=0))), by_colour=True)
    return MaskMeaning(mask_scale(int(numbers.max(initial=0))))


def _bands(image: TiffImage) -> Iterator[Values]:
    """Read the file from top to bottom, (h, W, samples), without the bands that cannot be decoded."""
    step = max(1, _SCAN_BYTES // (image.width * image.samples * image.dtype.itemsize))
    for top in range(0, image.height, step):
        try:
            yield image.read((top, min(top + step, image.height)), (0, image.width))
        except DataError:
            continue


def mask_pixels(values: Values, image: TiffImage, meaning: MaskMeaning) -> Pixels:
    """Turn values of a mask into pixels; transparency is left out, of colours the brightest channel counts.

    Args:
        values: (H, W, samples) as ``TiffImage.read`` gives them: the whole mask or a window of it.
        image: The file.
        meaning: Of the file.

    Returns:
        (H, W, 1) uint8: 0 background, 255 foreground; values between stay between.

    Raises:
        DataError: The values have no clear meaning.
    """
    if meaning.by_colour and image.colours is not None:
        numbers = np.minimum(values[:, :, 0], len(image.colours) - 1)
        band: Values = image.colours[:, 0][numbers.astype(np.intp)]
    else:
        band = _one_channel(values, image)
    try:
        return meaning.scale.apply(band)[:, :, None]
    except DataError as error:
        raise DataError(f"{image.path} is a mask with {error}.") from None


def _one_channel(values: Values, image: TiffImage) -> Values:
    """Return (H, W): the brightest of three colours, else the first sample."""
    colours = values.shape[2] - (image.alpha and values.shape[2] == image.samples)
    return values[:, :, :3].max(axis=2) if colours >= 3 else values[:, :, 0]
