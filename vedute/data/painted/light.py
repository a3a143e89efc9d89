"""The light of a picture: time of day, sky colours, sun, haze. Shared by all types.

Everything follows from the sun's elevation and the share of overcast, both continuous, so
that pictures change smoothly from night over dawn to noon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vedute.data.painted.canvas import Colour, choose, colour, mix

# Sun elevation in degrees, then colours: zenith, middle and horizon of the sky, direct light, ambient light.
_HOURS = (
    (-12.0, (16, 22, 56), (32, 44, 90), (66, 82, 130), (104, 122, 176), (60, 72, 116)),
    (-5.0, (30, 44, 98), (76, 84, 146), (178, 140, 160), (140, 132, 176), (78, 84, 128)),
    (1.0, (70, 88, 150), (176, 132, 156), (255, 172, 108), (268, 168, 110), (112, 104, 138)),
    (8.0, (98, 142, 196), (182, 188, 190), (255, 218, 160), (272, 216, 152), (122, 124, 150)),
    (22.0, (78, 138, 206), (138, 184, 224), (214, 230, 236), (276, 258, 232), (128, 140, 166)),
    (50.0, (46, 112, 196), (104, 168, 226), (188, 218, 238), (272, 268, 258), (134, 148, 174)),
)
_DUSKS = (  # horizon and middle of the sky when the sun is low
    (colour(255, 166, 92), colour(206, 140, 140)),
    (colour(255, 140, 128), colour(172, 118, 158)),
    (colour(250, 202, 112), colour(226, 160, 128)),
    (colour(236, 128, 152), colour(128, 108, 168)),
    (colour(255, 190, 160), colour(156, 150, 190)),
)


@dataclass
class Light:
    """What lights a picture; colours are (3, 1, 1) in [0, 1] (direct light may exceed 1).

    Attributes:
        elevation: The sun's elevation in degrees, -12 (night) to 55.
        overcast: Share of grey sky in [0, 1].
        side: Where the light comes from: -1 left, 1 right.
        sun_x: Place of the sun (or moon) as a share of the picture's width, -0.5 to 0.5.
        sun_lift: Its height over the horizon in picture heights.
        thickness: How fast distance turns to haze; 1 is a clear day.
    """

    elevation: float
    overcast: float
    side: int
    sun_x: float
    sun_lift: float
    thickness: float
    zenith: Colour
    middle: Colour
    horizon: Colour
    direct: Colour
    ambient: Colour
    haze: Colour

    @property
    def night(self) -> float:
        """0 by day, 1 at night, between in the blue hour."""
        return float(np.clip((-3.0 - self.elevation) / 6.0, 0.0, 1.0))

    @property
    def dusk(self) -> float:
        """1 while the sun stands at the horizon, 0 at noon and at night."""
        return float(np.exp(-(((self.elevation - 2.0) / 6.0) ** 2)))

    @property
    def tone(self) -> Colour:
        """The hue of direct light, at most 1."""
        return self.direct / max(1.0, float(self.direct.max()))

    def shade(self, albedo: Colour, lit: float | np.ndarray) -> Colour:
        """Return ``albedo`` under this light; ``lit`` in [0, 1] is the share of direct light."""
        albedo = mix(
            albedo, albedo.mean(axis=0, keepdims=True), 0.6 * self.night
        )  # the eye sees no colours at night
        return albedo * (self.ambient + np.asarray(lit, dtype=np.float32) * self.direct)


def random_light(rng: np.random.Generator) -> Light:
    """Draw a time of day and a weather."""
    elevation = float(np.interp(rng.random(), [0, 0.06, 0.11, 0.28, 0.45, 1], [-12, -7, -2, 4, 14, 55]))
    overcast = float(np.clip(rng.beta(0.8, 1.8) * 1.1 - 0.1, 0.0, 0.9))
    zenith, middle, horizon, direct, ambient = _hour(elevation)
    dusk_horizon, dusk_middle = (choose(rng, [pair[side] for pair in _DUSKS]) for side in (0, 1))
    low = float(np.exp(-(((elevation - 2.0) / 6.0) ** 2)))
    horizon, middle = mix(horizon, dusk_horizon, 0.8 * low), mix(middle, dusk_middle, 0.8 * low)
    direct = mix(direct, dusk_horizon * 1.08, 0.5 * low)
    tint = 1.0 + rng.normal(0.0, 0.03, (3, 1, 1)).astype(np.float32)
    zenith, middle = zenith * tint, middle * tint
    grey = [
        mix(part, part.mean() * colour(238, 246, 255) * 0.98, 0.8 * overcast)
        for part in (zenith, middle, horizon)
    ]
    zenith, middle, horizon = mix(grey[0], grey[1], 0.5 * overcast), grey[1], grey[2]
    shadowless = 0.6 * overcast
    return Light(
        elevation=elevation,
        overcast=overcast,
        side=1 if rng.random() < 0.5 else -1,
        sun_x=float(rng.uniform(-0.42, 0.42)),
        sun_lift=float(np.clip(elevation / 70.0 + 0.02, -0.1, 0.55))
        if elevation > -3
        else float(rng.uniform(0.15, 0.4)),
        thickness=float(rng.gamma(4.0, 0.25) + 1.5 * overcast * rng.random()),
        zenith=zenith,
        middle=middle,
        horizon=horizon,
        direct=mix(direct, direct.mean() * colour(250, 252, 255), shadowless) * (1.0 - shadowless) * 0.72,
        ambient=mix(ambient, ambient.mean() * colour(250, 254, 262), shadowless)
        * (1.0 + 0.9 * shadowless)
        * 0.92,
        haze=mix(horizon, middle, 0.4),
    )


def _hour(elevation: float) -> tuple[Colour, ...]:
    """Interpolate the table of hours."""
    heights = [hour[0] for hour in _HOURS]
    colours = np.array([hour[1:] for hour in _HOURS], dtype=np.float64)  # (hours, 5, 3)
    parts = [[np.interp(elevation, heights, colours[:, part, c]) for c in range(3)] for part in range(5)]
    return tuple(colour(*part) for part in parts)
