"""How a painted aerial picture looks: a scene becomes pixels, and its roofs the mask.

Everything is drawn larger than wanted and averaged, the mask likewise, so that both agree at every edge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from vedute.data.painted.aerial_scene import Building, Car, Colour, Points, Scene, Street, inset, sides

Pixels = NDArray[np.uint8]

_DRAWN_SIDE = 256  # pixels that are drawn at least
_SATURATION = 0.8  # from so far above, air takes colour away
_SHADE = (0.42, 0.45, 0.55)  # what is left of red, green and blue in a shadow: the sky is blue


def draw(scene: Scene, side: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Draw a scene.

    Args:
        scene: What is there.
        side: Of the picture, pixels.
        rng: For textures.

    Returns:
        (side, side, 3) and the mask (side, side) with 255 where a roof covers at least half of the pixel.
    """
    factor = max(2, -(-_DRAWN_SIDE // side))
    drawing = _Drawing(scene, side * factor, rng)
    drawing.ground()
    drawing.streets()
    drawing.cars()
    drawing.tree_shadows()
    drawing.trees()
    drawing.building_shadows()
    drawing.buildings()
    image = drawing.finish().reduce(factor)
    cover = np.asarray(drawing.mask.reduce(factor))
    return np.asarray(image), np.where(cover >= 128, 255, 0).astype(np.uint8)


class _Drawing:
    def __init__(self, scene: Scene, side: int, rng: np.random.Generator) -> None:
        self.scene, self.side, self.rng = scene, side, rng
        self.scale = side / scene.side  # pixels of a metre
        self.image = Image.new("RGB", (side, side), scene.ground)
        self.pen = ImageDraw.Draw(self.image)
        self.mask = Image.new("L", (side, side))
        self.sun = np.array([math.cos(scene.sun), math.sin(scene.sun)])  # where shadows fall

    # Ground.

    def ground(self) -> None:
        """Uneven ground with fields on it."""
        patches = _cloud(self.rng, self.side, 5) + 0.7 * _cloud(self.rng, self.side, 24)
        base = np.array(self.scene.ground, dtype=np.float32)
        dry = np.array([1.0, 0.55, 0.1], dtype=np.float32)
        uneven = base + patches[:, :, None] * (30 * self.scene.rough) * (0.4 + 0.6 * dry)
        self.image.paste(Image.fromarray(np.clip(uneven, 0, 255).astype(np.uint8)))
        for ground in self.scene.grounds:
            self._polygon(ground.corners, ground.colour)
            if ground.stripes:
                self._stripes(ground.corners, ground.colour, ground.stripes)

    def _stripes(self, corners: Points, colour: Colour, distance: float) -> None:
        """Furrows along the longer sides of a quadrangle."""
        a, b, c, d = corners
        first, second = sides(corners)
        if first < second:
            a, b, c, d = b, c, d, a
        count = max(2, round(min(first, second) / distance))
        for number in range(count):
            share = (number + 0.5) / count
            shade = 1.0 + (0.07 if number % 2 else -0.05) + float(self.rng.normal(0, 0.015))
            width = max(1, round(distance * self.scale * 0.55))
            self._line(np.stack([a + (d - a) * share, b + (c - b) * share]), _tinted(colour, shade), width)

    # Streets.

    def streets(self) -> None:
        """Pavements first, so that crossings stay open."""
        for street in self.scene.streets:
            if street.pavement:
                width = street.width + 2 * street.pavement
                self._street(street.line, width, _tinted(street.colour, 1.35))
        for street in self.scene.streets:
            self._street(street.line, street.width, street.colour)
        for street in self.scene.streets:
            if street.marked:
                self._dashes(street)

    def _street(self, line: Points, width: float, colour: Colour) -> None:
        pixels = max(1, round(width * self.scale))
        self._line(line, colour, pixels)
        for x, y in (line[[0, -1]] if len(line) < 3 else line) * self.scale:
            self._disc(x, y, pixels / 2, colour)

    def _dashes(self, street: Street) -> None:
        steps = np.linalg.norm(np.diff(street.line, axis=0), axis=1)
        length = np.concatenate([[0], np.cumsum(steps)])
        for start in np.arange(0, length[-1], 9.0):
            ends = [np.interp([start, start + 4], length, street.line[:, axis]) for axis in (0, 1)]
            self._line(np.stack(ends, 1), (205, 205, 200), max(1, round(0.4 * self.scale)))

    def cars(self) -> None:
        """Cars with their small shadows and dark windows."""
        for car in self.scene.cars:
            self._polygon(_car(car, 4.6, 2.1) + self.sun * 0.6, (45, 46, 50))
            self._polygon(_car(car, 4.4, 1.9), car.colour)
            self._polygon(_car(car, 2.4, 1.6), _tinted(car.colour, 0.55))
            self._polygon(_car(car, 1.5, 1.6), _tinted(car.colour, 0.95))

    # What is high.

    def tree_shadows(self) -> None:
        """Shadows of all trees together: where two overlap it is no darker."""
        shade = Image.new("L", self.image.size)
        pen = ImageDraw.Draw(shade)
        for tree in self.scene.trees:
            x, y = (np.array([tree.x, tree.y]) + self.sun * tree.radius * self.scene.shadow) * self.scale
            radius = tree.radius * self.scale
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        self._shade(shade, 0.75)

    def trees(self) -> None:
        """Crowns of many small lights and shadows."""
        for tree in self.scene.trees:
            x, y, radius = tree.x * self.scale, tree.y * self.scale, tree.radius * self.scale
            self._disc(x, y, radius, _tinted(tree.colour, 0.72))
            blobs = int(min(14, 5 + radius / 2))
            angles = self.rng.uniform(0, 2 * math.pi, blobs)
            distances = np.sqrt(self.rng.uniform(0, 1, blobs)) * radius * 0.8
            for angle, distance, size in zip(
                angles, distances, self.rng.uniform(0.25, 0.5, blobs), strict=True
            ):
                right, down = distance * math.cos(angle), distance * math.sin(angle)
                # Lit on the side of the sun.
                light = 1.0 - 0.3 * (right * self.sun[0] + down * self.sun[1]) / max(radius, 1e-6)
                self._disc(x + right, y + down, size * radius, _tinted(tree.colour, light))

    def building_shadows(self) -> None:
        """What each outline sweeps over when it is moved along the shadow."""
        shade = Image.new("L", self.image.size)
        pen = ImageDraw.Draw(shade)
        for building in self.scene.buildings:
            moved = building.corners + self.sun * building.height * self.scene.shadow
            for start in range(len(moved)):
                following = (start + 1) % len(moved)
                quad = [building.corners[start], building.corners[following], moved[following], moved[start]]
                pen.polygon(self._flat(np.stack(quad)), fill=255)
            pen.polygon(self._flat(moved), fill=255)
        self._shade(shade, 1.0)

    def _shade(self, shade: Image.Image, strength: float) -> None:
        soft = shade.filter(ImageFilter.GaussianBlur(0.25 * self.scale))
        channels = [
            soft.point([round(255 - strength * (1 - left) * value) for value in range(256)])
            for left in _SHADE
        ]
        self.image.paste(ImageChops.multiply(self.image, Image.merge("RGB", channels)))
        self.pen = ImageDraw.Draw(self.image)

    def buildings(self) -> None:
        """Roofs; they alone are in the mask."""
        pen = ImageDraw.Draw(self.mask)
        for building in self.scene.buildings:
            self._roof(building)
            pen.polygon(self._flat(building.corners), fill=255)

    def _roof(self, building: Building) -> None:
        a, b, c, d = building.corners
        first, second = sides(building.corners)
        if first < second:
            a, b, c, d = b, c, d, a
        long, short = max(first, second), max(min(first, second), 1e-6)
        if building.roof == "flat":
            self._flat_roof(building)
            return
        left, right = (a + d) / 2, (b + c) / 2  # the ends of the ridge
        if building.roof == "hip":
            share = min(0.5, short / 2 / long)
            left, right = left + (right - left) * share, right + (left - right) * share
        faces = [np.stack([a, b, right, left]), np.stack([c, d, left, right])]
        if building.roof == "hip":
            faces += [np.stack([b, c, right]), np.stack([d, a, left])]
        middle = building.corners.mean(axis=0)
        for face in faces:
            away = (face[0] + face[1]) / 2 - middle
            away /= max(float(np.linalg.norm(away)), 1e-6)
            light = 1.0 - 0.24 * float(away @ self.sun)
            self._polygon(face, _tinted(building.colour, light))
            self._tiles(face, _tinted(building.colour, light * 0.93))
        self._line(np.stack([left, right]), _tinted(building.colour, 1.18), max(1, round(0.35 * self.scale)))
        if self.rng.random() < 0.7:  # a chimney with its shadow
            place = left + (right - left) * self.rng.uniform(0.15, 0.85) + (a - d) / short * short * 0.12
            self._square(place + self.sun * 0.8, 1.0, _tinted(building.colour, 0.5))
            self._square(place, 0.9, (120, 84, 72))
        if self.rng.random() < 0.12:  # panels on the sunny side
            sunny = min(faces[:2], key=lambda face: float(((face[0] + face[1]) / 2 - middle) @ self.sun))
            self._polygon(inset(sunny, min(1.2, short / 8)), (38, 46, 72))

    def _tiles(self, face: Points, colour: Colour) -> None:
        """Thin lines from the eaves to the ridge."""
        lower, upper = (face[0], face[1]), (face[-1], face[2])
        count = int(np.linalg.norm(face[1] - face[0]) / 1.6)
        for number in range(1, count):
            share = number / count
            start, end = lower[0] + (lower[1] - lower[0]) * share, upper[0] + (upper[1] - upper[0]) * share
            self._line(np.stack([start, end]), colour, 1)

    def _flat_roof(self, building: Building) -> None:
        self._polygon(building.corners, _tinted(building.colour, 1.16))  # the parapet
        inner = inset(building.corners, 0.7)
        self._polygon(inner, _tinted(building.colour, 0.82))  # its shadow
        self._polygon(inset(building.corners, 1.0) - self.sun * 0.25, building.colour)
        short = min(sides(building.corners))
        a, b, _, d = inset(building.corners, short * 0.22)
        for _ in range(int(self.rng.integers(1, 2 + min(int(short / 6), 5)))):  # machines and skylights
            place = a + (b - a) * self.rng.random() + (d - a) * self.rng.random()
            size = float(self.rng.uniform(0.8, 2.4))
            self._square(place + self.sun * 0.9, size, _tinted(building.colour, 0.55))
            bright = bool(self.rng.random() < 0.6)
            self._square(place, size, _tinted(building.colour, 1.25) if bright else (74, 88, 100))

    def finish(self) -> Image.Image:
        """Grain, a soft lens and haze."""
        blurred = self.image.filter(ImageFilter.GaussianBlur(0.12 * self.scale))
        pixels = np.asarray(blurred, dtype=np.float32)
        grain = self.rng.standard_normal((self.side, self.side), dtype=np.float32) * 7
        grain += _cloud(self.rng, self.side, self.side // 5) * 6
        grey = pixels.mean(axis=2, keepdims=True)
        pixels = grey + (pixels - grey) * _SATURATION
        (red, green, blue), share = self.scene.haze
        pixels = (pixels + grain[:, :, None]) * (1 - share) + np.array([red, green, blue], np.float32) * share
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

    # Marks.

    def _flat(self, points: Points) -> list[float]:
        coordinates: list[float] = (points * self.scale - 0.5).reshape(-1).tolist()
        return coordinates

    def _polygon(self, points: Points, colour: Colour) -> None:
        self.pen.polygon(self._flat(points), fill=colour)

    def _line(self, points: Points, colour: Colour, width: int) -> None:
        self.pen.line(self._flat(points), fill=colour, width=width, joint="curve")

    def _disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def _square(self, place: Points, size: float, colour: Colour) -> None:
        half = size / 2
        offsets = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
        self._polygon(place + offsets, colour)


def _car(car: Car, length: float, width: float) -> Points:
    along = np.array([math.cos(car.angle), math.sin(car.angle)]) * length / 2
    across = np.array([-math.sin(car.angle), math.cos(car.angle)]) * width / 2
    place = np.array([car.x, car.y])
    return np.stack(
        [place - along - across, place + along - across, place + along + across, place - along + across]
    )


def _tinted(colour: Sequence[int], light: float) -> Colour:
    red, green, blue = (max(0, min(255, round(value * light))) for value in colour)
    return red, green, blue


def _cloud(rng: np.random.Generator, side: int, cells: int) -> NDArray[np.float32]:
    """Return (side, side) of smooth noise about 0, with so many hills along each side."""
    small = rng.standard_normal((cells + 1, cells + 1)).astype(np.float32)
    large = Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(large)
