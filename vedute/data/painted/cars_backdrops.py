"""What a painted car stands in front of: a country road, a street, a beach, a studio.

Places are in metres around the point of the ground under the car: u to the right, v upwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from vedute.data.painted.canvas import choose, colour, mix
from vedute.data.painted.cars_view import View
from vedute.data.painted.noise import Field, Noise, smoothstep

_HORIZON = 1.15  # metres over the ground under the car


@dataclass(frozen=True)
class Scene:
    """A backdrop and how it lights the car.

    Attributes:
        pixels: (3, H, W), about [0, 1].
        sky: (3, 1, 1): what shiny surfaces show that look upwards.
        floor: (3, 1, 1): what they show that look downwards.
        mirror: Share of the car's reflection in the floor.
    """

    pixels: Field
    sky: Field
    floor: Field
    mirror: float = 0.0


def paint_backdrop(kind: str, view: View, warmth: float, seed: int) -> Scene:
    """Paint what is behind and under the car.

    Args:
        kind: A name of ``cars_traits.BACKDROPS``.
        view: Where things are.
        warmth: 0 cold daylight, 1 evening sun.
        seed: Of the details.
    """
    return _PAINTERS[kind](view, warmth, np.random.default_rng(seed))


def _places(view: View) -> tuple[Field, Field]:
    """Return u (1, W) and v (H, 1)."""
    return (view.column - view.width / 2) / view.scale, (view.ground - view.row) / view.scale


def _sky(view: View, warmth: float, noise: Noise) -> Field:
    u, v = _places(view)
    lift = np.clip((v - _HORIZON) / 2.6, 0.0, 1.0)  # (H, 1)
    low = mix(colour(226, 236, 242), colour(255, 196, 138), warmth**1.5)
    high = mix(colour(84, 146, 214), colour(104, 116, 176), warmth**1.5)
    sky = mix(low, high, smoothstep(0.0, 1.0, lift) * np.ones_like(u))
    clouds = smoothstep(0.5, 0.8, noise.fractal(u * 0.55 + 7.0, v * 1.5, 3))
    return mix(sky, mix(colour(255, 255, 255), colour(255, 214, 190), warmth), 0.7 * clouds * (lift > 0))


def _grain(view: View, noise: Noise, wide: float, fine: float) -> Field:
    """Return the ground's texture, about -0.5 to 0.5: longer than high, as ground is seen."""
    u, v = _places(view)
    return noise.value(u * wide, v * wide * 4.0) * 0.5 + noise.value(u * fine, v * fine * 2.0) * 0.5 - 0.5


def _paint_road(view: View, warmth: float, rng: np.random.Generator) -> Scene:
    noise = Noise(rng)
    u, v = _places(view)
    pixels = _sky(view, warmth, noise)
    far = mix(colour(122, 150, 168), colour(168, 132, 132), warmth)
    green = choose(
        rng, [colour(92, 132, 62), colour(126, 138, 66), colour(70, 112, 66), colour(160, 146, 84)]
    )
    edge = 1.0 / view.scale
    phase = float(rng.uniform(0, 40))
    ridges = ((far, 1.2, 0.25, 0.6), (mix(far, green, 0.55), 0.75, 0.6, 0.35), (green * 0.72, 0.35, 1.6, 0.2))
    for tone, lift, rate, base in ridges:
        crest = _HORIZON + base * lift + lift * 1.1 * (noise.fractal(u * rate + phase, lift * 9.0, 2) - 0.4)
        pixels = mix(pixels, tone, smoothstep(-edge, edge, crest - v))
    grass = mix(green, green * 1.25, np.clip(noise.value(u * 1.5, v * 14.0), 0, 1))
    pixels = mix(pixels, grass * (0.95 + 0.25 * warmth), smoothstep(-edge, edge, _HORIZON - 0.15 - v))
    asphalt = choose(rng, [colour(112, 112, 116), colour(92, 94, 100), colour(134, 130, 124)])
    asphalt = asphalt * (1.0 + 0.18 * _grain(view, noise, 1.2, 9.0))
    pixels = mix(pixels, asphalt, smoothstep(-edge, edge, 0.62 - v))
    white = colour(232, 230, 222)
    pixels = mix(pixels, white, 0.8 * smoothstep(0.06, 0.02, np.abs(v - 0.52)) * np.ones_like(u))
    dash = smoothstep(0.0, 0.08, np.abs(((u + rng.uniform(0, 4)) % 4.0) - 2.0) - 0.9)
    pixels = mix(pixels, white, 0.8 * smoothstep(0.10, 0.05, np.abs(v + 0.95)) * dash)
    return Scene(pixels, mix(colour(236, 242, 250), colour(255, 214, 170), warmth), colour(70, 68, 64))


