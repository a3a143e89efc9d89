"""The faces of a painted car that are turned away from its side: bonnet, roof, nose, windscreen, far wheels.

Here also lives how paint looks in daylight, which the side shares.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from vedute.data.painted.cars_backdrops import Scene
from vedute.data.painted.cars_shape import Outline, Shape
from vedute.data.painted.cars_traits import Traits
from vedute.data.painted.cars_view import FINE, Points, View, extruded, flat
from vedute.data.painted.noise import Field

_LIGHT = np.array([0.25, 0.80, -0.55])  # where the light comes from
_GLASS = np.array([0.13, 0.15, 0.18])
_BLACK = (0.08, 0.08, 0.09)

_Brushes = tuple[ImageDraw.ImageDraw, ImageDraw.ImageDraw]  # of colours, and of what is covered
_Paint = npt.NDArray[np.floating]  # (3,) or (n, 3) in [0, 1]


@dataclass(frozen=True)
class Car:
    """A car in its place: traits, form, view and surroundings."""

    traits: Traits
    shape: Shape
    view: View
    scene: Scene

    @cached_property
    def body(self) -> _Paint:
        """The paint, (3,)."""
        traits = self.traits
        return np.array(colorsys.hsv_to_rgb(traits.hue, traits.saturation, traits.brightness))

    @cached_property
    def second(self) -> _Paint:
        """The paint of a roof or a stripe of another colour, (3,)."""
        return np.full(3, self.traits.contrast)

    @property
    def top(self) -> _Paint:
        """The paint of roof and pillars, (3,)."""
        return self.second if self.traits.paint == "two_tone" else self.body

    @property
    def side(self) -> float:
        """Place z of the near side."""
        return -self.shape.width / 2

    def shade(self, paint: _Paint, normals: Points) -> _Paint:
        """Return the colours (n, 3) of painted faces: daylight, and a reflection of sky or floor."""
        lit = 0.5 + 0.55 * np.maximum(0.0, normals @ _LIGHT)
        upward = normals[:, 1:2]
        shown = np.where(upward > 0, self.scene.sky[:, 0, 0], self.scene.floor[:, 0, 0])
        return np.asarray(paint * lit[:, None] + (shown - 0.4 * paint) * (0.06 + 0.24 * upward**2))

    def lean(self, outline: Outline) -> npt.NDArray[np.floating]:
        """Return how high points of the cabin are between belt (0) and roof (1)."""
        shape = self.shape
        return np.asarray(np.clip((outline[:, 1] - shape.belt) / (shape.roof - shape.belt), 0, 1))

    def cabin_half(self, lean: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return half the cabin's width, which decreases upwards."""
        shape = self.shape
        return np.asarray(shape.width / 2 - 0.03 + lean * (shape.cabin_width - shape.width) / 2)


def paint_faces(car: Car) -> tuple[Field, Field]:
    """Paint the faces that look towards the viewer, from the farthest to the nearest.

    Returns:
        Colours (3, H, W) in [0, 1], multiplied by their coverage, and the coverage (H, W).
    """
    size = (car.view.width * FINE, car.view.height * FINE)
    # On black, reduced colours are multiplied by their coverage already; RGBA is slower to reduce.
    colours, cover = Image.new("RGB", size), Image.new("L", size)
    brushes = ImageDraw.Draw(colours), ImageDraw.Draw(cover)
    _far_wheels(car, brushes)
    _shell(car, brushes)
    if car.traits.turn > 7:
        _nose(car, brushes)
    _cabin(car, brushes)
    layer = np.asarray(colours.reduce(FINE), dtype=np.float32).transpose(2, 0, 1)
    return layer / np.float32(255), np.asarray(cover.reduce(FINE), dtype=np.float32) / np.float32(255)


