"""Ground seen in perspective: a height field, its light and cast shadows, and where each pixel looks.

The world is X to the right, Y up, Z away from the eye; one unit is about the eye's height.
The field is sampled on rays, one per pixel column, at depths that grow geometrically; a pixel
shows the first depth whose projection reaches it, interpolated between depths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vedute.data.painted.canvas import Canvas, Colour, mix
from vedute.data.painted.light import Light
from vedute.data.painted.noise import Field, smoothstep

HeightField = Callable[[Field, Field], Field]
"""Maps world X and Z, of one shape, to the height Y."""


@dataclass(frozen=True)
class Camera:
    """Where the painter stands.

    Attributes:
        eye: Height over Y = 0.
        horizon: Height of the horizon from the picture's top, in picture heights.
        focal: Focal length in picture heights; larger is narrower.
        near: First depth sampled.
        far: Last depth sampled.
    """

    eye: float
    horizon: float
    focal: float = 1.1
    near: float = 1.0
    far: float = 80.0


class Terrain:
    """A height field as one picture sees it.

    Attributes:
        rows: The canvas rows, r of them, from the highest ground (at least the horizon) to the bottom.
        x: World X of every pixel in these rows, (r, w); likewise ``y`` and ``z``.
        lit: Share of direct light at every pixel in [0, 1].
        steep: Slope at every pixel, rise over run.
        mask: 1.0 where a pixel shows ground, 0.0 where it shows sky.
    """

    def __init__(self, canvas: Canvas, camera: Camera, height: HeightField, light: Light) -> None:
        """Sample the field and find what every pixel shows.

        Args:
            canvas: The picture; gives columns and rows.
            camera: The point of view.
            height: The height field.
            light: Gives the side and elevation of the light.
        """
        self.camera = camera
        slices = int(np.clip(1.25 * canvas.height, 160, 400))
        depth = np.geomspace(camera.near, camera.far, slices, dtype=np.float32)[:, None]  # (n, 1)
        x = canvas.x / np.float32(camera.focal) * depth  # (n, w)
        y = height(x, np.broadcast_to(depth, x.shape)).astype(np.float32)
        y = np.minimum(y, 0.6 * camera.eye + 0.45 * (depth - camera.near))  # the painter stands in the open
        self._grid_y, self._depth = y, depth[:, 0]
        self._screen = np.float32(camera.horizon) - camera.focal * (y - np.float32(camera.eye)) / depth
        self._skyline = np.minimum.accumulate(self._screen, axis=0)
        self._find_pixels(canvas)
        lit, steep = _relief(x, y, depth, light)
        self.y, self.lit, self.steep = self.at_pixels(y), self.at_pixels(lit), self.at_pixels(steep)
        self.z = self.at_pixels(np.broadcast_to(depth, x.shape))
        self.x = canvas.x / np.float32(camera.focal) * self.z

    def _find_pixels(self, canvas: Canvas) -> None:
        """For every pixel find the first slice that covers it, and how far between two slices it lies."""
        slices, width = self._screen.shape
        top = min(float(self._skyline[-1].min()), self.camera.horizon)
        self.rows = canvas.rows(top - canvas.pixel, 1.0)
        first_row = np.clip(np.ceil(self._skyline * canvas.height - 0.5), 0, canvas.height).astype(np.intp)
        found = np.full((canvas.height + 1, width), slices, dtype=np.intp)
        place = (first_row * width + np.arange(width)).ravel()
        np.minimum.at(found.reshape(-1), place, np.repeat(np.arange(slices), width))
        found = np.minimum.accumulate(found, axis=0)[:-1][self.rows]
        self.mask: Field = (found < slices).astype(np.float32)
        behind = np.minimum(found, slices - 1)
        before = np.maximum(behind - 1, 0)
        self._behind, self._before = behind * width + np.arange(width), before * width + np.arange(width)
        low, high = self._screen.take(self._before), self._screen.take(self._behind)
        gap = np.where(np.abs(low - high) < 1e-6, np.float32(1.0), low - high)
        share = np.clip((low - canvas.y[self.rows]) / gap, 0.0, 1.0)
        hidden = low > self._skyline.take(self._before) + 1e-4  # the lee of a crest must not shine through
        self._share: Field = np.where(hidden, np.float32(1.0), share)

    def at_pixels(self, grid: Field) -> Field:
        """Carry values from the sampled field (n, w) to the pixels (r, w)."""
        grid = np.ascontiguousarray(grid, dtype=np.float32)
        low = grid.take(self._before)
        return np.asarray(low + self._share * (grid.take(self._behind) - low))

    def haze(self, light: Light, reach: float) -> Field:
        """Return the share of haze at every pixel, 63 % at the depth ``reach`` on a clear day."""
        return np.asarray(1.0 - np.exp(-self.z * np.float32(light.thickness / reach)), dtype=np.float32)

    def stand(self, canvas: Canvas, x: float, z: float) -> float | None:
        """Return the height on the canvas where a thing at world (x, z) stands, None if hidden or outside."""
        column = round((x * self.camera.focal / z + canvas.aspect / 2) * canvas.height)
        row = int(np.searchsorted(self._depth, z))
        if not 0 <= column < self._screen.shape[1] or row >= len(self._depth):
            return None
        base = float(self._screen[row, column])
        return base if base <= self._skyline[row, column] + 0.02 else None


def _relief(x: Field, y: Field, depth: Field, light: Light) -> tuple[Field, Field]:
    """Return direct light and slope of a field sampled at ``x``, ``y``, (n, w), and ``depth``, (n, 1)."""
    step = x[:, 1:2] - x[:, :1]  # (n, 1): columns are evenly spaced in every slice
    across = np.gradient(y, axis=1) / step
    along = np.gradient(y, axis=0) / np.gradient(depth, axis=0)
    along = along - across * x / depth  # rays spread: moving along a ray also moves sideways
    elevation = float(np.clip(light.elevation, 16.0, 48.0)) * np.pi / 180.0
    sideways, up, away = 0.92 * np.cos(elevation) * light.side, np.sin(elevation), -0.39 * np.cos(elevation)
    norm = np.sqrt(1.0 + across**2 + along**2)
    lit = (up - sideways * across - away * along) / norm
    tangent = np.float32(0.75 * np.tan(elevation))  # the ray of light, seen sideways, sinks by this per unit
    if light.side > 0:
        sunk = (y - tangent * x)[:, ::-1]
        shadow = np.maximum.accumulate(sunk, axis=1)[:, ::-1] + tangent * x
    else:
        shadow = np.maximum.accumulate(y + tangent * x, axis=1) - tangent * x
    blocked = smoothstep(0.0, 0.5, (shadow - y) / (0.02 * depth + 0.05))
    lit = np.clip(lit, 0.0, 1.0) * (1.0 - 0.85 * blocked)
    lit[:, 1:-1] = 0.5 * lit[:, 1:-1] + 0.25 * (
        lit[:, :-2] + lit[:, 2:]
    )  # no stairs where a crest crosses the rays
    return lit, np.sqrt(across**2 + along**2)


def paint_terrain(canvas: Canvas, terrain: Terrain, albedo: Colour, light: Light, reach: float) -> None:
    """Paint the ground's colour under the light and behind the haze."""
    surface = mix(light.shade(albedo, terrain.lit), light.haze, terrain.haze(light, reach))
    canvas.blend(surface, terrain.mask, terrain.rows)
