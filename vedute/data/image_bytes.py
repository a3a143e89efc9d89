"""From an image file to its pixels, upright and with the wanted channels, in bounded memory.

Rules, the same for every format (those for single arrays are in ``pixels.py``):

* EXIF orientation is applied: the picture stands as it was taken. Damaged EXIF is ignored.
* CMYK and YCCK become RGB by Pillow's formula; Adobe's inverted values are turned round. LAB becomes sRGB.
  Embedded colour profiles are not applied.
* Palettes are looked up, 1-bit pictures become 0 and 255.
* 16-bit grey is scaled by its full range. Pillow reads 16-bit colour by its upper 8 bits: at most one level
  off. 32-bit pixels have no known range: an error.
* Of animations and files of several pages, the first.
* Files above 512 MB and pictures above 179 million pixels (as the header says) are refused before anything
  is decoded. Pictures above 34 million pixels are decoded one at a time, whatever the number of threads.
* One above 34 million pixels that is to become 16 or more times smaller a side is first reduced by 2, 4 or 8,
  so that at least eight of its pixels a side remain for each wanted one: JPEG while decoding, others by
  averaging. That bounds memory; the result differs from that of reading in full by 0.4 to 1.2 grey values of
  255 on average, most of it a shift by a sixteenth of a wanted pixel. Smaller pictures are always read in
  full: the same would read JPEG only 1.3 times as fast, and differs by up to 4 where fewer pixels remain.
* HEIC is not read by Pillow alone; AVIF is, where Pillow was built with it.
"""

from __future__ import annotations

import importlib.util
import io
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from vedute.data.pixels import MaskPixels, Pixels, as_mask, to_8_bit, upright, with_channels
from vedute.data.source import short_name
from vedute.errors import DataError

# A third faster than Pillow and equal in every pixel (both wrap libjpeg-turbo). Where there is no wheel
# of it, Pillow does the work. torchvision's decoder would be deprecated, and slower than this one.
_simplejpeg = importlib.import_module("simplejpeg") if importlib.util.find_spec("simplejpeg") else None

MAXIMUM_FILE = 512 * 10**6
"""Bytes of the largest image file that is read."""

MAXIMUM_PIXELS = 178_956_970
"""Pixels of the largest picture that is decoded (Pillow's own limit): a header may claim anything."""

Reduction = Callable[[int, int], float]
"""From a picture's height and width to how many of its pixels a side go into one wanted pixel."""

_JPEG_MAGIC = b"\xff\xd8\xff"
_EXIF_MAGIC = b"Exif\x00"
_XMP_ORIENTATION = b"tiff:Orientation"
_ORIENTATION = 0x0112
_PHOTOMETRIC = 0x0106
_LARGE = 1 << 25  # pixels
_OVERSAMPLING = 8
_one_large_picture = Lock()

# Between a half and the whole of MAXIMUM_PIXELS Pillow would warn for each picture.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def no_reduction(height: int, width: int) -> float:
    """Ask for every pixel."""
    return 1.0


def read_file(path: Path) -> bytes:
    """Read an image file.

    Raises:
        DataError: It is larger than 512 MB, empty, no regular file, or cannot be read.
    """
    problem = file_problem(path)  # before opening, which would wait for ever at a pipe
    if problem is not None:
        raise problem
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{short_name(path)} cannot be read: {error.strerror}.") from error


def file_problem(path: Path) -> DataError | None:
    """Return what is wrong with an image file as far as it shows without opening it; None: nothing."""
    try:
        status = path.stat()
    except OSError as error:
        return DataError(f"{short_name(path)} cannot be read: {error.strerror}.")
    if not stat.S_ISREG(status.st_mode):
        return DataError(f"{short_name(path)} is no regular file. Take it out of the folder.")
    if status.st_size > MAXIMUM_FILE:
        return DataError(
            f"{short_name(path)} has {status.st_size / 1e6:,.0f} MB; image files of at most "
            f"{MAXIMUM_FILE // 10**6} MB are read. Cut it into tiles, or take it out of the folder."
        )
    if status.st_size == 0:
        return DataError(f"{short_name(path)} is empty (0 bytes). Restore it from its source, or delete it.")
    return None


def decode_file(payload: bytes, channels: int, reduction: Reduction = no_reduction) -> Pixels:
    """Decode an image file.

    Args:
        payload: The file's bytes, in any format that Pillow reads.
        channels: 1 to 4, see ``pixels.py``.
        reduction: How much smaller the picture is going to be made.

    Returns:
        (h, w, channels) uint8 in [0, 255], upright; smaller than the file's picture where ``reduction``
        allows it.

    Raises:
        DataError: The bytes are no image, are truncated, claim too many pixels, or have 32-bit pixels.
    """
    size = plain_jpeg_size(payload)
    if size is not None:
        pixels = np.empty((*size, 3), dtype=np.uint8)
        if decode_plain_jpeg(pixels, payload):
            return with_channels(pixels, channels)
    with _opened(payload) as file:
        return with_channels(_decode(file, reduction), channels)


