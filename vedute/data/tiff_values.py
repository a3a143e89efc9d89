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
* w = 3 of 1: repeated.
* w < p otherwise: the first w. What comes last, mostly infrared, is left out.
* w > p otherwise: an error.

Transparency counts where the file says that the last sample is one (ExtraSamples 1 or 2; GDAL says so of
every fourth band unless told ALPHA=UNSPECIFIED). It is none of the p. Grey and RGB with it follow
``pixels.with_channels``, as files of other formats do: it is laid over white unless w is 2 or 4. Where there
are more channels it always is. Colours that are multiplied by it already (ExtraSamples 1) are divided first.
A ``value_range`` does not count for it.

Palettes are looked up, 'white is zero' is inverted, CMYK becomes RGB. Masks are in ``tiff_masks.py``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vedute.data.pixels import Pixels, over_white, with_channels
from vedute.data.tiff import CMYK, PALETTE, WHITE_IS_ZERO, YCBCR, TiffImage, Values
from vedute.errors import DataError

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
    if not _possible(present, channels, image.alpha):
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
    if not image.alpha:
        return _to_channels(_to_colours(values, image, value_range), channels)
    alpha = _alpha_bytes(values[:, :, -1:], image)
    pixels = _to_colours(values[:, :, :-1], image, value_range)
    if image.premultiplied and image.photometric != PALETTE:
        share = np.maximum(alpha, 1).astype(np.uint16)
        pixels = np.minimum((pixels * np.uint16(255) + share // 2) // share, 255).astype(np.uint8)
    if pixels.shape[2] in (1, 3):
        return with_channels(np.concatenate([pixels, alpha], axis=2), channels)
    return _to_channels(over_white(pixels, alpha), channels)


def samples_for(image: TiffImage, channels: int) -> int:
    """Return how many samples of each pixel are needed for the wanted channels."""
    if image.alpha or image.photometric in (PALETTE, CMYK):
        return image.samples
    present = _colour_channels(image)
    return min(image.samples, 3 if channels == 1 and present >= 3 else channels)


def _colour_channels(image: TiffImage) -> int:
    if image.photometric in (PALETTE, CMYK):
        return 3
    return image.samples - image.alpha


def _possible(present: int, wanted: int, alpha: bool) -> bool:
    return wanted <= present or (wanted == 3 and present == 1) or (alpha and present in (1, 3))


def _alpha_bytes(alpha: Values, image: TiffImage) -> Pixels:
    """Scale transparency to [0, 255]: by the full range of whole numbers, from 0 to 1 of others."""
    if image.dtype.kind in "bu" and image.bits <= 16:
        return to_bytes(alpha, image.bits, None)
    kind = image.dtype.kind
    top = 1.0 if kind == "f" else 2.0 ** (image.bits - (kind == "i")) - 1
    return to_bytes(alpha, image.bits, (0.0, top))


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
    if wanted == 3 and present == 1:
        return np.repeat(pixels[:, :, :1], 3, axis=2)
    return pixels[:, :, :wanted]
