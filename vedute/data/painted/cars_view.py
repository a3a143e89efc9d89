"""From metres to pixels: the view of a painted car, coverage of outlines, and bodies extruded from outlines.

The view is parallel, from the side and slightly above; ``turn`` brings the front into sight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from vedute.data.painted.noise import Field

Points = npt.NDArray[np.floating]  # (..., 3): x along the car, y upwards, z away from the viewer, metres
Places = npt.NDArray[np.floating]  # (..., 2): column and row, pixels
Face = tuple[Points, Points]  # corners (4, 3) and normal (3,)

FINE = 4  # edges are drawn at this many times the picture's size and reduced
_ELEVATION = math.radians(6.0)
_ACROSS = 6.05  # metres that fit into the picture's width; the longest car turned fits
_UP = 3.1  # and into its height, for flat pictures


class View:
    """Where a point in space is in the picture, and the other way round for points of a plane."""

    def __init__(self, image_size: tuple[int, int], turn: float, zoom: float, width: float) -> None:
        """Set the view up.

        Args:
            image_size: Height and width in pixels.
            turn: Degrees that the front is turned towards the viewer.
            zoom: Relative size, about 1.
            width: Of the car in metres; its middle is in the picture's middle.
        """
        self.height, self.width = image_size
        self.scale = min(self.width / _ACROSS, self.height / _UP) * zoom
        self._cos, self._sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        self._up, self._back = math.cos(_ELEVATION), math.sin(_ELEVATION)
        self._middle = self.width / 2
        near = width / 2 * self._cos * self._back * self.scale  # the near wheels stand lower than the middle
        self.ground = 0.5 * self.height + 0.75 * self.scale - near
        """Row of the ground under the car's middle."""
        self.row: Field = (np.arange(self.height, dtype=np.float32) + 0.5)[:, None]
        self.column: Field = (np.arange(self.width, dtype=np.float32) + 0.5)[None]

    def project(self, points: Points) -> Places:
        """Return where points are."""
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        across = x * self._cos + z * self._sin
        away = z * self._cos - x * self._sin
        up = y * self._up + away * self._back
        return np.stack([self._middle + self.scale * across, self.ground - self.scale * up], axis=-1)

    def faces_us(self, normals: Points) -> npt.NDArray[np.bool_]:
        """Return which surfaces with these normals are seen from their front."""
        away = normals[..., 2] * self._cos - normals[..., 0] * self._sin
        return np.asarray(away * self._up - normals[..., 1] * self._back < 0)

    def away(self, points: Points) -> npt.NDArray[np.floating]:
        """Return how far away points are, metres from the car's middle."""
        return np.asarray(points[..., 2] * self._cos - points[..., 0] * self._sin)

    def upright(self, z: float, row: Field | None = None, column: Field | None = None) -> tuple[Field, Field]:
        """Return x and y of the pixels' points in the upright plane at ``z`` along the car, (h, w) each."""
        row, column = self.row if row is None else row, self.column if column is None else column
        across, up = (column - self._middle) / self.scale, (self.ground - row) / self.scale
        x = (across - z * self._sin) / self._cos
        y = (up - (z * self._cos - x * self._sin) * self._back) / self._up
        return np.broadcast_to(x, y.shape), y

    def cover(self, outlines: Sequence[Places]) -> Field:
        """Return the share of each pixel that lies within any of the outlines, (h, w) in [0, 1]."""
        image = Image.new("L", (self.width * FINE, self.height * FINE))
        draw = ImageDraw.Draw(image)
        for outline in outlines:
            draw.polygon((outline * FINE).ravel().tolist(), fill=255)
        return np.asarray(image.reduce(FINE), dtype=np.float32) / np.float32(255.0)


def flat(outline: npt.NDArray[np.floating], z: float | npt.NDArray[np.floating]) -> Points:
    """Return an outline (n, 2) as points in space at ``z``."""
    return np.column_stack([outline, np.broadcast_to(z, len(outline))])


def extruded(sections: Sequence[Points], closed: bool) -> tuple[Points, Points]:
    """Return the faces between neighbouring cross-sections.

    Args:
        sections: From near to far, (n, 3) each, the same outline in the order rear, top, front.
        closed: Whether the last point is joined with the first.

    Returns:
        Corners (faces, 4, 3) and outward normals (faces, 3) of length 1.
    """
    stack = np.stack(sections)  # (sections, n, 3)
    following = np.roll(stack, -1, axis=1) if closed else stack[:, 1:]
    stack = stack if closed else stack[:, :-1]
    corners = np.stack([stack[:-1], following[:-1], following[1:], stack[1:]], axis=2).reshape(-1, 4, 3)
    normals = np.cross(corners[:, 2] - corners[:, 0], corners[:, 1] - corners[:, 3])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return corners, normals / np.maximum(lengths, 1e-9)


def inside(x: Field, low: float, high: float, soft: float) -> Field:
    """Return 1 between two places and 0 outside, with edges ``soft`` wide."""
    return np.asarray(
        np.clip((x - low) / soft + 0.5, 0, 1) * np.clip((high - x) / soft + 0.5, 0, 1), dtype=np.float32
    )
