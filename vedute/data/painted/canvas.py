"""The canvas: coordinates, blending and the last touch. Knows pixels, not landscapes.

Pictures are painted at twice their size in float and reduced, which smooths every edge.
Lengths are in picture heights: y from 0 (top) to 1 (bottom), x from -aspect/2 to aspect/2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vedute.data.painted.noise import Field

Colour = Field  # (3, 1, 1) or (3, h, w), red, green and blue in [0, 1]

_SCALE = 2  # painted pixels per picture pixel and side
_SHOULDER = 0.72  # brighter values are compressed, so that sunlit snow and sand keep their shapes


def colour(red: float, green: float, blue: float) -> Colour:
    """Return an even colour, (3, 1, 1), from components in 0..255."""
    return np.array([red, green, blue], dtype=np.float32).reshape(3, 1, 1) / np.float32(255.0)


def mix(first: Colour, second: Colour, share: float | Field) -> Colour:
    """Return ``first`` moved towards ``second`` by ``share`` in [0, 1], a number or (h, w)."""
    return first + np.asarray(share, dtype=np.float32) * (second - first)


def choose(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """Return a random blend of two of ``colours``, so that palettes vary without steps."""
    first, second = rng.integers(len(colours), size=2)
    return mix(colours[first], colours[second], rng.random() * 0.7)


class Canvas:
    """A picture being painted."""

    def __init__(self, image_size: tuple[int, int]) -> None:
        """Prepare a black canvas for a picture of ``image_size``, (H, W) in pixels."""
        self.height, self.width = (_SCALE * side for side in image_size)
        self.aspect = self.width / self.height
        self.pixel = 1.0 / self.height
        self.y: Field = ((np.arange(self.height, dtype=np.float32) + 0.5) / self.height)[:, None]  # (h, 1)
        self.x: Field = ((np.arange(self.width, dtype=np.float32) + 0.5) / self.height - self.aspect / 2)[
            None
        ]
        self.pixels: Colour = np.zeros((3, self.height, self.width), dtype=np.float32)

    def blend(self, paint: Colour, mask: Field, rows: slice = slice(None)) -> None:
        """Cover the canvas (or some rows of it) with ``paint`` where ``mask`` (h, w) in [0, 1] says so."""
        part = self.pixels[:, rows]
        part += mask * (paint - part)

    def add(self, light: Colour, amount: Field) -> None:
        """Add ``light`` times ``amount`` (h, w): glows, rays, glitter."""
        self.pixels += amount * light

    def rows(self, top: float, bottom: float) -> slice:
        """Return the rows between two heights (in picture heights), cut to the canvas."""
        first = int(np.clip(np.floor(top * self.height), 0, self.height))
        last = int(np.clip(np.ceil(bottom * self.height), first, self.height))
        return slice(first, last)

    def finish(self) -> np.ndarray:
        """Return the picture (H, W, 3) uint8, with a soft shoulder and a slight curve for contrast."""
        offsets = [(down, right) for down in range(_SCALE) for right in range(_SCALE)]
        parts = [self.pixels[:, down::_SCALE, right::_SCALE] for down, right in offsets]
        small = np.stack(parts).mean(axis=0)
        bright = np.maximum(small - _SHOULDER, 0.0)
        small += (1.0 - _SHOULDER) * np.tanh(bright / (1.0 - _SHOULDER)) - bright
        small = np.clip(small, 0.0, 1.0)
        small += 0.3 * small * (1.0 - small) * (2.0 * small - 1.0)
        return np.ascontiguousarray((small * 255.0 + 0.5).astype(np.uint8).transpose(1, 2, 0))