def _draw(car: Car, brushes: _Brushes, corners: Points, paint: _Paint) -> None:
    """Draw faces (n, k, 3) in colours (n, 3), each over those before it."""
    places = (car.view.project(corners) * FINE).reshape(len(corners), -1).tolist()
    fills = (np.clip(paint, 0, 1) * 255).astype(int).tolist()
    for outline, fill in zip(places, fills, strict=True):
        brushes[0].polygon(outline, fill=tuple(fill))
        brushes[1].polygon(outline, fill=255)


def _draw_far_first(car: Car, brushes: _Brushes, corners: Points, normals: Points, paint: _Paint) -> None:
    order = np.argsort(-car.view.away(corners.mean(axis=1)))
    order = order[car.view.faces_us(normals)[order]]
    _draw(car, brushes, corners[order], paint[order])


def _far_wheels(car: Car, brushes: _Brushes) -> None:
    around = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    circle = car.shape.radius * np.column_stack([np.cos(around), 1 + np.sin(around)])
    depths = (-car.side - 0.05, -car.side - 0.22)
    wheels = [flat(circle + np.array([axle, 0.0]), z) for axle in car.shape.axles for z in depths]
    _draw(car, brushes, np.stack(wheels), np.full((4, 3), 0.05))


def _shell(car: Car, brushes: _Brushes) -> None:
    outline, half = car.shape.shell, -car.side
    far_end = flat(outline * np.array([0.955, 1.0]) - np.array([0.0, 0.015]), half)
    near_end = flat(outline * np.array([0.97, 1.0]), -half)
    sections = [near_end, flat(outline, 0.32 - half), flat(outline, half - 0.32), far_end]
    corners, normals = extruded(sections, closed=True)
    paint = car.shade(car.body, normals)
    if car.shape.bed:
        middle = corners.mean(axis=1)
        bed = (middle[:, 0] < car.shape.cabin[0, 0] - 0.06) & (np.abs(middle[:, 2]) < 0.4)
        paint[bed & (normals[:, 1] > 0.8)] = 0.09
    _draw_far_first(car, brushes, corners, normals, paint)


def _nose(car: Car, brushes: _Brushes) -> None:
    """Air intake, grille, number plate and lamps."""
    shape, half = car.shape, -car.side
    top, sill = shape.belt - 0.24, shape.sill
    lamp = (0.93, 0.95, 0.97)
    plates = (  # lowest, highest, left, right
        (sill + 0.10, sill + 0.22, -half * 0.72, half * 0.72, _BLACK),
        (top - 0.16, top, -half * 0.5, half * 0.5, _BLACK),
        (sill + 0.24, sill + 0.34, -0.24, 0.24, (0.88, 0.88, 0.84)),
        (top - 0.13, top + 0.02, half * 0.56, half * 0.84, lamp),
        (top - 0.13, top + 0.02, -half * 0.84, -half * 0.56, lamp),
    )
    corners = [
        [(shape.front(y) + 0.01, y, z) for y, z in ((low, left), (low, right), (high, right), (high, left))]
        for low, high, left, right, _ in plates
    ]
    _draw(car, brushes, np.array(corners), np.array([plate[4] for plate in plates]))


def _cabin(car: Car, brushes: _Brushes) -> None:
    shape, lean = car.shape, car.lean(car.shape.cabin)
    half = car.cabin_half(lean)
    sections = [flat(shape.cabin, share * half) for share in (-1.0, -0.82, 0.82, 1.0)]
    for section in (sections[0], sections[-1]):
        section[:, 1] -= 0.02 * lean  # the roof's edges are a little lower
    corners, normals = extruded(sections, closed=False)
    strip, place = np.divmod(np.arange(len(corners)), len(shape.cabin) - 1)
    glass = (strip == 1) & ((place >= shape.roof_to) | (place < shape.roof_from))
    shown = 0.45 * np.maximum(0.0, normals[:, 1:2]) * (1 - 0.5 * car.traits.tint)
    window = _GLASS + shown * (0.7 * car.scene.sky[:, 0, 0] - _GLASS)
    _draw_far_first(
        car, brushes, corners, normals, np.where(glass[:, None], window, car.shade(car.top, normals))
    )
