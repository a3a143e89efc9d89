"""What drives and stands on a painted street: cars, rickshaws, cyclists, poles with wires, lamps, signs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random

from vedute.data.painted.streets_view import Rgb, View

_RUBBER: Rgb = (30, 30, 32)
_GLASS: Rgb = (48, 58, 70)


def car(view: View, x: float, z: float, body: Rgb, rear: bool, tall: float = 1.5) -> None:
    """Paint a car seen from behind (``rear``) or from the front; ``tall`` 1.5 to 2.4 metres."""
    half, waist = 0.88, tall * 0.58
    box(view, x, z, half * 0.98, 0.0, 0.32, _RUBBER, 0.1)
    box(view, x, z, half, 0.25, waist, body, 0.5)
    view.polygon(
        [(x - half, waist, z), (x + half, waist, z), (x + half * 0.78, tall, z), (x - half * 0.78, tall, z)],
        body,
        0.75,
    )
    glass = [(x - half * 0.82, waist + 0.03, z), (x + half * 0.82, waist + 0.03, z)]
    view.polygon([*glass, (x + half * 0.68, tall - 0.1, z), (x - half * 0.68, tall - 0.1, z)], _GLASS, 0.5)
    lamp: Rgb = (214, 36, 30) if rear else (255, 250, 224)
    for side in (-1, 1):
        box(view, x + side * half * 0.8, z, 0.15, waist - 0.32, waist - 0.08, lamp, 1.0)
        box(view, x + side * half * 0.78, z, 0.12, 0.0, 0.3, _RUBBER, 0.0)
    box(view, x, z, 0.26, 0.42, 0.55, (226, 226, 214), 0.5)


def rickshaw(view: View, x: float, z: float) -> None:
    """Paint an auto-rickshaw: green below, yellow above."""
    box(view, x, z, 0.55, 0.15, 0.8, (40, 104, 60), 0.5)
    box(view, x, z, 0.55, 0.8, 1.45, (40, 42, 46), 0.3)
    box(view, x, z, 0.6, 1.35, 1.75, (240, 190, 40), 0.7)
    box(view, x, z, 0.5, 0.0, 0.2, _RUBBER, 0.0)


def rider(view: View, x: float, z: float, clothes: Rgb, motor: bool) -> None:
    """Paint somebody on a bicycle or a motorcycle, from behind."""
    box(view, x, z, 0.12 if motor else 0.05, 0.0, 0.75, _RUBBER, 0.2)
    box(view, x, z, 0.25, 0.7, 1.35, clothes, 0.6)
    view.ellipse((x, 1.52, z), 0.13, 0.15, (60, 48, 42) if not motor else (150, 40, 40), 0.5)
    box(view, x, z, 0.3, 0.95, 1.02, (60, 60, 64), 0.5)


def walker(view: View, x: float, z: float, clothes: Rgb) -> None:
    """Paint somebody on foot."""
    box(view, x, z, 0.15, 0.0, 0.85, (52, 52, 66), 0.4)
    box(view, x, z, 0.22, 0.8, 1.42, clothes, 0.6)
    view.ellipse((x, 1.58, z), 0.12, 0.14, (118, 86, 66), 0.5)


def box(
    view: View, x: float, z: float, half: float, low: float, high: float, surface: Rgb, lit: float
) -> None:
    """Fill an upright rectangle that faces the camera."""
    left, bottom = view.at(x - half, low, z)
    right, top = view.at(x + half, high, z)
    view.draw.rectangle((left, top, right, bottom), view.colour(surface, lit, z))


def pole(
    view: View, x: float, z: float, tall: float, surface: Rgb, arms: int = 1, thick: float = 0.26
) -> None:
    """Paint a pole with crossbars."""
    view.line([(x, 0, z), (x, tall, z)], thick, surface, 0.5)
    for arm in range(arms):
        y = tall - 0.4 - 0.8 * arm
        view.line([(x - 0.9, y, z), (x + 0.9, y, z)], 0.14, surface, 0.4)


def wires(view: View, x: float, depths: Sequence[float], heights: Sequence[float]) -> None:
    """Hang wires from pole to pole, all at ``x``."""
    for near, far in pairwise(depths):
        for height in heights:
            points = []
            for step in range(7):
                share = step / 6
                y = height - 0.9 * 4 * share * (1 - share)
                points.append((x, y, max(near, 2.4) + (far - max(near, 2.4)) * share))
            view.line(points, 0.03, (96, 98, 104), 0.3)


def lamp(view: View, x: float, z: float, tall: float, towards: int) -> None:
    """Paint a street lamp whose arm points ``towards`` -1 or 1."""
    view.line([(x, 0, z), (x, tall, z), (x + towards * 1.6, tall + 0.2, z)], 0.14, (128, 132, 136), 0.5)
    box(view, x + towards * 1.6, z, 0.35, tall + 0.1, tall + 0.3, (220, 220, 210), 0.6)


def diamond(view: View, x: float, z: float, surface: Rgb, half: float = 0.55) -> None:
    """Paint a diamond-shaped warning sign."""
    view.line([(x, 0, z), (x, 2.0, z)], 0.08, (150, 150, 150), 0.5)
    view.polygon(
        [(x, 1.5, z), (x + half, 1.5 + half, z), (x, 1.5 + 2 * half, z), (x - half, 1.5 + half, z)],
        surface,
        0.8,
    )
    view.ellipse((x, 1.5 + half, z), half * 0.3, half * 0.3, (30, 28, 26), 0.3)


def rail(view: View, x: float, near: float, far: float) -> None:
    """Paint a guard rail along the road."""
    corners = [(x, 0.45, near), (x, 0.75, near), (x, 0.75, far), (x, 0.45, far)]
    view.polygon(corners, (176, 180, 184), 0.6)
    z = near
    while z < far:
        view.line([(x, 0, z), (x, 0.6, z)], 0.12, (140, 144, 148), 0.4)
        z += 4.0


def wall(view: View, x: float, near: float, far: float, tall: float, surface: Rgb, lit: float) -> None:
    """Paint a wall along the road."""
    view.polygon([(x, 0, near), (x, tall, near), (x, tall, far), (x, 0, far)], surface, lit)


def car_colour(random: Random) -> Rgb:
    """Draw the colour of a car: mostly white, grey and black."""
    colours: tuple[Rgb, ...] = (
        (230, 232, 234), (214, 216, 218), (120, 124, 130), (46, 48, 54), (160, 34, 34), (38, 66, 128),
        (90, 96, 104),
    )  # fmt: skip
    return random.choice(colours)
