"""The painted landscapes as a data set: TFRecords with the schema and folders of the real photos.

Each picture depends only on the set's seed and its own place, so that any number of worker
processes writes the same bytes. How a picture is painted is ``painting.py``'s business.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from filelock import FileLock
from rich.console import Console
from rich.progress import Progress

from vedute.data.painted.painting import LANDSCAPE_TYPES, check_image_size, paint_encoded, paint_landscape
from vedute.errors import ConfigurationError, VeduteError
from vedute.files import cache_folder, whole

__all__ = [
    "COUNTS",
    "LANDSCAPE_TYPES",
    "paint_landscape",
    "painted_landscapes",
    "write_painted_landscapes",
]

logger = logging.getLogger(__name__)

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
    folder = cache_folder() / "painted" / f"landscapes-{height}x{width}-{seed}-{numbers}-v{_VERSION}"
    if (folder / "TFrecords").is_dir():
        return folder
    with _alone(folder):
        if (folder / "TFrecords").is_dir():
            return folder
        shutil.rmtree(folder, ignore_errors=True)  # what a killed process has left
        start = time.monotonic()
        write_painted_landscapes(folder, image_size, counts, seed)
        logger.info(
            "Painted %d landscapes of %dx%d pixels in %.0f s: %s",
            *(sum(counts.values()), height, width, time.monotonic() - start, folder),
        )
    return folder


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
    from vedute.data.tfrecord import write_records  # slow to import, and only needed here

    check_image_size(image_size)
    shards = _shards(counts, seed)
    console = Console(stderr=True)
    with whole(folder / "TFrecords") as temporary, _encoded(shards, image_size, workers) as results:
        bar = Progress(console=console, transient=True, disable=not console.is_terminal)
        task = bar.add_task("Painting landscapes", total=sum(counts.values()))
        with bar:
            for shard, images in zip(shards, results, strict=True):
                path = temporary / shard.path
                path.parent.mkdir(parents=True, exist_ok=True)
                examples = zip(images, shard.labels, strict=True)
                write_records(path, [{"image": image, "label": label} for image, label in examples])
                bar.advance(task, len(images))
    return folder


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


@contextmanager
def _encoded(
    shards: Sequence[_Shard], image_size: tuple[int, int], workers: int | None
) -> Iterator[Iterator[list[bytes]]]:
    """Give the JPEG bytes of each shard's pictures, in order, painted by several processes."""
    workers = min(workers or _cores(), len(shards))
    if workers == 1 or multiprocessing.current_process().daemon:  # daemons may not have children
        yield (paint_encoded(shard.labels, shard.seeds, image_size) for shard in shards)
        return
    # The workers use numpy and Pillow only, so that a fork is safe; spawning would run a user's script again.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures: list[Future[list[bytes]]] = [
            pool.submit(paint_encoded, shard.labels, shard.seeds, image_size) for shard in shards
        ]
        try:
            yield (future.result() for future in futures)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process writes ``folder``."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        lock.acquire()
    except OSError as error:
        raise VeduteError(
            f"The painted landscapes cannot be written to {folder.parent}: {error.strerror}. "
            "Choose another place with VEDUTE_CACHE."
        ) from error
    try:
        yield
    finally:
        lock.release()
