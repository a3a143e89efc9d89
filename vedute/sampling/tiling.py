"""Pictures of any size through a network that works on tiles: overlapping, blended, row by row.

The tiles of a row are computed and blended, what is finished is handed out, and only the rows that the next
tiles still fade into are kept: the memory is that of a row of tiles, whatever the height of the picture.

Neighbours overlap by at least ``overlap`` pixels. A quarter of it at each tile's edge is thrown away, because
there the network sees padding instead of the picture; over the half between them one tile fades into the
next. So a network that looks no further than a quarter of the overlap gives exactly what it would give on
the whole picture. At the picture's own edges nothing is cut off.

Tiles begin at multiples of what the network's sides must be multiples of, up to 16: patterns that repeat with
it (of strided and transposed convolutions) then fall onto each other. The picture is reflected at its lower
and right edge where its sides are no such multiples, or are smaller than the smallest tile.

Here nothing is read or written: ``data/picture_rows.py`` and ``data/row_files.py``. What normalisation does
to tiles is in ``shared_statistics.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedute.errors import ConfigurationError, VeduteError

_UNIT = 16
"""Tiles begin at multiples of this, or of a divisor: a U-Net of 8 levels would need overlaps of 256."""


_PIECE = 128  # pixels
_GOLDEN = (math.sqrt(5) - 1) / 2

Result = TypeVar("Result")


class RowReader(Protocol):
    """A picture of which rows can be read."""

    height: int
    width: int

    def rows(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """Return rows, (bottom - top, width, C) in [0, 255]."""


@dataclass(frozen=True)
class TileNetwork:
    """What is done to each tile.

    Attributes:
        compute: From tiles (N, c, h, w) in [0, 1], h and w multiples of ``multiple``, to (N, C, h * scale,
            w * scale) in [0, 1], on any device.
        scale: Pixels along a side that become of one.
        multiple: What the sides of a tile must be multiples of.
    """

    compute: Callable[[Tensor], Tensor]
    scale: int = 1
    multiple: int = 1


@dataclass(frozen=True)
class Tiling:
    """How pictures are cut.

    Attributes:
        tile: Side of a tile in pixels of the input; raised to the network's multiple.
        overlap: Pixels of the input that neighbours share, at least. 0: hard edges.
        batch_size: Tiles computed at a time.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    tile: int
    overlap: int
    batch_size: int = 1

    def __post_init__(self) -> None:
        if self.tile < 1 or self.batch_size < 1 or not 0 <= self.overlap <= self.tile // 2:
            raise ConfigurationError(
                f"Tiles of {self.tile} pixels cannot overlap by {self.overlap}: give an overlap from 0 to "
                f"{self.tile // 2}, half of the tile."
            )

    def smaller(self, multiple: int = 1) -> Tiling | None:
        """Return what takes less memory: fewer tiles at a time, then tiles of half the side; None: nothing.

        Args:
            multiple: Of the network; tiles do not get smaller than it, nor than 16 pixels.
        """
        if self.batch_size > 1:
            return replace(self, batch_size=self.batch_size // 2)
        half = _up(self.tile, multiple) // 2
        if half < max(multiple, _UNIT):
            return None
        return replace(self, tile=half, overlap=min(self.overlap, half // 2))


@dataclass(frozen=True)
class Span:
    """Where a tile lies along one side of a picture, in pixels of the input.

    Attributes:
        start: Its first pixel.
        stop: The pixel after its last.
        fade_in: First pixel and the one after the last where it takes over from the tile before.
        fade_out: The same for the tile after it.
    """

    start: int
    stop: int
    fade_in: tuple[int, int]
    fade_out: tuple[int, int]


def plan(side: int, tiling: Tiling, multiple: int = 1) -> list[Span]:
    """Return the tiles along one side of a picture, evenly spread; the last may lie beyond its end.

    Args:
        side: Pixels.
        tiling: How to cut.
        multiple: What the sides of tiles must be multiples of.
    """
    unit = math.gcd(multiple, _UNIT)
    overlap, padded = _up(tiling.overlap, unit), _up(side, unit)
    tile = _up(max(tiling.tile, 2 * overlap), multiple)
    if padded <= tile:
        whole = _up(side, multiple)
        return [Span(0, whole, (0, 0), (whole, whole))]
    gaps = -(-(padded - tile) // (tile - overlap))
    starts = [(padded - tile) // unit * number // gaps * unit for number in range(gaps + 1)]
    fades = [(0, 0)]
    for left, right in pairwise(starts):
        middle = (right + left + tile) // 2
        fades.append((middle - tiling.overlap // 4, middle + tiling.overlap // 4))
    fades.append((padded, padded))
    return [
        Span(start, start + tile, fades[number], fades[number + 1]) for number, start in enumerate(starts)
    ]


def tile_count(height: int, width: int, network: TileNetwork, tiling: Tiling) -> int:
    """Return how many tiles a picture is cut into."""
    return len(plan(height, tiling, network.multiple)) * len(plan(width, tiling, network.multiple))


def computed_rows(picture: RowReader, network: TileNetwork, tiling: Tiling) -> Iterator[Tensor]:
    """Put a picture through a network, tile by tile.

    Call in ``torch.inference_mode()``.

    Args:
        picture: What to read.
        network: What is done to each tile.
        tiling: How to cut.

    Yields:
        (C, h, width * scale) float32 in [0, 1] on the CPU: the next rows, from top to bottom, height * scale
        of them in all.
    """
    scale = network.scale
    along = plan(picture.width, tiling, network.multiple)
    kept: Tensor | None = None
    left = picture.height * scale  # rows to be handed out
    for span in plan(picture.height, tiling, network.multiple):
        band = _band(picture, network, tiling, span, along)
        entering = (span.fade_in[1] - span.fade_in[0]) * scale
        leaving = (span.fade_out[1] - span.fade_out[0]) * scale
        if kept is not None and entering:
            share = _rising(entering)[:, None]
            band[:, :entering] *= share
            band[:, :entering] += kept * (1 - share)
        done = band.shape[1] - leaving
        kept = band[:, done:].clone()
        rows = band[:, : min(done, left)]
        left -= rows.shape[1]
        if rows.shape[1]:
            yield rows


def spread_pieces(picture: RowReader, network: TileNetwork, tiling: Tiling) -> Tensor:
    """Return pieces spread over the picture, that say together what it is like.

    Args:
        picture: What to read.
        network: What they are for.
        tiling: How the picture is cut: the pieces have a quarter of a tile's side, but 128 pixels if a tile
            has as many, and take together the memory of two tiles.

    Returns:
        (N, c, h, w) in [0, 1].
    """
    # Many small pieces tell more of a large picture than few large ones, but what a network sees of their
    # padding counts too: 128 pixels were better than 64.
    side = _up(max(tiling.tile // 4, min(tiling.tile, _PIECE)), network.multiple)
    count = max(2, 2 * tiling.tile**2 // side**2)
    down = plan(picture.height, Tiling(side, 0), network.multiple)
    along = plan(picture.width, Tiling(side, 0), network.multiple)
    chosen: dict[int, list[Span]] = {}
    if len(down) * len(along) <= count:
        chosen = {row: along for row in range(len(down))}
    else:
        for number in range(count):
            # Rows in turn, columns by the golden ratio: spread in both, whatever the numbers of either.
            row = (2 * number + 1) * len(down) // (2 * count)
            column = along[int((number + 0.5) * _GOLDEN % 1 * len(along))]
            if column not in chosen.setdefault(row, []):
                chosen[row].append(column)
    return torch.cat([_tiles(picture, down[row], columns) for row, columns in chosen.items()])


def padded_to(images: Tensor, multiple: int) -> Tensor:
    """Reflect images (N, C, h, w) at their lower and right edge, until both sides are multiples."""
    height, width = images.shape[-2:]
    lines = torch.from_numpy(_reflected(0, _up(height, multiple), height))
    columns = torch.from_numpy(_reflected(0, _up(width, multiple), width))
    return images[:, :, lines.to(images.device)][:, :, :, columns.to(images.device)]


def with_less_memory(
    tiling: Tiling, multiple: int, work: Callable[[Tiling], Result], say: Callable[[str], None]
) -> tuple[Result, Tiling]:
    """Do something with tiles, and again with smaller ones when memory runs out.

    Args:
        tiling: To begin with.
        multiple: Of the network.
        work: What to do; it begins anew each time.
        say: Told in one sentence what is tried next.

    Returns:
        What ``work`` returned, and the tiling that fitted.

    Raises:
        VeduteError: There is no smaller tiling.
    """
    while True:
        try:
            return work(tiling), tiling
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            reason = str(error).splitlines()[0]
        # Outside of the except block, where the failed attempt's tensors are still held by the traceback.
        smaller = tiling.smaller(multiple)
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()
        if smaller is None:
            raise VeduteError(
                f"Memory does not suffice even for one tile of {tiling.tile} x {tiling.tile} pixels "
                f"({reason}). Close other programs, or choose another --device."
            )
        tiling = smaller
        say(
            f"Out of memory: continuing with tiles of {tiling.tile} x {tiling.tile}, "
            f"{tiling.batch_size} at a time."
        )


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that an accelerator's or the processor's memory does not suffice."""
    # The CPU allocator raises a plain RuntimeError, of which only the text tells.
    words = ("not enough memory", "can't allocate memory", "out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error).lower() for word in words)


def _band(
    picture: RowReader, network: TileNetwork, tiling: Tiling, span: Span, along: Sequence[Span]
) -> Tensor:
    """Compute a row of tiles from where it fades in to where it has faded out, (C, h, width * scale)."""
    scale, band = network.scale, torch.empty(0)
    first, last = (span.fade_in[0] - span.start) * scale, (span.fade_out[1] - span.start) * scale
    inputs = _tiles(picture, span, along)
    for position in range(0, len(along), tiling.batch_size):
        outputs = network.compute(inputs[position : position + tiling.batch_size]).float().cpu()
        for column, output in zip(along[position : position + tiling.batch_size], outputs, strict=True):
            if not len(band):
                band = torch.zeros(len(output), last - first, picture.width * scale)
            _add(band, output[:, first:last], column, scale)
    return band


def _add(band: Tensor, output: Tensor, column: Span, scale: int) -> None:
    """Add what a tile gives, (C, h, w), to its row."""
    left, right = column.fade_in[0] * scale, min(column.fade_out[1] * scale, band.shape[2])
    part = output[:, :, left - column.start * scale : right - column.start * scale].clone()
    entering = (column.fade_in[1] - column.fade_in[0]) * scale
    leaving = (column.fade_out[1] - column.fade_out[0]) * scale
    if entering:
        part[:, :, :entering] *= _rising(entering)
    if leaving:
        part[:, :, -leaving:] *= 1 - _rising(leaving)
    band[:, :, left:right] += part


def _rising(length: int) -> Tensor:
    """Return the share of the tile that takes over, (length,), from 0 to 1 without a kink."""
    place = (torch.arange(length) + 0.5) / length
    return 0.5 - 0.5 * torch.cos(math.pi * place)


def _tiles(picture: RowReader, span: Span, along: Sequence[Span]) -> Tensor:
    """Read tiles that lie beside each other, (N, c, h, w) in [0, 1]; the picture is reflected at its end."""
    # The whole row at once: strips and tiles of a file are decoded once, whatever the number of columns.
    lines = _reflected(span.start, span.stop, picture.height)
    top = int(lines.min())
    pixels = picture.rows(top, int(lines.max()) + 1)
    if len(lines) != len(pixels):
        pixels = pixels[lines - top]
    tiles = [pixels[:, _reflected(column.start, column.stop, picture.width)] for column in along]
    return torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2).float() / 255


def _reflected(start: int, stop: int, side: int) -> NDArray[np.int64]:
    """Return the pixels from ``start`` to ``stop`` of a side that goes on as its own reflection."""
    if side == 1:
        return np.zeros(stop - start, dtype=np.int64)
    place = np.arange(start, stop) % (2 * side - 2)
    return np.minimum(place, 2 * side - 2 - place)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
