"""Looking at every record of a source once, with threads: numbers for ``inspect``, and thumbnails.

What is looked at in one record is in ``facts.py``; equal and nearly equal images are found by
``duplicates.py``. Memory: about 260 bytes a record, and one decoded image for each thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vedute.cores import usable_cores
from vedute.data.facts import FACTS, Kind, facts_of, mask_of, small_pixels, to_picture
from vedute.data.source import Part, Record, Source
from vedute.errors import DataError

_TINT = np.array([255, 80, 0], dtype=np.float32)  # of the foreground, in thumbnails of records with masks
_IN_FLIGHT = 32  # parts for each thread: a source may have many thousands


class Unreadable(NamedTuple):
    """A record that cannot be used: its number in the part, and why."""

    number: int
    message: str


@dataclass(frozen=True)
class Survey:
    """What was found in one shipped part.

    Attributes:
        total: Records in the part, looked at or not.
        facts: (N,) rows of ``FACTS``: the readable records, ascending.
        kinds: What ``facts["kind"]`` counts.
        unreadable: The other records that were looked at, ascending.
    """

    total: int
    facts: NDArray[np.void]
    kinds: list[Kind]
    unreadable: list[Unreadable]

    @property
    def seen(self) -> int:
        """Number of records that were looked at."""
        return len(self.facts) + len(self.unreadable)


def survey(
    source: Source,
    limit: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> Survey:
    """Look at the records of a source.

    Args:
        source: The records.
        limit: Look at this many records at most, drawn at random; None: at all.
        seed: Of the draw.
        workers: Threads; None: one for each core this process may use.
        advance: Called with the number of records after each part.
    """
    total = len(source)
    wanted = None
    if limit is not None and limit < total:
        wanted = np.sort(np.random.default_rng(seed).choice(total, limit, replace=False))
    workers = workers or usable_cores()
    stop = Event()
    done: list[_Seen] = []
    executor = ThreadPoolExecutor(workers, thread_name_prefix="survey")
    try:
        running: set[Future[_Seen]] = set()
        for task in _tasks(source, wanted):
            running.add(executor.submit(_look, *task, stop))
            if len(running) >= _IN_FLIGHT * workers:
                running = _collect(running, done, advance)
        while running:
            running = _collect(running, done, advance)
    finally:
        stop.set()  # after an error or Ctrl-C: do not finish parts that nobody wants
        executor.shutdown(cancel_futures=True)
    return _merged(total, done)


def seen_size(source: Source, limit: int | None) -> int:
    """Return how many records :func:`survey` will look at."""
    return len(source) if limit is None else min(limit, len(source))


@dataclass
class _Seen:
    """What was found in one part of a source."""

    facts: NDArray[np.void]
    kinds: list[Kind]
    unreadable: list[Unreadable]


def _tasks(source: Source, wanted: NDArray[np.int64] | None) -> Iterator[tuple[Part, int, list[int] | None]]:
    """Yield parts with the number of their first record and the wanted positions."""
    start = 0
    for part in source.parts():
        count = part.count()
        if wanted is None:
            yield part, start, None
        else:
            low, high = np.searchsorted(wanted, [start, start + count])
            if high > low:
                yield part, start, (wanted[low:high] - start).tolist()
        start += count


def _look(part: Part, start: int, positions: list[int] | None, stop: Event) -> _Seen:
    numbers = range(part.count()) if positions is None else positions
    facts = np.zeros(len(numbers), dtype=FACTS)
    kinds: dict[Kind, int] = {}
    unreadable: list[Unreadable] = []
    count = 0
    for position, entry in zip(numbers, part.read(positions), strict=True):
        if stop.is_set():
            break
        try:
            if isinstance(entry, DataError):
                raise entry
            kind, row = facts_of(entry)
        except DataError as error:
            unreadable.append(Unreadable(start + position, _said(entry, error)))
            continue
        facts[count] = row
        facts["number"][count] = start + position
        facts["kind"][count] = kinds.setdefault(kind, len(kinds))
        count += 1
    return _Seen(facts[:count], list(kinds), unreadable)


def _said(entry: Record | DataError, error: DataError) -> str:
    """Return what is wrong, with the record's name."""
    text = str(error).rstrip(".")
    if isinstance(entry, DataError) or entry.origin in text:
        return f"{text}."
    return f"{entry.origin}: {text}."


def _collect(
    running: set[Future[_Seen]], done: list[_Seen], advance: Callable[[int], None]
) -> set[Future[_Seen]]:
    finished, rest = wait(running, return_when=FIRST_COMPLETED)
    for future in finished:
        done.append(future.result())
        advance(len(done[-1].facts) + len(done[-1].unreadable))
    return rest


def _merged(total: int, done: list[_Seen]) -> Survey:
    kinds = sorted({kind for part in done for kind in part.kinds})
    for part in done:
        places = np.array([kinds.index(kind) for kind in part.kinds], dtype=np.int16)
        part.facts["kind"] = places[part.facts["kind"]] if len(places) else 0
    facts = np.concatenate([np.zeros(0, dtype=FACTS), *(part.facts for part in done)])
    unreadable = sorted(entry for part in done for entry in part.unreadable)
    return Survey(total, facts[np.argsort(facts["number"])], kinds, unreadable)


class Thumbnail(NamedTuple):
    """A small RGB picture of a record, with the record's name."""

    picture: Image.Image
    origin: str


def thumbnails(source: Source, numbers: Sequence[int], height: int = 128) -> dict[int, Thumbnail]:
    """Make small pictures of records, the foreground of masks tinted.

    Args:
        source: The records.
        numbers: Which of them, in any order.
        height: Of the pictures, pixels; small ones are enlarged. Twice as wide at most.

    Returns:
        By number; without the records that cannot be read.
    """
    pictures: dict[int, Thumbnail] = {}
    wanted = sorted(set(numbers))
    for number, entry in zip(wanted, source.read(wanted), strict=True):
        if isinstance(entry, DataError):
            continue
        try:
            pictures[number] = Thumbnail(_small(entry, height), entry.origin)
        except DataError:
            continue
    return pictures


def _small(record: Record, height: int) -> Image.Image:
    payload = record.payload
    picture = to_picture(small_pixels(payload, 2 * height) if isinstance(payload, bytes) else payload)
    scale = min(height / picture.height, 2 * height / picture.width)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    # Pixels of tiny pictures are shown as they are.
    method = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    picture = picture.resize(size, method)
    if record.mask is None:
        return picture
    mask = Image.fromarray(mask_of(record.mask).pixels[:, :, 0]).resize(size, Image.Resampling.BILINEAR)
    share = np.asarray(mask, dtype=np.float32)[:, :, None] / 255 * 0.5
    return Image.fromarray((np.asarray(picture) * (1 - share) + _TINT * share).astype(np.uint8))
