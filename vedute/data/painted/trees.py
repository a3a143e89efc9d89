"""Trees, painted a whole row at a time.

A row is a line of cells, one tree each, with random offset, size and lean; every pixel looks
at the trees of its own and the neighbouring cells. That costs the same for ten trees and for
a thousand. Rows are painted far to near by the scenes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vedute.data.painted.canvas import Canvas, Colour, mix
from vedute.data.painted.noise import Field, Noise, smoothstep

_CELLS = 256  # random numbers repeat after this many trees


@dataclass
class Row:
    """A line of trees.

    Attributes:
        base: Height of the ground at every column, (1, w), in picture heights from the top.
        spacing: Distance between trees, in picture heights.
        tall: Height of a tree, in picture heights.
        dark: Colour in the shade; ``bright`` in the light.
        side: Where the light comes from, -1 or 1.
        snow: Share of snow in [0, 1].
        gaps: Share of cells without a tree.
    """

    base: Field
    spacing: float
    tall: float
    dark: Colour
    bright: Colour
    side: int
    snow: float = 0.0
    gaps: float = 0.0


def _trees(canvas: Canvas, row: Row, rng: np.random.Generator) -> Iterator[tuple[Field, Field, Field, Field]]:
    """Yield per column (1, w) for three overlapping sets of trees: offset, base, size, random number."""
    table = rng.random((4, _CELLS), dtype=np.float32)
    cell = np.floor(canvas.x / row.spacing).astype(np.intp)
    for neighbour in (-1, 1, 0):
        index = (cell + neighbour) % _CELLS
        centre = ((cell + neighbour).astype(np.float32) + 0.15 + 0.7 * table[0][index]) * row.spacing
        size = (0.62 + 0.5 * table[1][index]) * (table[3][index] >= row.gaps)
        column = np.clip((centre + canvas.aspect / 2) * canvas.height, 0, canvas.width - 1).astype(np.intp)
        base = np.broadcast_to(row.base, canvas.x.shape)[0, column]
        yield canvas.x - centre, base, size.astype(np.float32), table[2][index]


def paint_conifers(canvas: Canvas, row: Row, rng: np.random.Generator) -> None:
    """Paint a row of firs: narrow cones with drooping tiers of branches."""
    slim = float(rng.uniform(0.17, 0.24))
    tiers = float(rng.uniform(6.0, 9.0))
    rows = canvas.rows(float(row.base.min()) - row.tall * 1.15, float(row.base.max()) + 0.05 * row.tall)
    y = canvas.y[rows]
    for offset, base, size, chance in _trees(canvas, row, rng):
        tall = np.maximum(size * row.tall, 1e-4)
        down = (y - (base - tall)) / tall  # 0 at the tip, 1 at the foot
        tier = (down * tiers * (0.8 + 0.4 * chance) + chance) % 1.0
        half = tall * slim * np.clip(down, 0, 1) ** 0.85 * (0.62 + 0.5 * tier) + canvas.pixel * 0.3
        edge = np.clip((half - np.abs(offset)) / canvas.pixel + 0.5, 0.0, 1.0)
        mask = edge * ((down > 0.0) & (down < 1.02) & (size > 0))
        light = np.clip(
            0.5 + 0.6 * row.side * offset / np.maximum(half, 1e-4) - 0.45 * tier + 0.3 * chance, 0, 1
        )
        paint = mix(row.dark, row.bright, light)
        if row.snow > 0.0:
            white = np.clip((0.75 - tier) * 2.5, 0, 1) * np.clip(light + 0.35, 0, 1) * row.snow
            paint = mix(paint, (row.bright + 2.0 * row.bright.max()) / 3.0 * 1.25, white)
        canvas.blend(paint, mask, rows)


def paint_crowns(
    canvas: Canvas, row: Row, palette: list[Colour], noise: Noise, rng: np.random.Generator
) -> None:
    """Paint a row of broadleaf trees: round crowns of leaf clusters, each tree with its own hue.

    Args:
        canvas: The picture.
        row: The line of trees; ``dark`` and ``bright`` are factors on the hue of each tree.
        palette: Hues of single trees, each (3, 1, 1).
        noise: For clusters of leaves.
        rng: Source of the trees.
    """
    hues = np.stack([hue[:, 0, 0] for hue in palette])  # (p, 3)
    rows = canvas.rows(float(row.base.min()) - row.tall * 1.3, float(row.base.max()) + 0.03)
    y = canvas.y[rows]
    scale = 9.0 / row.tall
    leaves = noise.fractal(np.broadcast_to(canvas.x * scale, (len(y), canvas.width)), y * scale, 2) - 0.5
    for offset, base, size, chance in _trees(canvas, row, rng):
        radius = np.maximum(size * row.tall * 0.5, 1e-4)
        wide = radius * (0.85 + 0.35 * chance)
        across, up = offset / wide, (base - radius * 1.15 - y) / (radius * 1.1)
        distance = np.sqrt(across**2 + up**2) + 0.55 * leaves
        mask = smoothstep(1.0, 0.9, distance) * (size > 0)
        trunk = (np.abs(offset) < 0.09 * radius) & (y < base) & (y > base - radius)
        canvas.blend(row.dark * 0.5, trunk.astype(np.float32) * (size > 0) * 0.8, rows)
        light = np.clip(0.42 + 0.42 * up + 0.3 * row.side * across + 1.1 * leaves, 0.0, 1.0)
        hue = hues[(chance * 977.0).astype(np.intp) % len(hues)][0].T[:, None, :]  # (3, 1, w)
        paint = hue * mix(row.dark, row.bright, light)
        if row.snow > 0.0:
            paint = mix(paint, row.bright * 0.9, 0.8 * row.snow * smoothstep(0.15, 0.95, light))
        canvas.blend(paint, mask, rows)


def paint_trunks(
    canvas: Canvas, row: Row, thick: float, marks: float, noise: Noise, rng: np.random.Generator
) -> None:
    """Paint tall trunks that leave the picture at the top.

    Args:
        canvas: The picture.
        row: The line of trees; ``tall`` is not used.
        thick: Width of a trunk, in picture heights.
        marks: Strength of dark birch marks in [0, 1]; 0 is plain bark.
        noise: For bark.
        rng: Source of the trees.
    """
    for offset, base, size, chance in _trees(canvas, row, rng):
        lean = (chance - 0.5) * 0.12
        above = np.maximum(base - canvas.y, 0.0)
        half = 0.5 * thick * size * (1.0 - 0.25 * above) + thick * 0.35 * np.exp(-above / (0.7 * thick))
        across = (offset - lean * above) / np.maximum(half, 1e-4)
        mask = np.clip((1.0 - np.abs(across)) * half / canvas.pixel + 0.5, 0.0, 1.0)
        mask = mask * (canvas.y < base + 0.15 * thick) * (size > 0)
        bark = noise.value(across * 2.0 + chance * 40.0, canvas.y * 5.0 / max(thick * 8, 0.1)) - 0.5
        light = np.clip(0.42 + 0.5 * row.side * across + 0.5 * bark, 0.0, 1.0)
        paint = mix(row.dark, row.bright, light)
        if marks > 0.0:
            scar = noise.value(across * 0.8 + chance * 50.0, canvas.y * 26.0)
            paint = mix(paint, row.dark * 0.45, marks * smoothstep(0.68, 0.8, scar))
        canvas.blend(paint, mask)
