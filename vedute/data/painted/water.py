"""Water: mirrors what is already on the canvas above it, mixed with its own colour and ripples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vedute.data.painted.canvas import Canvas, Colour, mix
from vedute.data.painted.light import Light
from vedute.data.painted.noise import Field, Noise
from vedute.data.painted.terrain import Camera


def water_plane(canvas: Canvas, camera: Camera, rows: slice) -> tuple[Field, Field, Field]:
    """Return X and Z, (r, w), and the mask, (r, 1), of the plane Y = 0 in some rows of the canvas."""
    below = canvas.y[rows] - np.float32(camera.horizon)
    depth = np.float32(camera.focal * camera.eye) / np.maximum(below, np.float32(1e-3))
    covers = np.clip(below / canvas.pixel + 0.5, 0.0, 1.0).astype(np.float32)
    return (
        canvas.x / np.float32(camera.focal) * depth,
        np.broadcast_to(depth, (len(below), canvas.width)),
        covers,
    )


def mirror(canvas: Canvas, horizon: float, sway: Field, rows: slice) -> Colour:
    """Return the canvas turned over at ``horizon``, (3, r, w), pixels moved by ``sway`` (picture heights)."""
    row = (2.0 * horizon - canvas.y[rows] - np.abs(sway)) * canvas.height
    row = np.clip(row, 0, max(0, int(horizon * canvas.height) - 1)).astype(np.intp)
    flat = row * canvas.width + np.arange(canvas.width)
    return canvas.pixels.reshape(3, -1)[:, flat]


@dataclass(frozen=True, eq=False)
class Water:
    """What water looks like.

    Attributes:
        body: Colour of the water itself, seen steeply.
        roughness: 0 is a mirror, 1 is a fresh breeze.
        noise: For ripples.
        reach: Depth of 63 % haze on a clear day.
    """

    body: Colour
    roughness: float
    noise: Noise
    reach: float = 110.0


def paint_water(canvas: Canvas, camera: Camera, water: Water, light: Light, mask: Field, rows: slice) -> None:
    """Paint still to choppy water where ``mask`` (r, w) is 1, in some rows of the canvas.

    The canvas already holds the sky and whatever stands behind the water.
    """
    x, z, _ = water_plane(canvas, camera, rows)
    rough = water.roughness
    steepness = np.clip((canvas.y[rows] - camera.horizon) / max(0.05, 1.0 - camera.horizon), 0.0, 1.0)
    ripple = water.noise.fractal(x * 2.2, z * 1.5 + 7.0, 3) - 0.5
    ripple *= np.clip(12.0 / z, 0.15, 1.0)
    image = mirror(canvas, camera.horizon, ripple * (0.05 + 0.35 * rough), rows)
    own = light.shade(water.body, 0.6) * (1.0 + ripple * (0.5 + rough))
    paint = mix(image * 0.94, own, np.clip(0.25 + 0.25 * rough + 0.55 * steepness + ripple, 0.08, 0.92))
    paint = mix(paint, light.haze, 0.5 - 0.5 * np.exp(-z * np.float32(light.thickness / water.reach)))
    column = np.exp(
        -np.abs(canvas.x - light.sun_x * canvas.aspect) / (0.03 + 0.16 * steepness + 0.05 * rough)
    )
    glitter = (
        np.clip(column * (ripple * 3.0 + 0.35), 0.0, 1.0)
        * (1.0 - light.overcast)
        * (0.35 + 0.65 * light.dusk)
    )
    canvas.blend(mix(paint, mix(light.horizon, light.tone, 0.5) * 1.1, 0.75 * glitter), mask, rows)
