"""The form of a painted car, in metres: outlines seen from the side, before any perspective or colour.

x runs from the rear (``-length / 2``) to the front, y upwards from the ground. The outlines are extruded
across the car's width by ``cars_view.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from vedute.data.painted.cars_traits import Traits

Outline = npt.NDArray[np.floating]  # (n, 2): x, y

_ARC = np.linspace(0.0, 1.0, 6)[:, None]  # a rounded corner has six points


@dataclass(frozen=True)
class _Style:
    """Places along the car as shares of its length from the rear, and shares of its height.

    Attributes:
        rear_foot: Where the rear window or pillar meets the body.
        rear_top: Where it meets the roof.
        front_top: Where the windscreen meets the roof.
        front_foot: Where it meets the bonnet.
        belt: Height of the windows' lower edge as a share of the body's height.
        nose_drop: How much lower the bonnet ends, metres.
        axles: Rear and front.
        pillars: Between the side windows.
        last_window: Where the rearmost side window begins.
        roof_drop: How much lower the roof ends at the rear, metres.
    """

    rear_foot: float
    rear_top: float
    front_top: float
    front_foot: float
    belt: float
    nose_drop: float
    axles: tuple[float, float]
    pillars: tuple[float, ...]
    last_window: float
    roof_drop: float


_STYLES = MappingProxyType(
    {
        "hatchback": _Style(0.025, 0.10, 0.57, 0.76, 0.58, 0.12, (0.185, 0.815), (0.50, 0.25), 0.0, 0.05),
        "sedan": _Style(0.13, 0.27, 0.53, 0.71, 0.60, 0.11, (0.20, 0.82), (0.49,), 0.0, 0.05),
        "sports": _Style(0.05, 0.28, 0.45, 0.635, 0.62, 0.13, (0.19, 0.825), (0.33,), 0.0, 0.07),
        "suv": _Style(0.02, 0.07, 0.61, 0.76, 0.60, 0.08, (0.19, 0.81), (0.52, 0.27), 0.0, 0.03),
        "van": _Style(0.012, 0.03, 0.74, 0.885, 0.52, 0.16, (0.20, 0.835), (0.62, 0.36), 0.0, 0.02),
        "pickup": _Style(0.365, 0.40, 0.59, 0.735, 0.60, 0.06, (0.22, 0.825), (0.50,), 0.0, 0.02),
    }
)


@dataclass(frozen=True)
class Shape:
    """Outlines and places of one car.

    Attributes:
        shell: The body below the windows, clockwise from the lower rear corner.
        cabin: Roof and pillars above it, from the lower rear corner to the lower front one.
        roof_from: Position in ``cabin`` of the first roof point; before it comes the rear.
        roof_to: Position of the last roof point; after it comes the windscreen.
        windows: Side windows, rear first.
        doors: Places of the gaps between doors.
        sill: Height of the body's lower edge.
        belt: Height of the windows' lower edge.
        roof: Height of the roof.
        length: Of the car.
        width: Of the car.
        cabin_width: At the roof; the pillars lean inwards.
        axles: Places of the rear and the front wheel.
        radius: Of a wheel.
        bed: Whether the rear is an open bed.
    """

    shell: Outline
    cabin: Outline
    roof_from: int
    roof_to: int
    windows: list[Outline]
    doors: list[float]
    sill: float
    belt: float
    roof: float
    length: float
    width: float
    cabin_width: float
    axles: tuple[float, float]
    radius: float
    bed: bool

    def front(self, y: float) -> float:
        """Return the place of the nose at height ``y``."""
        return float(np.interp(y, *self._end(1)))

    def rear(self, y: float) -> float:
        """Return the place of the tail at height ``y``."""
        return float(np.interp(y, *self._end(-1)))

    def _end(self, side: int) -> tuple[Outline, Outline]:
        points = self.shell[side * self.shell[:, 0] > self.length * 0.36]
        points = points[np.argsort(points[:, 1])]
        return points[:, 1], points[:, 0]


def car_shape(traits: Traits) -> Shape:
    """Return the form of a car with these traits."""
    style = _STYLES[traits.body]
    length, sill, roof = traits.length, traits.ride_height, traits.height
    belt = max(sill + style.belt * (roof - sill), traits.wheel + 0.13)  # the body covers the wheels
    half, lean = length / 2, 0.05 * (traits.slope - 0.5) * length

    def along(share: float) -> float:
        return share * length - half

    rear_foot, front_foot = along(style.rear_foot), along(style.front_foot)
    rear_top = along(style.rear_top) + (lean if traits.body != "van" else 0.0)
    front_top = along(style.front_top) - lean
    shell = _shell(traits, style, belt, rear_foot, front_foot)
    cabin_corners = [
        (rear_foot, belt - 0.02),
        (rear_top, roof - style.roof_drop),
        (0.45 * rear_top + 0.55 * front_top, roof),
        (front_top, roof - 0.035),
        (front_foot, belt - 0.02),
    ]
    bend = 0.10 + 0.22 * traits.roundness
    cabin = _rounded(cabin_corners, [0.0, bend, 1.2, bend, 0.0], closed=False)
    roof_points = np.flatnonzero(cabin[:, 1] > roof - style.roof_drop - 0.07)
    windows = _windows(traits, style, belt, cabin_corners)
    width = 1.62 + 0.07 * (length - 3.25) + (0.08 if traits.body in ("suv", "van", "pickup") else 0.0)
    doors = [along(share) for share in style.pillars[:1]]
    doors += [doors[0] + min(1.05, front_foot - doors[0] + 0.1)]
    if traits.body not in ("sports", "pickup"):
        doors.insert(0, max(doors[0] - 0.9, along(style.axles[0]) + 0.5 * traits.wheel + 0.05))
    return Shape(
        shell=shell,
        cabin=cabin,
        roof_from=int(roof_points[0]),
        roof_to=int(roof_points[-1]),
        windows=windows,
        doors=doors,
        sill=sill,
        belt=belt,
        roof=roof,
        length=length,
        width=width,
        cabin_width=width - (0.30 if traits.body not in ("van", "suv") else 0.2),
        axles=(along(style.axles[0]), along(style.axles[1])),
        radius=traits.wheel / 2,
        bed=traits.body == "pickup",
    )


def _shell(traits: Traits, style: _Style, belt: float, rear_foot: float, front_foot: float) -> Outline:
    half, sill, soft = traits.length / 2, traits.ride_height, traits.roundness
    nose = max(belt - style.nose_drop - 0.10 * soft, traits.wheel + 0.04)
    middle = 0.5 * (sill + belt)
    tail = {"sedan": belt - 0.03, "sports": belt + 0.02, "pickup": belt - 0.03}.get(traits.body, belt)
    corners = [
        (-half + 0.10, sill + 0.06),
        (-half, sill + 0.26),
        (-half, middle + 0.08),
        (-half + 0.05, tail),
        (rear_foot + 0.02, belt),
        (front_foot, belt),
        (0.35 * front_foot + 0.65 * half, 0.5 * (belt + nose) + 0.03),
        (half - 0.10, nose),
        (half - 0.01, middle),
        (half, sill + 0.24),
        (half - 0.14, sill + 0.05),
        (half - 0.5, sill),
        (-half + 0.5, sill),
    ]
    bend = 0.05 + 0.20 * soft
    radii = [0.06, 0.1, 0.1, bend, 0.1, 0.2, 0.5, bend, 0.15, 0.1, 0.1, 0.2, 0.2]
    return _rounded(corners, radii)


def _windows(
    traits: Traits, style: _Style, belt: float, cabin: Sequence[tuple[float, float]]
) -> list[Outline]:
    """Return the side windows: the cabin's side, set in from its edges and cut at the pillars."""
    (rear_foot, _), (rear_top, rear_roof), _, (front_top, front_roof), (front_foot, foot) = cabin
    low = belt + 0.035
    high = min(rear_roof, front_roof) - (0.075 if traits.body != "sports" else 0.05)
    rear_pillar = 0.17 if traits.body in ("hatchback", "sports", "suv") else 0.11

    def front(y: float) -> float:
        return float(np.interp(y, [foot, front_roof], [front_foot, front_top])) - 0.09

    def rear(y: float) -> float:
        return float(np.interp(y, [foot, rear_roof], [rear_foot, rear_top])) + rear_pillar

    cuts = [share * traits.length - traits.length / 2 for share in style.pillars]
    if traits.body == "van" and traits.slope < 0.55:
        edges = [
            (cuts[0] + 0.03, cuts[0] + 0.03),
            (front(low), front(high)),
        ]  # a delivery van: front window only
        pairs = [(edges[0], edges[1])]
    else:
        stops = [(rear(low), rear(high)), *((cut, cut) for cut in reversed(cuts)), (front(low), front(high))]
        pairs = [
            ((a[0] + 0.03 * (n > 0), a[1] + 0.03 * (n > 0)), (b[0] - 0.03, b[1] - 0.03))
            for n, (a, b) in enumerate(pairwise(stops))
        ]
    soft = 0.04 + 0.1 * traits.roundness
    return [
        _rounded([(a[0], low), (a[1], high), (b[1], high), (b[0], low)], [0.03, soft, soft, 0.03])
        for a, b in pairs
        if b[0] - a[0] > 0.12
    ]


def _rounded(corners: Sequence[tuple[float, float]], radii: Sequence[float], closed: bool = True) -> Outline:
    """Replace each corner by a curve from ``radius`` before it, at most half-way to the next corner."""
    points = np.array(corners, dtype=np.float64)
    size = np.array(radii)[:, None]

    def towards(neighbours: Outline) -> Outline:
        edges = neighbours - points
        lengths = np.maximum(np.hypot(edges[:, :1], edges[:, 1:]), 1e-6)
        return np.asarray(points + edges * np.minimum(0.5, size / lengths))

    start, end = towards(np.roll(points, 1, axis=0)), towards(np.roll(points, -1, axis=0))
    arcs = (1 - _ARC) ** 2 * start[:, None] + 2 * _ARC * (1 - _ARC) * points[:, None] + _ARC**2 * end[:, None]
    if closed:
        return np.asarray(arcs.reshape(-1, 2))
    return np.concatenate([points[:1], arcs[1:-1].reshape(-1, 2), points[-1:]])
