"""Glacier: a tongue of blue ice between dark walls, ending on stones or in a lake with floes."""

from __future__ import annotations

import numpy as np

from vedute.data.painted.canvas import Canvas, Colour, choose, colour, mix
from vedute.data.painted.light import Light, random_light
from vedute.data.painted.noise import Field, Noise, smoothstep
from vedute.data.painted.sky import paint_sky
from vedute.data.painted.terrain import Camera, HeightField, Terrain, paint_terrain
from vedute.data.painted.water import Water, paint_water, water_plane

_ROCK = (colour(88, 82, 80), colour(104, 96, 92), colour(72, 74, 84), colour(112, 92, 80))
_DEBRIS = (colour(128, 120, 112), colour(110, 106, 106), colour(140, 124, 106))
_ICE = (colour(206, 232, 244), colour(190, 224, 240), colour(220, 238, 244))
_BLUE = (colour(72, 158, 208), colour(54, 140, 196), colour(92, 184, 214))
_SNOW = colour(244, 247, 252)
_LAKE = (colour(60, 130, 146), colour(40, 98, 128), colour(96, 156, 160), colour(52, 84, 100))


class _Tongue:
    """The course of the ice: a winding valley that ends at ``front`` before the viewer."""

    def __init__(self, camera: Camera, aspect: float, rng: np.random.Generator) -> None:
        """Draw a course that ``camera`` sees well in a picture of this aspect."""
        foot = camera.focal * camera.eye / (1.0 - camera.horizon)
        self.front = foot * float(rng.choice([rng.uniform(0.5, 0.9), rng.uniform(1.3, 2.1)]))
        self.cliff = float(rng.uniform(0.35, 1.0)) * (1.0 if self.front > foot else 0.5)
        self.wide = float(rng.uniform(0.28, 0.46)) * aspect / camera.focal * foot * 1.3
        self.swing, self.phase = float(rng.uniform(0.5, 2.6)), float(rng.uniform(0.0, 6.3))
        self.rise = float(rng.uniform(0.05, 0.10))
        self.noise = Noise(rng)

    def across(self, x: Field, z: Field) -> Field:
        """Return the place across the ice: 0 in the middle, -1 and 1 at its edges."""
        middle = self.swing * (np.sin(z * 0.16 + self.phase) - np.sin(self.phase)) * smoothstep(0.0, 14.0, z)
        width = self.wide * (1.0 + 0.035 * z)
        return np.asarray((x - middle) / width, dtype=np.float32)

    def along(self, x: Field, z: Field, across: Field) -> Field:
        """Return the distance behind the front; negative before it. The front is a lobe with notches."""
        notch = (self.noise.fractal(x * 1.1, 3.0, 2) - 0.5) * 1.3
        return np.asarray(z - self.front - 0.9 * across * across + notch, dtype=np.float32)


