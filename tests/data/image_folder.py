"""Tiny folders of images, with tables beside them."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

Row = Mapping[str, object]


def write_image(path: Path, level: int, size: tuple[int, int] = (16, 16)) -> Path:
    """Write a picture (H, W) whose red channel is ``level`` everywhere, so that it can be told again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = level, 100
    Image.fromarray(pixels).save(path)
    return path


def write_mask(
    path: Path, columns: int, size: tuple[int, int] = (16, 16), values: tuple[int, int] = (0, 255)
) -> Path:
    """Write a mask whose first ``columns`` columns are foreground."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(size, values[0], dtype=np.uint8)
    pixels[:, :columns] = values[1]
    Image.fromarray(pixels).save(path)
    return path


def write_table(path: Path, rows: Sequence[Row]) -> Path:
    """Write rows of equal keys as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def write_set(root: Path, rows: Sequence[Row], table: str = "labels.csv") -> Path:
    """Write the images that rows name, and a table of the rows.

    Each row's ``file`` is written with its position as level; a cell ``mask`` as a mask of the same number
    of columns (modulo the width).
    """
    for position, row in enumerate(rows):
        write_image(root / str(row["file"]), position)
        if row.get("mask"):
            write_mask(root / str(row["mask"]), 1 + position % 15)
    write_table(root / table, rows)
    return root


def simple_rows(count: int = 40, **columns: Sequence[object]) -> list[dict[str, object]]:
    """Return rows of ``count`` images whose further columns take their values in turn."""
    return [
        {
            "file": f"{position:03d}.png",
            **{name: values[position % len(values)] for name, values in columns.items()},
        }
        for position in range(count)
    ]


def write_class_folders(root: Path, counts: Mapping[str, int]) -> Path:
    """Write as many images as said into each folder below ``root``; the folder's position is their level."""
    for level, (folder, count) in enumerate(counts.items()):
        for number in range(count):
            write_image(root / folder / f"{number}.png", level)
    return root


def fresh(root: Path) -> Path:
    """Empty a folder."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    return root
