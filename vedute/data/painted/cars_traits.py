"""What can be seen of a painted car, drawn from a seed. How it is painted, and who likes it, is elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

Body = Literal["hatchback", "sedan", "sports", "suv", "van", "pickup"]
Paint = Literal["plain", "two_tone", "stripe"]
Rims = Literal["disc", "five", "many"]
Backdrop = Literal["road", "city", "beach", "studio"]

BODIES: tuple[Body, ...] = get_args(Body)
BACKDROPS: tuple[Backdrop, ...] = get_args(Backdrop)

_SHARES = {"hatchback": 0.25, "sedan": 0.19, "sports": 0.19, "suv": 0.16, "van": 0.11, "pickup": 0.1}

_RANGES = MappingProxyType(
    {  # length, height, wheel diameter, ride height: lowest and highest, metres
        "hatchback": ((3.25, 4.25), (1.42, 1.60), (0.56, 0.66), (0.14, 0.20)),
        "sedan": ((4.25, 5.15), (1.38, 1.50), (0.60, 0.70), (0.13, 0.19)),
        "sports": ((3.90, 4.70), (1.12, 1.30), (0.62, 0.74), (0.10, 0.15)),
        "suv": ((4.00, 5.00), (1.62, 1.86), (0.68, 0.82), (0.20, 0.32)),
        "van": ((4.20, 5.35), (1.80, 2.15), (0.60, 0.70), (0.16, 0.22)),
        "pickup": ((4.80, 5.45), (1.68, 1.88), (0.70, 0.86), (0.22, 0.36)),
    }
)


@dataclass(frozen=True)
class Traits:
    """One car and its picture. Lengths are in metres; hue is in turns (0 red, 1/3 green, 2/3 blue).

    Attributes:
        body: Body style.
        length: 3.25 to 5.45.
        height: Of the roof over the ground, 1.12 to 2.15.
        wheel: Diameter of a wheel, 0.56 to 0.86.
        ride_height: Of the sill over the ground, 0.10 to 0.36.
        roundness: 0 angular, 1 round: corners of the silhouette.
        slope: 0 upright, 1 flat: windscreen and rear.
        hue: Of the paint, in [0, 1).
        saturation: Of the paint; 0 is grey, black or white.
        brightness: Of the paint; 0 is black.
        paint: All one colour, a roof of another colour, or a stripe along the side.
        contrast: Brightness of the roof or stripe: 0.1 black, 0.95 white.
        spoiler: Whether there is a wing at the rear.
        tint: 0 clear windows, 1 black ones.
        rims: Closed disc, five spokes or many spokes.
        rim_brightness: 0.2 dark to 0.9 silver.
        backdrop: What the car stands in front of.
        warmth: 0 cold daylight, 1 evening sun.
        turn: Degrees that the car is turned towards the viewer: 0 is the side alone, 32 shows the front well.
        faces_left: Whether the front is on the left.
        zoom: Size relative to the usual distance, about 1.
        grey: Whether the picture is grey throughout: its colours are then unknown to everybody.
        scenery: Seed of the backdrop's details.
    """

    body: Body
    length: float
    height: float
    wheel: float
    ride_height: float
    roundness: float
    slope: float
    hue: float
    saturation: float
    brightness: float
    paint: Paint
    contrast: float
    spoiler: bool
    tint: float
    rims: Rims
    rim_brightness: float
    backdrop: Backdrop
    warmth: float
    turn: float
    faces_left: bool
    zoom: float
    grey: bool
    scenery: int

    @property
    def visible_saturation(self) -> float:
        """The paint's saturation in the picture: 0 where the picture is grey."""
        return 0.0 if self.grey else self.saturation


def traits(seed: int | tuple[int, ...]) -> Traits:
    """Draw a car; the same seed always gives the same.

    Args:
        seed: Non-negative integers.
    """
    rng = np.random.default_rng(seed)
    body = BODIES[int(rng.choice(len(BODIES), p=[_SHARES[name] for name in BODIES]))]
    length, height, wheel, ride_height = (float(rng.uniform(*limits)) for limits in _RANGES[body])
    plain = rng.random() < 0.28  # white, silver, grey and black cars
    saturation = rng.uniform(0.0, 0.1) if plain else rng.uniform(0.4, 1.0)
    brightness = rng.beta(0.8, 0.7) * 0.85 + 0.1 if plain else rng.uniform(0.3, 0.98)
    paint: Paint = ("plain", "two_tone", "stripe")[int(rng.choice(3, p=[0.6, 0.2, 0.2]))]
    return Traits(
        body=body,
        length=length,
        height=height,
        wheel=wheel,
        ride_height=ride_height,
        roundness=float(rng.random()),
        slope=float(rng.random()),
        hue=float(rng.random()),
        saturation=float(saturation),
        brightness=float(brightness),
        paint=paint,
        contrast=0.95 if rng.random() < 0.65 else 0.1,
        spoiler=bool(rng.random() < {"sports": 0.55, "hatchback": 0.3, "sedan": 0.2}.get(body, 0.0)),
        tint=float(rng.random()),
        rims=("disc", "five", "many")[int(rng.integers(3))],
        rim_brightness=float(rng.uniform(0.2, 0.9)),
        backdrop=BACKDROPS[int(rng.integers(len(BACKDROPS)))],
        warmth=float(rng.beta(1.0, 1.6)),
        turn=float(abs(rng.normal(0.0, 4.0)) if rng.random() < 0.55 else rng.uniform(12.0, 32.0)),
        faces_left=bool(rng.random() < 0.5),
        zoom=float(math.exp(rng.normal(0.0, 0.025))),
        grey=bool(rng.random() < 0.12),
        scenery=int(rng.integers(1 << 31)),
    )
