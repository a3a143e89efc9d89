"""Tiny street-view sets in OpenStreetView-5M's layout, for everybody's tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.data.landscapes import encoded

TINY = {"NO": 12, "US": 12, "CI": 12}
"""Photos of each country, by ISO code."""


def write_tiny_street_view(
    root: Path,
    parts: Mapping[str, Mapping[str, int]] | None = None,
    *,
    image_size: tuple[int, int] = (32, 40),
    folders: int = 2,
    split_folders: bool = True,
) -> Path:
    """Write ``root/<part>.csv`` and ``root/images/<part>/<NN>/<id>.jpg``, and return ``root``.

    Args:
        root: The folder to write into.
        parts: Photos of each country in each part; default ``train`` and ``test`` with ``TINY`` each.
        image_size: (height, width) of the photos.
        folders: Numbered folders that they are spread over.
        split_folders: Whether the numbered folders lie in folders of parts.
    """
    number = 1000
    for part, countries in ({"train": TINY, "test": TINY} if parts is None else parts).items():
        rows = []
        for country, count in countries.items():
            for _ in range(count):
                number += 7
                folder = root / "images" / (part if split_folders else "") / f"{number % folders:02d}"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{number}.jpg").write_bytes(encoded(tiny_street(country, number, image_size)))
                rows.append([str(number), "" if number % 2 else "59.91", "", country])
        write_metadata(root / f"{part}.csv", rows)
    return root


def write_metadata(
    path: Path,
    rows: Sequence[Sequence[str]],
    columns: Sequence[str] = ("id", "latitude", "longitude", "country"),
) -> Path:
    """Write a CSV file and return ``path``."""
    lines = [",".join(columns), *(",".join(cells) for cells in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def tiny_street(country: str, seed: int, image_size: tuple[int, int]) -> np.ndarray:
    """Return a picture (H, W, 3) in a colour of the country with a little noise."""
    base = np.random.default_rng(list(country.encode())).integers(40, 215, 3)
    noise = np.random.default_rng(seed).normal(0, 6, (*image_size, 3))
    return (base + noise).clip(0, 255).astype(np.uint8)
