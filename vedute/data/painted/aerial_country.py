"""Painted places in the country: gartenau, tannhain, almdorf."""

from __future__ import annotations

import math

import numpy as np

from vedute.data.painted.aerial_details import (
    CAR_COLOURS,
    LAWNS,
    LEAVES,
    NEEDLES,
    RED_TILES,
    SIDE,
    across_picture,
    axes,
    round_outline,
    scattered,
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
    Tree,
    inset,
    rectangle,
    shuffled_cuts,
    winding,
)


def gartenau(chance: Chance) -> Scene:
    """Rows of villas in gardens along bent streets."""
    base = Scene(SIDE, (104, 122, 70), 0.6, chance.between(-2.6, -2.2), 0.7, ((206, 206, 190), 0.04))
    angle = chance.between(-0.5, 0.5)
    along, across = axes(angle)
    middle = np.array([SIDE / 2, SIDE / 2])
    spacing = chance.between(58, 66)
    phase, bend = chance.between(0, 6.3), chance.between(4, 9)
    asphalt: Colour = (126, 124, 124)
    steps = np.linspace(-190, 190, 60)
    for row in range(-3, 4):
        wave = bend * np.sin(steps / 60 + phase + 0.3 * row)
        line = middle + steps[:, None] * along + (row * spacing + wave)[:, None] * across
        base.streets.append(Street(line, 6.0, asphalt, 1.2))
        for side in (-1, 1):
            place = -180.0 + chance.between(0, 16)
            while place < 180:
                lot = chance.between(17, 24)
                slope = math.atan(bend / 60 * math.cos(place / 60 + phase + 0.3 * row))
                offset = row * spacing + bend * math.sin(place / 60 + phase + 0.3 * row)
                centre = middle + place * along + (offset + side * 16.5) * across
                if -20 < centre[0] < SIDE + 20 and -20 < centre[1] < SIDE + 20:
                    _villa(chance, base, centre, angle + slope, side, lot)
                place += lot
    if chance.happens(0.8):
        start = middle + chance.between(-50, 50) * along
        base.streets.append(Street(np.stack([start - 200 * across, start + 200 * across]), 7.0, asphalt, 1.4))
        keep = []
        for house in base.buildings:
            away = abs(float((house.corners.mean(0) - start) @ along))
            if away > 13:
                keep.append(house)
        base.buildings[:] = keep
    return base


def _villa(chance: Chance, base: Scene, centre: Points, angle: float, side: int, lot: float) -> None:
    """A house in its garden, with a drive to the street on ``-side``."""
    along, across = axes(angle)
    x, y = centre + across * side * 2.5
    garden = rectangle(x, y, lot - 0.8, 25, angle)
    base.grounds.append(Ground(garden, chance.one_of(LAWNS, 8), 1.5 if chance.happens(0.25) else 0.0))
    drive = centre + along * lot * 0.36 - across * side * 6
    base.grounds.append(Ground(rectangle(drive[0], drive[1], 3.2, 14, angle), (164, 158, 150)))
    if chance.happens(0.6):
        place = drive - across * side * chance.between(-3, 4)
        base.cars.append(Car(place[0], place[1], angle + math.pi / 2, chance.one_of(CAR_COLOURS)))
    width, depth = chance.between(9.5, min(14, lot - 5)), chance.between(8, 10.5)
    if chance.happens(0.35):
        width, depth = depth, width
    x, y = centre - along * lot * 0.1
    house = rectangle(x, y, width, depth, angle)
    grey = chance.happens(0.15)
    roof = chance.one_of([(108, 104, 104), (92, 86, 84)] if grey else RED_TILES)
    hip = chance.happens(0.4)
    base.buildings.append(Building(house, "hip" if hip else "gable", roof, chance.between(5.5, 8)))
    if chance.happens(0.45):  # a garage or a wing
        wing = centre + along * lot * 0.3 + across * side * chance.between(1, 4)
        shed = rectangle(wing[0], wing[1], 4.2, 6.5, angle)
        flat = chance.happens(0.5)
        colour = chance.one_of([(150, 148, 144)]) if flat else roof
        base.buildings.append(Building(shed, "flat" if flat else "gable", colour, 3.0))
    back = centre + across * side * 11
    if chance.happens(0.14):
        base.grounds.append(Ground(rectangle(back[0], back[1], 8.4, 5.2, angle), (204, 200, 190)))
        base.grounds.append(Ground(rectangle(back[0], back[1], 7.0, 3.8, angle), (84, 170, 188)))
    for _ in range(int(chance.rng.integers(2, 6))):
        x, y = back + along * chance.between(-0.5, 0.5) * lot + across * chance.between(-3.5, 4)
        base.trees.append(Tree(x, y, chance.between(1.2, 3.8), chance.one_of(LEAVES)))


