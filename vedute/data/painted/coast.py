"""Coast: a bay between sea and land, with surf, beaches, cliffs and rocks in the sea."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vedute.data.painted.canvas import Canvas, Colour, choose, colour, mix
from vedute.data.painted.light import Light, random_light
from vedute.data.painted.noise import Field, Noise, smoothstep
from vedute.data.painted.sky import paint_birds, paint_sky
from vedute.data.painted.terrain import Camera, Terrain, paint_terrain
from vedute.data.painted.water import Water, paint_water, water_plane

_SAND = (
    colour(236, 214, 172),
    colour(222, 190, 144),
    colour(198, 178, 150),
    colour(150, 142, 136),
    colour(244, 230, 204),
)
_ROCK = (
    colour(128, 112, 98),
    colour(98, 92, 90),
    colour(164, 132, 104),
    colour(214, 204, 188),
    colour(120, 88, 74),
)
_GRASS = (colour(104, 132, 64), colour(138, 142, 78), colour(84, 112, 62), colour(150, 134, 84))
_DEEP = (
    colour(26, 84, 134),
    colour(18, 108, 140),
    colour(40, 86, 104),
    colour(34, 64, 110),
    colour(62, 100, 106),
)
_SHALLOW = (colour(90, 206, 200), colour(122, 196, 186), colour(104, 160, 152), colour(70, 170, 190))

ShoreLine = Callable[[Field, Field], Field]
"""Maps world X and Z to the distance from the water's edge, positive on land."""