def paint_glacier(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint one glacier."""
    light_rng, sky_rng, course_rng, wall_rng, ice_rng, lake_rng = rng.spawn(6)
    light = random_light(light_rng)
    horizon = float(rng.uniform(0.34, 0.5))
    paint_sky(canvas, light, horizon, sky_rng)
    camera = Camera(
        float(rng.uniform(1.7, 3.0)), horizon, focal=float(rng.uniform(0.95, 1.25)), near=1.0, far=60.0
    )
    tongue = _Tongue(camera, canvas.aspect, course_rng)
    height = _field(camera, tongue, wall_rng)
    terrain = Terrain(canvas, camera, height, light)
    paint_terrain(
        canvas, terrain, _albedo(terrain, tongue, ice_rng), light, reach=float(rng.uniform(50, 100))
    )
    _meltwater(canvas, camera, light, terrain, lake_rng)


def _field(camera: Camera, tongue: _Tongue, rng: np.random.Generator) -> HeightField:
    """Return the height field: valley walls, the head of the valley, the ice with its crevasses."""
    ridges = Noise(rng)
    tall = float(rng.uniform(3.5, 7.0))
    head = float(rng.uniform(24.0, 34.0))
    crest = head * float(rng.uniform(0.16, 0.32)) / camera.focal
    crack = float(rng.uniform(0.12, 0.3))

    def height(x: Field, z: Field) -> Field:
        across = tongue.across(x, z)
        along = tongue.along(x, z, across)
        cracks = crack * _crevasses(tongue.noise, x, z, across, along)
        across = np.abs(across)
        chain = ridges.ridged(x * 0.17, z * 0.17, 4, 0.4)
        wall = smoothstep(0.95, 2.6, across) * tall * (0.45 + 0.7 * chain) * smoothstep(1.0, 9.0, z)
        peaks = smoothstep(head - 10.0, head + 4.0, z) * crest * (0.35 + 1.0 * chain)
        bed = -0.12 + 0.25 * ridges.fractal(x * 0.8, z * 0.8, 3) * smoothstep(0.5, 1.1, across)
        slope = tongue.cliff + tongue.rise * np.maximum(along, 0.0)
        ice = slope * (1.0 - 0.25 * across**2) - cracks
        ice = bed + (ice - bed) * smoothstep(-0.12, 0.12, along)
        ground = np.maximum(bed, wall) + peaks
        return np.asarray(np.where(across < 1.0, np.maximum(ground, ice + peaks), ground), dtype=np.float32)

    return height


def _crevasses(noise: Noise, x: Field, z: Field, across: Field, along: Field) -> Field:
    """Return the depth of the cracks in [0, 1]: bows across the flow, denser where the ice breaks off."""
    bend = noise.fractal(x * 0.6, z * 0.6, 2) * 1.6
    phase = along * 0.95 + 1.3 * across * across + bend
    bows = 1.0 - np.abs(2.0 * (phase % 1.0) - 1.0)
    length = np.float32(1.0) - 0.5 * smoothstep(3.0, 12.0, along)
    blocks = noise.fractal(x * 1.6, z * 1.6, 2)
    return smoothstep(0.55, 0.95, bows) * smoothstep(0.3, 0.55, blocks) * length


def _albedo(terrain: Terrain, tongue: _Tongue, rng: np.random.Generator) -> Colour:
    """Colour rock and snow of the walls, debris, and the ice with its blue depths and moraine lines."""
    noise = Noise(rng)
    x, z = terrain.x, terrain.z
    across = tongue.across(x, z)
    along = tongue.along(x, z, across)
    grain = noise.fractal(x * 1.4, z * 1.4 + terrain.y * 1.5, 4) - 0.5
    rock = choose(rng, _ROCK) * (1.0 + 0.9 * grain)
    snowline = float(rng.uniform(0.4, 4.0))
    cover = smoothstep(-0.4, 0.5, terrain.y - snowline + 3.0 * grain) * smoothstep(
        2.2, 1.0, terrain.steep + grain
    )
    walls = mix(rock, _SNOW, cover)
    stones = choose(rng, _DEBRIS) * (1.0 + 1.0 * (noise.fractal(x * 4.0, z * 4.0, 2) - 0.5))
    walls = mix(walls, stones, smoothstep(0.5, 0.1, terrain.y))
    clean, blue = choose(rng, _ICE), choose(rng, _BLUE)
    depth = _crevasses(tongue.noise, x, z, across, along)
    face = smoothstep(0.9, 2.2, terrain.steep) * smoothstep(0.9, 0.2, along)
    stripes = noise.fractal(x * 3.5, terrain.y * 0.6 + 5.0, 2)
    deep = np.clip(0.75 * depth + face * (0.35 + 0.9 * stripes) + 0.5 * grain, 0.0, 1.0)
    ice = mix(clean * (1.0 + 0.12 * grain), blue, deep)
    lines = np.zeros_like(x)
    for place in rng.uniform(-0.75, 0.75, int(rng.integers(1, 4))).tolist():
        lines = np.maximum(lines, smoothstep(0.09, 0.01, np.abs(across - place + 0.16 * grain)))
    lines = np.maximum(lines, smoothstep(0.80, 0.98, np.abs(across) + 0.15 * grain))
    ice = mix(ice, stones, 0.55 * lines * smoothstep(-0.2, 1.5, along) * np.clip(0.9 + 1.5 * grain, 0.0, 1.0))
    ice = mix(ice, _SNOW, smoothstep(8.0, 18.0, along) * 0.8)
    inside = smoothstep(1.02, 0.96, np.abs(across)) * smoothstep(-0.15, 0.0, along)
    return mix(walls, ice, inside)


def _meltwater(
    canvas: Canvas, camera: Camera, light: Light, terrain: Terrain, rng: np.random.Generator
) -> None:
    """Paint the lake before the front, with floes of ice."""
    noise = Noise(rng)
    x, z, below = water_plane(canvas, camera, terrain.rows)
    wet = below * smoothstep(0.03, -0.01, terrain.y) * terrain.mask
    if float(wet.max()) < 0.5:
        return
    water = Water(choose(rng, _LAKE), float(rng.uniform(0.0, 0.35)), noise)
    paint_water(canvas, camera, water, light, wet, terrain.rows)
    amount = float(rng.uniform(0.0, 0.14))
    field = noise.fractal(x * 1.5 + 3.0, z * 1.5, 3)
    top = smoothstep(0.74 - amount, 0.77 - amount, field)
    lower = noise.fractal(x * 1.5 + 3.0, z * 1.5 + 0.16, 3)
    lit = np.clip(0.75 - 4.0 * np.maximum(lower - field, -0.1), 0.0, 1.0)
    ice = mix(choose(rng, _BLUE), _SNOW, lit)
    canvas.blend(light.shade(ice, 0.35 + 0.5 * lit), top * wet, terrain.rows)
