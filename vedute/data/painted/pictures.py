"""Painted landscape pictures as people collect them: any size, shape and format, nested folders, no labels.

Most are JPG; of every forty, one each is PNG, grey, turned by its EXIF, GIF (with a palette) and CMYK.
Scenes are the painted landscapes, seen in other frames and light. Needs numpy and Pillow only.

A scene is painted a little larger than ``image_size`` and enlarged to its picture, as painting 800 pixels
would take a second each; what is left after preparing is as sharp as the other painted sets.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vedute.data.painted.painting import LANDSCAPE_TYPES, check_image_size, paint_landscape
from vedute.data.painted.workshop import in_processes, painted_folder
from vedute.errors import ConfigurationError

COUNT = 600
"""Pictures in the sample."""

_VERSION = 1  # raised when the pictures change, so that older ones in a cache are left alone
_PIECE = 20  # pictures in one piece of work
_SPARE = 1.2  # painted pixels a side for each one that is wanted

# Width to height, and how often: cameras, screens, portraits, squares, panoramas.
_SHAPES = (
    (3 / 2, 30),
    (4 / 3, 25),
    (16 / 9, 15),
    (2 / 3, 8),
    (3 / 4, 6),
    (1.0, 6),
    (2.2, 5),
    (3.0, 2),
    (0.0, 3),
)
_LONG_SIDES = (240, 320, 400, 480, 640, 800)  # what sharing sites make; others are drawn freely
_SMALLEST, _LARGEST = 100, 800  # pixels, at an image_size of 64 or more

_TURNS = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""EXIF orientations, and how a picture is stored so that they set it upright."""

_ORIENTATION = 0x0112
_ALBUMS = (
    "",
    "coast walk",
    "high route",
    "winter",
    "2019/north",
    "2019/south",
    "2021/by train",
    "scans/box 1",
)
_ABOUT = "Painted pictures, made by a program. Nothing here is a photo.\n"


@dataclass(frozen=True)
class _Task:
    numbers: range
    image_size: tuple[int, int]
    seed: int


def painted_pictures(image_size: tuple[int, int] = (64, 64), count: int = COUNT, seed: int = 0) -> Path:
    """Return the folder of painted pictures in the cache, painting them on first use.

    Args:
        image_size: Height and width that they will be prepared to, pixels; below 64 the pictures are smaller
            in proportion.
        count: How many.
        seed: Another seed gives other pictures.

    Raises:
        ConfigurationError: A size, count or seed that makes no pictures.
        VeduteError: The cache cannot be written.
    """
    check_image_size(image_size)
    if count < 1 or seed < 0:
        raise ConfigurationError(
            f"Painted pictures need a count of at least 1 and a seed of at least 0, got {count} and {seed}."
        )
    tasks = [
        _Task(range(first, min(first + _PIECE, count)), image_size, seed) for first in range(0, count, _PIECE)
    ]

    def write(folder: Path) -> None:
        (folder / "about.txt").write_text(_ABOUT, encoding="utf-8")
        for pictures in in_processes(_paint, tasks, "Painting pictures"):
            for name, data in pictures:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)

    height, width = image_size
    return painted_folder(f"pictures-{height}x{width}-{count}-{seed}-v{_VERSION}", write)


def _paint(task: _Task) -> list[tuple[str, bytes]]:
    """Return file names below the sample's folder, and what is in the files."""
    return [_picture(number, task) for number in task.numbers]


def _picture(number: int, task: _Task) -> tuple[str, bytes]:
    rng = np.random.default_rng([task.seed, number])
    height, width = _size(rng, max(task.image_size))
    short = min(height, width, round(_SPARE * max(task.image_size)))
    scale = max(short / min(height, width), 8 / min(height, width))
    kind = int(rng.integers(len(LANDSCAPE_TYPES)))
    scene = paint_landscape(
        kind, int(rng.integers(2**31)), (max(8, round(height * scale)), max(8, round(width * scale)))
    )
    image = Image.fromarray(_light(_frame(scene, rng), rng))
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    album = _ALBUMS[int(rng.integers(len(_ALBUMS)))]
    suffix, data = _encode(image, number, rng)
    return str(Path(album, f"IMG_{number:04d}{suffix}")), data


def _size(rng: np.random.Generator, wanted: int) -> tuple[int, int]:
    """Draw a picture's height and width."""
    weights = np.array([weight for _, weight in _SHAPES], dtype=float)
    aspect = _SHAPES[int(rng.choice(len(_SHAPES), p=weights / weights.sum()))][0] or rng.uniform(0.6, 2.4)
    if rng.random() < 0.5:
        long = float(rng.choice(_LONG_SIDES))
    else:
        long = float(np.exp(rng.uniform(np.log(1.5 * _SMALLEST), np.log(_LARGEST))))
    scale = min(1.0, wanted / 64)
    short = max(long / max(aspect, 1 / aspect), _SMALLEST) * scale
    long = min(max(long * scale, short), _LARGEST)
    sides = (max(8, round(short)), max(8, round(long)))
    return sides if aspect >= 1 else (sides[1], sides[0])


def _frame(scene: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Mirror half of the scenes, and cut off up to a tenth of each side."""
    if rng.random() < 0.5:
        scene = scene[:, ::-1]
    height, width = scene.shape[:2]
    cuts = rng.uniform(0, 0.1, size=4) * rng.random()
    top, bottom = int(cuts[0] * height), height - int(cuts[1] * height)
    left, right = int(cuts[2] * width), width - int(cuts[3] * width)
    return scene[top:bottom, left:right]


def _light(scene: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change exposure, contrast, saturation and white balance as cameras do."""
    levels = np.arange(256) / 255
    curve = levels ** np.exp(rng.normal(0, 0.15))
    curve = 0.5 + (curve - 0.5) * np.exp(rng.normal(0, 0.1))
    balance = np.exp(rng.normal(0, 0.03) * np.array([1.0, 0.0, -1.0]))
    tables = (curve[:, None] * balance).astype(np.float32)  # (256, 3)
    lit = np.stack([tables[scene[:, :, channel], channel] for channel in range(3)], axis=2)
    grey = lit.mean(axis=2, keepdims=True)
    lit = grey + (lit - grey) * np.float32(np.exp(rng.normal(-0.05, 0.15)))
    result: NDArray[np.uint8] = (np.clip(lit, 0, 1) * 255 + 0.5).astype(np.uint8)
    return result


def _encode(image: Image.Image, number: int, rng: np.random.Generator) -> tuple[str, bytes]:
    """Return a file's suffix and content: one of the rare formats by number, else JPG."""
    buffer = io.BytesIO()
    quality = int(rng.integers(80, 96))
    rare = number % 40
    if rare == 5:
        image.save(buffer, "PNG")
        return ".png", buffer.getvalue()
    if rare == 13:
        image.quantize(128, Image.Quantize.FASTOCTREE).save(buffer, "GIF")
        return ".gif", buffer.getvalue()
    if rare == 21:
        image = image.convert("L")
    elif rare == 29:
        orientation = int(rng.choice(list(_TURNS)))
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        image.transpose(_TURNS[orientation]).save(buffer, "JPEG", quality=quality, exif=exif)
        return ".jpg", buffer.getvalue()
    elif rare == 37:
        image = image.convert("CMYK")
    image.save(buffer, "JPEG", quality=quality)
    return (".JPG" if rng.random() < 0.1 else ".jpg"), buffer.getvalue()
