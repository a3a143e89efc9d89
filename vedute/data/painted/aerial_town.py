"""Painted towns: rasterburg with its grid of streets, altenfeld with its narrow lanes."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from vedute.data.painted.aerial_details import (
    ASPHALT,
    LAWNS,
    LEAVES,
    SIDE,
    axes,
    car_park,
    crooked,
    parked,
    solid,
    trees_along,
    trees_in,
)
from vedute.data.painted.aerial_scene import (
    Building,
    Car,
    Chance,
    Colour,
    Ground,
    Points,
    Scene,
    Street,
    inset,
    rectangle,
    shuffled_cuts,
    sides,
)


def rasterburg(chance: Chance) -> Scene:
    """A grid of streets, flat roofs, car parks and small parks."""
    base = Scene(SIDE, (128, 124, 116), 0.3, chance.between(-0.9, -0.5), 0.55, ((196, 200, 206), 0.05))
    angle = chance.between(-0.25, 0.25)
    width, depth, gap = chance.between(62, 78), chance.between(46, 58), 15.0
    along, across = axes(angle)
    middle = np.array([SIDE / 2 + chance.between(-20, 20), SIDE / 2 + chance.between(-20, 20)])
    for column in range(-3, 4):
        start = middle + along * (column - 0.5) * (width + gap)
        base.streets.append(
            Street(np.stack([start - across * 260, start + across * 260]), 9.0, ASPHALT, 2.6, True)
        )
        parked(chance, base, start - across * 200, angle + math.pi / 2, 400, 3.5, 0.5)
    for row in range(-4, 5):
        start = middle + across * (row - 0.5) * (depth + gap)
        base.streets.append(
            Street(np.stack([start - along * 260, start + along * 260]), 9.0, ASPHALT, 2.6, True)
        )
        parked(chance, base, start - along * 200, angle, 400, 3.5, 0.5)
    for column in range(-3, 4):
        for row in range(-4, 5):
            x, y = middle + along * column * (width + gap) + across * row * (depth + gap)
            if -60 < x < SIDE + 60 and -60 < y < SIDE + 60:
                _block(chance, base, rectangle(x, y, width, depth, angle))
    return base


def _block(chance: Chance, base: Scene, block: Points) -> None:
    """A city block: offices and halls, a car park or a small park between them."""
    greys: list[Colour] = [
        (168, 168, 166),
        (196, 194, 188),
        (140, 140, 142),
        (112, 112, 116),
        (206, 204, 202),
        (158, 146, 132),
    ]
    if chance.happens(0.07):
        base.grounds.append(Ground(block, chance.one_of(LAWNS, 6)))
        trees_in(chance, base, block, 34, LEAVES, 2.0, 4.5)
        a, b, c, d = block
        for line in (np.stack([a, c]), np.stack([b, d])):
            base.streets.append(Street(line, 2.4, (188, 178, 156)))
        return
    base.grounds.append(Ground(block, (146, 143, 136)))
    for lot in shuffled_cuts(chance, inset(block, 1.0), 34):
        kind = chance.between(0, 1)
        if kind < 0.12:
            car_park(chance, base, inset(lot, 1.0))
        elif kind < 0.18:
            base.grounds.append(Ground(inset(lot, 1.0), chance.one_of(LAWNS, 6)))
            trees_in(chance, base, lot, 6, LEAVES, 1.8, 3.5)
        else:
            house = inset(lot, chance.between(0.8, 3.0))
            if solid(house):
                base.buildings.append(
                    Building(house, "flat", chance.one_of(greys, 10), chance.between(7, 26))
                )
                trees_along(chance, base, lot, 0.25)


def altenfeld(chance: Chance) -> Scene:
    """An old town of attached houses round courts, with a market square."""
    base = Scene(SIDE, (150, 142, 128), 0.3, chance.between(-2.2, -1.7), 0.45, ((222, 206, 180), 0.06))
    roofs: list[Colour] = [
        (176, 98, 64),
        (190, 114, 76),
        (158, 84, 60),
        (146, 92, 70),
        (196, 130, 92),
        (134, 88, 72),
    ]
    angle = chance.between(-0.8, 0.8)
    town = rectangle(SIDE / 2, SIDE / 2, 330, 330, angle)
    blocks = [crooked(chance, block, 5) for block in shuffled_cuts(chance, town, 62, 0.2)]
    inside = [block for block in blocks if np.abs(block.mean(0) - SIDE / 2).max() < SIDE / 2 - 30]
    square = inside[int(chance.rng.integers(len(inside)))] if inside else None
    for block in blocks:
        x, y = block.mean(axis=0)
        if not (-45 < x < SIDE + 45 and -45 < y < SIDE + 45):
            continue
        if block is square:
            _square(chance, base, inset(block, 2.0), angle)
            continue
        quarter = inset(block, chance.between(2.2, 3.8))
        if not solid(quarter):
            continue
        base.grounds.append(
            Ground(quarter, chance.one_of([(146, 132, 112), (108, 118, 78), (136, 130, 118)], 6))
        )
        _attached(chance, base, quarter, roofs)
    return base


def _attached(chance: Chance, base: Scene, quarter: Points, roofs: list[Colour]) -> None:
    """Houses wall to wall round a court."""
    depth = chance.between(8.5, 11.5)
    court = inset(quarter, depth)
    if not solid(court) or min(sides(court)) < 5:
        for lot in shuffled_cuts(chance, quarter, 15):
            base.buildings.append(Building(lot, "gable", chance.one_of(roofs, 9), chance.between(8, 13)))
        return
    for start in range(4):
        following = (start + 1) % 4
        row = np.stack([quarter[start], quarter[following], court[following], court[start]])
        length = float(np.linalg.norm(row[1] - row[0]))
        count = max(1, round(length / chance.between(10, 15)))
        edges = np.linspace(0, 1, count + 1) + np.pad(
            chance.rng.uniform(-0.2, 0.2, max(count - 1, 0)) / count, 1
        )
        for left, right in pairwise(edges.tolist()):
            upper, lower = row[1] - row[0], row[2] - row[3]
            lot = np.stack(
                [row[0] + upper * left, row[0] + upper * right, row[3] + lower * right, row[3] + lower * left]
            )
            base.buildings.append(Building(lot, "gable", chance.one_of(roofs, 9), chance.between(9, 14)))
    if chance.happens(0.5) and min(sides(court)) > 12:  # a house in the court
        x, y = court.mean(axis=0)
        direction = court[1] - court[0]
        turn = math.atan2(direction[1], direction[0])
        house = rectangle(x, y, min(sides(court)) * 0.5, min(sides(court)) * 0.35, turn)
        base.buildings.append(Building(house, "hip", chance.one_of(roofs, 9), 5.0))
    trees_in(chance, base, court, 4, LEAVES, 1.5, 3.2)


def _square(chance: Chance, base: Scene, place: Points, angle: float) -> None:
    """A market square with a church, trees and stalls."""
    base.grounds.append(Ground(place, (186, 174, 152)))
    x, y = place.mean(axis=0)
    slate = chance.one_of([(86, 92, 100), (98, 112, 104)], 6)
    along, across = axes(angle)
    for width, depth, height in ((34.0, 12.0, 16.0), (11.0, 24.0, 15.0)):
        shift = along * (4 if width < depth else 0)
        base.buildings.append(
            Building(rectangle(x + shift[0], y + shift[1], width, depth, angle), "gable", slate, height)
        )
    tower = np.array([x, y]) - along * 19
    base.buildings.append(
        Building(rectangle(tower[0], tower[1], 8, 8, angle), "hip", chance.one_of([(92, 132, 118)], 4), 34.0)
    )
    trees_along(chance, base, inset(place, 3.5), 0.8)
    for _ in range(6):
        spot = np.array([x, y]) + across * 17 + along * chance.between(-18, 18)
        base.cars.append(
            Car(spot[0], spot[1], angle, chance.one_of([(220, 60, 50), (240, 236, 226), (60, 110, 160)]))
        )
