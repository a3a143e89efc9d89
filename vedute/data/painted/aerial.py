"""The painted aerial set: five invented cities with building masks, as GeoTIFFs in Inria's layout."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vedute.data.painted.workshop import in_processes, painted_folder
from vedute.errors import ConfigurationError

CITY_NAMES = ("rasterburg", "gartenau", "tannhain", "almdorf", "altenfeld")
PER_CITY = 4
_SMALLEST, _LARGEST = 64, 1024  # pixels a side of a picture
_VERSION = "v1"
_MAP_KEYS = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)  # WGS 84 / UTM zone 32N

Pixels = NDArray[np.uint8]
_Task = tuple[str, int, int, int]  # city, number, side, seed


def painted_aerial(
    image_size: tuple[int, int], split: int = 1, per_city: int = PER_CITY, seed: int = 0
) -> Path:
    """Return the folder of the painted cities, painted on first use: ``train/images`` and ``train/gt``.

    The pictures show 200 x 200 metres. They have twice the side of the images, more where they are going to
    be cut, 64 to 1024 pixels.

    Args:
        image_size: (height, width) of the images that will be made of them, pixels.
        split: Tiles along each side that will be cut out of a picture.
        per_city: Pictures of each city, numbered from 1.
        seed: Of all draws.

    Raises:
        ConfigurationError: A number is out of its range.
        VeduteError: The cache cannot be written.
    """
    if per_city < 1 or seed < 0 or min(image_size) < 1:
        raise ConfigurationError(
            f"Painted cities need an image_size and per_city of at least 1 and a seed of at least 0, got "
            f"{image_size}, {per_city} and {seed}."
        )
    side = min(max(math.ceil(max(image_size) * max(2, 1.2 * split)), _SMALLEST), _LARGEST)
    name = f"aerial-{side}-{per_city}-{seed}-{_VERSION}"
    return painted_folder(name, lambda folder: write_painted_aerial(folder, side, per_city, seed))


def write_painted_aerial(
    folder: Path, side: int, per_city: int, seed: int, workers: int | None = None
) -> None:
    """Write the pictures as TIFFs with deflate, half of them in strips and half in tiles.

    Args:
        folder: ``train/images/<city><n>.tif`` and ``train/gt/<city><n>.tif`` are written below it.
        side: Of the pictures, pixels.
        per_city: Pictures of each city.
        seed: Of all draws.
        workers: Processes; None: one for each core.
    """
    import tifffile  # slow to import, and only needed here

    from vedute.data.georeference import Georeference, geotiff_tags

    tasks = [(city, number, side, seed) for city in CITY_NAMES for number in range(1, per_city + 1)]
    painted = in_processes(paint, tasks, "Painting aerial pictures", workers)
    for (city, number, _, _), (image, mask) in zip(tasks, painted, strict=True):
        metres = 200.0 / side
        east, north = 500_000.0 + 10_000 * CITY_NAMES.index(city) + 200 * number, 5_300_000.0
        place = Georeference(
            (metres, 0.0, east, 0.0, -metres, north), _MAP_KEYS, text="WGS 84 / UTM zone 32N|"
        )
        for kind, pixels in (("images", image), ("gt", mask)):
            path = folder / "train" / kind / f"{city}{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(
                path,
                pixels,
                photometric="rgb" if pixels.ndim == 3 else "minisblack",
                compression="zlib",
                predictor=True,
                metadata=None,
                extratags=geotiff_tags(place),
                **({"tile": (64, 64)} if number % 2 else {"rowsperstrip": 32}),
            )


def paint(task: _Task) -> tuple[Pixels, Pixels]:
    """Paint a picture, (side, side, 3), and its mask, (side, side) 0 or 255."""
    from vedute.data.painted.aerial_cities import scene
    from vedute.data.painted.aerial_drawing import draw

    city, number, side, seed = task
    rng = np.random.default_rng([seed, CITY_NAMES.index(city), number])
    # Textures depend on the size, what stands there does not.
    return draw(scene(city, rng), side, np.random.default_rng([seed, CITY_NAMES.index(city), number, 1]))