def paint_coast(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint one coast."""
    light_rng, sky_rng, shore_rng, land_rng, sea_rng, bird_rng = rng.spawn(6)
    light = random_light(light_rng)
    horizon = float(rng.uniform(0.32, 0.52))
    paint_sky(canvas, light, horizon, sky_rng)
    if light.night < 0.5 and bird_rng.random() < 0.6:
        paint_birds(canvas, light, horizon, bird_rng)
    camera = Camera(
        float(rng.uniform(1.1, 2.3)), horizon, focal=float(rng.uniform(0.95, 1.25)), near=0.9, far=70.0
    )
    shore = _shore(camera, canvas.aspect, shore_rng)
    cliff, rise = float(rng.uniform(0.0, 1.0)) ** 1.3 * 3.2, float(rng.uniform(0.15, 1.6))
    beach = float(rng.uniform(0.5, 2.6))
    relief = Noise(land_rng)

    def height(x: Field, z: Field) -> Field:
        inland = shore(x, z)
        rough = relief.fractal(x * 0.5, z * 0.5, 4)
        wall = smoothstep(beach, beach + rise + 0.15 * cliff, inland + (rough - 0.5) * 1.2)
        hills = wall * (cliff * (0.55 + 0.8 * rough) + 0.05 * np.minimum(inland, 12.0) * cliff)
        hills *= smoothstep(1.5, 7.0, z)  # the viewer stands on open ground
        return np.asarray(np.clip(inland, -1.0, 3.0) * 0.09 + hills, dtype=np.float32)

    terrain = Terrain(canvas, camera, height, light)
    reach = float(rng.uniform(40, 80))
    paint_terrain(canvas, terrain, _land(terrain, cliff, land_rng), light, reach)
    _paint_sea(canvas, camera, light, terrain, shore, sea_rng)


def _shore(camera: Camera, aspect: float, rng: np.random.Generator) -> ShoreLine:
    """Return the signed distance to the water's edge: positive on land, negative in the sea."""
    noise = Noise(rng)
    side = 1 if rng.random() < 0.5 else -1
    start = float(rng.uniform(-0.25, 0.6)) * aspect  # where the edge meets the picture's lower border
    lean = float(rng.uniform(0.12, 0.42)) * aspect / camera.focal  # where it vanishes to the side
    bay, rough = float(rng.uniform(0.0, 2.4)), float(rng.uniform(0.4, 1.6))
    strand = float(rng.uniform(-3.0, 1.2))  # land in front of the viewer, where positive
    foot = camera.focal * camera.eye / (1.0 - camera.horizon)
    stacks = [
        (float(z), float(-side * rng.uniform(0.0, 0.3) * aspect * z), float(rng.uniform(0.5, 1.1)))
        for z in rng.uniform(9.0, 22.0, int(rng.integers(0, 4)))
    ]

    def inland(x: Field, z: Field) -> Field:
        wave = (noise.fractal(z * 0.16, x * 0.10, 3) - 0.5) * rough * (1.0 + 0.16 * z)
        edge = start * 0.9 + lean * (z - foot) - bay * np.sin(np.clip((z - foot) / 14.0, 0.0, 1.6) * np.pi)
        land = side * x - edge + wave
        near = (strand + foot - z) * 0.8 + 0.35 * np.sin(x * 0.8 + start * 9.0) + wave
        total = np.maximum(land, near)
        for pz, px, radius in stacks:
            distance = np.sqrt((x - px) ** 2 + 0.5 * (z - pz) ** 2)
            total = np.maximum(total, (radius - distance) * 6.0)
        return np.asarray(total, dtype=np.float32)

    return inland


def _land(terrain: Terrain, cliff: float, rng: np.random.Generator) -> Colour:
    """Colour beach, cliff and the green above it."""
    noise = Noise(rng)
    grain = noise.fractal(terrain.x * 1.6, terrain.z * 1.6 + terrain.y * 2.0, 4) - 0.5
    sand = choose(rng, _SAND) * (1.0 + 0.22 * grain)
    wet = smoothstep(0.07, 0.0, terrain.y)
    sand = sand * (1.0 - 0.35 * wet)
    layers = noise.fractal(terrain.y * 4.0, terrain.x * 0.2 + 40.0, 2) - 0.5
    rock = choose(rng, _ROCK) * (1.0 + 0.7 * grain + 0.45 * layers)
    grass = choose(rng, _GRASS) * (1.0 + 0.6 * grain)
    ground = mix(sand, rock, smoothstep(0.25, 0.45, terrain.y + 0.2 * grain))
    green = smoothstep(1.5, 0.7, terrain.steep + 0.8 * grain) * smoothstep(
        0.35, 0.8, terrain.y - 0.12 * cliff
    )
    return mix(ground, grass, green * np.float32(rng.uniform(0.3, 1.0)))


def _paint_sea(
    canvas: Canvas, camera: Camera, light: Light, terrain: Terrain, shore: ShoreLine, rng: np.random.Generator
) -> None:
    """Paint the water, shallow and pale at the beach, then the surf."""
    noise = Noise(rng)
    x, z, below = water_plane(canvas, camera, terrain.rows)
    offshore = -shore(x, np.minimum(z, 200.0))  # (r, w): distance to land
    dry = terrain.mask * smoothstep(-0.01, 0.01, terrain.y)
    sea = below * (1.0 - dry)
    shallow, deep = choose(rng, _SHALLOW), choose(rng, _DEEP)
    body = mix(shallow, deep, smoothstep(0.2, float(rng.uniform(1.5, 5.0)), offshore))
    roughness = float(rng.uniform(0.1, 1.0))
    paint_water(canvas, camera, Water(body, roughness, noise), light, sea, terrain.rows)
    foam = _foam(x, z, offshore, noise, roughness, rng)
    white = mix(light.shade(colour(250, 252, 255), 0.75), light.haze, 0.25)
    canvas.blend(white, np.clip(foam, 0.0, 0.95) * sea * np.clip(26.0 / z, 0.0, 1.0), terrain.rows)


def _foam(
    x: Field, z: Field, offshore: Field, noise: Noise, roughness: float, rng: np.random.Generator
) -> Field:
    """Return white water: the wash at the edge, breakers that follow the shore, whitecaps outside."""
    lace = noise.fractal(x * 1.8, z * 1.8, 3)
    wash = smoothstep(0.35 + 0.5 * roughness, 0.0, offshore + (lace - 0.5) * 0.9)
    length = float(rng.uniform(0.9, 1.6))
    bend = noise.fractal(x * 0.25 + 5.0, z * 0.25, 2) * 2.5
    wave = (offshore / length + bend + float(rng.random())) % 1.0
    line = smoothstep(0.62, 0.95, wave) * smoothstep(1.0, 0.96, wave)
    breakers = line * smoothstep(0.35, 0.6, lace) * smoothstep(4.5, 0.5, offshore) * (0.5 + 0.5 * roughness)
    caps = smoothstep(0.70, 0.78, noise.fractal(x * 0.9, z * 2.2 + 50.0, 3)) * roughness * 0.7
    return np.asarray(np.maximum(np.maximum(wash, breakers), caps))
