"""A painted street while it is furnished: things at their depths, hills behind, all drawn far to near."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from random import Random

from vedute.data.painted.streets_buildings import FLOOR, House, paint_house
from vedute.data.painted.streets_ground import Ground, paint_ground
from vedute.data.painted.streets_traffic import car, car_colour, pole, wires
from vedute.data.painted.streets_view import Point, Rgb, View

FAR = 130.0
"""Metres: how far the roadside is furnished."""


@dataclass(frozen=True)
class Country:
    """A painted country.

    Attributes:
        drives: -1 where traffic keeps to the left, 1 where it keeps to the right.
        horizon: Lowest and highest horizon, in picture heights from the top.
        reach: Depth at which 63 % is haze on a clear day, metres.
        curve: Most that a road bends, 1/metres.
        ground: Draws the ground.
        behind: Paints what lies at the horizon.
        furnish: Puts things along the street.
    """

    drives: int
    horizon: tuple[float, float]
    reach: float
    curve: float
    ground: Callable[[Random], Ground]
    behind: Callable[[View, Random], None]
    furnish: Callable[[Street], None]


class Street:
    """A street that a country furnishes.

    Attributes:
        view: The picture.
        random: Source of everything that varies.
        centre: X of the middle of the road, metres.
        drives: -1 where traffic keeps to the left, 1 where it keeps to the right.
        snow: Whether it is winter.
    """

    def __init__(self, view: View, random: Random, drives: int, ground: Ground) -> None:
        """Start with an empty street on ``ground``."""
        self.view, self.random, self.drives, self.ground = view, random, drives, ground
        self.centre = view.centre
        self.snow = False
        self._things: list[tuple[float, Callable[[], None]]] = []

    def add(self, z: float, paint: Callable[[], None]) -> None:
        """Keep something for its turn; the farthest is painted first."""
        self._things.append((z, paint))

    def plant(
        self,
        kind: Callable[..., None],
        x: float,
        z: float,
        tall: float,
        leaves: Sequence[Rgb],
        **options: float,
    ) -> None:
        """Plant a tree at ``x`` metres from the middle of the road, its leaves a blend of two colours."""
        first, second = self.random.choice(leaves), self.random.choice(leaves)
        share = self.random.random()
        red, green, blue = (a + share * (b - a) for a, b in zip(first, second, strict=True))
        self.view.shadow(self.centre + x, z, tall * 0.2, tall * 0.3, tall)
        self.add(
            z,
            lambda: kind(
                self.view, self.centre + x, z, tall, (red, green, blue), random=self.random, **options
            ),
        )

    def scatter(
        self, count: int, least: float, most: float, make: Callable[[float, float], None], near: float = 7.0
    ) -> None:
        """Call ``make(x, z)`` for places on both sides, ``least`` to ``most`` metres from the middle.

        Places are denser near the camera, as they fill the picture evenly.
        """
        for _ in range(count):
            z = near * (FAR / near) ** self.random.random()
            # What is farther away may stand farther aside and still be seen.
            reach = least + (most - least) * self.random.random() * min(1.0, 0.25 + z / 50)
            make(self.random.choice((-1, 1)) * reach, z)

    def houses(
        self,
        side: int,
        front: float,
        make: Callable[[], tuple[House, float]],
        gap: tuple[float, float],
        depth: float = 9.0,
        until: float = 110.0,
        begin: float | None = None,
    ) -> None:
        """Build houses along one side.

        Args:
            side: -1 left, 1 right.
            front: Distance of their fronts from the middle of the road, metres.
            make: Draws a house and its length along the road.
            gap: Shortest and longest gap between two, metres.
            depth: From front to back, metres.
            until: Depth of the last one, metres.
            begin: Depth of the first one; None: any, partly behind the camera.
        """
        z = self.random.uniform(-6.0, 5.0) if begin is None else begin
        while z < until:
            house, length = make()
            near, far = max(z, 2.4), z + length
            if far > 4.5:
                self.view.shadow(
                    self.centre + side * (front + depth / 2), (near + far) / 2, depth / 2, far - near,
                    house.floors * FLOOR,
                )  # fmt: skip
                self.add(near, partial(self._house, house, side, front, near, far, depth))
            z = far + self.random.uniform(*gap)

    def _house(self, house: House, side: int, front: float, near: float, far: float, depth: float) -> None:
        paint_house(self.view, house, side, front, near, far, depth, self.random)

    def line(
        self, x: float, spacing: float, tall: float, surface: Rgb, arms: int, strands: Sequence[float]
    ) -> None:
        """Put up a line of poles with wires at ``x`` metres from the middle of the road."""
        first = self.random.uniform(3.0, spacing)
        depths = [first - spacing, *(first + spacing * step for step in range(int(FAR / spacing) + 1))]
        place = self.centre + x
        for z in depths[1:]:
            self.add(z, partial(pole, self.view, place, z, tall, surface, arms))
        self.add(FAR + 1, lambda: wires(self.view, place, depths, [tall + strand for strand in strands]))

    def traffic(
        self, lane: float, chance: float, paint: Callable[[float, float, bool], None] | None = None
    ) -> None:
        """Let cars drive: ahead in the own lane from behind, in the other from the front.

        Args:
            lane: Distance of the lanes' middles from the middle of the road, metres.
            chance: Of a car in each of several places.
            paint: Paints something else than a car, from x, z and whether it is seen from behind.
        """
        for side in (-1, 1):
            ahead = side == self.drives
            z = self.random.uniform(9.0 if ahead else 6.0, 24.0)
            while z < 90.0:
                if self.random.random() < chance:
                    x = self.centre + side * lane + self.random.uniform(-0.25, 0.25)
                    self.view.shadow(x, z + 1.5, 1.0, 4.0, 1.2)
                    if paint is not None:
                        self.add(z, partial(paint, x, z, ahead))
                    else:
                        body, tall = car_colour(self.random), self.random.choice((1.45, 1.5, 1.75))
                        self.add(z, partial(car, self.view, x, z, body, ahead, tall))
                z += self.random.uniform(9.0, 30.0)

    def parked(self, x: float, chance: float, tall: float = 1.5) -> None:
        """Park cars in a row at ``x`` metres from the middle of the road."""
        z = self.random.uniform(5.0, 10.0)
        while z < 60.0:
            if self.random.random() < chance:
                body = car_colour(self.random)
                self.view.shadow(self.centre + x, z + 1.8, 1.0, 4.2, 1.2)
                self.add(z, partial(car, self.view, self.centre + x, z, body, True, tall))
            z += self.random.uniform(5.5, 8.0)

    def finish(self, wet: float) -> None:
        """Paint the ground, then everything on it."""
        paint_ground(self.view, self.ground, self.random.randrange(1 << 16), wet)
        for _, paint in sorted(self._things, key=lambda thing: -thing[0]):
            paint()


def hills(
    view: View,
    random: Random,
    tall: float,
    surface: Rgb,
    distance: float,
    rough: float = 0.5,
    snow: float | None = None,
    flat: bool = False,
) -> None:
    """Paint a chain of hills on the horizon.

    Args:
        view: The picture.
        random: Source of their shape.
        tall: Their height, in picture heights.
        surface: Their colour.
        distance: Metres, for the haze.
        rough: Share of fine detail in the ridge, 0 smooth to 1 jagged.
        snow: Height, as a share of ``tall``, above which there is snow; None: no snow.
        flat: Whether tops are level, as of mesas.
    """
    waves = [
        (random.uniform(0.6, 1.4) * 2**octave, random.uniform(0, 6.28), rough**octave) for octave in range(6)
    ]
    total = sum(weight for *_, weight in waves)
    steps = max(24, view.width // 3)
    ridge = []
    for step in range(steps + 1):
        x = step / steps
        level = (
            sum(weight * (0.5 + 0.5 * math.sin(6.28 * rate * x + phase)) for rate, phase, weight in waves)
            / total
        )
        if flat:
            level = min(1.0, max(0.12, (level - 0.5) * 9.0)) * 0.8
        ridge.append((x * view.width, level))
    bottom = view.horizon + 2
    scale = tall * view.height

    def outline(levels: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x, view.horizon - level * scale) for x, level in levels]

    dark, bright = view.colour(surface, 0.3, distance), view.colour(surface, 0.75, distance)
    view.draw.polygon([(0, bottom), *outline(ridge), (view.width, bottom)], fill=dark)
    # The sunny flanks: slopes that face the light.
    for (x0, low), (x1, high) in pairwise(ridge):
        if (high - low) * view.light.side < 0:
            foot = view.horizon - 0.35 * min(low, high) * scale
            view.draw.polygon(
                [(x0, view.horizon - low * scale), (x1, view.horizon - high * scale), (x1, foot), (x0, foot)],
                bright,
            )
    if snow is not None:
        white = view.colour((238, 242, 250), 0.7, distance)
        for (x0, low), (x1, high) in pairwise(ridge):
            line = snow + random.uniform(-0.08, 0.08)
            if max(low, high) > line:
                foot = view.horizon - line * scale
                tops = [
                    (x0, min(foot, view.horizon - low * scale)),
                    (x1, min(foot, view.horizon - high * scale)),
                ]
                view.draw.polygon([*tops, (x1, foot), (x0, foot)], fill=white)


def forest_edge(
    view: View, random: Random, tall: float, surface: Rgb, distance: float, pointed: bool
) -> None:
    """Paint a distant line of trees, ``tall`` picture heights over the horizon."""
    points: list[tuple[float, float]] = [(0, view.horizon + 2)]
    x = 0.0
    while x < view.width:
        size = tall * view.height * random.uniform(0.45, 1.0)
        wide = max(1.5, size * (0.3 if pointed else 0.8))
        if pointed:
            points += [(x, view.horizon - size * 0.35), (x + wide / 2, view.horizon - size)]
        else:
            points += [
                (x, view.horizon - size * 0.7),
                (x + wide * 0.3, view.horizon - size),
                (x + wide * 0.7, view.horizon - size),
            ]
        x += wide
    points += [(view.width, view.horizon - tall * view.height * 0.5), (view.width, view.horizon + 2)]
    view.draw.polygon(points, fill=view.colour(surface, 0.35, distance))


def corners(x: float, z: float, half: float, low: float, high: float) -> list[Point]:
    """Return the corners of an upright rectangle that faces the camera."""
    return [(x - half, low, z), (x + half, low, z), (x + half, high, z), (x - half, high, z)]
