"""Forest: under the trees, or over wooded slopes with mist between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vedute.data.painted.canvas import Canvas, Colour, choose, colour, mix
from vedute.data.painted.light import Light, random_light
from vedute.data.painted.noise import Noise, smoothstep
from vedute.data.painted.sky import paint_sky
from vedute.data.painted.trees import Row, paint_conifers, paint_crowns, paint_trunks


@dataclass(frozen=True, eq=False)
class _Season:
    """Colours of leaves, floor and bark, and the share of snow."""

    leaves: tuple[Colour, ...]
    floor: tuple[Colour, ...]
    snow: float = 0.0


_SUMMER = _Season(
    (colour(74, 118, 48), colour(52, 98, 50), colour(106, 140, 54), colour(62, 108, 70)),
    (colour(92, 120, 54), colour(110, 100, 62), colour(76, 104, 52)),
)
_SPRING = _Season(
    (colour(140, 178, 72), colour(108, 160, 72), colour(164, 190, 96), colour(84, 136, 66)),
    (colour(122, 152, 66), colour(104, 130, 84), colour(134, 128, 80)),
)
_AUTUMN = _Season(
    (
        colour(214, 132, 44),
        colour(190, 84, 40),
        colour(222, 172, 62),
        colour(134, 122, 52),
        colour(158, 62, 42),
    ),
    (colour(166, 104, 52), colour(142, 90, 56), colour(182, 132, 66)),
)
_WINTER = _Season(
    (colour(92, 112, 110), colour(72, 96, 98), colour(120, 126, 122)),
    (colour(232, 236, 244), colour(220, 226, 236)),
    snow=0.85,
)
_BARK = (colour(96, 74, 58), colour(78, 70, 64), colour(112, 84, 60), colour(66, 56, 52))
_BIRCH = colour(218, 214, 204)


def paint_forest(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint one forest."""
    light_rng, wood_rng = rng.spawn(2)
    light = random_light(light_rng)
    season = (_SUMMER, _SUMMER, _SPRING, _AUTUMN, _AUTUMN, _WINTER)[int(rng.integers(6))]
    if rng.random() < 0.55:
        _paint_inside(canvas, light, season, wood_rng)
    else:
        _paint_slopes(canvas, light, season, wood_rng)


def _paint_inside(canvas: Canvas, light: Light, season: _Season, rng: np.random.Generator) -> None:
    """Paint trunks in several depths, a floor with a path, a canopy, and rays of light."""
    horizon = float(rng.uniform(0.52, 0.66))
    centre = float(rng.uniform(-0.16, 0.16)) * canvas.aspect
    noise = Noise(rng)
    leaf = choose(rng, season.leaves)
    _backdrop(canvas, light, leaf, horizon, centre, noise)
    _floor(canvas, light, season, horizon, centre, noise, rng)
    birch = rng.random() < 0.25
    bark = mix(_BIRCH, choose(rng, _BARK), 0.12) if birch else choose(rng, _BARK)
    density = float(rng.uniform(0.8, 1.3))
    for depth in (0.12, 0.28, 0.5, 1.0):  # far to near
        far = float(np.exp(-2.6 * depth))
        base = horizon + 0.34 * depth**1.2 + 0.05 * depth * (noise.value(canvas.x * 4.0, depth * 30.0) - 0.5)
        veil = mix(light.haze, light.horizon, 0.3)
        dark = mix(light.shade(bark, 0.0) * (1.0 - 0.35 * depth), veil, far)
        bright = mix(light.shade(bark, 0.9), veil, far)
        row = Row(base, 0.42 * depth**0.85 / density, 1.0, dark, bright, light.side, gaps=0.12 + 0.2 * depth)
        thick = (0.014 + 0.10 * depth) * float(rng.uniform(0.8, 1.2))
        paint_trunks(canvas, row, thick, 0.8 if birch else 0.0, noise, rng)
        _canopy(canvas, light, leaf, season.snow, depth, 0.16 if birch else 0.0, noise)
        _undergrowth(canvas, light, season, base[0], depth, noise, rng)
        if depth == 0.5 and light.overcast < 0.5:
            _rays(canvas, light, centre, horizon, noise, float(rng.uniform(0.15, 0.5)))


