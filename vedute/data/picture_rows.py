"""Pictures of any size and format, read row by row with the channels that a network wants.

Of TIFF files only the rows that are asked for are read and decoded; other formats are decoded as a whole,
within the limits of ``image_bytes.py`` (179 million pixels). Values become 8 bits by the rules of
``tiff_values.py`` and ``pixels.py``, masks by those of ``tiff_masks.py``, cut at one half.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vedute.data.image_bytes import decode_file, decode_mask, file_problem, read_file
from vedute.data.pixels import Pixels
from vedute.data.source import short_name
from vedute.data.tiff import CMYK, PALETTE, TiffImage, is_tiff
from vedute.data.tiff_masks import mask_meaning, mask_pixels
from vedute.data.tiff_values import check_values, image_pixels, samples_for
from vedute.errors import DataError


@dataclass(frozen=True)
class Wanted:
    """What pictures are to become.

    Attributes:
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; of TIFF files with other bands the first.
        mask: Whether they are masks, 0 or 255; channels is 1 then.
        value_range: Values of a TIFF that become 0 and 255; None: by the type.
    """

    channels: int
    mask: bool = False
    value_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Header:
    """What a file says of itself before it is read.

    Attributes:
        height: Rows, as stored (a photo may yet be turned).
        width: Columns, as stored.
        channels: Numbers in one pixel, transparency included; a palette's are 3.
        alpha: Whether the last is transparency.
        bits: Of one number.
    """

    height: int
    width: int
    channels: int
    alpha: bool
    bits: int

    def conversion(self, wanted: Wanted) -> str:
        """Say what is changed for the network, in the middle of a sentence; empty: nothing."""
        changes = []
        if not wanted.mask:
            colours, kept = self.channels - self.alpha, wanted.channels
            if self.alpha and kept not in (2, 4):
                changes.append("transparency laid over white")
            elif not self.alpha and kept in (2, 4) and colours in (1, 3):
                changes.append("taken as opaque")
            target = kept - (self.alpha and kept in (2, 4))
            if colours > 1 and kept == 1:
                changes.append("colours turned into grey")
            elif colours == 1 and kept >= 3:
                changes.append("grey repeated as colours")
            elif colours > target:
                changes.append(f"only the first {target} of {colours} channels used")
            if self.bits > 8:
                changes.append(
                    f"values from {wanted.value_range[0]:g} to {wanted.value_range[1]:g} scaled to 8 bits"
                    if wanted.value_range
                    else f"{self.bits} bits scaled to 8"
                )
        return ", ".join(changes)


def read_header(path: Path, wanted: Wanted) -> Header:
    """Read what a file says of itself, and make sure that it can become what is wanted.

    Raises:
        DataError: It cannot be read, is no image, or has too few channels or values of unknown range.
    """
    if is_tiff(path):
        return _tiff_header(TiffImage(path), wanted)
    problem = file_problem(path)
    if problem is not None:
        raise problem
    if wanted.value_range is not None:
        raise DataError(
            f"{short_name(path)} is no TIFF: a value range is for TIFF files only. Leave out --value-range, "
            "or convert the image."
        )
    try:
        with Image.open(path) as file:
            alpha = file.has_transparency_data or file.mode in ("LA", "La", "PA", "RGBA", "RGBa")
            grey = file.mode in ("1", "L", "LA", "La", "I", "F") or file.mode.startswith("I;16")
            deep = file.mode.startswith("I")
            return Header(file.height, file.width, (1 if grey else 3) + alpha, alpha, 16 if deep else 8)
    except Exception as error:  # Pillow's many decoders raise nearly anything for damaged files
        raise DataError(f"{short_name(path)} is no image that can be read ({error}).") from error


def _tiff_header(image: TiffImage, wanted: Wanted) -> Header:
    looked_up = image.photometric in (PALETTE, CMYK)
    present = 3 if looked_up else image.samples - image.alpha
    header = Header(image.height, image.width, present + image.alpha, image.alpha, image.bits)
    if wanted.mask:
        return header
    needed = wanted.channels - (image.alpha and wanted.channels in (2, 4))
    if present < needed and not (present == 1 and needed == 3):
        raise DataError(
            f"{image.path} has {header.channels} channels, but the model works on {wanted.channels}. Convert "
            "the file, or take a checkpoint of other channels."
        )
    unknown = image.dtype.kind not in "bu" or image.bits > 16
    if unknown and wanted.value_range is None and image.photometric != PALETTE:
        raise DataError(
            f"{image.path} has {image.dtype} pixels, whose range is not known. Give --value-range LOW HIGH: "
            "the values that are black and white."
        )
    check_values(image, wanted.channels, wanted.value_range)
    return header


class PictureRows(ABC):
    """A picture of which rows can be read.

    Attributes:
        height: Rows.
        width: Columns.
        unclear: Whether rows of a mask that were read so far held values between no and full foreground.
    """

    height: int
    width: int
    unclear: bool = False

    @abstractmethod
    def rows(self, top: int, bottom: int) -> Pixels:
        """Return rows, (bottom - top, width, channels) in [0, 255]."""

    def _cut(self, mask: Pixels) -> Pixels:
        """Cut a mask at one half."""
        if not self.unclear:
            self.unclear = bool(((mask != 0) & (mask != 255)).any())
        return np.where(mask >= 128, 255, 0).astype(np.uint8)


class _Decoded(PictureRows):
    """A picture that is in memory."""

    def __init__(self, path: Path, wanted: Wanted) -> None:
        payload = read_file(path)
        try:
            self._pixels = (
                self._cut(decode_mask(payload).pixels)
                if wanted.mask
                else decode_file(payload, wanted.channels)
            )
        except DataError as error:
            raise DataError(f"{short_name(path)} is {error}.") from error
        self.height, self.width = self._pixels.shape[:2]

    def rows(self, top: int, bottom: int) -> Pixels:
        return self._pixels[top:bottom]


class _Tiff(PictureRows):
    """A TIFF file that is open."""

    def __init__(self, image: TiffImage, wanted: Wanted) -> None:
        self._image, self._wanted = image, wanted
        self._meaning = mask_meaning(image.path) if wanted.mask else None
        self.height, self.width = image.height, image.width

    def rows(self, top: int, bottom: int) -> Pixels:
        columns = (0, self.width)
        if self._meaning is not None:
            values = self._image.read((top, bottom), columns)
            return self._cut(mask_pixels(values, self._image, self._meaning))
        channels, limits = self._wanted.channels, self._wanted.value_range
        values = self._image.read((top, bottom), columns, samples_for(self._image, channels))
        return image_pixels(values, self._image, channels, limits)


@contextmanager
def open_picture(path: Path, wanted: Wanted) -> Iterator[PictureRows]:
    """Open a picture to read rows of it.

    Args:
        path: A file that passed :func:`read_header`.
        wanted: What it is to become.

    Raises:
        DataError: It cannot be read; also while rows are read.
    """
    if is_tiff(path):
        with TiffImage(path) as image:
            yield _Tiff(image, wanted)
    else:
        yield _Decoded(path, wanted)
