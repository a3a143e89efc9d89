"""One landscape from a type and a seed, as an array or as JPEG bytes. Needs numpy and Pillow only.

Worker processes import this module, so it stays free of everything that is slow to import.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from vedute.data.painted.canvas import Canvas
from vedute.data.painted.coast import paint_coast
from vedute.data.painted.desert import paint_desert
from vedute.data.painted.forest import paint_forest
from vedute.data.painted.glacier import paint_glacier
from vedute.data.painted.mountain import paint_mountain
from vedute.errors import ConfigurationError

_PAINTERS: dict[str, Callable[[Canvas, np.random.Generator], None]] = {
    "coast": paint_coast,
    "desert": paint_desert,
    "forest": paint_forest,
    "glacier": paint_glacier,
    "mountain": paint_mountain,
}
LANDSCAPE_TYPES = tuple(_PAINTERS)
"""The five types; a type's label is its position."""

_SMALLEST = 8  # pixels a side
_JPEG_QUALITY = 95


def paint_landscape(
    kind: str | int, seed: int, image_size: tuple[int, int] = (64, 64)
) -> npt.NDArray[np.uint8]:
    """Paint one landscape; the same seed shows the same scene at every size.

    Args:
        kind: A name of ``LANDSCAPE_TYPES``, or its label.
        seed: Any non-negative integer.
        image_size: Height and width in pixels, each at least 8.

    Returns:
        (H, W, 3), red, green and blue in 0..255.

    Raises:
        ConfigurationError: An unknown type, a negative seed, or a size that is too small.
    """
    label = _label(kind)
    if seed < 0:
        raise ConfigurationError(f"The seed of a painted landscape is {seed}; give 0 or a positive integer.")
    check_image_size(image_size)
    canvas = Canvas(image_size)
    _PAINTERS[LANDSCAPE_TYPES[label]](canvas, np.random.default_rng([label, seed]))
    return canvas.finish()


def paint_encoded(labels: Sequence[int], seeds: Sequence[int], image_size: tuple[int, int]) -> list[bytes]:
    """Paint several landscapes and return each as JPEG bytes (quality 95, full colour resolution)."""
    encoded = []
    for label, seed in zip(labels, seeds, strict=True):
        buffer = io.BytesIO()
        picture = Image.fromarray(paint_landscape(label, seed, image_size))
        picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        encoded.append(buffer.getvalue())
    return encoded


def check_image_size(image_size: tuple[int, int]) -> None:
    """Refuse sizes on which nothing can be painted.

    Raises:
        ConfigurationError: A side is below 8 pixels.
    """
    if min(image_size) < _SMALLEST:
        height, width = image_size
        raise ConfigurationError(
            f"Landscapes cannot be painted at {height}x{width} pixels; give at least {_SMALLEST} a side."
        )


def _label(kind: str | int) -> int:
    if isinstance(kind, str):
        if kind in LANDSCAPE_TYPES:
            return LANDSCAPE_TYPES.index(kind)
    elif 0 <= kind < len(LANDSCAPE_TYPES):
        return kind
    raise ConfigurationError(
        f"There is no painted landscape {kind!r}; choose {', '.join(LANDSCAPE_TYPES)}, or a label 0 to 4."
    )
