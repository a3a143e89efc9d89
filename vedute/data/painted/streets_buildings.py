"""Houses beside a painted street: boxes with roofs, windows and what hangs on their fronts."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from vedute.data.painted.streets_view import Point, Rgb, View

FLOOR = 2.9
"""Height of a storey, metres."""

_GLASS: Rgb = (52, 62, 76)


@dataclass(frozen=True)
class House:
    """How a house looks.

    Attributes:
        wall: Colour of its walls.
        roof: Colour of its roof.
        floors: Storeys.
        shape: Its roof: ``along`` the road, with the gable ``across``, ``stepped`` gable, or ``flat``.
        rise: Height of the roof over the walls, metres.
        frame: Colour around the windows; None: no frames.
        shutters: Colour of window shutters; None: none.
        spacing: Metres between windows.
        window: Width and height of a window, metres.
        boards: Whether the wall shows horizontal boards.
        shop: Colour of a sign over the ground floor, which is then open; None: none.
    """

    wall: Rgb
    roof: Rgb
    floors: int
    shape: Literal["along", "across", "stepped", "flat"]
    rise: float = 2.5
    frame: Rgb | None = (236, 234, 226)
    shutters: Rgb | None = None
    spacing: float = 2.6
    window: tuple[float, float] = (1.1, 1.4)
    boards: bool = False
    shop: Rgb | None = None


def paint_house(
    view: View, house: House, side: int, front: float, near: float, far: float, depth: float, random: Random
) -> None:
    """Paint a house whose front is parallel to the road.

    Args:
        view: The picture.
        house: How it looks.
        side: -1 left of the road, 1 right.
        front: Distance of its front from the middle of the road, metres.
        near: Depth of its near end, metres.
        far: Depth of its far end, metres.
        depth: From its front to its back, metres.
        random: Source of what differs between houses of one kind.
    """
    x, back, wall_top = (
        view.centre + side * front,
        view.centre + side * (front + depth),
        house.floors * FLOOR + 0.3,
    )
    ridge, top, middle = (x + back) / 2, wall_top + house.rise, (near + far) / 2
    sunny, shady = (0.8, 0.24) if view.light.side == -side else (0.24, 0.8)
    end, tiles = 0.42, 0.75
    if house.shape == "across":
        slope = [(x - side * 0.3, wall_top, near), (back, wall_top, near), (back, top, middle)]
        view.polygon([*slope, (x - side * 0.3, top, middle)], house.roof, tiles)
    if house.shape in ("along", "stepped"):
        slope = [(back, wall_top, near), (back, wall_top, far), (ridge, top, far), (ridge, top, near)]
        view.polygon(slope, house.roof, shady)
    view.polygon(
        [(x, 0, near), (back, 0, near), (back, wall_top, near), (x, wall_top, near)], house.wall, end
    )
    if house.shape in ("along", "stepped"):
        view.polygon([(x, wall_top, near), (back, wall_top, near), (ridge, top, near)], house.wall, end)
        eaves = [(x - side * 0.35, wall_top, near), (x - side * 0.35, wall_top, far)]
        view.polygon([*eaves, (ridge, top, far), (ridge, top, near)], house.roof, (sunny + tiles) / 2)
    front_points: list[Point] = [(x, 0, near), (x, wall_top, near), (x, wall_top, far), (x, 0, far)]
    if house.shape == "across":
        front_points[2:2] = [(x, top, middle)]
    elif house.shape == "stepped":
        front_points[2:2] = _steps(x, near, far, wall_top, house.rise)
    view.polygon(front_points, house.wall, sunny)
    if house.shape == "flat":
        edge = [(x, wall_top, near), (x, wall_top, far), (x, wall_top + 0.5, far), (x, wall_top + 0.5, near)]
        view.polygon(edge, house.roof, sunny)
        view.polygon(
            [edge[0], edge[3], (back, wall_top + 0.5, near), (back, wall_top, near)], house.roof, end
        )
    if house.boards and view.pixels_per_metre(near) > 9:
        darker: Rgb = (house.wall[0] * 0.86, house.wall[1] * 0.86, house.wall[2] * 0.86)
        for step in range(1, int(wall_top / 0.55)):
            view.line([(x, step * 0.55, max(near, 2.5)), (x, step * 0.55, far)], 0.02, darker, sunny)
    _front(view, house, x, side, near, far, sunny, random)
    _end(view, house, x, side, near, depth, end)


def _steps(x: float, near: float, far: float, low: float, rise: float) -> list[Point]:
    points: list[Point] = []
    count, half = 4, (far - near) / 2
    for step in range(count):
        z = near + half * (step + 0.6) / (count + 0.4)
        points += [(x, low + rise * step / count, z), (x, low + rise * (step + 1) / count, z)]
    return points + [(x, y, near + far - z) for x, y, z in reversed(points)]


def _front(
    view: View, house: House, x: float, side: int, near: float, far: float, lit: float, random: Random
) -> None:
    """Paint windows, door, shutters and shop sign of the side that faces the road."""
    columns = max(1, int((far - near) / house.spacing))
    door = random.randrange(columns)
    wide, tall = house.window
    out = x - side * 0.04
    for floor in range(house.floors):
        for column in range(columns):
            z = near + (far - near) * (column + 0.5) / columns
            scale = view.pixels_per_metre(max(z, 2.5))
            if z < 3.0 or tall * scale < 4:
                continue
            low = floor * FLOOR + 1.0
            if floor == 0 and house.shop is not None:
                _plane(view, out, z, 1.15, 0.1, 2.4, (44, 40, 42), 0.2 + 0.3 * random.random())
                continue
            if floor == 0 and column == door:
                _plane(view, out, z, 0.55, 0.0, 2.2, house.shutters or (92, 66, 48), lit)
                continue
            if house.frame is not None:
                _plane(view, out, z, wide / 2 + 0.16, low - 0.16, low + tall + 0.16, house.frame, lit)
            if house.shutters is not None and scale > 4:
                for shift in (-0.8, 0.8):
                    _plane(view, out, z + shift * wide, wide * 0.28, low, low + tall, house.shutters, lit)
            _plane(view, out, z, wide / 2, low, low + tall, _GLASS, 0.25 + 0.5 * random.random())
    if house.shop is not None:
        sign = [(out - side * 0.1, 2.5, near), (out - side * 0.1, 2.5, far), (out - side * 0.1, 3.3, far)]
        view.polygon([*sign, (out - side * 0.1, 3.3, near)], house.shop, lit)


def _end(view: View, house: House, x: float, side: int, near: float, depth: float, lit: float) -> None:
    """Paint the windows of the near end."""
    wide, tall = house.window
    if near < 4 or tall * view.pixels_per_metre(near) < 4:
        return
    columns = max(1, int(depth / house.spacing / 1.3))
    for floor in range(house.floors):
        for column in range(columns):
            middle, low = x + side * depth * (column + 0.5) / columns, floor * FLOOR + 1.0
            for half, spread, surface in ((wide / 2 + 0.16, 0.16, house.frame), (wide / 2, 0.0, _GLASS)):
                if surface is None:
                    continue
                left, right, high = middle - half, middle + half, low + tall + spread
                corners = [(left, low - spread, near), (right, low - spread, near), (right, high, near)]
                view.polygon([*corners, (left, high, near)], surface, lit)


def _plane(
    view: View, x: float, z: float, half: float, low: float, high: float, surface: Rgb, lit: float
) -> None:
    """Fill a rectangle that is parallel to the road, around depth ``z``."""
    near, far = max(z - half, 2.3), z + half
    view.polygon([(x, low, near), (x, low, far), (x, high, far), (x, high, near)], surface, lit)
