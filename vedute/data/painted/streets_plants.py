"""Trees and bushes beside a painted street, one at a time, each of a few shapes."""

from __future__ import annotations

import math
from random import Random

from vedute.data.painted.streets_view import Rgb, View


def _tinted(colour: Rgb, factor: float) -> Rgb:
    red, green, blue = colour
    return red * factor, green * factor, blue * factor


def _blobs(
    view: View, x: float, y: float, z: float, size: tuple[float, float], leaves: Rgb, random: Random
) -> None:
    """Fill a crown of half sides ``size`` around (x, y) with clusters of leaves: dark first, bright last."""
    wide, tall = size
    count = int(min(26, view.pixels_per_metre(z) * tall * 0.6))
    if count < 3:
        view.ellipse((x, y, z), wide * 0.9, tall * 0.9, leaves, 0.5)
        return
    view.ellipse((x, y, z), wide * 0.8, tall * 0.8, _tinted(leaves, 0.62), 0.25)
    for number in range(count):
        rise = number / count
        angle, radius = random.uniform(0, 2 * math.pi), math.sqrt(random.random())
        dx, dy = wide * radius * math.cos(angle), tall * radius * math.sin(angle)
        lit = 0.3 + 0.35 * rise + 0.25 * dy / tall + 0.2 * view.light.side * dx / wide
        part = random.uniform(0.28, 0.45) if count > 8 else 0.5
        place = (x + 0.75 * dx, y + 0.75 * dy, z)
        view.ellipse(
            place, wide * part, tall * part * 0.9, _tinted(leaves, 0.72 + 0.42 * rise), max(lit, 0.1)
        )


def broadleaf(view: View, x: float, z: float, tall: float, leaves: Rgb, random: Random) -> None:
    """Paint a round tree."""
    trunk = max(0.18, tall * 0.035)
    view.line([(x, 0, z), (x, tall * 0.5, z)], trunk * 2, (78, 62, 48), 0.4)
    _blobs(view, x, tall * 0.66, z, (tall * 0.36, tall * 0.36), leaves, random)


def bush(view: View, x: float, z: float, tall: float, leaves: Rgb, random: Random) -> None:
    """Paint a bush, half as high as wide."""
    _blobs(view, x, tall * 0.42, z, (tall * 0.8, tall * 0.5), leaves, random)


def conifer(
    view: View, x: float, z: float, tall: float, leaves: Rgb, random: Random, snow: float = 0.0
) -> None:
    """Paint a fir; ``snow`` in [0, 1] lies on its branches."""
    slim = tall * random.uniform(0.15, 0.21)
    tiers = 6 if view.pixels_per_metre(z) * tall > 24 else 3
    view.line([(x, 0, z), (x, tall * 0.2, z)], tall * 0.04, (70, 54, 42), 0.3)
    for tier in range(tiers):
        low, top = 0.08 + 0.9 * tier / tiers, min(1.0, 0.08 + 0.9 * (tier + 1.7) / tiers)
        half = slim * (1 - low) * random.uniform(0.9, 1.15) + 0.02 * tall
        for side in (-1, 1):
            lit = 0.6 if side == view.light.side else 0.15
            edge, tip = (x + side * half, tall * (low - 0.02), z), (x, tall * top, z)
            view.polygon([(x, tall * low, z), edge, tip], leaves, lit)
            if snow and random.random() < 0.5 + 0.5 * snow:
                middle = (x + side * half * 0.45, tall * (low + 0.42 * (top - low)), z)
                view.polygon(
                    [edge, middle, (x + side * half * 0.3, tall * (low + 0.02), z)], (232, 238, 246), lit
                )


def cypress(view: View, x: float, z: float, tall: float, leaves: Rgb, random: Random) -> None:
    """Paint a dark flame of a tree."""
    slim = tall * random.uniform(0.075, 0.11)
    levels = (0.0, 0.12, 0.35, 0.6, 0.82, 1.0)
    widths = (0.45, 0.9, 1.0, 0.78, 0.42, 0.0)
    right = [(x + slim * width, tall * level, z) for level, width in zip(levels, widths, strict=True)]
    left = [(2 * x - px, y, pz) for px, y, pz in reversed(right)]
    view.polygon([*right, *left], leaves, 0.3)
    bright = right if view.light.side > 0 else left[::-1]
    view.polygon([*bright, (x, tall * 0.6, z), (x, 0, z)], _tinted(leaves, 1.15), 0.7)


def palm(view: View, x: float, z: float, tall: float, leaves: Rgb, random: Random) -> None:
    """Paint a palm: a leaning trunk and hanging fronds."""
    lean = random.uniform(-0.12, 0.12) * tall
    trunk = [(x + lean * (step / 4) ** 2, tall * step / 4, z) for step in range(5)]
    view.line(trunk, 0.34, (134, 112, 86), 0.5)
    top_x, top_y = x + lean, tall
    for number in range(9):
        angle = math.pi * (number + random.uniform(-0.3, 0.3)) / 8
        length = tall * random.uniform(0.24, 0.32) + 0.7
        dx, dy = math.cos(angle) * length, math.sin(angle) * length * 0.55
        lit = 0.35 + 0.35 * math.sin(angle) + 0.15 * view.light.side * math.cos(angle)
        middle = (top_x + dx * 0.55, top_y + dy * 0.9 + 0.1 * length, z)
        tip = (top_x + dx, top_y + dy - 0.35 * length, z)
        low = (top_x + dx * 0.55, top_y + dy * 0.9 - 0.12 * length, z)
        view.polygon([(top_x, top_y, z), middle, tip, low], leaves, lit)


def eucalypt(view: View, x: float, z: float, tall: float, leaves: Rgb, random: Random) -> None:
    """Paint a gum tree: pale forked trunks, loose clumps of leaves high up."""
    for side in (-1.0, 1.0):
        bend = side * tall * random.uniform(0.08, 0.2)
        fork = (x + bend * 0.15, tall * 0.35, z)
        crown = (x + bend, tall * random.uniform(0.72, 0.85), z)
        view.line([(x, 0, z), fork, crown], max(0.16, tall * 0.026), (206, 192, 172), 0.6)
        for _ in range(2):
            place = (
                crown[0] + random.uniform(-0.13, 0.13) * tall,
                crown[1] + random.uniform(-0.08, 0.1) * tall,
            )
            _blobs(view, *place, z, (tall * 0.17, tall * 0.11), leaves, random)
