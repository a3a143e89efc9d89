"""Tiny rated cars: grey pictures whose brightness is their row, and a table of scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

RATERS = ("Moira", "Ferdinando", "Esther")


def tiny_scores(
    count: int, limits: tuple[float, float] = (0, 9), raters: int = 3, seed: int = 0
) -> list[list[float]]:
    """Return whole scores from the lowest to the highest, drawn, a row an image."""
    draw = np.random.default_rng(seed)
    low, high = (int(limit) for limit in limits)
    return [[float(score) for score in row] for row in draw.integers(low, high + 1, (count, raters))]


def write_tiny_cars(
    root: Path,
    scores: Sequence[Sequence[float | str]],
    raters: Sequence[str] = RATERS,
    *,
    table: str = "scores.csv",
    images: str = "images",
    image_size: tuple[int, int] = (24, 32),
) -> Path:
    """Write ``root/images/<row>.png`` and the table; return ``root``.

    Args:
        root: The folder to write into.
        scores: One row an image, one cell a rater; "" where a score is missing.
        raters: Names of the columns.
        table: Name of the table; .tsv and .csv follow from it.
        images: Name of the folder of pictures.
        image_size: Height and width.
    """
    (root / images).mkdir(parents=True, exist_ok=True)
    separator = "\t" if table.endswith(".tsv") else ","
    lines = [separator.join(["file", *raters])]
    for row, cells in enumerate(scores):
        level = row % 256
        Image.fromarray(np.full((*image_size, 3), level, dtype=np.uint8)).save(root / images / f"{row}.png")
        lines.append(separator.join([f"{row}.png", *(f"{cell}" for cell in cells)]))
    (root / table).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root
