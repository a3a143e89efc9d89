"""One painted car from its traits: backdrop, body, windows, lamps, wheels. Needs numpy and Pillow only.

The side of the car is painted as a function of place; faces that are turned away from it are in
``cars_faces.py``.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from vedute.data.painted.canvas import Colour, colour, mix
from vedute.data.painted.cars_backdrops import paint_backdrop
from vedute.data.painted.cars_faces import Car, paint_faces
from vedute.data.painted.cars_shape import car_shape
from vedute.data.painted.cars_traits import Traits
from vedute.data.painted.cars_view import FINE, View, flat, inside
from vedute.data.painted.noise import Field, smoothstep

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)[:, None, None]
_Corners = list[tuple[float, float, float]]  # x, y, z


def paint_car(traits: Traits, image_size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Paint a car.

    Args:
        traits: What it looks like.
        image_size: Height and width in pixels.

    Returns:
        (H, W, 3), red, green and blue in 0..255.
    """
    shape = car_shape(traits)
    view = View(image_size, traits.turn, traits.zoom, shape.width)
    scene = paint_backdrop(traits.backdrop, view, traits.warmth, traits.scenery)
    pixels = _Painting(Car(traits, shape, view, scene)).paint()
    pixels = pixels * mix(colour(255, 255, 255), colour(266, 252, 226), 0.6 * traits.warmth)
    if traits.grey:
        pixels = np.repeat((pixels * _LUMA).sum(axis=0, keepdims=True), 3, axis=0)
    if traits.faces_left:
        pixels = pixels[:, :, ::-1]
    return np.ascontiguousarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))


