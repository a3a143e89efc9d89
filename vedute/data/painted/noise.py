"""Smooth random fields: what clouds, ridges, dunes, foam and bark are made of.

Fields are functions of continuous coordinates, not of pixels, so that one seed paints the
same picture at every size. Nothing here knows what is painted.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.floating]

_SIDE = 64  # lattice points a side, a power of two; fields repeat after as many units
_TURN = np.float32(0.8), np.float32(0.6)  # cosine and sine: octaves are turned so that no grid shows


def smoothstep(low: float | Field, high: float | Field, value: Field) -> Field:
    """Rise smoothly from 0 at ``low`` to 1 at ``high`` (falls where ``low`` > ``high``)."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


class Noise:
    """A random field over the plane, drawn once from a generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw the lattice from ``rng``: always the same number of draws."""
        lattice = np.pad(rng.random((_SIDE, _SIDE), dtype=np.float32), ((0, 1), (0, 1)), mode="wrap")
        corner, right, lower = lattice[:-1, :-1], lattice[:-1, 1:], lattice[1:, :-1]
        twist = lattice[1:, 1:] - lower - right + corner
        cells = np.stack(
            [corner, right - corner, lower - corner, twist], axis=-1
        )  # value, slopes in x and y, twist
        self._cells = (
            np.ascontiguousarray(cells).view(np.complex128).ravel()
        )  # 16 bytes a cell: one look-up fetches all

    def value(self, x: Field, y: Field | float = 0.0) -> Field:
        """Return one octave in [0, 1]: features of about one unit. ``x`` and ``y`` broadcast."""
        x, y = np.asarray(x, dtype=np.float32), np.asarray(y, dtype=np.float32)
        floor_x, floor_y = np.floor(x), np.floor(y)
        t, s = x - floor_x, y - floor_y
        t *= t * (3.0 - 2.0 * t)
        s *= s * (3.0 - 2.0 * s)
        column, row = floor_x.astype(np.intp) & (_SIDE - 1), floor_y.astype(np.intp) & (_SIDE - 1)
        place = row * _SIDE + column
        cell = self._cells.take(place, mode="clip").view(np.float32).reshape(*place.shape, 4)
        upper = cell[..., 1] * t
        upper += cell[..., 0]
        change = cell[..., 3] * t
        change += cell[..., 2]
        change *= s
        upper += change
        return upper

    def fractal(self, x: Field, y: Field | float = 0.0, octaves: int = 4, gain: float = 0.5) -> Field:
        """Return a sum of octaves in [0, 1], mean about 0.5: soft clouds, rolling ground."""
        total, weight = self.value(x, y), 1.0
        for octave in range(1, octaves):
            x, y = _next_octave(x, y, octave)
            total += gain**octave * self.value(x, y)
            weight += gain**octave
        return total / np.float32(weight)

    def ridged(self, x: Field, y: Field | float = 0.0, octaves: int = 5, gain: float = 0.5) -> Field:
        """Return sharp crests and broad valleys in [0, 1]: mountain chains (after Musgrave)."""
        crest = 1.0 - np.abs(2.0 * self.value(x, y) - 1.0)
        crest *= crest
        total, weight = crest.copy(), 1.0
        for octave in range(1, octaves):
            x, y = _next_octave(x, y, octave)
            fine = 1.0 - np.abs(2.0 * self.value(x, y) - 1.0)
            crest = fine * fine * np.clip(1.6 * crest, 0.0, 1.0)  # detail gathers on the crests
            total += gain**octave * crest
            weight += gain**octave
        return np.asarray(total / np.float32(weight), dtype=np.float32)


def _next_octave(x: Field, y: Field | float, octave: int) -> tuple[Field, Field]:
    cosine, sine = _TURN
    shift = np.float32(17.3 * octave)
    double = np.float32(2.03)
    return double * (cosine * x - sine * y) + shift, double * (sine * x + cosine * y) + shift