def decode_mask(payload: bytes) -> MaskPixels:
    """Decode a mask file.

    Palettes of greys count by their colours, other palettes by their index (a mask of classes often
    has a palette for show). Of colours the brightest channel counts; transparent parts are background.

    Raises:
        DataError: As for :func:`decode_file`, or its values have no clear meaning (see ``as_mask``).
    """
    with _opened(payload) as file:
        image: Image.Image = file
        if image.mode == "P" and not _grey_palette(image):
            values = np.asarray(image)
        elif image.has_transparency_data or image.mode in ("RGBA", "LA", "PA"):
            image = image.convert("RGBA")
            behind = Image.new("RGBA", image.size, "black")
            values = np.asarray(Image.alpha_composite(behind, image))[:, :, :3]
        elif image.mode in ("1", "L", "I", "F", "RGB") or image.mode.startswith("I;16"):
            values = np.asarray(image)
            if _white_is_zero(image) and image.mode != "1":
                # As stored: Pillow has inverted 8 bits, but not 16.
                values = 255 - values if image.mode == "L" else values
                return as_mask(upright(values[:, :, None], _orientation(file)), white_is_zero=True)
        else:
            values = np.asarray(image.convert("RGB"))
        if values.ndim == 2:
            values = values[:, :, None]
        return as_mask(upright(values, _orientation(file)))


def plain_jpeg_size(payload: bytes) -> tuple[int, int] | None:
    """Return (height, width) of a JPEG that :func:`decode_plain_jpeg` can decode fast.

    None for what needs Pillow: other formats and colour spaces, pictures that have to be turned, large
    ones, and broken ones, for Pillow to say what is wrong.
    """
    if _simplejpeg is None or not payload.startswith(_JPEG_MAGIC) or not _stands(payload):
        return None
    try:
        height, width, colour_space, _ = _simplejpeg.decode_jpeg_header(payload)
    except ValueError:
        return None
    usual = colour_space in ("YCbCr", "Gray", "RGB") and height * width <= _LARGE
    return (height, width) if usual else None


def decode_plain_jpeg(pixels: Pixels, payload: bytes) -> bool:
    """Decode a JPEG into ``pixels``, (h, w, 3) as :func:`plain_jpeg_size` said; False if it is broken."""
    assert _simplejpeg is not None
    try:
        _simplejpeg.decode_jpeg(payload, "RGB", buffer=pixels)
    except ValueError:
        return False
    return True


def _stands(payload: bytes) -> bool:
    """Whether a JPEG surely needs no turning."""
    if _XMP_ORIENTATION in payload:
        return False
    place = payload.find(_EXIF_MAGIC)
    if place < 0:
        return True
    try:
        exif = Image.Exif()
        exif.load(payload[place : place + 65533])  # a segment is no longer
        return bool(exif.get(_ORIENTATION, 1) == 1)
    except Exception:  # nearly anything for damaged EXIF; Pillow will look at it again
        return False


@contextmanager
def _opened(payload: bytes) -> Iterator[Image.Image]:
    """Give the opened file; errors of every kind become a DataError that says what the bytes are."""
    try:
        with Image.open(io.BytesIO(payload)) as file:
            if file.width * file.height > MAXIMUM_PIXELS:
                raise Image.DecompressionBombError
            yield file
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(
            f"an image of more than {MAXIMUM_PIXELS / 1e6:,.0f} million pixels, as its header says; it is "
            "refused without decoding. Cut it into tiles, or reduce it"
        ) from error
    except UnidentifiedImageError as error:
        start = payload[:8].hex(" ") or "nothing"
        raise DataError(f"no image in any known format ({len(payload):,} bytes, starting {start})") from error
    except Exception as error:  # Pillow's many decoders raise nearly anything for damaged files
        raise DataError(f"a damaged image ({type(error).__name__}: {error})") from error


def _decode(file: Image.Image, reduction: Reduction) -> Pixels:
    """Return (h, w, 1 to 4), upright."""
    if file.width * file.height <= _LARGE:
        return _read(file, 1)
    with _one_large_picture:
        # Turned by 90 degrees or not: what the wanted pixels cover both ways is enough.
        covered = min(reduction(file.height, file.width), reduction(file.width, file.height))
        return _read(file, next((f for f in (8, 4, 2) if f * _OVERSAMPLING <= covered), 1))


def _read(file: Image.Image, factor: int) -> Pixels:
    if factor > 1 and isinstance(file, JpegImageFile):
        file.draft(file.mode, (file.width // factor, file.height // factor))
        factor = 1
    image = _plain(file)
    if factor > 1:
        image = image.reduce(factor)
    pixels: Pixels = np.asarray(image)
    # PNG may have its EXIF after the pixels, so it is looked at last.
    return upright(pixels if pixels.ndim == 3 else pixels[:, :, None], _orientation(file))


def _orientation(file: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8."""
    try:
        orientation = file.getexif().get(_ORIENTATION, 1)
    except Exception:  # nearly anything for damaged EXIF, which says nothing about the pixels
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _plain(image: Image.Image) -> Image.Image:
    """Convert to mode L, LA, RGB or RGBA, whichever holds what the image has."""
    transparent = image.info.get("transparency")
    # Pillow opens 16-bit PGM, and older versions 16-bit PNG, as 32-bit integers.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        deep = np.asarray(image)
        if _white_is_zero(image):
            deep = 65535 - deep  # Pillow does it for 8 bits only
        grey = Image.fromarray(to_8_bit(deep))
        if isinstance(transparent, int):
            grey.putalpha(Image.fromarray(np.where(deep == transparent, 0, 255).astype(np.uint8)))
        return grey
    if image.mode in ("I", "F"):
        raise DataError(
            "an image of 32-bit pixels, which have no known range; convert it to 8 or 16 bits per channel"
        )
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        mode += "A"
    return image if image.mode == mode else image.convert(mode)


def _white_is_zero(image: Image.Image) -> bool:
    """Whether the file is a TIFF whose tag PhotometricInterpretation says so."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0


def _grey_palette(image: Image.Image) -> bool:
    """Whether the palette's colours, as far as pixels use them, are greys."""
    colours = np.array(image.getpalette("RGB")).reshape(-1, 3)
    used = colours[np.unique(np.asarray(image))]
    return bool((used == used[:, :1]).all())
