"""Data sets with known faults, for the tests of ``inspect`` and ``prepare``."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vedute.cli import main

CONFIG = """
class_path: datamodules.landscapes.LandscapesDataModule
init_args: {{root: {root}, image_size: 32, batch_size: 4}}
"""


def busy_picture(seed: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) of large soft blots that differs much from those of other seeds."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def save(picture: NDArray[np.uint8], path: Path, **options: int) -> Path:
    """Write a picture; the ending decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)  # type: ignore[arg-type]  # options of the format
    return path


def smaller_copy(picture: NDArray[np.uint8], quality: int = 60) -> bytes:
    """Return a picture as another person might have saved it: three quarters as large, strongly packed."""
    image = Image.fromarray(picture)
    buffer = io.BytesIO()
    image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def write_faulty_set(root: Path) -> Path:
    """Write class folders with one equal and one nearly equal leak, a double, and two broken files.

    Training has 6 coasts (one twice) and 4 forests and two broken files, validation and test 2 of each
    class; one test forest equals a training forest, one validation coast nearly equals a training coast.
    """
    seed = 0
    counts = {"Training Data": (5, 4), "Validation Data": (2, 2), "Testing Data": (2, 2)}
    for part, numbers in counts.items():
        for name, count in zip(("Coast", "Forest"), numbers, strict=True):
            for number in range(count):
                save(busy_picture(seed, 64 + 8 * number), root / part / name / f"{number}.jpg", quality=95)
                seed += 1
    train = root / "Training Data"
    (root / "Testing Data" / "Forest" / "1.jpg").write_bytes((train / "Forest" / "0.jpg").read_bytes())
    (root / "Validation Data" / "Coast" / "0.jpg").write_bytes(smaller_copy(busy_picture(1, 72)))
    (train / "Coast" / "double.jpg").write_bytes((train / "Coast" / "2.jpg").read_bytes())
    (train / "Forest" / "cut.jpg").write_bytes((train / "Forest" / "1.jpg").read_bytes()[:600])
    (train / "Forest" / "text.png").write_text("no picture")
    return root


def write_table_set(root: Path, cells: Mapping[int, str] = MappingProxyType({}), count: int = 20) -> Path:
    """Write pictures with a table of classes, half coasts and half forests.

    Args:
        root: The folder to write into: ``labels.csv`` and ``images/<row>.png``.
        cells: Other classes than these, by row; "" where the class is missing.
        count: Number of pictures.
    """
    lines = ["file,kind"]
    for row in range(count):
        save(busy_picture(row), root / "images" / f"{row}.png")
        lines.append(f"{row}.png,{cells.get(row, ('coast', 'forest')[row % 2])}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def data_file(folder: Path, root: Path) -> Path:
    """Write a data configuration for :func:`write_faulty_set`."""
    path = folder / "data.yaml"
    path.write_text(CONFIG.format(root=root), encoding="utf-8")
    return path


def inspected(folder: Path, *args: str | Path) -> dict[str, Any]:
    """Run the verb and return the JSON."""
    assert main(["inspect", *map(str, args), "--output", str(folder)]) == 0

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    numbers: dict[str, Any] = json.loads(
        (folder / "inspection.json").read_text(encoding="utf-8"), parse_constant=refuse
    )
    return numbers
