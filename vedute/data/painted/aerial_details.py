"""Small things that several painted cities have: trees, cars, colours, random places."""

from __future__ import annotations

import math

import numpy as np

from vedute.data.painted.aerial_scene import (
    Car,
    Chance,
    Colour,
    Ground,
    Points,
    Scene,
    Tree,
    area,
    sides,
)

SIDE = 200.0
"""Of a picture, metres."""

ASPHALT: Colour = (98, 98, 102)
CAR_COLOURS: list[Colour] = [
    (232, 232, 234),
    (28, 30, 34),
    (128, 132, 138),
    (150, 34, 30),
    (40, 62, 120),
    (190, 190, 186),
]
LEAVES: list[Colour] = [(58, 84, 40), (70, 96, 46), (48, 74, 38), (84, 100, 52)]
NEEDLES: list[Colour] = [(34, 58, 38), (42, 66, 40), (30, 50, 34)]
LAWNS: list[Colour] = [(96, 122, 62), (112, 130, 70), (84, 112, 56), (134, 138, 84)]
RED_TILES: list[Colour] = [(168, 84, 58), (152, 72, 52), (182, 100, 70), (138, 66, 54), (120, 78, 68)]


def axes(angle: float) -> tuple[Points, Points]:
    """Return the directions along and across an angle, unit vectors."""
    return np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])


def solid(corners: Points) -> bool:
    """Whether a quadrangle is still one after its sides were moved inwards."""
    return abs(area(corners)) > 25 and min(sides(corners)) > 3.5


def crooked(chance: Chance, corners: Points, most: float) -> Points:
    """Move corners by up to half of ``most`` metres."""
    moved: Points = corners + chance.rng.uniform(-most, most, corners.shape) / 2
    return moved


def round_outline(centre: Points, radius: float, chance: Chance) -> Points:
    """Return a rough circle."""
    turns = np.linspace(0, 2 * math.pi, 14, endpoint=False)
    lengths = radius * chance.rng.uniform(0.8, 1.15, 14)
    outline: Points = centre + lengths[:, None] * np.stack([np.cos(turns), np.sin(turns)], 1)
    return outline


def across_picture(chance: Chance) -> tuple[Points, Points]:
    """Two points beyond opposite edges."""
    begin = np.array([-20.0, chance.between(50, SIDE - 50)])
    end = np.array([SIDE + 20.0, chance.between(50, SIDE - 50)])
    if chance.happens(0.5):
        begin, end = begin[::-1].copy(), end[::-1].copy()
    return begin, end


def scattered(chance: Chance, distance: float) -> Points:
    """Points all over the picture, about so far from each other, from top to bottom."""
    count = int(SIDE / distance) + 3
    grid = np.stack(np.meshgrid(np.arange(count), np.arange(count)), -1).reshape(-1, 2) - 1.0
    points: Points = (grid + chance.rng.uniform(-0.42, 0.42, grid.shape)) * distance
    return points


def inside(chance: Chance, corners: Points) -> Points:
    """Return a random point of a quadrangle."""
    a, b, c, d = corners
    right, down = chance.between(0.05, 0.95), chance.between(0.05, 0.95)
    upper, lower = a + (b - a) * right, d + (c - d) * right
    point: Points = upper + (lower - upper) * down
    return point


def trees_in(
    chance: Chance, base: Scene, corners: Points, count: int, colours: list[Colour], low: float, high: float
) -> None:
    """Trees anywhere in a quadrangle."""
    for _ in range(count):
        x, y = inside(chance, corners)
        base.trees.append(Tree(x, y, chance.between(low, high), chance.one_of(colours)))


def trees_along(chance: Chance, base: Scene, corners: Points, probability: float) -> None:
    """Trees along the sides of a lot."""
    for start in range(4):
        first, second = corners[start], corners[(start + 1) % 4]
        for share in np.arange(0.1, 0.95, 8 / max(float(np.linalg.norm(second - first)), 8)):
            if chance.happens(probability):
                x, y = first + (second - first) * share
                base.trees.append(Tree(x, y, chance.between(1.4, 2.8), chance.one_of(LEAVES)))


def parked(
    chance: Chance, base: Scene, start: Points, angle: float, length: float, offset: float, share: float
) -> None:
    """Cars along both sides of a street."""
    along, across = axes(angle)
    for side in (-1, 1):
        for place in np.arange(0, length, 6.2):
            x, y = start + along * place + across * side * offset
            if chance.happens(share) and -5 < x < SIDE + 5 and -5 < y < SIDE + 5:
                base.cars.append(Car(x, y, angle, chance.one_of(CAR_COLOURS)))


def car_park(chance: Chance, base: Scene, corners: Points) -> None:
    """Rows of cars on asphalt."""
    base.grounds.append(Ground(corners, (112, 112, 114)))
    a, b, _, d = corners
    angle = math.atan2(*(b - a)[::-1])
    first, second = sides(corners)
    for down in np.arange(3.5, second - 2, 7.5):
        for along in np.arange(2.5, first - 2, 2.8):
            if chance.happens(0.6):
                x, y = a + (b - a) / first * along + (d - a) / second * down
                base.cars.append(Car(x, y, angle + math.pi / 2, chance.one_of(CAR_COLOURS)))
