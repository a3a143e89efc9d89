"""Desert: dunes with sharp crests, or table mountains of layered rock over sand."""

from __future__ import annotations

import numpy as np

from vedute.data.painted.canvas import Canvas, Colour, choose, colour, mix
from vedute.data.painted.light import Light, random_light
from vedute.data.painted.noise import Field, Noise, smoothstep
from vedute.data.painted.sky import paint_sky
from vedute.data.painted.terrain import Camera, HeightField, Terrain, paint_terrain

_SAND = (
    colour(236, 192, 128),
    colour(222, 160, 96),
    colour(206, 122, 74),
    colour(240, 214, 168),
    colour(228, 178, 104),
    colour(214, 140, 84),
    colour(244, 226, 196),
)
_STONE = (colour(196, 96, 58), colour(214, 128, 78), colour(168, 84, 62), colour(206, 150, 104))
_SCRUB = (colour(96, 104, 62), colour(120, 116, 70), colour(84, 92, 66))


def paint_desert(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint one desert landscape."""
    light_rng, sky_rng, ground_rng, colour_rng, plant_rng = rng.spawn(5)
    light = random_light(light_rng)
    light.overcast *= 0.5
    horizon = float(rng.uniform(0.34, 0.56))
    paint_sky(canvas, light, horizon, sky_rng)
    rocky = rng.random() < 0.36
    eye = float(rng.uniform(1.0, 1.5) if rocky else rng.uniform(1.9, 3.2))
    camera = Camera(eye, horizon, focal=float(rng.uniform(0.95, 1.3)), near=0.9, far=46.0)
    dunes = _dunes(ground_rng, float(rng.uniform(0.08, 0.2) if rocky else rng.uniform(0.6, 1.3)))
    great = _tables(camera, ground_rng) if rocky else _great_dunes(camera, ground_rng)

    def height(x: Field, z: Field) -> Field:
        small = dunes(x, z)
        return np.maximum(small, great(x, z) + 0.25 * small)

    terrain = Terrain(canvas, camera, height, light)
    albedo = _albedo(terrain, rocky, colour_rng)
    paint_terrain(canvas, terrain, albedo, light, reach=float(rng.uniform(60, 120)))
    if rocky:
        _saguaros(canvas, light, terrain, plant_rng)


def _dunes(rng: np.random.Generator, scale: float) -> HeightField:
    """Return dunes: trains of waves, gentle to windward, steep to leeward, bent and of uneven height."""
    noise, swell = Noise(rng), Noise(rng)
    angle = float(rng.uniform(-0.8, 0.8)) + (np.pi if rng.random() < 0.5 else 0.0)
    across, along = float(np.cos(angle)), float(np.sin(angle))
    length, phase = float(rng.uniform(6.0, 11.0)), float(rng.uniform(0, 10))
    bend = float(rng.uniform(1.6, 3.6))

    def height(x: Field, z: Field) -> Field:
        warp = (noise.fractal(x * 0.11, z * 0.11, 2) - 0.5) * bend
        total = np.zeros_like(x)
        for train, (wide, tall) in enumerate(((length, 1.25), (length * 0.43, 0.32))):
            t = ((x * across + z * along) / wide + warp * (1.0 + train) + phase * (train + 1)) % 1.0
            crest = np.where(t < 0.72, smoothstep(-0.1, 0.95, t) * 1.06, smoothstep(1.04, 0.60, t) * 1.06)
            total += tall * crest * (0.35 + 0.9 * swell.fractal(x * 0.11 + 20.0 * train, z * 0.11, 2))
        return np.asarray(scale * total * smoothstep(0.0, 5.0, z) - 0.1, dtype=np.float32)

    return height


def _great_dunes(camera: Camera, rng: np.random.Generator) -> HeightField:
    """Return one to three large dunes whose winding crests part a gentle from a steep side."""
    count = int(rng.integers(2, 5))
    peak_z = rng.uniform(9.0, 28.0, count)
    peak_x = rng.permutation(np.linspace(-0.42, 0.42, count)) * peak_z / camera.focal
    peak_y = camera.eye + peak_z * rng.uniform(0.0, 0.2, count) / camera.focal
    wind, phase = rng.uniform(0.8, 2.2, count), rng.uniform(0.0, 6.3, count)
    lean = rng.uniform(-0.35, 0.35, count)
    peaks = np.stack([peak_x, peak_y, peak_z, wind, phase, lean], axis=1).tolist()
    gentle, steep = float(rng.uniform(0.28, 0.4)), float(rng.uniform(0.45, 0.62))
    if rng.random() < 0.5:
        gentle, steep = steep, gentle

    def height(x: Field, z: Field) -> Field:
        total = np.full_like(x, -9.0)
        for px, py, pz, bend, start, turn in peaks:
            away = z - pz
            crest = px + turn * away + bend * (np.sin(away * 0.42 + start) - np.sin(start))
            ridge = py * np.exp(-((away / (0.9 * py + 4.0)) ** 2))
            side = x - crest
            total = np.maximum(total, ridge - np.where(side < 0, -gentle * side, steep * side))
        return np.asarray(total, dtype=np.float32)

    return height


def _tables(camera: Camera, rng: np.random.Generator) -> HeightField:
    """Return mesas and buttes: flat tops, steep walls, slopes of debris at the foot."""
    noise = Noise(rng)
    count = int(rng.integers(2, 5))
    z = rng.uniform(13.0, 34.0, count)
    z[0] = rng.uniform(12.0, 17.0)
    x = rng.permutation(np.linspace(-0.42, 0.42, count)) * z / camera.focal + rng.uniform(-1, 1, count)
    tall = z * rng.uniform(0.09, 0.17, count) / camera.focal + 0.8
    tall[0] = z[0] * rng.uniform(0.17, 0.26) / camera.focal + 0.6
    tables = np.stack([x, z, tall, z * rng.uniform(0.05, 0.20, count)], axis=1).tolist()

    def height(px: Field, pz: Field) -> Field:
        rough = noise.fractal(px * 0.5, pz * 0.5, 2) - 0.5
        total = np.full_like(px, -9.0)
        for cx, cz, top, radius in tables:
            distance = np.sqrt((px - cx) ** 2 + 0.5 * (pz - cz) ** 2) + rough * (0.9 + 0.25 * radius)
            wall = smoothstep(radius + 0.35, radius, distance)
            debris = np.clip(1.0 - (distance - radius) / (0.55 * top + 0.4), 0.0, 1.0) ** 1.4
            shape = top * (0.62 * wall + 0.38 * debris) + 0.12 * rough * wall
            total = np.maximum(total, np.where(distance < radius + 0.8 * top, shape, -9.0))
        return np.asarray(total, dtype=np.float32)

    return height


def _albedo(terrain: Terrain, rocky: bool, rng: np.random.Generator) -> Colour:
    """Colour sand with ripples, rock with strata, and scrub between."""
    noise = Noise(rng)
    sand = choose(rng, _SAND)
    patches = noise.fractal(terrain.x * 0.4, terrain.z * 0.4, 3) - 0.5
    bend = noise.fractal(terrain.x * 0.7 + 11.0, terrain.z * 0.7, 2) * 9.0
    angle = float(rng.uniform(0.4, 1.2))
    across = terrain.x * float(np.cos(angle)) + terrain.z * float(np.sin(angle))
    ripples = np.sin(across * 13.0 + bend)
    ripples *= np.clip(3.0 / terrain.z - 0.25, 0.0, 1.0) * float(rng.uniform(0.0, 0.09))
    albedo: Colour = sand * (1.0 + 0.25 * patches + ripples)
    if not rocky:
        return albedo
    stone = choose(rng, _STONE)
    layers = noise.fractal(terrain.y * np.float32(rng.uniform(2.5, 5.0)), terrain.x * 0.05, 3) - 0.5
    stone = stone * (1.0 + 1.1 * layers + 0.3 * patches)
    albedo = mix(albedo, choose(rng, _STONE) * 1.1, 0.45)
    share = smoothstep(0.3, 0.5, terrain.y)
    scrub = smoothstep(0.60, 0.72, noise.fractal(terrain.x * 2.6, terrain.z * 1.6, 2)) * rng.uniform(0.2, 0.9)
    return mix(mix(albedo, choose(rng, _SCRUB), scrub * smoothstep(2.0, 4.0, terrain.z)), stone, share)


def _saguaros(canvas: Canvas, light: Light, terrain: Terrain, rng: np.random.Generator) -> None:
    """Stand a few cacti with raised arms on the plain, far ones first."""
    green = choose(rng, _SCRUB) * colour(200, 250, 200)
    for z in np.sort(rng.uniform(2.6, 9.0, int(rng.integers(0, 6))))[::-1].tolist():
        share = rng.uniform(-0.46, 0.46)
        base = terrain.stand(canvas, share * canvas.aspect * z / terrain.camera.focal, z)
        if base is None:
            continue
        tall = rng.uniform(0.8, 1.25) * terrain.camera.focal / z
        x, thick = share * canvas.aspect, tall * 0.075
        fog = min(0.8, 0.02 * z * light.thickness)
        bars = [(x, base - tall, base, thick)]
        for arm in (-1, 1):
            if rng.random() < 0.75:
                reach, low = arm * tall * rng.uniform(0.16, 0.24), base - tall * rng.uniform(0.35, 0.55)
                bars.append((x + reach, low - tall * rng.uniform(0.2, 0.35), low, thick * 0.75))
                bars.append(
                    (x + reach / 2, low - thick * 0.7, low + thick * 0.7, abs(reach) / 2 + thick * 0.5)
                )
        for bar in bars:
            _bar(canvas, bar, green, light, fog)


def _bar(
    canvas: Canvas, bar: tuple[float, float, float, float], green: Colour, light: Light, fog: float
) -> None:
    """Paint one rounded piece of a cactus: (middle, top, bottom, half width)."""
    x, top, bottom, half = bar
    middle, rise = (top + bottom) / 2, max((bottom - top) / 2 - half, 0.0)
    dx, dy = canvas.x - x, np.maximum(np.abs(canvas.y - middle) - rise, 0.0)
    if rise == 0.0:  # lying: rounded along x
        dx, dy = (
            np.sign(dx) * np.maximum(np.abs(dx) - half + (bottom - top) / 2, 0.0),
            np.abs(canvas.y - middle),
        )
        half = (bottom - top) / 2
    mask = np.clip((half - np.sqrt(dx**2 + dy**2)) / canvas.pixel + 0.7, 0.0, 1.0)
    lit = np.clip(0.45 + 0.6 * light.side * dx / half, 0.05, 1.0)
    canvas.blend(mix(light.shade(green, lit), light.haze, fog), mask)
