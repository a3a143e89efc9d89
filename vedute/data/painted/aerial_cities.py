"""Five invented cities that differ in their streets, roofs, trees and light.

``rasterburg`` has a grid of streets and flat grey roofs, ``gartenau`` red roofs in gardens, ``tannhain`` a
few houses in a forest, ``almdorf`` chalets among meadows, ``altenfeld`` narrow lanes between attached
houses.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vedute.data.painted.aerial_country import almdorf, gartenau, tannhain
from vedute.data.painted.aerial_scene import Chance, Scene
from vedute.data.painted.aerial_town import altenfeld, rasterburg

CITIES: dict[str, Callable[[Chance], Scene]] = {
    "rasterburg": rasterburg,
    "gartenau": gartenau,
    "tannhain": tannhain,
    "almdorf": almdorf,
    "altenfeld": altenfeld,
}


def scene(city: str, rng: np.random.Generator) -> Scene:
    """Draw a piece of a city, 200 x 200 metres.

    Args:
        city: A key of ``CITIES``.
        rng: What is drawn follows from it alone.
    """
    return CITIES[city](Chance(rng))
