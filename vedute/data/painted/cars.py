"""Painted cars as a data set: photos in a folder, and a table of what six people think of them.

How a car looks follows from ``cars_traits.py``, how it is painted from ``cars_painting.py``, and the
true opinions from ``cars_taste.py``.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vedute.data.painted.cars_painting import paint_car
from vedute.data.painted.cars_taste import RANGE, RATERS, true_scores
from vedute.data.painted.cars_traits import Traits, traits
from vedute.data.painted.workshop import in_processes, painted_folder
from vedute.errors import ConfigurationError

__all__ = ["COUNT", "RATERS", "car_traits", "paint_car", "painted_cars", "true_scores", "written_scores"]

COUNT = 2000
"""Cars in the painted sample."""

_VERSION = 1  # raised when the pictures change, so that older ones in a cache are left alone
_SMALLEST = 16  # pixels a side
_PIECE = 50  # cars in one piece of work
_MOOD = 0.5  # standard deviation of written scores around true ones, before rounding
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class _Piece:
    folder: Path
    image_size: tuple[int, int]
    numbers: range
    seed: int


def painted_cars(image_size: tuple[int, int] = (96, 128), count: int = COUNT, seed: int = 0) -> Path:
    """Return the folder of painted cars in the cache, painting them on first use.

    Args:
        image_size: Height and width in pixels, each at least 16.
        count: Number of cars.
        seed: Another seed gives other cars.

    Returns:
        A folder with ``images/00000.jpg`` and so on, and ``scores.csv`` with the columns file, Raof, Moira,
        Louie, Ferdinando, Gragar, Esther: whole numbers from 0 to 9.

    Raises:
        ConfigurationError: A size, count or seed that makes no pictures.
        VeduteError: The cache cannot be written.
    """
    height, width = image_size
    if min(image_size) < _SMALLEST:
        raise ConfigurationError(
            f"Cars cannot be painted at {height}x{width} pixels; give at least {_SMALLEST} a side."
        )
    if count < 1 or seed < 0:
        raise ConfigurationError(
            f"{count} cars of seed {seed} cannot be painted; give at least 1 car and a seed of at least 0."
        )

    def write(folder: Path) -> None:
        (folder / "images").mkdir()
        starts = range(0, count, _PIECE)
        pieces = [
            _Piece(folder, image_size, range(start, min(start + _PIECE, count)), seed) for start in starts
        ]
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["file", *RATERS])
        for rows in in_processes(_paint_piece, pieces, "Painting cars"):
            table.writerows(rows)
        (folder / "scores.csv").write_text(text.getvalue(), encoding="utf-8")

    return painted_folder(f"cars-{height}x{width}-{seed}-{count}-v{_VERSION}", write)


def car_traits(number: int, seed: int = 0) -> Traits:
    """Return what car ``number`` of the sample of this seed looks like."""
    return traits((seed, number))


def written_scores(number: int, seed: int = 0) -> dict[str, int]:
    """Return what the table says of a car: the true scores with the mood of the day, rounded, from 0 to 9."""
    mood = np.random.default_rng((seed, number, 1)).normal(0.0, _MOOD, len(RATERS))
    true = true_scores(car_traits(number, seed))
    low, high = RANGE
    return {
        rater: round(min(high, max(low, score + float(noise))))
        for (rater, score), noise in zip(true.items(), mood, strict=True)
    }


def _paint_piece(piece: _Piece) -> list[list[str | int]]:
    """Write the pictures of a piece and return their rows of the table."""
    rows: list[list[str | int]] = []
    for number in piece.numbers:
        picture = Image.fromarray(paint_car(car_traits(number, piece.seed), piece.image_size))
        name = f"{number:05d}.jpg"
        picture.save(piece.folder / "images" / name, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        rows.append([name, *written_scores(number, piece.seed).values()])
    return rows
