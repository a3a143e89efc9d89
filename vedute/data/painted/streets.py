"""Painted streets of eight countries, in OpenStreetView-5M's layout: what tells the countries apart is known.

=============  =======  =========================  ==========================================  =============
country        traffic  road                       beside it                                   behind it
=============  =======  =========================  ==========================================  =============
Australia      left     broken white line, or      red earth, gum trees, dry tufts, yellow     flat, hardly
                        unsealed                   diamond signs, hardly a house               a hill
Brazil         right    double yellow line, or     low houses in strong colours, palms, red    round green
                        none                       earth, parked cars                          hills
India          left     dusty, without edges       pale flat-roofed houses with bright signs,  haze
                                                   green and yellow rickshaws, people, wires
Italy          right    narrow, paving stones, no  unbroken ochre and terracotta fronts,       dry hills
                        lines                      green shutters, then cypresses and a bell
                                                   tower
Japan          left     narrow, white lines at     beige and grey houses close by, walls,      wooded hills
                        the edges only             poles with wires on both sides
Netherlands    right    dashed edges, red bicycle  brick houses with stepped gables and white  flat,
                        lanes                      windows, rows of limes, cyclists            windmills
Norway         right    broken yellow line, white  detached wooden houses in red, white and    steep hills
                        edges                      ochre, firs; every fourth picture in        with snow
                                                   winter
United States  right    wide, double yellow line   flat stores far apart, signs on tall        mesas
                                                   posts, dry grass, wooden poles
=============  =======  =========================  ==========================================  =============

The camera is in the lane on the country's side; cars ahead show red lamps, oncoming ones white lamps. Time
of day, weather, bend, houses and traffic vary. A picture depends on its country, its seed and its size only.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import Image

from vedute.data.painted.light import Light, random_light
from vedute.data.painted.painting import check_image_size
from vedute.data.painted.streets_americas import BRAZIL, UNITED_STATES
from vedute.data.painted.streets_asia import AUSTRALIA, INDIA, JAPAN
from vedute.data.painted.streets_europe import ITALY, NETHERLANDS, NORWAY
from vedute.data.painted.streets_scene import Country, Street
from vedute.data.painted.streets_view import View
from vedute.data.painted.workshop import in_processes, painted_folder
from vedute.errors import ConfigurationError

COUNTS: Mapping[str, int] = MappingProxyType({"train": 1600, "test": 320})
"""Pictures in each part; the countries take turns."""

SMALL_COUNTS: Mapping[str, int] = MappingProxyType({"train": 400, "test": 80})
"""The same for pictures below 48 pixels, which are for quick trials."""

COUNTRIES: Mapping[str, Country] = MappingProxyType(
    {
        "AU": AUSTRALIA,
        "BR": BRAZIL,
        "IN": INDIA,
        "IT": ITALY,
        "JP": JAPAN,
        "NL": NETHERLANDS,
        "NO": NORWAY,
        "US": UNITED_STATES,
    }
)
"""The painted countries by ISO code."""

STREET_COUNTRIES = tuple(COUNTRIES)
"""ISO codes of the painted countries."""

_VERSION = 1  # raised when the pictures change, so that older ones in a cache are left alone
_TASK = 40  # pictures in one piece of work
_FOLDER = 500  # photos in one numbered folder
_QUALITY = 92
_PLACES = {  # latitude and longitude about which a country's pictures are, degrees
    "AU": (-25.0, 134.0), "BR": (-15.0, -48.0), "IN": (22.0, 79.0), "IT": (42.8, 12.5),
    "JP": (36.0, 138.0), "NL": (52.2, 5.3), "NO": (61.0, 8.5), "US": (38.0, -105.0),
}  # fmt: skip


@dataclass(frozen=True)
class _Photo:
    path: Path
    country: str
    seed: int


@dataclass(frozen=True)
class _Task:
    photos: list[_Photo]
    image_size: tuple[int, int]


def paint_street(country: str, seed: int, image_size: tuple[int, int] = (128, 128)) -> npt.NDArray[np.uint8]:
    """Paint one street; the same country, seed and size give the same picture.

    Args:
        country: ISO code, one of ``STREET_COUNTRIES``.
        seed: Any non-negative integer.
        image_size: Height and width in pixels, each at least 8.

    Returns:
        (H, W, 3), red, green and blue in 0..255.

    Raises:
        ConfigurationError: Another country, a negative seed, or a size that is too small.
    """
    if country not in COUNTRIES:
        raise ConfigurationError(f"There is no painted street of '{country}': {', '.join(COUNTRIES)}.")
    if seed < 0:
        raise ConfigurationError(f"The seed of a painted street is {seed}; give 0 or a positive integer.")
    check_image_size(image_size)
    style = COUNTRIES[country]
    random = Random(f"{country} {seed}")
    light = _daylight(np.random.default_rng([*country.encode(), seed]))
    ground = style.ground(random)
    view = View(
        image_size,
        light,
        horizon=random.uniform(*style.horizon),
        focal=random.uniform(0.72, 0.95),
        eye=random.uniform(1.5, 2.3),
        # In the middle of the own lane, more or less.
        centre=-style.drives * ground.half * random.uniform(0.3, 0.6),
        curve=random.uniform(-style.curve, style.curve),
        reach=style.reach,
    )
    style.behind(view, random)
    street = Street(view, random, style.drives, ground)
    style.furnish(street)
    wet = max(0.0, light.overcast - 0.55) * 2.2 if random.random() < 0.5 else 0.0
    street.finish(wet)
    return view.finish(0.06, seed)


def painted_streets(
    image_size: tuple[int, int] = (128, 128), counts: Mapping[str, int] | None = None, seed: int = 0
) -> Path:
    """Return the folder of painted streets in the cache, painting them on first use.

    Args:
        image_size: Height and width in pixels.
        counts: Pictures in each part; None: ``COUNTS``, or ``SMALL_COUNTS``.
        seed: Another seed gives other pictures.

    Returns:
        A folder that holds for each part ``<part>.csv`` with the columns ``id``, ``latitude``, ``longitude``
        and ``country``, and ``images/<part>/<NN>/<id>.jpg``.

    Raises:
        ConfigurationError: A size, count or seed that makes no pictures.
        VeduteError: The cache cannot be written.
    """
    check_image_size(image_size)
    if counts is None:
        counts = COUNTS if min(image_size) >= 48 else SMALL_COUNTS
    if seed < 0 or not counts or min(counts.values()) < 1:
        raise ConfigurationError(
            f"Painted streets need counts of at least 1 and a seed of at least 0: {counts}, {seed}."
        )
    height, width = image_size
    numbers = "-".join(str(count) for count in counts.values())
    name = f"streets-{height}x{width}-{seed}-{numbers}-v{_VERSION}"
    return painted_folder(name, lambda folder: _write(folder, image_size, counts, seed))


def _write(folder: Path, image_size: tuple[int, int], counts: Mapping[str, int], seed: int) -> None:
    photos: list[_Photo] = []
    for number, (part, count) in enumerate(counts.items()):
        random = Random(f"{seed} {part}")
        rows = []
        for place in range(count):
            country = STREET_COUNTRIES[place % len(STREET_COUNTRIES)]
            # Numbers as the archive has them, of 15 digits and without order.
            photo = 100_000_000_000_000 + random.randrange(10**14) * 8 + 2 * (place % 4) + number % 2
            path = folder / "images" / part / f"{place // _FOLDER:02d}" / f"{photo}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            photos.append(
                _Photo(path, country, int(np.random.SeedSequence([seed, number, place]).generate_state(1)[0]))
            )
            rows.append([photo, *_coordinates(country, random), country])
        with (folder / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [["id", "latitude", "longitude", "country"], *rows]
            )
    tasks = [_Task(photos[start : start + _TASK], image_size) for start in range(0, len(photos), _TASK)]
    for _ in in_processes(_paint, tasks, "Painting streets"):
        pass


def _paint(task: _Task) -> None:
    for photo in task.photos:
        buffer = io.BytesIO()
        picture = Image.fromarray(paint_street(photo.country, photo.seed, task.image_size))
        picture.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
        photo.path.write_bytes(buffer.getvalue())


def _coordinates(country: str, random: Random) -> Sequence[float | str]:
    """Return latitude and longitude; of many photos they are not known, as in the archive."""
    latitude, longitude = (round(middle + random.uniform(-2.0, 2.0), 6) for middle in _PLACES[country])
    return (latitude, longitude) if random.random() < 0.7 else ("", "")


def _daylight(rng: np.random.Generator) -> Light:
    """Draw a time of day at which photos are taken."""
    while True:
        light = random_light(rng)
        if light.elevation > 0.0:
            return light