class _Painting:
    """The painting of one car; ``pixels`` (3, H, W) grows from back to front."""

    def __init__(self, car: Car) -> None:
        self.car = car
        self.traits, self.shape, self.view, self.scene = car.traits, car.shape, car.view, car.scene
        self.pixels: Field = car.scene.pixels
        self.soft = 1.2 / car.view.scale
        self.x, self.y = car.view.upright(car.side)

    def paint(self) -> Field:
        """Paint everything."""
        self._shadow()
        empty = self.pixels
        layer, cover = paint_faces(self.car)
        self.pixels = empty * (1 - cover) + layer
        shell = self.view.cover([self.view.project(flat(self.shape.shell, self.car.side))])
        self._shell(shell)
        self._cabin()
        self._details()
        self._wheels(shell)
        if self.traits.spoiler:
            self._spoiler()
        if self.scene.mirror > 0:
            self._mirror(empty)
        return self.pixels

    def _blend(self, paint: Field, share: Field) -> None:
        self.pixels = mix(self.pixels, paint, share)

    def _fill(self, paint: Field, *outlines: _Corners) -> None:
        self._blend(paint, self.view.cover([self.view.project(np.array(outline)) for outline in outlines]))

    def _even(self, paint: npt.NDArray[np.floating], normal: tuple[float, float, float]) -> Colour:
        """Return the colour of a painted face."""
        return _column(self.car.shade(paint, np.array([normal]))[0])

    def _shadow(self) -> None:
        half, reach = self.shape.length / 2, self.shape.width / 2
        corners = np.array([[-half, 0, -reach], [half, 0, -reach], [half, 0, reach], [-half, 0, reach]])
        for grow, blur, strength in ((1.04, 0.16, 0.5), (0.94, 0.06, 0.65)):
            cover = self.view.cover([self.view.project(corners * grow)])
            soft = Image.fromarray((cover * 255).astype(np.uint8)).filter(
                ImageFilter.BoxBlur(blur * self.view.scale)
            )
            self._blend(colour(12, 12, 16), np.asarray(soft, dtype=np.float32) * np.float32(strength / 255))

    def _shell(self, cover: Field) -> None:
        """Paint the side below the windows."""
        shape, x, y = self.shape, self.x, self.y
        v = (y - shape.sill) / (shape.belt - shape.sill)
        paint = _column(self.car.body)
        if self.traits.paint == "stripe":
            paint = mix(paint, _column(self.car.second), inside(v, 0.50, 0.68, 0.06))
        # The side bulges: its upper part looks at the sky, its lower part at the floor.
        lit = 0.50 + 0.42 * smoothstep(-0.1, 1.0, v)
        lit = lit - 0.10 * smoothstep(0.55, 1.0, np.abs(x) / (shape.length / 2))
        shown = mix(self.scene.floor, self.scene.sky, smoothstep(0.36, 0.52, v))
        share = 0.10 + 0.20 * np.exp(-(((v - 0.90) / 0.10) ** 2)) + 0.08 * np.exp(-(((v - 0.60) / 0.12) ** 2))
        gaps = [
            inside(x - 0.05 * (y - shape.belt), door - 0.012, door + 0.012, self.soft) for door in shape.doors
        ]
        paint = paint * lit + (shown - 0.4 * paint) * share
        paint = paint * (1.0 - 0.45 * np.maximum.reduce(gaps) * inside(v, 0.10, 0.98, 0.1))
        plastic = np.clip((shape.sill + 0.10 - y) / self.soft + 0.5, 0, 1)
        self._blend(mix(paint, colour(30, 30, 33), 0.85 * plastic), cover)

    def _cabin(self) -> None:
        """Paint the pillars and the side windows."""
        car, shape = self.car, self.shape
        pillars = flat(shape.cabin, -car.cabin_half(car.lean(shape.cabin)))
        paint = _column(car.top) * np.float32(0.856) + self.scene.sky * np.float32(0.16)
        self._blend(paint, self.view.cover([self.view.project(pillars)]))
        x, y = self.view.upright(0.09 - shape.width / 2)
        lift = np.clip((y - shape.belt) / (shape.roof - shape.belt), 0, 1)
        shine = 0.5 + 0.5 * np.sin((x + 1.1 * y) * 2.6 + self.traits.scenery % 7)
        clear = mix(colour(70, 82, 92), self.scene.sky * 0.86, 0.25 + 0.45 * lift * shine)
        glass = mix(clear, colour(14, 15, 18), 0.25 + 0.68 * self.traits.tint)
        windows = [flat(window, -car.cabin_half(car.lean(window))) for window in shape.windows]
        self._blend(glass, self.view.cover([self.view.project(window) for window in windows]))

    def _details(self) -> None:
        """Paint lamps, door handles and the mirror."""
        shape, z = self.shape, self.car.side
        top = shape.belt - 0.24
        x = shape.front(top - 0.05) * 0.97
        lamp = [(x - 0.30, top), (x - 0.02, top - 0.02), (x, top - 0.12), (x - 0.20, top - 0.13)]
        self._fill(colour(236, 240, 244), [(*corner, z) for corner in lamp])
        x, y = shape.rear(shape.belt - 0.22) * 0.97, shape.belt - 0.13
        low = y - (0.32 if self.traits.body in ("van", "suv") else 0.17)
        lamp = [(x, y), (x + 0.2, y + 0.01), (x + 0.16, low + 0.01), (x, low)]
        self._fill(colour(194, 26, 30), [(*corner, z) for corner in lamp])
        handles = [inside(self.x, door + 0.06, door + 0.24, self.soft) for door in shape.doors[:-1]]
        height = inside(self.y, shape.belt - 0.15, shape.belt - 0.11, self.soft)
        self._blend(colour(24, 24, 26), 0.6 * np.maximum.reduce(handles) * height)
        x, y = float(shape.cabin[-1, 0]) - 0.30, shape.belt
        mirror = [(x, y + 0.02), (x + 0.2, y + 0.03), (x + 0.16, y + 0.15), (x + 0.02, y + 0.15)]
        paint = self._even(self.car.body, (0.3, 0.2, -0.9)) * np.float32(0.85)
        self._fill(paint, [(*corner, z - 0.12) for corner in mirror])

    def _spoiler(self) -> None:
        """Paint a wing: over the tail on two struts, or behind the roof."""
        shape, reach = self.shape, 0.40 * self.shape.width
        over_roof = self.traits.body == "hatchback"
        if over_roof:
            x, y, rise = float(shape.cabin[shape.roof_from, 0]) - 0.24, shape.roof - 0.10, 0.05
        else:
            x, y, rise = shape.rear(shape.belt - 0.1) - 0.02, shape.belt + 0.22, 0.02
        far = x + 0.42
        wing = [(x, y, -reach), (far, y + rise, -reach), (far, y + rise, reach), (x, y, reach)]
        edge = [(x, y - 0.06), (far, y + rise - 0.06), (far, y + rise + 0.02), (x, y + 0.04)]
        plates = [[(*corner, -reach) for corner in edge]]
        if not over_roof:
            strut = [(x + 0.16, y - 0.3), (x + 0.28, y - 0.3), (x + 0.26, y), (x + 0.16, y)]
            plates += [[(*corner, z) for corner in strut] for z in (reach * 0.6, -reach * 0.6)]
        paint = self.car.body * 0.8
        self._fill(_column(paint * 0.55), *plates)
        self._fill(self._even(paint, (0.0, 1.0, 0.0)), wing)

    def _wheels(self, shell: Field) -> None:
        radius = self.shape.radius
        for axle in self.shape.axles:
            away = np.hypot(self.x - axle, self.y - radius)
            arch = np.clip((radius + 0.055 - away) / self.soft + 0.5, 0, 1)
            self._blend(colour(10, 10, 12), 0.92 * arch * shell)
            self._wheel(axle, radius)

    def _wheel(self, axle: float, radius: float) -> None:
        """Paint one wheel, on the few pixels around it, each from FINE x FINE points."""
        view, z = self.view, self.car.side + 0.03
        (left, upper), (right, lower) = view.project(
            np.array([[axle - radius, 2 * radius, z], [axle + radius, 0.0, z]])
        )
        columns = [int(np.clip(place, 0, view.width)) for place in (left - 1, right + 2)]
        rows = [int(np.clip(place, 0, view.height)) for place in (upper - 1.5, lower + 2.5)]
        if columns[0] == columns[1] or rows[0] == rows[1]:
            return
        row = (np.arange(rows[0] * FINE, rows[1] * FINE, dtype=np.float32)[:, None] + 0.5) / FINE
        column = (np.arange(columns[0] * FINE, columns[1] * FINE, dtype=np.float32)[None] + 0.5) / FINE
        x, y = view.upright(z, row, column)
        across, up = (x - axle) / radius, (y - radius) / radius
        r = np.hypot(across, up)
        tone = np.where(r < 0.70, _rim(self.traits, r, np.arctan2(up, across), up), 0.10 + 0.04 * up)
        tone = np.where((r > 0.68) & (r < 0.72), 0.04, tone)
        fine = np.stack([tone * (r < 1), r < 1])
        cells = (2, rows[1] - rows[0], FINE, columns[1] - columns[0], FINE)
        wheel = fine.reshape(cells).mean(axis=(2, 4)).astype(np.float32)
        part = self.pixels[:, slice(*rows), slice(*columns)]
        part *= 1 - wheel[1]
        part += wheel[0]

    def _mirror(self, empty: Field) -> None:
        """Show the car faintly in a polished floor; ``empty`` is the picture without it."""
        line = float(self.view.project(np.array([0.0, 0.0, self.car.side]))[1])
        rows = np.arange(math.ceil(line), self.view.height)
        above = np.clip((2 * line - rows - 0.5).round().astype(int), 0, self.view.height - 1)
        fade = np.clip(1 - (rows - line) / (0.9 * self.view.scale), 0, 1)[:, None] * self.scene.mirror
        change = self.pixels[:, above] - empty[:, above]
        self.pixels[:, rows] += (change * fade).astype(np.float32)


def _column(paint: npt.NDArray[np.floating]) -> Colour:
    return np.asarray(paint, dtype=np.float32)[:, None, None]


def _rim(traits: Traits, r: Field, angle: Field, up: Field) -> Field:
    """Return the brightness of a rim: a disc, or spokes before the dark."""
    bright = traits.rim_brightness * (0.92 + 0.16 * up)
    if traits.rims == "disc":
        holes = (np.abs(r - 0.52) < 0.07) & (np.cos(8 * angle) > 0.2)
        return np.where(holes, 0.3 * bright, bright)
    spokes, share = (5, 0.45) if traits.rims == "five" else (11, 0.1)
    solid = (np.cos(spokes * angle + traits.scenery % 11) > 1 - 2 * share) | (r < 0.17) | (r > 0.62)
    return np.where(solid, bright, 0.13)