def _backdrop(
    canvas: Canvas, light: Light, leaf: Colour, horizon: float, centre: float, noise: Noise
) -> None:
    """Paint the bright gap between the trees, leafy above and misty at the horizon."""
    veil = mix(light.haze, light.horizon, 0.4)
    glow = np.exp(-(((canvas.x - centre) / 0.36) ** 2) - ((canvas.y - horizon + 0.10) / 0.34) ** 2)
    crowns = light.shade(leaf, 0.5) * (0.55 + 0.9 * noise.fractal(canvas.x * 9.0, canvas.y * 9.0, 3))
    canvas.pixels[:] = mix(crowns, veil, 0.25 + 0.7 * glow)
    canvas.add(light.horizon * 0.22, glow**2)


def _floor(
    canvas: Canvas,
    light: Light,
    season: _Season,
    horizon: float,
    centre: float,
    noise: Noise,
    rng: np.random.Generator,
) -> None:
    """Paint the forest floor in perspective, with a path that leads into the gap."""
    drop = np.maximum(canvas.y - horizon, 1e-3)
    z = np.minimum(0.5 / drop, 60.0)
    litter = noise.fractal((canvas.x - centre) * z * 3.0, z * 3.0, 3) - 0.5
    lit = 0.25 + 0.55 * smoothstep(0.4, 0.62, noise.fractal(canvas.x * z * 0.9 + 9.0, z * 0.8, 2))
    ground = light.shade(choose(rng, season.floor) * (1.0 + 0.55 * litter), lit)
    if rng.random() < 0.65:
        way = centre + drop * np.sin(z * 0.5 + rng.uniform(0, 6)) * 0.5
        path = smoothstep(0.34, 0.26, np.abs(canvas.x - way) / (drop + 0.02) + 0.2 * litter)
        earth = mix(colour(172, 146, 112), colour(226, 230, 238), season.snow)
        ground = mix(ground, light.shade(earth * (1.0 + 0.3 * litter), lit), 0.85 * path)
    ground = mix(ground, mix(light.haze, light.horizon, 0.3), np.exp(-drop / 0.09) * 0.85)
    canvas.blend(ground, np.clip((canvas.y - horizon) / 0.02, 0.0, 1.0))


def _canopy(
    canvas: Canvas, light: Light, leaf: Colour, snow: float, depth: float, lift: float, noise: Noise
) -> None:
    """Hang leaves from the top of the picture, lower at the sides; ``lift`` raises them."""
    scale = 5.0 + 5.0 * (1.0 - depth)
    clusters = noise.fractal(canvas.x * scale + 31.0 * depth, canvas.y * scale, 4)
    reach = 0.36 - lift - 0.18 * depth + 0.35 * depth * np.abs(canvas.x / canvas.aspect) * 2.0
    mask = smoothstep(0.47, 0.56, clusters + 0.55 * (reach - canvas.y) / (0.25 + 0.2 * depth) * 0.5)
    far = float(np.exp(-3.0 * depth))
    lit = np.clip(2.2 * (clusters - 0.42), 0.0, 1.0) * (0.95 - 0.45 * depth)
    shade = light.shade(mix(leaf, colour(236, 240, 248), 0.6 * snow), lit) * (0.62 + 0.5 * lit)
    canvas.blend(
        mix(shade, mix(light.haze, light.horizon, 0.3), far), mask * smoothstep(reach + 0.3, reach, canvas.y)
    )


def _undergrowth(
    canvas: Canvas,
    light: Light,
    season: _Season,
    base: np.ndarray,
    depth: float,
    noise: Noise,
    rng: np.random.Generator,
) -> None:
    """Set ferns and bushes at the feet of the trunks."""
    height = 0.16 * depth * (noise.fractal(canvas.x * 5.0 / depth**0.5, 70.0 * depth, 3) - 0.38)
    top = base - height
    tufts = noise.fractal(canvas.x * 14.0 / depth**0.5, canvas.y * 10.0, 2) - 0.5
    mask = smoothstep(-0.005, 0.012, canvas.y - top + 0.05 * depth * tufts) * smoothstep(
        0.10, 0.02, canvas.y - base
    )
    green = mix(choose(rng, season.leaves), choose(rng, season.floor), 0.5)
    paint = light.shade(green * (0.75 + 0.9 * tufts), np.clip(0.45 + tufts, 0, 1))
    canvas.blend(mix(paint, light.haze, float(np.exp(-3.0 * depth))), mask * (height > 0) * 0.9)


