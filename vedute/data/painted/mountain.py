"""Mountain: a range of peaks behind a meadow, a lake, woods or snow."""

from __future__ import annotations

import numpy as np

from vedute.data.painted.canvas import Canvas, Colour, choose, colour, mix
from vedute.data.painted.light import Light, random_light
from vedute.data.painted.noise import Field, Noise, smoothstep
from vedute.data.painted.sky import paint_sky
from vedute.data.painted.terrain import Camera, HeightField, Terrain, paint_terrain
from vedute.data.painted.trees import Row, paint_conifers
from vedute.data.painted.water import Water, paint_water

_ROCK = (
    colour(120, 112, 106),
    colour(98, 98, 108),
    colour(140, 118, 98),
    colour(110, 94, 92),
    colour(86, 90, 96),
)
_GRASS = (
    colour(112, 138, 62),
    colour(150, 150, 74),
    colour(86, 120, 66),
    colour(172, 140, 76),
    colour(132, 150, 60),
)
_WOOD = (colour(46, 74, 48), colour(40, 62, 54), colour(66, 84, 46))
_SNOW = colour(246, 248, 252)


def paint_mountain(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint one mountain landscape."""
    light_rng, sky_rng, range_rng, ground_rng, tree_rng = rng.spawn(5)
    light = random_light(light_rng)
    horizon = float(rng.uniform(0.58, 0.74))
    paint_sky(canvas, light, horizon, sky_rng)
    camera = Camera(eye=1.0, horizon=horizon, focal=float(rng.uniform(1.0, 1.35)), near=1.2, far=60.0)
    lake = rng.random() < 0.4
    height, top = _range(camera, range_rng, lake)
    terrain = Terrain(canvas, camera, height, light)
    snowline = float(top * rng.uniform(-0.12, 0.8))
    albedo = _albedo(terrain, snowline, top, ground_rng)
    paint_terrain(canvas, terrain, albedo, light, reach=float(rng.uniform(45, 90)))
    if lake:
        shore = smoothstep(0.06, 0.0, terrain.y) * terrain.mask
        body = choose(
            ground_rng, (colour(40, 110, 130), colour(30, 76, 110), colour(64, 140, 140), colour(40, 66, 70))
        )
        water = Water(body, float(rng.uniform(0.0, 0.35)), Noise(ground_rng))
        paint_water(canvas, camera, water, light, shore, terrain.rows)
    _mist(canvas, light, terrain, float(rng.uniform(-0.6, 0.7)), ground_rng)
    if rng.random() < 0.75:
        _near_woods(canvas, light, horizon, snowline < 0.25 * top, tree_rng)


def _range(camera: Camera, rng: np.random.Generator, lake: bool) -> tuple[HeightField, float]:
    """Return the height field and the height of the highest peak."""
    ridges, ground = Noise(rng), Noise(rng)
    count = int(rng.integers(2, 5))
    peak_z = rng.uniform(15.0, 26.0, count)
    peak_x = np.linspace(-0.42, 0.42, count) * rng.choice([-1, 1]) + rng.uniform(-0.14, 0.14, count)
    peak_x = peak_x * peak_z / camera.focal
    peak_y = peak_z * rng.uniform(0.14, 0.30, count) / camera.focal
    main = int(rng.integers(count))
    peak_y[main] = peak_z[main] * rng.uniform(0.36, 0.5) / camera.focal
    spread = rng.uniform(1.0, 1.7, count)
    peaks = np.stack([peak_x, peak_y, peak_z, spread], axis=1).tolist()
    rough = float(rng.uniform(0.25, 0.6))
    frequency = float(rng.uniform(0.13, 0.22))

    def height(x: Field, z: Field) -> Field:
        chain = ridges.ridged(x * frequency, z * frequency, 4, 0.42)
        bend = (ground.fractal(x * 0.35, z * 0.35, 3) - 0.5) * 3.0
        cones = np.zeros_like(x)
        for px, py, pz, wide in peaks:
            distance = np.sqrt((x - px + bend) ** 2 + 0.6 * (z - pz) ** 2 + 0.02)
            cones = np.maximum(
                cones, py * np.clip(1.0 - distance / min(wide * py * 1.25 + 2.0, 0.55 * pz), 0.0, 1.0) ** 1.15
            )
        hills = smoothstep(6.0, 14.0, z) * (0.4 + 1.3 * chain)
        floor = (ground.fractal(x * 0.3 + 9.0, z * 0.3, 4) - (0.56 if lake else 0.42)) * 0.9
        floor = floor * (1.0 - 0.7 * smoothstep(8.0, 14.0, z) * (not lake))
        if lake:
            floor = floor - 0.35 * smoothstep(1.5, 2.6, z) * smoothstep(12.0, 8.0, z)
        return np.asarray(
            floor + hills + cones * (1.0 - rough * 0.55 + rough * chain * 1.1), dtype=np.float32
        )

    return height, float(peak_y.max())


def _albedo(terrain: Terrain, snowline: float, top: float, rng: np.random.Generator) -> Colour:
    """Colour the ground by height and slope: grass, woods, rock, snow."""
    noise = Noise(rng)
    grain = noise.fractal(terrain.x * 1.3, terrain.z * 1.3 + terrain.y * 1.5, 4) - 0.5
    fine = noise.fractal(terrain.x * 5.0, terrain.z * 2.5 + 30.0, 2) - 0.5
    rock = choose(rng, _ROCK) * (1.0 + 0.7 * grain)
    grass = choose(rng, _GRASS) * (1.0 + 0.5 * fine + 0.4 * grain)
    wood = choose(rng, _WOOD) * (1.0 + 0.9 * fine)
    treeline = top * rng.uniform(0.12, 0.35)
    open_land = float(rng.uniform(0.34, 0.66))  # closed woods to wide meadows
    woods = grain + 0.5 + 0.25 * smoothstep(4.0, 9.0, terrain.z)
    ground = mix(grass, wood, 0.9 * smoothstep(open_land - 0.1, open_land + 0.15, woods))
    ground = mix(ground, rock, smoothstep(treeline * 0.8, treeline * 1.3, terrain.y + grain * top * 0.25))
    ground = mix(ground, rock, smoothstep(0.9, 1.5, terrain.steep) * smoothstep(0.3, 1.0, terrain.y))
    cover = smoothstep(-0.06, 0.08, (terrain.y - snowline) / top + 0.25 * grain)
    cover = cover * (1.0 - 0.85 * smoothstep(1.1, 2.0, terrain.steep + grain))
    return mix(ground, _SNOW, cover)


def _mist(canvas: Canvas, light: Light, terrain: Terrain, strength: float, rng: np.random.Generator) -> None:
    """Lay a bank of mist along the foot of the range."""
    if strength <= 0.0:
        return
    noise = Noise(rng)
    y = canvas.y[terrain.rows]
    level = terrain.camera.horizon - rng.uniform(0.02, 0.16)
    band = np.exp(-(((y - level) / 0.06) ** 2)) * smoothstep(7.0, 14.0, terrain.z + 60 * (1 - terrain.mask))
    wisps = smoothstep(0.3, 0.7, noise.fractal(canvas.x * 2.5, y * 9.0, 4))
    canvas.blend(mix(light.haze, light.horizon, 0.5), band * wisps * np.float32(strength), terrain.rows)


def _near_woods(canvas: Canvas, light: Light, horizon: float, winter: bool, rng: np.random.Generator) -> None:
    """Frame the picture with firs, denser at one side."""
    noise = Noise(rng)
    side = 1 if rng.random() < 0.5 else -1
    wood = choose(rng, _WOOD)
    for depth in (0.35, 1.0):
        edge = side * canvas.x / canvas.aspect
        lie = horizon + 0.03 + 0.30 * depth * (0.5 + 0.6 * noise.fractal(canvas.x * 2.0, depth * 9.0, 2))
        base = (
            lie + np.clip(0.30 - edge, 0.0, 1.0) * 0.9 * depth
        )  # sinks out of the picture away from the side
        tall = 0.10 + 0.26 * depth * rng.uniform(0.5, 1.1)
        dark, bright = light.shade(wood, 0.0) * 0.75, light.shade(wood, 0.8) * 1.15
        far = 0.30 * (1.0 - depth)
        row = Row(
            base,
            tall * 0.3,
            tall,
            mix(dark, light.haze, far),
            mix(bright, light.haze, far),
            light.side,
            snow=0.8 if winter else 0.0,
            gaps=0.25,
        )
        paint_conifers(canvas, row, rng)