def tannhain(chance: Chance) -> Scene:
    """Houses in clearings of a forest."""
    base = Scene(SIDE, (70, 82, 50), 0.8, chance.between(-1.9, -1.3), 0.75, ((180, 196, 196), 0.04))
    begin, end = across_picture(chance)
    road = winding(chance, begin, end, chance.between(14, 28))
    base.streets.append(Street(road, 5.0, (150, 140, 122)))
    brook = winding(chance, *across_picture(chance), 22)
    base.streets.append(Street(brook, 3.0, (56, 72, 70), 0.7))
    clearings: list[tuple[Points, float]] = []
    roofs: list[Colour] = [(110, 106, 104), (88, 92, 98), (126, 92, 70), (146, 74, 58), (158, 160, 160)]
    for _ in range(60):
        position = int(chance.rng.integers(1, len(road) - 1))
        step = road[position + 1] - road[position - 1]
        angle = math.atan2(step[1], step[0])
        side = 1 if chance.happens(0.5) else -1
        along, across = axes(angle)
        centre = road[position] + across * side * chance.between(15, 24)
        wet = float(np.linalg.norm(brook - centre, axis=1).min()) < 14
        if wet or any(float(np.linalg.norm(centre - other)) < 26 for other, _ in clearings):
            continue
        if len(clearings) > 9:
            break
        clearings.append((centre, chance.between(12, 17)))
        angle += chance.between(-0.3, 0.3)
        house = rectangle(centre[0], centre[1], chance.between(11, 16), chance.between(8, 10.5), angle)
        base.buildings.append(Building(house, "gable", chance.one_of(roofs), chance.between(5, 7)))
        base.streets.append(Street(np.stack([road[position], centre]), 3.0, (160, 148, 126)))
        if chance.happens(0.6):
            place = centre + along * 11
            shed = rectangle(place[0], place[1], chance.between(4, 7), chance.between(4, 6), angle)
            base.buildings.append(Building(shed, "gable", chance.one_of(roofs), 3.0))
        if chance.happens(0.6):
            place = centre - across * side * 9
            base.cars.append(Car(place[0], place[1], chance.between(0, 3.1), chance.one_of(CAR_COLOURS)))
        base.grounds.append(Ground(round_outline(centre, clearings[-1][1], chance), chance.one_of(LAWNS, 6)))
    lines = [(road, 6.0), (brook, 4.5)]
    for x, y in scattered(chance, 5.2):
        place = np.array([x, y])
        near = any(float(np.linalg.norm(place - centre)) < radius for centre, radius in clearings)
        if near or any(float(np.linalg.norm(line - place, axis=1).min()) < free for line, free in lines):
            continue
        needle = chance.happens(0.65)
        radius = chance.between(1.9, 3.2) if needle else chance.between(2.6, 4.6)
        base.trees.append(Tree(x, y, radius, chance.one_of(NEEDLES if needle else LEAVES, 8)))
    return base


