"""Tiny pictures of many sizes and formats in nested folders, without labels."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from tests.data.landscapes import tiny_landscape

FORMATS = ("jpg", "png", "webp", "gif", "tif", "bmp")


def picture_file(number: int, suffix: str = "jpg", size: tuple[int, int] | None = None) -> bytes:
    """Return a picture as a file's bytes.

    Args:
        number: Decides what is painted, and the size where none is given.
        suffix: The file's name ends in it.
        size: Height and width, pixels; None: 20 to 60, another aspect ratio for each number.
    """
    if size is None:
        size = (20 + 7 * number % 41, 20 + 11 * number % 41)
    buffer = io.BytesIO()
    picture = Image.fromarray(tiny_landscape(number % 5, number, size))
    picture.save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()))
    return buffer.getvalue()


def write_tiny_pictures(root: Path, count: int = 30) -> Path:
    """Write ``count`` pictures and some other files to ``root`` and folders below; return ``root``."""
    folders = (root, root / "a", root / "b" / "c")
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        suffix = FORMATS[number % len(FORMATS)]
        name = f"{number}.{suffix.upper() if number % 7 == 0 else suffix}"
        (folders[number % 3] / name).write_bytes(picture_file(number, suffix))
    (root / "notes.txt").write_text("no picture")
    (root / "a" / "more.txt").write_text("no picture")
    (root / "b" / "README").write_text("no picture")
    (root / ".hidden.jpg").write_bytes(b"no picture")
    (root / ".git").mkdir()
    (root / ".git" / "0.jpg").write_bytes(picture_file(0))
    return root
