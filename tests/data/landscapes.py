"""Tiny landscape sets in the layouts of the real archive, for everybody's tests.

The pictures are a sky over a ground in the colours of their class, with a horizon, a tint and a
little noise that vary with the seed: enough for a small model to learn something in a few steps.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vedute.data.tfrecord import write_records

CLASS_NAMES = ("Coast", "Desert", "Forest", "Glacier", "Mountain")
COLOURS = (  # sky, ground
    ((140, 190, 240), (30, 80, 160)),
    ((250, 210, 150), (220, 160, 70)),
    ((170, 200, 170), (20, 90, 30)),
    ((200, 220, 250), (230, 245, 255)),
    ((110, 120, 190), (100, 80, 70)),
)


def tiny_landscape(label: int, seed: int, image_size: tuple[int, int] = (32, 32)) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) of class ``label``, the same for the same arguments."""
    random = np.random.default_rng([label, seed])
    height, width = image_size
    sky, ground = (np.array(colour, dtype=float) for colour in COLOURS[label])
    picture = np.empty((height, width, 3))
    horizon = int(height * random.uniform(0.3, 0.7))
    picture[:horizon], picture[horizon:] = sky, ground
    picture += random.uniform(-20, 20, size=3) + random.normal(0, 4, size=picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def encoded(picture: NDArray[np.uint8], image_format: str = "JPEG") -> bytes:
    """Return a picture (H, W, 3) or (H, W) as an image file's bytes; JPEG in high quality."""
    buffer = io.BytesIO()
    options = {"quality": 95} if image_format == "JPEG" else {}
    Image.fromarray(picture).save(buffer, image_format, **options)
    return buffer.getvalue()


def tiny_examples(
    count: int,
    labels: Sequence[int] = (0, 1, 2, 3, 4),
    image_size: tuple[int, int] = (32, 32),
    image_format: str = "JPEG",
    first_seed: int = 0,
) -> list[dict[str, bytes | int]]:
    """Return ``count`` examples with features ``image`` and ``label``; the labels take turns."""
    return [
        {
            "image": encoded(tiny_landscape(label, first_seed + row, image_size), image_format),
            "label": label,
        }
        for row in range(count)
        for label in [labels[row % len(labels)]]
    ]


def write_tiny_landscapes(
    root: Path,
    counts: Mapping[str, int] | None = None,
    *,
    labels: Sequence[int] = (0, 1, 2, 3, 4),
    image_size: tuple[int, int] = (32, 32),
    per_file: int = 16,
    image_format: str = "JPEG",
) -> Path:
    """Write ``root/TFrecords/{Train,Valid,Test}/<n>.tfrecord`` and return ``root``.

    Args:
        root: The folder to write into.
        counts: Records of each split folder; default 40, 10 and 10.
        labels: The labels that occur, in turn.
        image_size: (height, width) of the pictures.
        per_file: Records in a file; 1 is the archive's way.
        image_format: As Pillow names it.
    """
    counts = {"Train": 40, "Valid": 10, "Test": 10} if counts is None else counts
    for position, (split, count) in enumerate(counts.items()):
        examples = tiny_examples(count, labels, image_size, image_format, first_seed=10_000 * position)
        folder = root / "TFrecords" / split
        folder.mkdir(parents=True, exist_ok=True)
        for start in range(0, count, per_file):
            write_records(folder / f"{start // per_file}.tfrecord", examples[start : start + per_file])
    return root


def write_tiny_class_folders(
    root: Path,
    counts: Mapping[str, int] | None = None,
    *,
    labels: Sequence[int] = (0, 1, 2, 3, 4),
    image_size: tuple[int, int] = (32, 32),
) -> Path:
    """Write ``root/<split folder>/<Class>/<n>.jpg`` and return ``root``.

    Args:
        root: The folder to write into.
        counts: Pictures of each class in each split folder; default 8, 2 and 2.
        labels: The classes that occur.
        image_size: (height, width) of the pictures.
    """
    default = {"Training Data": 8, "Validation Data": 2, "Testing Data": 2}
    for position, (split, count) in enumerate((default if counts is None else counts).items()):
        for label in labels:
            folder = root / split / CLASS_NAMES[label]
            folder.mkdir(parents=True, exist_ok=True)
            for row in range(count):
                picture = tiny_landscape(label, 10_000 * position + row, image_size)
                (folder / f"{row}.jpg").write_bytes(encoded(picture))
    return root


def shared_data(name: str) -> Path:
    """Return a folder of real files, or skip the test where there is none.

    Real photos are not part of this repository; ``VEDUTE_SHARED_DATA`` says where they are.
    """
    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("VEDUTE_SHARED_DATA") or default) / name
    if not folder.is_dir():
        pytest.skip(f"real data '{name}' are not here (VEDUTE_SHARED_DATA)")
    return folder