def almdorf(chance: Chance) -> Scene:
    """A village of chalets among mown meadows."""
    base = Scene(SIDE, (122, 142, 72), 0.5, chance.between(-1.0, -0.7), 0.85, ((210, 220, 230), 0.05))
    greens: list[Colour] = [(116, 140, 68), (132, 150, 78), (104, 132, 64), (150, 156, 88), (96, 120, 58)]
    angle = chance.between(-0.6, 0.6)
    field = rectangle(SIDE / 2, SIDE / 2, 330, 330, angle)
    for piece in shuffled_cuts(chance, field, 62, 0.22):
        stripes = chance.between(2.5, 4) if chance.happens(0.6) else 0.0
        base.grounds.append(Ground(inset(piece, 0.5), chance.one_of(greens, 5), stripes))
    begin, end = across_picture(chance)
    road = winding(chance, begin, end, 16)
    beside = axes(math.atan2(*(end - begin)[::-1]))[1] * chance.between(34, 52)
    away = (end - begin) * 0.3
    brook = winding(chance, begin - away + beside, end + away + beside, 14)
    base.streets.append(Street(brook, 3.6, (84, 106, 104), 0.8))
    base.streets.append(Street(road, 5.6, (138, 136, 134), 0.6))
    centre = road[len(road) // 2] + np.array([chance.between(-25, 25), chance.between(-25, 25)])
    lane = winding(chance, centre, np.array([chance.between(20, 180), chance.between(-10, 210)]), 8)
    base.streets.append(Street(lane, 3.6, (160, 152, 138)))
    browns: list[Colour] = [
        (104, 80, 64),
        (92, 72, 60),
        (124, 96, 74),
        (96, 92, 92),
        (134, 78, 60),
        (112, 108, 106),
    ]
    placed: list[Points] = []
    for trial in range(700):
        distance = abs(chance.rng.normal(0, 52))
        turn = chance.between(0, 2 * math.pi)
        place = centre + distance * np.array([math.cos(turn), math.sin(turn)])
        road_gap = min(float(np.linalg.norm(line - place, axis=1).min()) for line in (road, lane, brook))
        if road_gap < 14 or any(float(np.linalg.norm(place - other)) < 18.5 for other in placed):
            continue
        placed.append(place)
        nearest = road[int(np.linalg.norm(road - place, axis=1).argmin())]
        facing = math.atan2(*(nearest - place)[::-1]) + chance.between(-0.2, 0.2)
        house = rectangle(place[0], place[1], chance.between(12, 17), chance.between(9.5, 12), facing)
        base.grounds.append(
            Ground(
                rectangle(place[0], place[1], 21, 17, facing),
                chance.one_of([(138, 138, 96), (146, 140, 120), (110, 128, 70)], 6),
            )
        )
        base.buildings.append(Building(house, "gable", chance.one_of(browns, 8), chance.between(6, 9)))
        if chance.happens(0.4):
            x, y = place + 10 * axes(facing)[1]
            base.cars.append(Car(x, y, facing, chance.one_of(CAR_COLOURS)))
        if chance.happens(0.5):
            x, y = place + 12 * axes(facing)[0] + chance.between(-3, 3)
            base.trees.append(Tree(x, y, chance.between(1.5, 3), chance.one_of(LEAVES)))
        if len(placed) > 20 or trial > 400:
            break
    for _ in range(6):  # spruces in groups
        x, y = chance.between(0, SIDE), chance.between(0, SIDE)
        for _ in range(int(chance.rng.integers(4, 26))):
            tree = Tree(
                x + chance.rng.normal(0, 8),
                y + chance.rng.normal(0, 8),
                chance.between(1.4, 2.6),
                chance.one_of(NEEDLES),
            )
            free = min(float(np.hypot(other[0] - tree.x, other[1] - tree.y)) for other in [*placed, *road])
            if free > 9:
                base.trees.append(tree)
    return base
