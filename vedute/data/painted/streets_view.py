"""A painted street's point of view: where things of the world appear, and in which colour.

The world is in metres: X to the right of the camera, Y up from the ground, Z along the road. Pictures are
drawn at twice their size and reduced. Nothing here knows countries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from vedute.data.painted.canvas import Canvas
from vedute.data.painted.light import Light
from vedute.data.painted.noise import Field
from vedute.data.painted.sky import paint_sky

Rgb = tuple[float, float, float]
"""Red, green and blue of a surface in [0, 255]."""

Point = tuple[float, float, float]

SCALE = 2
"""Drawn pixels a picture pixel and side."""

NEAR = 2.2
"""Metres: nothing nearer is drawn."""

_SHOULDER = 0.74
_TILE = 256


class View:
    """One street scene while it is drawn.

    Attributes:
        height: Drawn pixels; likewise ``width``.
        light: Time of day and weather.
        centre: X of the middle of the road, metres.
        image: The picture so far.
        draw: Draws on it.
        shadows: Share of direct light that is blocked at each pixel of the ground, 0 to 255.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        light: Light,
        *,
        horizon: float,
        focal: float,
        eye: float,
        centre: float,
        curve: float,
        reach: float,
    ) -> None:
        """Paint the sky.

        Args:
            image_size: (H, W) of the finished picture, pixels.
            light: Time of day and weather.
            horizon: Its height from the top, in picture heights.
            focal: Focal length, in picture heights.
            eye: Height of the camera, metres.
            centre: X of the middle of the road where the camera stands, metres.
            curve: How the road bends, 1/metres; positive to the right.
            reach: Depth at which 63 % is haze on a clear day, metres.
        """
        self.height, self.width = (SCALE * side for side in image_size)
        self.light, self.eye, self.centre, self.curve = light, eye, centre, curve
        self.horizon, self.focal = horizon * self.height, focal * self.height
        self.reach = reach / light.thickness
        self._light = [
            [float(value) for value in part[:, 0, 0]] for part in (light.ambient, light.direct, light.haze)
        ]
        self._middle, self._bend = self.width / 2, 0.5 * curve
        self._steps = 24 / self.reach
        self._colours: dict[tuple[Rgb, int, int], tuple[int, int, int]] = {}
        # Half the resolution is enough for clouds.
        sky = Canvas((max(image_size[0] // 2, 4), max(image_size[1] // 2, 4)))
        paint_sky(sky, light, horizon, np.random.default_rng(int(light.sun_x * 1e9) & 0xFFFFFFFF))
        small = (shoulder(sky.pixels).transpose(1, 2, 0) * 255).astype(np.uint8)
        self.image = Image.fromarray(small).resize((self.width, self.height), Image.Resampling.BILINEAR)
        self.draw = ImageDraw.Draw(self.image)
        self.shadows = Image.new("L", (self.width, self.height), 0)
        self._shade = ImageDraw.Draw(self.shadows)

    def pixels_per_metre(self, z: float) -> float:
        """Return the scale at depth ``z``."""
        return self.focal / z

    def at(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Return where a point appears; ``x`` is counted from the bent line ahead of the camera."""
        if z < NEAR:
            z = NEAR
        scale = self.focal / z
        return self._middle + scale * (x + self._bend * z * z), self.horizon + scale * (self.eye - y)

    def colour(self, surface: Rgb, lit: float, z: float) -> tuple[int, int, int]:
        """Return a surface's colour under the light and behind the haze; ``lit`` in [0, 1]."""
        key = surface, int(lit * 16), int(z * self._steps)  # steps that no eye sees
        known = self._colours.get(key)
        if known is None:
            clear = math.exp(-z / self.reach)
            ambient, direct, haze = self._light
            red, green, blue = (
                int(
                    255
                    * _shoulder(
                        surface[i] / 255 * (ambient[i] + lit * direct[i]) * clear + haze[i] * (1 - clear)
                    )
                )
                for i in range(3)
            )
            known = self._colours[key] = red, green, blue
        return known

    def polygon(self, points: Iterable[Point], surface: Rgb, lit: float) -> None:
        """Fill a plane of the world; the first point's depth makes the haze."""
        points = list(points)
        self.draw.polygon([self.at(*point) for point in points], fill=self.colour(surface, lit, points[0][2]))

    def line(self, points: Sequence[Point], width: float, surface: Rgb, lit: float) -> None:
        """Draw a line of ``width`` metres, at least one drawn pixel."""
        z = points[0][2]
        pixels = max(1, round(width * self.focal / max(z, NEAR)))
        self.draw.line([self.at(*point) for point in points], self.colour(surface, lit, z), pixels)

    def ellipse(self, centre: Point, half_width: float, half_height: float, surface: Rgb, lit: float) -> None:
        """Fill an ellipse that faces the camera; half sides in metres."""
        x, y = self.at(*centre)
        scale = self.focal / max(centre[2], NEAR)
        across, up = half_width * scale, half_height * scale
        self.draw.ellipse((x - across, y - up, x + across, y + up), self.colour(surface, lit, centre[2]))

    def shadow(self, x: float, z: float, half_width: float, length: float, tall: float) -> None:
        """Remember the shadow of a thing that stands on the ground; all lengths in metres."""
        reach = min(tall * 0.9, 14.0) * -self.light.side
        near, far = z - length / 2, z + length / 2 + 0.25 * tall
        corners = [(x - half_width, near), (x + half_width, near), (x + half_width + reach, far)]
        corners.append((x - half_width + reach, far))
        self._shade.polygon([self.at(cx, 0.0, cz) for cx, cz in corners], fill=255)

    def finish(self, grain: float, seed: int) -> npt.NDArray[np.uint8]:
        """Return the picture (H, W, 3): reduced, with a little grain and contrast."""
        small = np.asarray(self.image.reduce(SCALE), dtype=np.float32)
        height, width = small.shape[:2]
        random = np.random.default_rng(seed)
        down, right = random.integers(0, _TILE, 2)
        rows, columns = (np.arange(height) * 3 + down) % _TILE, (np.arange(width) * 3 + right) % _TILE
        change = 1.0 + grain * (tile()[rows[:, None], columns] - 0.5)
        change += random.standard_normal((height, width), dtype=np.float32) * np.float32(0.012)
        small = np.minimum(small * change[..., None] + 0.5, 255.0)
        pixels: npt.NDArray[np.uint8] = _contrast()[small.astype(np.uint8)]
        return pixels


def shoulder(light: Field) -> Field:
    """Compress what is nearly white, so that it keeps its shapes; the result is in [0, 1]."""
    bright = np.maximum(light - _SHOULDER, 0.0)
    compressed = light + (1.0 - _SHOULDER) * np.tanh(bright / (1.0 - _SHOULDER)) - bright
    return np.asarray(np.clip(compressed, 0.0, 1.0), dtype=np.float32)


@cache
def tile() -> Field:
    """Return a smooth random field (256, 256) in [0, 1] that repeats without a seam; always the same."""
    frequency = np.fft.fftfreq(_TILE)[:, None] ** 2 + np.fft.fftfreq(_TILE)[None] ** 2
    frequency[0, 0] = np.inf
    waves = np.fft.fft2(np.random.default_rng(7).normal(size=(_TILE, _TILE))) / frequency**0.55
    field = np.fft.ifft2(waves).real
    return np.asarray(np.clip(0.5 + 0.22 * field / field.std(), 0.0, 1.0), dtype=np.float32)


@cache
def _contrast() -> npt.NDArray[np.uint8]:
    """Return a slight curve, (256,)."""
    share = np.arange(256) / 255.0
    share += 0.35 * share * (1.0 - share) * (2.0 * share - 1.0)
    return (share * 255.0 + 0.5).astype(np.uint8)


def _shoulder(light: float) -> float:
    if light <= _SHOULDER:
        return max(light, 0.0)
    return _SHOULDER + (1.0 - _SHOULDER) * math.tanh((light - _SHOULDER) / (1.0 - _SHOULDER))
