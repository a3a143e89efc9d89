"""What stands in a painted aerial picture: streets, houses, trees, cars and ground, in metres.

Here are the things and the geometry of their outlines. How they look is in ``aerial_drawing.py``, where
they stand in ``aerial_cities.py``.

Coordinates are metres from the upper left corner of the picture: x to the right, y down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(n, 2) metres: x, y."""

Colour = tuple[int, int, int]
"""Red, green and blue in [0, 255]."""

Roof = Literal["flat", "gable", "hip"]


@dataclass(frozen=True)
class Building:
    """A house: four corners in order round the outline, and what is on top."""

    corners: Points
    roof: Roof
    colour: Colour
    height: float


@dataclass(frozen=True)
class Tree:
    """A tree seen from above."""

    x: float
    y: float
    radius: float
    colour: Colour


@dataclass(frozen=True)
class Street:
    """A street, a path or a brook along a line."""

    line: Points
    width: float
    colour: Colour
    pavement: float = 0.0  # width of the lighter strip on each side
    marked: bool = False  # a dashed line in the middle


@dataclass(frozen=True)
class Ground:
    """A piece of ground: a field, a lawn, a car park, a pool."""

    corners: Points
    colour: Colour
    stripes: float = 0.0  # distance of furrows or mowing lines; 0: none


@dataclass(frozen=True)
class Car:
    """A parked or driving car."""

    x: float
    y: float
    angle: float  # radians
    colour: Colour


@dataclass
class Scene:
    """A piece of a city.

    Attributes:
        side: Of the square that is seen, metres.
        ground: Colour of what nothing else covers.
        rough: How uneven the ground is, in [0, 1].
        grounds, streets, cars, trees, buildings: What stands there, later ones over earlier ones.
        sun: Direction of the shadows, radians.
        shadow: Length of the shadow of one metre of height.
        haze: Colour that lies over the picture, and how much of it, in [0, 1].
    """

    side: float
    ground: Colour
    rough: float
    sun: float
    shadow: float
    haze: tuple[Colour, float]
    grounds: list[Ground] = field(default_factory=list)
    streets: list[Street] = field(default_factory=list)
    cars: list[Car] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)


class Chance:
    """Draws of the sizes and colours of things."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Keep the generator."""
        self.rng = rng

    def between(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return float(self.rng.uniform(low, high))

    def happens(self, probability: float) -> bool:
        """Return True with this probability."""
        return bool(self.rng.random() < probability)

    def one_of(self, colours: list[Colour], spread: float = 10.0) -> Colour:
        """Return one of the colours, lighter or darker and a little off."""
        red, green, blue = colours[int(self.rng.integers(len(colours)))]
        light = self.rng.normal(0, spread)
        off = self.rng.normal(0, spread / 3, 3)
        values = np.clip(np.array([red, green, blue]) + light + off, 0, 255)
        return int(values[0]), int(values[1]), int(values[2])


def rectangle(x: float, y: float, width: float, depth: float, angle: float = 0.0) -> Points:
    """Return the corners of a rectangle round (x, y); ``width`` lies along ``angle``."""
    along = np.array([math.cos(angle), math.sin(angle)]) * width / 2
    across = np.array([-math.sin(angle), math.cos(angle)]) * depth / 2
    centre = np.array([x, y])
    return np.stack(
        [centre - along - across, centre + along - across, centre + along + across, centre - along + across]
    )


def inset(corners: Points, distance: float) -> Points:
    """Move the sides of a convex polygon inwards by a distance (outwards where it is negative)."""
    count = len(corners)
    following = np.roll(corners, -1, axis=0)
    direction = following - corners
    length = np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
    normal = np.stack([-direction[:, 1], direction[:, 0]], 1) / length
    if area(corners) < 0:
        normal = -normal
    moved = np.empty_like(corners)
    for corner in range(count):
        first, second = normal[corner - 1], normal[corner]
        # The corner where both moved sides meet.
        matrix = np.stack([first, second])
        if abs(np.linalg.det(matrix)) < 1e-6:
            moved[corner] = corners[corner] + distance * second
        else:
            moved[corner] = corners[corner] + np.linalg.solve(matrix, [distance, distance])
    return moved


def area(corners: Points) -> float:
    """Return the area of a polygon, square metres; negative where it turns the other way."""
    following = np.roll(corners, -1, axis=0)
    return float(np.sum(corners[:, 0] * following[:, 1] - following[:, 0] * corners[:, 1]) / 2)


def sides(corners: Points) -> tuple[float, float]:
    """Return the lengths of the first and second side."""
    return (
        float(np.linalg.norm(corners[1] - corners[0])),
        float(np.linalg.norm(corners[2] - corners[1])),
    )


def cut(corners: Points, share: float) -> tuple[Points, Points]:
    """Cut a quadrangle across its longer sides at a share of them."""
    a, b, c, d = corners
    first, second = sides(corners)
    if first < second:
        a, b, c, d = b, c, d, a
    upper, lower = a + (b - a) * share, d + (c - d) * share
    return np.stack([a, upper, lower, d]), np.stack([upper, b, c, lower])


def shuffled_cuts(chance: Chance, corners: Points, largest: float, jitter: float = 0.15) -> list[Points]:
    """Cut a quadrangle again and again until no side is longer than about ``largest`` metres."""
    if max(sides(corners)) <= largest * chance.between(0.8, 1.25):
        return [corners]
    pieces = cut(corners, chance.between(0.5 - jitter, 0.5 + jitter))
    return [end for piece in pieces for end in shuffled_cuts(chance, piece, largest, jitter)]


def winding(chance: Chance, start: Points, end: Points, swing: float, count: int = 24) -> Points:
    """Return a line from start to end that swings to both sides by up to ``swing`` metres."""
    share = np.linspace(0, 1, count)[:, None]
    direction = end - start
    normal = np.array([-direction[1], direction[0]]) / np.linalg.norm(direction)
    phase, second = chance.between(0, 2 * math.pi), chance.between(0, 2 * math.pi)
    wave = 0.7 * np.sin(2 * math.pi * share * chance.between(0.6, 1.2) + phase)
    wave += 0.3 * np.sin(2 * math.pi * share * chance.between(1.6, 2.4) + second)
    line: Points = start + share * direction + swing * wave * normal
    return line
