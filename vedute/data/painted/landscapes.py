"""The painted landscapes as a data set: TFRecords with the schema and folders of the real photos.

Each picture depends only on the set's seed and its own place, so that any number of worker
processes writes the same bytes. How a picture is painted is ``painting.py``'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from vedute.data.painted.painting import LANDSCAPE_TYPES, check_image_size, paint_encoded, paint_landscape
from vedute.data.painted.workshop import in_processes, painted_folder
from vedute.errors import ConfigurationError
from vedute.files import whole

__all__ = [
    "COUNTS",
    "LANDSCAPE_TYPES",
    "paint_landscape",
    "painted_landscapes",
    "write_painted_landscapes",
]

COUNTS: Mapping[str, int] = MappingProxyType({"Train": 2000, "Valid": 250, "Test": 250})
"""Pictures in each part."""

_VERSION = 1  # raised when the pictures change, so that older ones in a cache are left alone
_SHARD = 125  # records in a file, and in one piece of work


@dataclass(frozen=True)
class _Shard:
    """One file: its place under the folder, and the label and seed of every picture in it."""

    path: Path
    labels: list[int]
    seeds: list[int]


def painted_landscapes(
    image_size: tuple[int, int] = (64, 64), counts: Mapping[str, int] = COUNTS, seed: int = 0
) -> Path:
    """Return the folder of painted landscapes in the cache, painting them on first use.

    Several processes may ask at once: one paints, the others wait.

    Args:
        image_size: Height and width in pixels.
        counts: Pictures in each part; the types take turns.
        seed: Another seed gives other pictures.

    Returns:
        A folder that holds ``TFrecords/{Train,Valid,Test}/*.tfrecord``.

    Raises:
        ConfigurationError: A size, count or seed that makes no pictures.
        VeduteError: The cache cannot be written.
    """
    check_image_size(image_size)
    _shards(counts, seed)
    height, width = image_size
    numbers = "-".join(str(count) for count in counts.values())
    name = f"landscapes-{height}x{width}-{seed}-{numbers}-v{_VERSION}"
    return painted_folder(name, lambda folder: _write(folder, image_size, counts, seed))


def write_painted_landscapes(
    folder: Path,
    image_size: tuple[int, int] = (64, 64),
    counts: Mapping[str, int] = COUNTS,
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Paint landscapes and write them as TFRecords, all or none; an earlier ``TFrecords`` is replaced.

    Features: ``image`` (JPEG bytes) and ``label`` (int64, position in ``LANDSCAPE_TYPES``).

    Args:
        folder: Gets ``TFrecords/<part>/*.tfrecord``.
        image_size: Height and width in pixels.
        counts: Pictures in each part; the types take turns, so parts and files are balanced.
        seed: Another seed gives other pictures.
        workers: Processes; None takes every core. The files do not depend on it.

    Returns:
        ``folder``.

    Raises:
        ConfigurationError: A size, count or seed that makes no pictures.
        VeduteError: The disk is full or the place cannot be written.
    """
    check_image_size(image_size)
    _shards(counts, seed)
    with whole(folder / "TFrecords") as temporary:
        _write_records(temporary, image_size, counts, seed, workers)
    return folder


def _write(folder: Path, image_size: tuple[int, int], counts: Mapping[str, int], seed: int) -> None:
    _write_records(folder / "TFrecords", image_size, counts, seed)


def _write_records(
    folder: Path,
    image_size: tuple[int, int],
    counts: Mapping[str, int],
    seed: int,
    workers: int | None = None,
) -> None:
    from vedute.data.tfrecord import write_records  # slow to import, and only needed here

    shards = _shards(counts, seed)
    tasks = [(shard.labels, shard.seeds, image_size) for shard in shards]
    results = in_processes(_paint, tasks, "Painting landscapes", workers)
    for shard, images in zip(shards, results, strict=True):
        path = folder / shard.path
        path.parent.mkdir(parents=True, exist_ok=True)
        examples = zip(images, shard.labels, strict=True)
        write_records(path, [{"image": image, "label": label} for image, label in examples])


def _paint(task: tuple[list[int], list[int], tuple[int, int]]) -> list[bytes]:
    return paint_encoded(*task)


def _shards(counts: Mapping[str, int], seed: int) -> list[_Shard]:
    """Return what is in which file, in order."""
    if seed < 0:
        raise ConfigurationError(
            f"The seed of the painted landscapes is {seed}; give 0 or a positive integer."
        )
    if not counts or min(counts.values()) < 1:
        raise ConfigurationError(
            f"The counts of painted landscapes are {dict(counts)}; every part needs at least 1 picture."
        )
    shards = []
    for part, (name, count) in enumerate(counts.items()):
        files = -(-count // _SHARD)
        for file in range(files):
            places = range(file * _SHARD, min(count, (file + 1) * _SHARD))
            states = [
                np.random.SeedSequence([seed, part, place]).generate_state(1, np.uint64) for place in places
            ]
            shards.append(
                _Shard(
                    Path(name) / f"{name.lower()}-{file:05d}-of-{files:05d}.tfrecord",
                    labels=[place % len(LANDSCAPE_TYPES) for place in places],
                    seeds=[int(state[0]) for state in states],
                )
            )
    return shards
