"""Tiny aerial images with masks, and TIFF files of every kind, right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

THRESHOLD = 128
"""Pixels of a tiny image are building where the first channel is above this."""


def pattern(
    height: int = 40, width: int = 56, channels: int = 3, dtype: str = "uint8", seed: int = 0
) -> NDArray[np.generic]:
    """Smooth values with noise over the type's range, (height, width) or (height, width, channels)."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (5 + n) + seed) * np.cos(y / (7 + n)) for n in range(channels)]
    unit = np.clip(
        np.stack(waves, -1) * 0.4 + 0.5 + generator.normal(0, 0.02, (height, width, channels)), 0, 1
    )
    kind = np.dtype(dtype)
    values = unit * np.iinfo(kind).max if kind.kind == "u" else unit
    values = (values > 0.5) if kind == np.bool_ else values.astype(kind)
    return values[:, :, 0] if channels == 1 else values


def write_tiff(path: Path, values: NDArray[np.generic], **options: object) -> Path:
    """Write values with tifffile: RGB from three channels on, else grey; strips of 8 rows."""
    channels = values.shape[2] if values.ndim == 3 else 1
    defaults: dict[str, object] = {"metadata": None, "photometric": "rgb" if channels >= 3 else "minisblack"}
    if "tile" not in options:
        defaults["rowsperstrip"] = 8
    if options.get("planarconfig") == "separate":
        values = np.moveaxis(values, 2, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, **(defaults | options))
    return path


def tiny_image(seed: int, side: int = 48) -> NDArray[np.uint8]:
    """A picture of green and grey fields with bright boxes, (side, side, 3)."""
    generator = np.random.default_rng(seed)
    image = np.full((side, side, 3), (70, 90, 60), dtype=np.uint8)
    image += generator.integers(0, 30, (side, side, 1), dtype=np.uint8)
    for _ in range(4):
        top, left = generator.integers(0, side - 12, 2)
        image[top : top + 10, left : left + 8] = (220, 140 + generator.integers(60), 120)
    return image


def tiny_mask(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The boxes of a tiny picture, (H, W) 0 or 255."""
    return np.where(image[:, :, 0] > THRESHOLD, 255, 0).astype(np.uint8)


def write_inria(
    root: Path, cities: Sequence[str] = ("austin", "tyrol-w", "vienna"), count: int = 4, side: int = 48
) -> Path:
    """Write ``root/train/{images,gt}/<city><n>.tif``, two ``test/images`` without masks; return ``root``."""
    for position, city in enumerate(cities):
        for number in range(1, count + 1):
            image = tiny_image(100 * position + number, side)
            write_tiff(root / "train" / "images" / f"{city}{number}.tif", image)
            write_tiff(root / "train" / "gt" / f"{city}{number}.tif", tiny_mask(image), compression="deflate")
    for number in (1, 2):
        write_tiff(root / "test" / "images" / f"innsbruck{number}.tif", tiny_image(900 + number, side))
    return root


def write_pair(folder: Path, name: str, seed: int = 0, side: int = 48, suffixes: str = "jpg png") -> None:
    """Write ``images/<name>`` and ``masks/<name>`` below a folder."""
    image_suffix, mask_suffix = suffixes.split()
    image = tiny_image(seed, side)
    for kind, pixels, suffix in (("images", image, image_suffix), ("masks", tiny_mask(image), mask_suffix)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / kind / f"{name}.{suffix}")


def write_web_map(root: Path, areas: Sequence[str] = ("north", "south"), blocks: int = 6) -> Path:
    """Write ``root/<area>/{images,masks}/<x>-<y>-<zoom>``: tiles of zoom 19, and of 20 on their ground."""
    seed = 0
    for position, area in enumerate(areas):
        for block in range(blocks):
            x, y = 1000 * (position + 1) + 8 * block, 200_500 + block
            tiles = [(x, y, 19)] + [(2 * x + right, 2 * y + down, 20) for right in (0, 1) for down in (0, 1)]
            for tile in tiles:
                seed += 1
                write_pair(root / area, "-".join(map(str, tile)), seed)
    return root
