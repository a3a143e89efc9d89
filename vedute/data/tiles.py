"""Pictures cut into a grid of windows, each a record with its part of the mask.

TIFF files are read from top to bottom, a row of windows at a time, so that the memory is that of a row of
windows and not of a file. Where even these are large, they are averaged while they are read: a window of
1 GB that is going to be a 286-pixel image never is in memory as a whole. Other formats come as the files'
bytes where they are not cut (``decoding.py`` makes the best of them), else they are decoded first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vedute.data.image_bytes import decode_file, decode_mask, read_file
from vedute.data.pixels import Pixels, averaged, averaged_mask
from vedute.data.source import Part, Record, Source, short_name
from vedute.data.tiff import TiffImage, Values, is_tiff
from vedute.data.tiff_masks import MaskMeaning, mask_meaning, mask_pixels
from vedute.data.tiff_values import check_values, image_pixels, samples_for
from vedute.errors import ConfigurationError, DataError

_STEP_BYTES = 32 << 20  # values that are read and converted at a time
_WHOLE_BYTES = 128 << 20  # larger rows of windows are averaged while they are read
_OVERSAMPLING = 4  # pixels a side that averaging leaves for each wanted one, at least


@dataclass(frozen=True)
class Windows:
    """How pictures are cut and what becomes of their values.

    Attributes:
        split: Windows along each side; 1: the whole picture.
        channels: Of the images, 1 to 4.
        value_range: Values of a TIFF that become 0 and 255; None: by the type, see ``tiff_values.py``.
        wanted_size: (height, width) to which the windows will be resized; None: not known.
    """

    split: int = 1
    channels: int = 3
    value_range: tuple[float, float] | None = None
    wanted_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.split < 1:
            raise ConfigurationError(f"data.split must be at least 1, got {self.split}.")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ConfigurationError(
                f"data.value_range must be a lower and a higher value, got {list(self.value_range)}."
            )

    @property
    def count(self) -> int:
        """Windows of one picture."""
        return self.split**2

    def edges(self, side: int) -> list[int]:
        """Return where the windows along a side of so many pixels begin and, last, end."""
        return [side * number // self.split for number in range(self.split + 1)]

    def reduction(self, height: int, width: int) -> int:
        """Return how many pixels a side of a window shall be averaged into one: 1 where it is small."""
        # The windows beside it are in memory with it.
        if self.wanted_size is None or height * width * self.split * self.channels <= _WHOLE_BYTES:
            return 1
        least = min(height / self.wanted_size[0], width / self.wanted_size[1])
        return max(1, int(least / _OVERSAMPLING))


class _Picture(ABC):
    """An image or a mask of which rows can be read."""

    name: str
    height: int
    width: int

    @abstractmethod
    def rows(self, top: int, bottom: int) -> Pixels:
        """Return rows, (bottom - top, width, C)."""


class _Decoded(_Picture):
    """A picture that is in memory."""

    def __init__(self, path: Path, channels: int | None) -> None:
        """Decode a file; ``channels`` None: a mask."""
        self.name = short_name(path)
        payload = read_file(path)
        try:
            self._pixels = decode_mask(payload).pixels if channels is None else decode_file(payload, channels)
        except DataError as error:
            raise DataError(f"{self.name} is {error}.") from error
        self.height, self.width = self._pixels.shape[:2]

    def rows(self, top: int, bottom: int) -> Pixels:
        return self._pixels[top:bottom]


class _Tiff(_Picture):
    """A TIFF file."""

    def __init__(self, path: Path, windows: Windows | None) -> None:
        """Read and check the header; ``windows`` None: a mask."""
        self.name = short_name(path)
        self.image = TiffImage(path)
        self._windows = windows
        self._meaning: MaskMeaning | None = None  # of a mask, once rows are read
        if windows is not None:
            check_values(self.image, windows.channels, windows.value_range)
        self.height, self.width = self.image.height, self.image.width

    def rows(self, top: int, bottom: int) -> Pixels:
        samples = None if self._windows is None else samples_for(self.image, self._windows.channels)
        row_bytes = self.width * self.image.samples * self.image.dtype.itemsize
        step = max(1, _STEP_BYTES // row_bytes)
        if bottom - top <= step:
            return self._convert(self.image.read((top, bottom), (0, self.width), samples))
        channels = 1 if self._windows is None else self._windows.channels
        pixels = np.empty((bottom - top, self.width, channels), dtype=np.uint8)
        for first in range(top, bottom, step):
            last = min(first + step, bottom)
            values = self.image.read((first, last), (0, self.width), samples)
            pixels[first - top : last - top] = self._convert(values)
        return pixels

    def _convert(self, values: Values) -> Pixels:
        if self._windows is None:
            if self._meaning is None:
                self._meaning = mask_meaning(self.image.path)
            return mask_pixels(values, self.image, self._meaning)
        return image_pixels(values, self.image, self._windows.channels, self._windows.value_range)


@dataclass(frozen=True)
class _TilesPart(Part):
    """The windows of one picture, row by row."""

    image: Path
    mask: Path | None
    label: int
    windows: Windows

    def count(self) -> int:
        return self.windows.count

    def read(self, positions: Sequence[int] | None = None) -> Iterator[Record | DataError]:
        wanted = range(self.count()) if positions is None else positions
        try:
            with ExitStack() as stack:
                if self.windows.split == 1 and not (is_tiff(self.image) and self._mask_is_like_image()):
                    yield from (self._whole(stack) for _ in wanted)
                    return
                image, mask = self.open(stack)
                yield from self._cut(image, mask, wanted)
        except DataError as error:
            yield from (error for _ in wanted)

    def _mask_is_like_image(self) -> bool:
        return self.mask is None or is_tiff(self.mask)

    def open(self, stack: ExitStack) -> tuple[_Picture, _Picture | None]:
        """Open image and mask, until the stack is closed.

        Raises:
            DataError: They cannot be read, or do not fit each other or the grid.
        """
        image = _open(self.image, self.windows, stack)
        mask = None if self.mask is None else _open(self.mask, None, stack)
        check_pair(image, mask, self.windows.split)
        return image, mask

    def _whole(self, stack: ExitStack) -> Record:
        """Return the one record of a picture that is not cut: bytes, but pixels of a TIFF."""

        def payload(path: Path, windows: Windows | None) -> bytes | Pixels:
            if not is_tiff(path):
                return read_file(path)
            picture = _open(path, windows, stack)
            return picture.rows(0, picture.height)

        mask = None if self.mask is None else payload(self.mask, None)
        return Record(payload(self.image, self.windows), self.label, short_name(self.image), mask)

    def _cut(
        self, image: _Picture, mask: _Picture | None, wanted: Sequence[int]
    ) -> Iterator[Record | DataError]:
        split = self.windows.split
        downwards, along = self.windows.edges(image.height), self.windows.edges(image.width)
        for row in range(split):
            columns = [position % split for position in wanted if position // split == row]
            if not columns:
                continue
            rows = (downwards[row], downwards[row + 1])
            cuts = [(along[column], along[column + 1]) for column in columns]
            names = [self._name(row * split + column) for column in columns]
            try:
                pieces = self._read_row(image, rows, cuts)
                masks = [None] * len(cuts) if mask is None else self._read_row(mask, rows, cuts, mask=True)
            except DataError as error:
                yield from (DataError(f"{name}: {error}") for name in names)
                continue
            for piece, piece_mask, name in zip(pieces, masks, names, strict=True):
                yield Record(piece, self.label, name, piece_mask)

    def _name(self, position: int) -> str:
        name = short_name(self.image)
        return name if self.windows.split == 1 else f"{name}, window {position + 1} of {self.count()}"

    def _read_row(
        self, picture: _Picture, rows: tuple[int, int], cuts: list[tuple[int, int]], mask: bool = False
    ) -> list[Pixels]:
        """Read windows that lie beside each other, averaged where they are large."""
        top, bottom = rows
        widest = max(right - left for left, right in cuts)
        factor = self.windows.reduction(bottom - top, widest)
        if factor == 1:
            band = picture.rows(top, bottom)
            return [band[:, left:right] for left, right in cuts]
        average = averaged_mask if mask else averaged
        step = factor * max(1, _STEP_BYTES // (picture.width * self.windows.channels * factor))
        pieces: list[list[Pixels]] = [[] for _ in cuts]
        for first in range(top, bottom, step):
            band = picture.rows(first, min(first + step, bottom))
            for piece, (left, right) in zip(pieces, cuts, strict=True):
                piece.append(average(band[:, left:right], factor))
        return [np.concatenate(piece) for piece in pieces]


def check_pair(image: _Picture, mask: _Picture | None, split: int) -> None:
    """Refuse a mask of another size than its image, and pictures smaller than the grid."""
    if mask is not None and (mask.height, mask.width) != (image.height, image.width):
        raise DataError(
            f"{mask.name} is {mask.height} x {mask.width} pixels, its image {image.name} {image.height} x "
            f"{image.width}. A mask needs the size of its image."
        )
    if min(image.height, image.width) < split:
        raise DataError(
            f"{image.name} is {image.height} x {image.width} pixels: too small for data.split {split}."
        )


def _open(path: Path, windows: Windows | None, stack: ExitStack) -> _Picture:
    if not is_tiff(path):
        return _Decoded(path, None if windows is None else windows.channels)
    picture = _Tiff(path, windows)
    stack.enter_context(picture.image)
    return picture


class TileSource(Source):
    """Pictures with masks, each cut into a grid of windows; the label of a record is its picture's number."""

    def __init__(self, images: Sequence[Path], masks: Sequence[Path] | None, windows: Windows) -> None:
        """Keep where the files are; none is opened yet.

        Args:
            images: N files.
            masks: N files, the images' masks; None: no masks.
            windows: How to cut them.

        Raises:
            ConfigurationError: A ``value_range`` is given, and an image is no TIFF.
        """
        if masks is not None and len(masks) != len(images):
            raise ValueError(f"{len(images)} images need as many masks, got {len(masks)}")
        other = next((path for path in images if not is_tiff(path)), None)
        if windows.value_range is not None and other is not None:
            raise ConfigurationError(
                f"data.value_range is for TIFF files only, and {short_name(other)} is none. Leave the option "
                "out, or convert the images to TIFF."
            )
        self.images, self.masks, self.windows = images, masks, windows
        self._parts = [
            _TilesPart(image, None if masks is None else masks[number], number, windows)
            for number, image in enumerate(images)
        ]

    def files(self) -> Iterable[Path]:
        """Return the images, then the masks."""
        yield from self.images
        yield from self.masks or ()

    def settings(self) -> dict[str, str]:
        """Return how the pictures are cut."""
        return {
            "reader": "tiles",
            "windows": str(replace(self.windows, wanted_size=None)),
            "masks": "" if self.masks is None else "one for each image",
        }

    def parts(self) -> Sequence[Part]:
        """Return one part for each picture."""
        return self._parts

    def broken(self) -> list[DataError]:
        """Read the headers of TIFF files: what is damaged, of an unknown kind, or does not fit its mask."""
        found = []
        for part in self._parts:
            if is_tiff(part.image) and (part.mask is None or is_tiff(part.mask)):
                try:
                    with ExitStack() as stack:
                        part.open(stack)
                except DataError as error:
                    found.append(error)
        return found

    def known_labels(self) -> NDArray[np.int64]:
        """Return the number of the picture of each record."""
        return np.repeat(np.arange(len(self._parts), dtype=np.int64), self.windows.count)
