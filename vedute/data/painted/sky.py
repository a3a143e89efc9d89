"""Skies: gradient, sun or moon with its glow, stars, clouds, northern lights, birds."""

from __future__ import annotations

import numpy as np

from vedute.data.painted.canvas import Canvas, Colour, colour, mix
from vedute.data.painted.light import Light
from vedute.data.painted.noise import Field, Noise, smoothstep


def paint_sky(canvas: Canvas, light: Light, horizon: float, rng: np.random.Generator) -> None:
    """Fill the whole canvas with a sky over ``horizon`` (height of the horizon from the top, 0..1)."""
    stars, clouds, lights = rng.spawn(3)
    lift = np.clip(
        (horizon - canvas.y) / max(horizon, 0.25), 0.0, 1.0
    )  # (h, 1): 0 at the horizon, 1 at the top
    gradient = mix(light.horizon, light.middle, smoothstep(0.0, 0.45, lift))
    gradient = mix(gradient, light.zenith, smoothstep(0.25, 1.05, lift))
    canvas.pixels[:] = gradient
    if light.night > 0.3:
        _stars(canvas, light, stars)
    if light.night > 0.5 and lights.random() < 0.3:
        _northern_lights(canvas, horizon, lights)
    _sun(canvas, light, horizon)
    _clouds(canvas, light, horizon, clouds)


def _sun(canvas: Canvas, light: Light, horizon: float) -> None:
    """Paint the disc (sun by day, moon at night) and the glow around it."""
    x, y = light.sun_x * canvas.aspect, horizon - light.sun_lift
    distance = np.sqrt((canvas.x - x) ** 2 + (canvas.y - y) ** 2)  # (h, w)
    clear = 1.0 - 0.85 * light.overcast
    disc = (
        colour(246, 244, 226)
        if light.night > 0.5
        else mix(colour(255, 250, 226), light.horizon, 0.25 * light.dusk)
    )
    wide = np.exp(-distance / (0.16 + 0.14 * light.dusk)) * (0.35 + 0.3 * light.dusk) * clear
    canvas.blend(mix(light.horizon, disc, 0.35), wide * (1.0 - 0.75 * light.night))
    near = np.exp(-((distance / 0.09) ** 2)) * 0.5 * clear
    canvas.blend(disc, near * (1.0 - 0.5 * light.night))
    radius = 0.034 if light.night > 0.5 else 0.022 + 0.02 * light.dusk
    canvas.blend(disc, smoothstep(radius + 2 * canvas.pixel, radius, distance) * clear)


def _stars(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    count = 45
    column = rng.uniform(0, 1, count) * (canvas.width - 2)
    row = rng.uniform(0, 0.6, count) * (canvas.height - 2)
    strength = (rng.random(count) ** 3 * 0.8 + 0.1).astype(np.float32) * light.night * (1.0 - light.overcast)
    for down in range(2):  # a star is 2 x 2 painted pixels, one in the picture
        for right in range(2):
            canvas.pixels[:, row.astype(int) + down, column.astype(int) + right] += strength


def _northern_lights(canvas: Canvas, horizon: float, rng: np.random.Generator) -> None:
    """Green to violet curtains whose lower edge winds across the sky."""
    noise = Noise(rng)
    edge = horizon * (0.75 - 0.5 * noise.fractal(canvas.x * 1.7 + 3.0, 0.5, 2))
    above = edge - canvas.y  # (h, w)
    rays = 0.35 + 0.65 * noise.fractal(canvas.x * 14.0 + above * 2.0, 9.0, 2)
    curtain = np.where(above > 0, np.exp(-above / 0.13), np.exp(above / 0.02)) * rays * rng.uniform(0.5, 0.9)
    canvas.add(mix(colour(70, 235, 150), colour(150, 70, 200), np.clip(above * 4.0, 0, 1)), curtain)


def _clouds(canvas: Canvas, light: Light, horizon: float, rng: np.random.Generator) -> None:
    """Lay clouds on a plane overhead, so that they grow flatter and denser towards the horizon."""
    noise = Noise(rng)
    cover = float(np.clip(rng.uniform(-0.15, 0.75) * 0.8 + 0.5 * light.overcast, 0.0, 0.95))
    stretch, softness = float(rng.uniform(0.35, 1.0)), float(rng.uniform(0.10, 0.34))
    rows = canvas.rows(0.0, horizon)
    if cover < 0.08 or rows.stop < 2:
        return
    away = 1.0 / (horizon - canvas.y[rows] + 0.13)  # (r, 1)
    u = canvas.x * away * stretch * 1.5 + np.float32(rng.uniform(0, 40))
    v = away * 2.1 + np.float32(rng.uniform(0, 40))
    density = noise.fractal(u, np.broadcast_to(v, u.shape), 5)
    threshold = 0.68 - 0.42 * cover
    body = smoothstep(threshold, threshold + softness, density)
    depth = smoothstep(threshold, threshold + 1.6 * softness, density)  # thick parts are darker below
    towards = np.exp(-np.abs(canvas.x - light.sun_x * canvas.aspect) / 0.5)
    bright, dark = _cloud_colours(light)
    paint = mix(bright, dark, np.clip(depth * (0.85 - 0.35 * towards * light.dusk), 0, 1))
    fade = smoothstep(0.0, 0.22, horizon - canvas.y[rows]) * 0.92
    canvas.blend(paint, body * fade, rows)


def _cloud_colours(light: Light) -> tuple[Colour, Colour]:
    white = mix(colour(255, 255, 255), light.horizon, 0.25 + 0.5 * light.dusk)
    bright = mix(white, mix(light.middle, colour(190, 196, 206), 0.4), 0.55 * light.overcast)
    bright = mix(bright, light.middle * 1.3, light.night)
    dark = mix(light.middle, light.zenith, 0.45) * (0.92 - 0.1 * light.overcast)
    dark = mix(dark, light.middle.mean() * colour(235, 238, 250), 0.5)
    return bright, mix(dark, light.zenith * 0.9, light.night)


def paint_birds(canvas: Canvas, light: Light, horizon: float, rng: np.random.Generator) -> None:
    """Scatter a few gulls, two small arcs each."""
    ink = mix(light.zenith * 0.35, colour(250, 250, 250), 0.0 if light.elevation < 12 else 0.9)
    for _ in range(int(rng.integers(2, 6))):
        x, y = rng.uniform(-0.4, 0.4) * canvas.aspect, rng.uniform(0.15, 0.8) * horizon
        span = rng.uniform(0.025, 0.05)
        u = np.abs(canvas.x - x) / span  # (1, w): 0 at the body, 1 at the wing tips
        wing: Field = y - span * (1.5 * u - 1.2 * u * u)
        near = np.abs(canvas.y - wing) / (0.006 + canvas.pixel * 0.5)
        canvas.blend(ink, np.clip(1.2 - near, 0, 1) * (u < 1.0) * np.float32(0.9))