def _rays(canvas: Canvas, light: Light, centre: float, horizon: float, noise: Noise, strength: float) -> None:
    """Let light fall in shafts from one upper corner."""
    x, y = centre + 0.5 * light.side * canvas.aspect, -0.25
    angle = np.arctan2(canvas.x - x, canvas.y - y)
    shafts = smoothstep(0.45, 0.75, noise.fractal(angle * 11.0, 3.0, 2))
    fall = smoothstep(horizon + 0.25, 0.2, canvas.y) * np.exp(-np.abs(canvas.x - centre) / 0.45)
    warm = mix(light.horizon, light.tone, 0.5)
    canvas.blend(np.minimum(warm * 1.15, 1.0), shafts * fall * np.float32(strength * (1.0 - light.overcast)))


def _paint_slopes(canvas: Canvas, light: Light, season: _Season, rng: np.random.Generator) -> None:
    """Paint rows of trees on slopes, far to near, with mist in the valleys between."""
    horizon = float(rng.uniform(0.16, 0.36))
    paint_sky(canvas, light, horizon + 0.1, rng)
    noise = Noise(rng)
    least, most = {_AUTUMN: (0.0, 0.6), _WINTER: (0.75, 1.0)}.get(season, (0.0, 1.0))
    conifers = float(rng.uniform(least, most))  # share of rows of firs
    needle = choose(rng, (colour(44, 78, 54), colour(50, 84, 74), colour(66, 92, 48)))
    hues = [choose(rng, season.leaves) for _ in range(6)]
    hues = [mix(hue, hue.mean(), 0.6 * light.night) for hue in hues]
    mist = float(rng.uniform(0.15, 0.9))
    rows, roll = 10, float(rng.uniform(0.05, 0.15))
    for index in range(rows):
        near = index / (rows - 1)
        far = float(np.exp(-near * 3.2)) * min(1.0, 0.6 + 0.25 * light.thickness)
        line = horizon + (1.12 - horizon) * near**1.25
        base = line + roll * (1.0 - 0.5 * near) * (noise.fractal(canvas.x * 1.6, 13.0 * index, 3) - 0.5) * 2.0
        tall = 0.075 + 0.26 * near
        if rng.random() < conifers:
            dark, bright = light.shade(needle, 0.0) * 0.7, light.shade(needle, 0.8) * 1.2
            row = Row(
                base,
                tall * 0.26,
                tall,
                mix(dark, light.haze, far),
                mix(bright, light.haze, far),
                light.side,
                snow=season.snow * (1.0 - far),
            )
            _ground(canvas, row)
            paint_conifers(canvas, row, rng)
        else:
            dark, bright = light.ambient * 0.55, light.ambient * 0.9 + light.direct * 0.95
            row = Row(base, tall * 0.42, tall * 0.8, dark, bright, light.side, snow=season.snow)
            _ground(
                canvas, Row(base, 1.0, 1.0, mix(light.shade(needle, 0.0) * 0.7, light.haze, far), dark, 1)
            )
            paint_crowns(canvas, row, [mix(hue, light.haze, far) for hue in hues], noise, rng)
        _valley_mist(canvas, light, base, mist * (1.0 - near), noise, index)


def _ground(canvas: Canvas, row: Row) -> None:
    """Fill everything below a row of trees."""
    canvas.blend(row.dark, np.clip((canvas.y - row.base) / canvas.pixel + 0.5, 0.0, 1.0))


def _valley_mist(
    canvas: Canvas, light: Light, base: np.ndarray, strength: float, noise: Noise, index: int
) -> None:
    """Let mist rise from the foot of a row."""
    wisps = 0.3 + 1.1 * noise.fractal(canvas.x * 2.0 + 7.0 * index, canvas.y * 5.0, 3)
    rise = np.exp(-np.maximum(base - canvas.y, 0.0) / 0.05)
    canvas.blend(mix(light.haze, light.horizon, 0.3), np.clip(rise * wisps * strength, 0.0, 0.95))