def _paint_city(view: View, warmth: float, rng: np.random.Generator) -> Scene:
    noise = Noise(rng)
    u, v = _places(view)
    pixels = mix(_sky(view, warmth, noise), colour(222, 226, 230), 0.35)
    houses = _houses(view, rng)
    walls, alpha = houses[:3] * mix(colour(250, 252, 255), colour(255, 226, 190), warmth), houses[3]
    pixels = mix(pixels, walls, alpha)
    edge = 1.0 / view.scale
    pavement = choose(rng, [colour(176, 172, 164), colour(158, 158, 160), colour(190, 178, 162)])
    slabs = 1.0 - 0.12 * smoothstep(0.05, 0.0, np.abs((u + v * 0.5) % 0.9 - 0.05))
    pixels = mix(pixels, pavement * slabs, smoothstep(-edge, edge, _HORIZON - 0.1 - v))
    pixels = mix(pixels, colour(120, 118, 114), smoothstep(-edge, edge, 0.55 - v) * np.ones_like(u))
    asphalt = choose(rng, [colour(98, 98, 102), colour(80, 82, 88), colour(118, 114, 110)])
    pixels = mix(
        pixels, asphalt * (1.0 + 0.16 * _grain(view, noise, 1.0, 8.0)), smoothstep(-edge, edge, 0.43 - v)
    )
    return Scene(pixels, mix(colour(226, 230, 238), colour(255, 214, 176), warmth), colour(66, 64, 62), 0.06)


def _houses(view: View, rng: np.random.Generator) -> Field:
    """Return a row of house fronts out of focus, (4, H, W): colours and coverage."""
    size = (view.width, view.height)
    image = Image.new("RGBA", size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    scale, foot = view.scale, view.ground - (_HORIZON - 0.2) * view.scale
    palette = [
        (186, 108, 84),
        (222, 200, 164),
        (150, 156, 164),
        (206, 170, 130),
        (126, 140, 152),
        (232, 226, 214),
    ]
    left = view.width / 2 - 5.0 * scale - rng.uniform(0, 1.5) * scale
    while left < view.width:
        wide, high = rng.uniform(1.6, 3.4) * scale, rng.uniform(1.6, 4.2) * scale
        wall = np.array(palette[int(rng.integers(len(palette)))]) * rng.uniform(0.85, 1.08)
        draw.rectangle(
            [left, foot - high, left + wide - 1, foot + scale], fill=(*wall.astype(int).clip(0, 255), 255)
        )
        pane = (wall * rng.uniform(0.35, 0.6)).astype(int)
        across, step = max(2, round(wide / scale / 0.75)), 0.85 * scale
        for column in range(across):
            for floor in range(int(high / step)):
                x = left + wide * (column + 0.5) / across
                y = foot - high + (floor + 0.55) * step
                lit = (246, 226, 160) if rng.random() < 0.12 else tuple(pane)
                draw.rectangle(
                    [x - 0.17 * scale, y - 0.24 * scale, x + 0.17 * scale, y + 0.2 * scale], fill=(*lit, 255)
                )
        left += wide
    soft = image.filter(ImageFilter.GaussianBlur(0.05 * scale))
    return np.asarray(soft, dtype=np.float32).transpose(2, 0, 1) / np.float32(255.0)


def _paint_beach(view: View, warmth: float, rng: np.random.Generator) -> Scene:
    noise = Noise(rng)
    u, v = _places(view)
    pixels = _sky(view, warmth, noise)
    edge = 1.0 / view.scale
    horizon, shore = _HORIZON + 0.25, 0.72
    depth = smoothstep(shore, horizon, v)  # (H, 1)
    sea: Field = mix(colour(110, 196, 190), colour(30, 104, 158), depth) * np.ones_like(u)
    sea = mix(
        sea,
        mix(colour(230, 244, 250), colour(255, 206, 150), warmth),
        0.25 * noise.value(u * 2.0, v * 26.0) ** 2,
    )
    pixels = mix(pixels, sea, smoothstep(-edge, edge, horizon - v))
    sand = choose(rng, [colour(232, 208, 160), colour(220, 190, 140), colour(240, 222, 184)])
    line = shore + 0.16 * (noise.fractal(u * 0.5, 2.0, 2) - 0.5)
    wet = mix(sand, colour(150, 128, 100), 0.55 * smoothstep(0.28, 0.0, line - v))
    pixels = mix(
        pixels, wet * (1.0 + 0.16 * _grain(view, noise, 1.5, 6.0)), smoothstep(-edge, edge, line - v)
    )
    pixels = mix(pixels, colour(250, 250, 248), 0.85 * smoothstep(0.07, 0.02, np.abs(v - line - 0.02)))
    return Scene(pixels, mix(colour(226, 242, 250), colour(255, 210, 165), warmth), sand * 0.62)


def _paint_studio(view: View, warmth: float, rng: np.random.Generator) -> Scene:
    u, v = _places(view)
    shades = [
        colour(214, 216, 220),
        colour(168, 172, 180),
        colour(104, 108, 118),
        colour(60, 62, 70),
        colour(196, 184, 170),
    ]
    wall = choose(rng, [*shades, colour(120, 140, 164)])
    glow = np.exp(-((u / 3.2) ** 2) - ((v - 1.6) / 1.6) ** 2)
    pixels: Field = wall * (0.72 + 0.4 * glow)
    floor = wall * (0.78 + 0.32 * np.exp(-((u / 2.9) ** 2) - ((v + 0.1) / 0.9) ** 2))
    pixels = mix(pixels, floor, smoothstep(1.0, 0.35, v) * np.ones_like(u))
    tint = mix(colour(250, 252, 255), colour(255, 240, 220), warmth)
    return Scene(pixels * tint, colour(250, 250, 252), wall * 0.45, 0.16)


_PAINTERS: dict[str, Callable[[View, float, np.random.Generator], Scene]] = {
    "road": _paint_road,
    "city": _paint_city,
    "beach": _paint_beach,
    "studio": _paint_studio,
}
