"""From the numbers of a TIFF to grey values and colours in [0, 255].

Values:

* 8 bits stay as they are; one bit becomes 0 and 255.
* Other unsigned whole numbers of up to 16 bits are scaled by their full range (65535 becomes 255), or by a
  ``value_range`` where one is given: its lower end becomes 0, its upper end 255, and what lies beyond is
  cut off. A ``value_range`` counts for 8 bits too.
* Signed, 32-bit and floating-point numbers have no known range: without a ``value_range`` an error. Missing
  values (NaN) become 0.

Channels, with w wanted of p present:

* w = p: as they are.
* w = 1 of 3 or more: luma of the first three (ITU-R 601).
* w = 3 of 1, or of grey with transparency: repeated.
* w < p otherwise: the first w. Transparency and infrared, which come last, are left out.
* w > p otherwise: an error.

Palettes are looked up, 'white is zero' is inverted, CMYK becomes RGB. Masks follow ``pixels.as_mask``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vedute.data.pixels import Pixels, as_mask
from vedute.data.tiff import TiffImage, Values
from vedute.errors import DataError

WHITE_IS_ZERO, PALETTE, CMYK, YCBCR = 0, 3, 5, 6
_KNOWN = frozenset({WHITE_IS_ZERO, 1, 2, PALETTE, 4, CMYK, YCBCR})


def check_values(image: TiffImage, channels: int, value_range: tuple[float, float] | None) -> None:
    """Refuse a file whose pixels cannot become what is wanted, before any is read.

    Args:
        image: The file.
        channels: Wanted channels, 1 to 4.
        value_range: Values that become 0 and 255; None: by the type.

    Raises:
        DataError: The values have no known range, the colours are of an unknown kind, or there are too few
            channels.
    """
    if image.photometric not in _KNOWN:
        raise DataError(
            f"{image.path} has colours of a kind that is not read (photometric interpretation "
            f"{image.photometric}). Convert the file to RGB or grey."
        )
    known = image.dtype.kind in "bu" and image.bits <= 16
    if not known and value_range is None and image.photometric != PALETTE:
        raise DataError(
            f"{image.path} has {image.dtype} pixels, whose range is not known. Give data.value_range, "
            "the values that shall become black and white, e.g. [0, 1]."
        )
    if image.dtype.kind not in "buif":
        raise DataError(f"{image.path} has {image.dtype} pixels, which are no grey values.")
    present = _colour_channels(image)
    if not _possible(present, channels):
        raise DataError(
            f"{image.path} has {present} channels, {channels} are wanted. "
            f"Set data.image_channels to {present} or less."
        )


def image_pixels(
    values: Values, image: TiffImage, channels: int, value_range: tuple[float, float] | None
) -> Pixels:
    """Turn values that were read from a file into pixels.

    Args:
        values: (H, W, samples) as ``TiffImage.read`` gives them.
        image: The file.
        channels: Wanted channels, 1 to 4.
        value_range: Values that become 0 and 255; None: by the type.

    Returns:
        (H, W, channels) uint8 in [0, 255].
    """
    return _to_channels(_to_colours(values, image, value_range), channels)


def mask_pixels(values: Values, image: TiffImage) -> Pixels:
    """Turn values of a mask into pixels, by the rules of ``pixels.as_mask``; transparency is left out.

    Args:
        values: (H, W, samples) as ``TiffImage.read`` gives them.
        image: The file.

    Returns:
        (H, W, 1) uint8 in [0, 255].

    Raises:
        DataError: The values have no clear meaning.
    """
    if image.photometric == PALETTE and image.colours is not None:
        colours = image.colours[np.unique(values)]
        if bool((colours == colours[:, :1]).all()):  # other palettes are for show: the numbers count
            values = image.colours[values[:, :, 0]]
    elif image.photometric == WHITE_IS_ZERO and (values.dtype == np.bool_ or values.max() > 1):
        values = ((1 << image.bits) - 1) - values.astype(np.int64)
    if image.alpha:
        values = values[:, :, : image.samples - 1]
    try:
        return as_mask(values[:, :, :3] if values.shape[2] >= 3 else values[:, :, :1]).pixels
    except DataError as error:
        raise DataError(f"{image.path} is a mask with {error}.") from None


def samples_for(image: TiffImage, channels: int) -> int:
    """Return how many samples of each pixel are needed for the wanted channels."""
    if image.photometric in (PALETTE, CMYK):
        return image.samples
    present = _colour_channels(image)
    return min(image.samples, 3 if channels == 1 and present >= 3 else channels)


def _colour_channels(image: TiffImage) -> int:
    if image.photometric in (PALETTE, CMYK):
        return 3
    if image.samples == 2 and image.alpha:
        return 1
    return image.samples


def _possible(present: int, wanted: int) -> bool:
    return wanted <= present or (wanted == 3 and present == 1)


def _to_colours(values: Values, image: TiffImage, value_range: tuple[float, float] | None) -> Pixels:
    if image.photometric == PALETTE and image.colours is not None:
        numbers = values[:, :, 0].astype(np.int64)
        colours: Pixels = image.colours[np.minimum(numbers, len(image.colours) - 1)]
        return colours
    pixels = to_bytes(values, image.bits, value_range)
    if image.photometric == WHITE_IS_ZERO:
        pixels = 255 - pixels
    elif image.photometric == CMYK and pixels.shape[2] >= 4:
        ink = 255 - pixels[:, :, :4].astype(np.uint16)
        pixels = ((ink[:, :, :3] * ink[:, :, 3:] + 127) // 255).astype(np.uint8)
    return pixels


def to_bytes(values: Values, bits: int, value_range: tuple[float, float] | None) -> Pixels:
    """Scale values to [0, 255], see the rules above.

    Args:
        values: Any shape; whole or floating-point numbers, or bool.
        bits: Bits of one number in the file.
        value_range: Values that become 0 and 255; None: by the type, unsigned of at most 16 bits.

    Returns:
        uint8 of the same shape.
    """
    if values.dtype == np.bool_:
        return np.where(values, 255, 0).astype(np.uint8)
    if value_range is not None:
        lowest, highest = value_range
        # In place, in single precision: a window may be large.
        scaled: NDArray[np.float32] = values.astype(np.float32)
        scaled -= lowest
        scaled *= 255 / (highest - lowest)
        scaled += 0.5
        np.nan_to_num(scaled, copy=False, nan=0.0)
        return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)
    if bits == 8:
        return values.astype(np.uint8, copy=False)
    largest = (1 << bits) - 1
    return ((values.astype(np.uint32) * 255 + largest // 2) // largest).astype(np.uint8)


def _to_channels(pixels: Pixels, wanted: int) -> Pixels:
    present = pixels.shape[2]
    if present == wanted:
        return pixels
    if wanted == 1 and present >= 3:
        # Pillow's luma, so that a TIFF and a PNG of the same picture are equal.
        colour = np.ascontiguousarray(pixels[:, :, :3])
        return np.asarray(Image.fromarray(colour).convert("L"))[:, :, None]
    if wanted == 3 and present <= 2:
        return np.repeat(pixels[:, :, :1], 3, axis=2)
    return pixels[:, :, :wanted]
