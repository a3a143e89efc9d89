"""The ground of a painted street: road with its markings, pavements, verges, under light, shadow and haze."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from vedute.data.painted.noise import Field
from vedute.data.painted.streets_view import NEAR, SCALE, Rgb, View, shoulder, tile

WHITE: Rgb = (236, 236, 232)
YELLOW: Rgb = (244, 184, 44)


@dataclass(frozen=True)
class Mark:
    """A painted line along the road.

    Attributes:
        x: Distance from the middle of the road, metres.
        width: Metres.
        colour: Its colour.
        dash: Painted metres of each ``period``; 0: unbroken.
        period: Metres.
    """

    x: float
    width: float
    colour: Rgb
    dash: float = 0.0
    period: float = 9.0


@dataclass(frozen=True)
class Ground:
    """What lies on the ground.

    Attributes:
        half: Half the road's width, metres.
        road: Its colour.
        verge: Two colours that the verge is mixed from.
        marks: Lines on the road.
        lane: Strips beside the road's edge, of this width (metres) and colour: bicycle lanes; 0: none.
        lane_colour: Their colour.
        walk: Width of the pavements beyond, metres; 0: none.
        walk_colour: Their colour.
        crumble: How ragged the road's edge is, metres.
        dust: Share of the verge's colour that lies on the road.
        cobbles: Contrast of paving stones on the road, 0: asphalt.
    """

    half: float
    road: Rgb
    verge: tuple[Rgb, Rgb]
    marks: list[Mark] = field(default_factory=list)
    lane: float = 0.0
    lane_colour: Rgb = (0, 0, 0)
    walk: float = 0.0
    walk_colour: Rgb = (0, 0, 0)
    crumble: float = 0.0
    dust: float = 0.0
    cobbles: float = 0.0


def edge_lines(half: float) -> list[Mark]:
    """Return the white lines at the edges of a road ``half`` metres to each side."""
    return [Mark(side * (half - 0.25), 0.14, WHITE) for side in (-1, 1)]


def paint_ground(view: View, ground: Ground, shift: int, wet: float) -> None:
    """Paint everything below the horizon; ``view.shadows`` must be complete.

    Args:
        view: The picture.
        ground: What lies there.
        shift: Any number: where the random textures begin.
        wet: Share of the sky that the road mirrors, in [0, 1].
    """
    # At the finished size: edges and lines are smooth by calculation.
    horizon, focal = view.horizon / SCALE, view.focal / SCALE
    height, width = view.height // SCALE, view.width // SCALE
    top = int(horizon) + 1
    below = np.arange(top, height, dtype=np.float32)[:, None] + np.float32(0.5 - horizon)  # (r, 1)
    z = np.clip(focal * view.eye / below, NEAR * 0.5, 900.0).astype(np.float32)
    metre = z / np.float32(focal)  # (r, 1): metres a pixel
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5 - width / 2)) * metre
    x = x - np.float32(0.5 * view.curve) * z * z - np.float32(view.centre)  # (r, w): from the road's middle
    fine, coarse = _texture(x * 4.0, z * 2.5, shift), _texture(x * 0.9, z * 0.5, shift + 91)
    detail = np.minimum(1.0, 9.0 / z)

    first, second = (np.array(part, dtype=np.float32) / 255 for part in ground.verge)
    paint = first + np.clip(1.6 * coarse - 0.3, 0, 1)[..., None] * (second - first)
    paint = paint * (1.0 + 0.55 * detail * (fine - 0.5))[..., None]
    away = np.abs(x)
    outer = ground.half + ground.lane + ground.walk
    for edge, surface, rough in (
        (outer, ground.walk_colour, 0.0),
        (ground.half + ground.lane, ground.lane_colour, 0.0),
        (ground.half, ground.road, ground.crumble),
    ):
        if edge > ground.half or surface is ground.road:
            inside = np.clip((edge + rough * (coarse + fine - 1.0) - away) / metre + 0.5, 0, 1)
            flat = np.array(surface, dtype=np.float32) / 255
            flat = flat * (1.0 + 0.22 * detail * (fine - 0.5) + 0.16 * (coarse - 0.5))[..., None]
            paint += inside[..., None] * (flat - paint)
    road = np.clip((ground.half - away) / metre + 0.5, 0, 1)
    if ground.cobbles:
        stones = np.maximum(np.abs((z * 1.7) % 1.0 - 0.5), np.abs((x * 1.7) % 1.0 - 0.5)) > 0.36
        paint *= (1.0 - ground.cobbles * road * np.minimum(1.0, 3.0 / z) * stones)[..., None]
    if ground.dust:
        dust = ground.dust * road * np.clip(0.3 + 1.2 * coarse + 0.5 * (away / ground.half) ** 3 - 0.4, 0, 1)
        paint += dust[..., None] * (first - paint)
    for mark in ground.marks:
        _mark(paint, mark, x, z, metre, 0.75 + 0.5 * (fine - 0.5))

    blocked = np.asarray(view.shadows.reduce(SCALE), dtype=np.float32)[top:, :, None] / 255
    lit = 0.85 * (1.0 - 0.85 * blocked)
    ambient, direct, haze = (
        part[:, 0, 0] for part in (view.light.ambient, view.light.direct, view.light.haze)
    )
    paint = paint * (ambient + lit * direct)
    if wet:
        paint = paint * (1.0 - 0.35 * wet) + wet * 0.45 * (road * np.minimum(1.0, z / 14.0))[..., None] * haze
    clear = np.exp(-z / np.float32(view.reach))[..., None]
    paint = haze + clear * (paint - haze)
    pixels = Image.fromarray((shoulder(paint) * 255).astype(np.uint8))
    view.image.paste(
        pixels.resize((view.width, SCALE * pixels.height), Image.Resampling.NEAREST), (0, SCALE * top)
    )
    view.draw = ImageDraw.Draw(view.image)


def _texture(x: Field, z: Field, shift: int) -> Field:
    """Sample the repeating field at world places, (r, w) and (r, 1)."""
    field = tile()
    side = len(field)
    rows, columns = (z.astype(np.int32) + shift) % side, (np.floor(x).astype(np.int32) + 3 * shift) % side
    return field.ravel().take(rows * side + columns)


def _mark(paint: Field, mark: Mark, x: Field, z: Field, metre: Field, worn: Field) -> None:
    """Paint a line onto ``paint`` (r, w, 3); far ones, thinner than a pixel, fade."""
    seen = np.maximum(mark.width, metre)
    cover = np.clip((0.5 * seen - np.abs(x - mark.x)) / metre + 0.5, 0, 1) * (mark.width / seen)
    if mark.dash:
        cover = cover * ((z % mark.period) < mark.dash)
    cover = cover * worn
    colour = np.array(mark.colour, dtype=np.float32) / 255
    paint += cover[..., None] * (colour - paint)
