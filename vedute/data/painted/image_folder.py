"""Painted landscapes with a table of everything that a table can say of images. Needs numpy and Pillow only.

``labels.csv`` has one row for each picture:

* ``file``: ``images/<type>/<number>.jpg``; so ``images`` alone is a set of class folders.
* ``split``: train, val or test.
* ``kind``: the type, one of ``LANDSCAPE_TYPES``.
* ``p_<type>``: the share of ten imagined viewers who take the picture for this type; about eight see the
  true one, the others one that resembles it.
* ``warmth``: 10 times the mean of red minus blue (each in [0, 1]), a number from about -3 to 5.
* ``brightness``: 10 times the mean luma, from 0 to 10.
* ``mask``: ``masks/<type>/<number>.png``: white where the picture is brighter than its own threshold
  (Otsu's), black elsewhere.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageFilter

from vedute.data.painted.painting import LANDSCAPE_TYPES, check_image_size, paint_encoded
from vedute.data.painted.workshop import in_processes, painted_folder
from vedute.errors import ConfigurationError

COUNTS: Mapping[str, int] = MappingProxyType({"train": 40, "val": 10, "test": 10})
"""Pictures of each type in each split."""

_VERSION = 1  # raised when pictures or table change
_PIECE = 20  # pictures in one piece of work
_VIEWERS = 10
_RESEMBLES = {
    "coast": ("desert", "mountain"),
    "desert": ("coast", "mountain"),
    "forest": ("mountain", "coast"),
    "glacier": ("mountain", "coast"),
    "mountain": ("glacier", "forest"),
}


@dataclass(frozen=True)
class _Task:
    names: tuple[str, ...]  # <type>/<number>
    seeds: tuple[int, ...]
    image_size: tuple[int, int]


@dataclass(frozen=True)
class _Painted:
    image: bytes  # JPEG
    mask: bytes  # PNG
    warmth: float
    brightness: float


def painted_image_folder(
    image_size: tuple[int, int] = (64, 64), counts: Mapping[str, int] = COUNTS, seed: int = 0
) -> Path:
    """Return a folder with ``labels.csv``, ``images`` and ``masks`` in the cache, painting it on first use.

    Args:
        image_size: Height and width in pixels.
        counts: Pictures of each type in each split.
        seed: Another seed gives other pictures.

    Raises:
        ConfigurationError: A size, count or seed that makes no pictures.
        VeduteError: The cache cannot be written.
    """
    check_image_size(image_size)
    if seed < 0 or not counts or min(counts.values()) < 1:
        raise ConfigurationError(
            f"Painted pictures need a seed of at least 0 and counts of at least 1, got {seed} and "
            f"{dict(counts)}."
        )
    height, width = image_size
    numbers = "-".join(str(count) for count in counts.values())
    name = f"image-folder-{height}x{width}-{seed}-{numbers}-v{_VERSION}"
    return painted_folder(name, lambda folder: _write(folder, image_size, counts, seed))


def _write(folder: Path, image_size: tuple[int, int], counts: Mapping[str, int], seed: int) -> None:
    splits = [split for split, count in counts.items() for _ in range(count)]
    names = [f"{kind}/{number:04d}" for number in range(len(splits)) for kind in LANDSCAPE_TYPES]
    # Far from the seeds of the landscapes sample, which count from 0 in a way of their own.
    seeds = [int(np.random.SeedSequence([seed, 77, i]).generate_state(1)[0]) for i in range(len(names))]
    tasks = [
        _Task(tuple(names[i : i + _PIECE]), tuple(seeds[i : i + _PIECE]), image_size)
        for i in range(0, len(names), _PIECE)
    ]
    for kind in LANDSCAPE_TYPES:
        (folder / "images" / kind).mkdir(parents=True)
        (folder / "masks" / kind).mkdir(parents=True)
    shares = [f"p_{kind}" for kind in LANDSCAPE_TYPES]
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "split", "kind", *shares, "warmth", "brightness", "mask"])
        for task, results in zip(tasks, in_processes(_paint, tasks, "Painting pictures"), strict=True):
            for name, number, painted in zip(task.names, task.seeds, results, strict=True):
                (folder / "images" / f"{name}.jpg").write_bytes(painted.image)
                (folder / "masks" / f"{name}.png").write_bytes(painted.mask)
                kind, place = name.split("/")
                votes = [f"{share:.1f}" for share in _votes(kind, number)]
                measures = [f"{painted.warmth:.2f}", f"{painted.brightness:.2f}"]
                table.writerow(
                    [f"images/{name}.jpg", splits[int(place)], kind, *votes, *measures, f"masks/{name}.png"]
                )


def _paint(task: _Task) -> list[_Painted]:
    labels = [LANDSCAPE_TYPES.index(name.split("/")[0]) for name in task.names]
    return [_measured(image) for image in paint_encoded(labels, task.seeds, task.image_size)]


def _measured(payload: bytes) -> _Painted:
    """Measure a picture as it is read back from its file."""
    with Image.open(io.BytesIO(payload)) as image:
        pixels = np.asarray(image, dtype=np.float64) / 255  # (H, W, 3)
        luma = image.convert("L")
    smooth = np.asarray(luma.filter(ImageFilter.GaussianBlur(max(luma.size) / 64)))
    buffer = io.BytesIO()
    Image.fromarray(((smooth > _otsu(smooth)) * 255).astype(np.uint8)).save(buffer, "PNG")
    warmth = 10 * float((pixels[..., 0] - pixels[..., 2]).mean())
    return _Painted(payload, buffer.getvalue(), warmth, float(np.asarray(luma).mean() / 25.5))


def _otsu(grey: np.ndarray) -> int:
    """Return the threshold with the largest variance between the two sides.

    Source: N. Otsu, A threshold selection method from gray-level histograms, 1979.

    Args:
        grey: (H, W) uint8.
    """
    share = np.bincount(grey.reshape(-1), minlength=256) / grey.size
    below, weighted = np.cumsum(share), np.cumsum(share * np.arange(256))
    spread = below * (1 - below)
    between = (weighted[-1] * below - weighted) ** 2 / np.where(spread > 0, spread, np.inf)
    return int(between.argmax())


def _votes(kind: str, seed: int) -> list[float]:
    """Return the share of viewers who see each type, in the order of ``LANDSCAPE_TYPES``."""
    chances = np.full(len(LANDSCAPE_TYPES), 0.02)
    for resembling in _RESEMBLES[kind]:
        chances[LANDSCAPE_TYPES.index(resembling)] = 0.08
    chances[LANDSCAPE_TYPES.index(kind)] = 0.8
    votes = np.random.default_rng(seed).multinomial(_VIEWERS, chances / chances.sum())
    return [float(count) / _VIEWERS for count in votes]
