"""Where a picture lies on the ground: the GeoTIFF tags of a file, kept through cutting and scaling.

Source: OGC GeoTIFF 1.1 (https://docs.ogc.org/is/19-008r4/19-008r4.html). The coordinate system is carried
along as it is (the geo keys), it is never interpreted; only the placement is calculated with.

``tiff.py`` reads pixels; ``write_geotiff`` here writes a picture with its place.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile

from vedute.data.source import Pixels
from vedute.errors import DataError
from vedute.files import whole

logger = logging.getLogger(__name__)

PIXEL_SCALE, TIEPOINT, TRANSFORMATION = 33550, 33922, 34264
KEY_DIRECTORY, DOUBLES, ASCII, NODATA = 34735, 34736, 34737, 42113
_RASTER_TYPE, _POINT = 1025, 2  # the geo key that says where in a pixel its coordinates are, and 'its centre'
_DOUBLE, _SHORT, _TEXT = 12, 3, 2  # types of tags
_TILED_FROM = 1024  # pixels a side: larger pictures are written in tiles, so that windows of them read fast
_TILE = 256


@dataclass(frozen=True)
class Georeference:
    """Where the pixels of a picture lie.

    Attributes:
        transform: (a, b, c, d, e, f): the point (row, column), counted from the upper left corner of the
            upper left pixel, lies at x = a * column + b * row + c, y = d * column + e * row + f.
        keys: The geo keys as in the file; empty: no coordinate system is named.
        doubles: The numbers that the keys refer to.
        text: The text that the keys refer to.
        nodata: The value of pixels without data, as GDAL writes it; None: none.
    """

    transform: tuple[float, float, float, float, float, float]
    keys: tuple[int, ...] = ()
    doubles: tuple[float, ...] = ()
    text: str = ""
    nodata: str | None = None

    def position(self, row: float, column: float) -> tuple[float, float]:
        """Return (x, y) of a point of the picture; (0.5, 0.5) is the middle of the first pixel."""
        a, b, c, d, e, f = self.transform
        return a * column + b * row + c, d * column + e * row + f

    def window(self, row: float, column: float) -> Georeference:
        """Return the place of a piece whose upper left pixel was at (row, column)."""
        a, b, _, d, e, _ = self.transform
        x, y = self.position(row, column)
        return replace(self, transform=(a, b, x, d, e, y))

    def scaled(self, vertical: float, horizontal: float) -> Georeference:
        """Return the place of the picture after resizing.

        Args:
            vertical: New height / old height: 2 makes pixels half as high on the ground.
            horizontal: New width / old width.

        Raises:
            ValueError: A factor is not positive.
        """
        if vertical <= 0 or horizontal <= 0:
            raise ValueError(f"a picture cannot be scaled by {vertical} and {horizontal}")
        a, b, c, d, e, f = self.transform
        return replace(self, transform=(a / horizontal, b / vertical, c, d / horizontal, e / vertical, f))

    @property
    def _points(self) -> bool:
        """Whether the coordinates in the tags are those of pixel centres."""
        return (_RASTER_TYPE, 0, 1, _POINT) in zip(*[iter(self.keys)] * 4, strict=False)


def read_georeference(path: Path) -> Georeference | None:
    """Read the GeoTIFF tags of a file.

    Args:
        path: A TIFF file.

    Returns:
        Where it lies; None where it does not say, or only by ground control points.

    Raises:
        DataError: The file is no TIFF, or the tags contradict each other.
    """
    try:
        with tifffile.TiffFile(path) as file:
            tags = file.pages.first.tags
            found = {
                code: tags[code].value
                for code in (PIXEL_SCALE, TIEPOINT, TRANSFORMATION, KEY_DIRECTORY, DOUBLES, ASCII, NODATA)
                if code in tags
            }
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # damaged headers make tifffile raise nearly anything
        raise DataError(f"{path} is no TIFF, or its header is damaged ({error}).") from error
    nodata = str(found[NODATA]).strip("\0 ") if NODATA in found else None
    try:
        transform = _transform(path, found)
        if transform is None:
            return None
        place = Georeference(
            transform,
            tuple(int(value) for value in np.ravel(found.get(KEY_DIRECTORY, ()))),
            tuple(float(value) for value in np.ravel(found.get(DOUBLES, ()))),
            str(found.get(ASCII, "")).rstrip("\0"),
            nodata,
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} has damaged GeoTIFF tags ({error}).") from error
    # Coordinates of centres: the corner of the first pixel is half a pixel before its centre.
    return place.window(-0.5, -0.5) if place._points else place


def _transform(path: Path, tags: dict[int, object]) -> tuple[float, float, float, float, float, float] | None:
    if TRANSFORMATION in tags:
        matrix = _numbers(tags[TRANSFORMATION], 16)
        return matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7]
    if PIXEL_SCALE in tags and TIEPOINT in tags:
        across, down = _numbers(tags[PIXEL_SCALE], 2)[:2]
        column, row, _, x, y, _ = _numbers(tags[TIEPOINT], 6)[:6]
        return across, 0.0, x - across * column, 0.0, -down, y + down * row
    if TIEPOINT in tags:
        logger.warning("%s is placed by ground control points, which are not kept.", path)
    return None


def _numbers(value: object, count: int) -> list[float]:
    numbers = [float(number) for number in np.ravel(np.asarray(value))]
    if len(numbers) < count or not np.isfinite(numbers).all():
        raise ValueError(f"{len(numbers)} numbers instead of {count}, or not all finite")
    return numbers


def write_geotiff(path: Path, pixels: Pixels, georeference: Georeference | None) -> None:
    """Write a picture as a TIFF with its place, whole or not at all; deflate, in tiles where it is large.

    Args:
        path: The file; its folder is made.
        pixels: (H, W, C) uint8, C from 1 to 4: grey, grey and alpha, RGB, RGB and alpha.
        georeference: Where it lies; None: a TIFF without a place.

    Raises:
        VeduteError: The disk is full or the place cannot be written.
    """
    height, width, channels = pixels.shape
    if pixels.dtype != np.uint8 or not 1 <= channels <= 4:
        raise ValueError(f"{pixels.shape} {pixels.dtype} is no picture of 8 bits and one to four channels")
    tags = [] if georeference is None else geotiff_tags(georeference)
    tile = (_TILE, _TILE) if max(height, width) >= _TILED_FROM else None
    with whole(path) as temporary:
        tifffile.imwrite(
            temporary,
            pixels[:, :, 0] if channels == 1 else pixels,
            photometric="rgb" if channels >= 3 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            compression="zlib",
            predictor=True,
            tile=tile,
            metadata=None,
            software="vedute",
            extratags=tags,
            bigtiff=pixels.nbytes > 1 << 31,
        )


def geotiff_tags(place: Georeference) -> list[tuple[int, int, int, Sequence[float] | str, bool]]:
    """Return the tags of a place for ``tifffile.imwrite``: scale and tie point, else a matrix."""
    a, b, c, d, e, f = (place.window(0.5, 0.5) if place._points else place).transform
    tags: list[tuple[int, int, int, Sequence[float] | str, bool]] = []
    if b == d == 0 and a > 0 > e:
        tags.append((PIXEL_SCALE, _DOUBLE, 3, (a, -e, 0.0), True))
        tags.append((TIEPOINT, _DOUBLE, 6, (0.0, 0.0, 0.0, c, f, 0.0), True))
    else:
        matrix = (a, b, 0.0, c, d, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
        tags.append((TRANSFORMATION, _DOUBLE, 16, matrix, True))
    if place.keys:
        tags.append((KEY_DIRECTORY, _SHORT, len(place.keys), place.keys, True))
    if place.doubles:
        tags.append((DOUBLES, _DOUBLE, len(place.doubles), place.doubles, True))
    if place.text:
        tags.append((ASCII, _TEXT, 0, place.text, True))
    if place.nodata is not None:
        tags.append((NODATA, _TEXT, 0, place.nodata, True))
    return tags
