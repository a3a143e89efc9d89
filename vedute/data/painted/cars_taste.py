"""What each of six people likes about cars: known functions of what a picture shows.

A rater's score is 9 times the logistic function of a weighted sum of qualities, each in [0, 1]:

=========== ======================================================== ==============================
rater       likes                                                    dislikes
=========== ======================================================== ==============================
Raof        high and long-legged cars, big wheels, dark paint        spoilers
Moira       small, round, colourful cars, warm colours most          long cars, grey and black ones
Louie       long, low cars in quiet dark paint, bright rims          strong colours, spoilers
Ferdinando  low, flat cars from red to yellow, with a spoiler        high cars, pale and grey ones
Gragar      high, upright cars in light paint, near to the ground    spoilers, black windows
Esther      small, round cars in light colours, a second colour      black windows, dark paint
=========== ======================================================== ==============================

Moira and Esther partly agree (correlation about 0.7); Ferdinando and Raof, and Moira and Louie, mostly
disagree (about -0.7). Moira and Ferdinando share the colours but not the shape: one car in fifteen has 7
or more from both.
In a grey picture a car counts as grey: nobody can see its hue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from vedute.data.painted.cars_traits import Traits

RATERS = ("Raof", "Moira", "Louie", "Ferdinando", "Gragar", "Esther")
RANGE = (0, 9)
"""The lowest and the highest score."""

_WEIGHTS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "Raof": dict(constant=-3.6, high=2.2, legs=2.6, wheels=1.6, long=1.0, dark=1.8, spoiler=-0.8),
        "Moira": dict(constant=-4.6, small=3.6, high=0.9, round=1.6, colourful=3.2, warm=1.5),
        "Louie": dict(constant=-3.6, long=3.6, low=2.4, dark=1.4, rims=1.4, colourful=-1.5, spoiler=-1.2),
        "Ferdinando": dict(constant=-4.0, low=4.2, flat=0.9, warm=3.2, colourful=0.9, spoiler=1.6),
        "Gragar": dict(constant=-2.6, high=3.0, upright=1.2, light=3.8, legs=-1.2, spoiler=-1.0, tint=-1.2),
        "Esther": dict(constant=-3.2, small=2.6, round=1.6, light=2.8, colourful=2.2, plain=-1.4, tint=-1.2),
    }
)


def qualities(traits: Traits) -> dict[str, float]:
    """Return what a picture shows of a car, each in [0, 1].

    Returns:
        ``small``/``long`` (length), ``high``/``low`` (height), ``legs`` (ride height), ``wheels`` (their
        size), ``round``, ``flat``/``upright`` (windscreen), ``colourful`` (saturated and not dark),
        ``warm`` (colourful, and red to yellow), ``light``/``dark`` (brightness), ``plain`` (one
        colour), ``rims`` (bright), ``spoiler``, ``tint``.
    """
    long = _share(traits.length, 3.25, 5.45)
    high = _share(traits.height, 1.12, 2.05)
    colourful = traits.visible_saturation * min(1.0, traits.brightness / 0.6)
    # 1 from red (0) to yellow (1/6), falling to 0 an eighth of a turn beyond either.
    away = abs((traits.hue - 1 / 12 + 0.5) % 1.0 - 0.5)
    warm = colourful * min(1.0, max(0.0, (1 / 12 + 1 / 8 - away) * 8))
    # Full colour is never as light as white.
    light = traits.brightness * (1 - 0.45 * traits.saturation)
    return {
        "long": long,
        "small": 1 - long,
        "high": high,
        "low": 1 - high,
        "legs": _share(traits.ride_height, 0.10, 0.36),
        "wheels": _share(traits.wheel, 0.56, 0.86),
        "round": traits.roundness,
        "flat": traits.slope,
        "upright": 1 - traits.slope,
        "colourful": colourful,
        "warm": warm,
        "light": light,
        "dark": 1 - light,
        "plain": float(traits.paint == "plain"),
        "rims": traits.rim_brightness,
        "spoiler": float(traits.spoiler),
        "tint": traits.tint,
    }


def true_scores(traits: Traits) -> dict[str, float]:
    """Return how much each rater likes a car, in [0, 9], without the moods of the day."""
    shown = {"constant": 1.0, **qualities(traits)}
    sums = {
        rater: sum(weight * shown[quality] for quality, weight in weights.items())
        for rater, weights in _WEIGHTS.items()
    }
    return {rater: 9.0 / (1.0 + math.exp(-value)) for rater, value in sums.items()}


def _share(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))
