"""Writing a prepared cache: decoding all records of a source in parallel into one file.

The work is done by threads: decoding and resizing leave the interpreter free, and threads share the
lock, the progress bar and the fate of their process. Where caches lie and when they are written is
decided in ``cache.py``.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from vedute import __version__
from vedute.data.decoding import ImageBatch, Preparation
from vedute.data.prepared import FORMAT, HEADER_SIZE, LABELS, MANIFEST, RECORDS, images_header, shard_name
from vedute.data.source import Part, Record, Source, printable
from vedute.errors import DataError, VeduteError
from vedute.files import whole

SHARD_SIZE = 16384
"""Images in one file, about: at 256 x 256 pixels 3 GB."""

_MOVE_BYTES = 8 << 20


def refusal(message: str, others: int) -> str:
    """Say that a record is broken, how many others are, and how to leave them out."""
    more = f" {others:,} more records are broken." if others else ""
    return f"{message}{more} To leave broken records out, set on_error to skip."


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f} images/s")


@dataclasses.dataclass
class _Result:
    """What became of one part: of the images that were written, in order, and of the rest."""

    labels: list[int] = dataclasses.field(default_factory=list)
    positions: list[int] = dataclasses.field(default_factory=list)  # in the part
    skipped: list[str] = dataclasses.field(default_factory=list)
    unclear_masks: int = 0


@dataclasses.dataclass(frozen=True)
class _Shard:
    """One file of images: some consecutive parts, and the row of it where each begins."""

    path: Path
    parts: range
    rows: list[int]


class Build:
    """One run through a source that writes a cache."""

    def __init__(
        self,
        source: Source,
        preparation: Preparation,
        name: str,
        on_error: Literal["raise", "skip"],
        shard_size: int,
        workers: int,
        console: Console,
    ) -> None:
        """Keep what ``vedute.data.cache.prepare`` was asked for.

        Args:
            source: The images.
            preparation: What to do with each.
            name: What the images are, for messages.
            on_error: Whether a broken record is an error or is left out.
            shard_size: Images in one file, to the size of a part.
            workers: Threads that decode.
            console: Where messages and the progress bar go.
        """
        self.source = source
        self.preparation = preparation
        self.name = name
        self.on_error = on_error
        self.shard_size = shard_size
        self.workers = workers
        self.console = console
        self.row_shape = (*preparation.image_size, preparation.stored_channels)
        self.row_bytes = math.prod(self.row_shape)

    def write(self, folder: Path, fingerprint: str) -> None:
        """Write the cache into ``folder``, whole or not at all."""
        total = self._check(folder)
        height, width = self.preparation.image_size
        self.console.print(
            f"Preparing {self.name}: {total:,} records to {height} x {width}, "
            f"{total * self.row_bytes / 1e6:,.0f} MB in {folder}"
        )
        begin = time.perf_counter()
        try:
            with whole(folder) as partial:
                partial.mkdir()
                shards = self._shards(partial)
                results = self._decode(shards, total)
                labels = [label for result in results for label in result.labels]
                skipped = [line for result in results for line in result.skipped]
                if not labels:
                    raise DataError(f"{self.name}: none of the {total:,} records can be used. {skipped[0]}")
                counts = self._finish_all(partial, shards, results)
                np.save(partial / LABELS, np.array(labels, dtype=np.int64))
                np.save(partial / RECORDS, self._records(results))
                unclear = sum(result.unclear_masks for result in results)
                if unclear:
                    self.console.print(
                        f"{self.name}: {unclear:,} masks hold more than two values; what reaches half of the "
                        "range counts as foreground."
                    )
                manifest = self._manifest(fingerprint, counts, skipped, unclear)
                (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            raise VeduteError(
                f"{folder} could not be written: it is larger than the largest file that this system or user "
                "may write (ulimit -f). Raise the limit, or choose a smaller image size."
            ) from error
        seconds = time.perf_counter() - begin
        rate = total / max(seconds, 1e-6)
        self.console.print(f"Prepared {self.name} in {seconds:.1f} s ({rate:,.0f} images/s).")

    def _check(self, folder: Path) -> int:
        """Refuse what can be refused before the work begins; return the number of records."""
        broken = self.source.broken()
        if broken and self.on_error == "raise":
            raise DataError(refusal(str(broken[0]), len(broken) - 1))
        total = len(self.source)
        if total == 0:
            first = next(iter(self.source.files()), None)
            raise DataError(f"{self.name}: there are no records in its files (the first is {first}).")
        needed = total * self.row_bytes
        free = shutil.disk_usage(folder.parent).free
        if needed > free:
            raise VeduteError(
                f"{self.name} needs {needed / 1e6:,.0f} MB in {folder.parent}, but only "
                f"{free / 1e6:,.0f} MB are free. Free some space, choose a smaller image size, "
                "or another place with VEDUTE_CACHE."
            )
        return total

    def _manifest(
        self, fingerprint: str, counts: list[int], skipped: list[str], unclear_masks: int
    ) -> dict[str, object]:
        return {
            "format": FORMAT,
            "name": self.name,
            "shards": counts,
            "preparation": dataclasses.asdict(self.preparation),
            "source": self.source.settings(),
            "fingerprint": fingerprint,
            "skipped": skipped,
            "unclear_masks": unclear_masks,
            "vedute": __version__,
        }

    def _shards(self, folder: Path) -> list[_Shard]:
        """Plan which parts go into which file."""
        counts = [part.count() for part in self.source.parts()]
        shards: list[_Shard] = []
        rows: list[int] = []
        first = filled = 0
        for position, count in enumerate(counts):
            if rows and filled + count > self.shard_size:
                shards.append(_Shard(folder / shard_name(len(shards)), range(first, position), rows))
                first, rows, filled = position, [], 0
            rows.append(filled)
            filled += count
        return [*shards, _Shard(folder / shard_name(len(shards)), range(first, len(counts)), rows)]

    def _decode(self, shards: list[_Shard], total: int) -> list[_Result]:
        """Decode all parts in parallel, each into its own rows of its file."""
        stop = Event()
        columns = (BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
        executor = ThreadPoolExecutor(self.workers, thread_name_prefix="prepare")
        with Progress(*columns, console=self.console) as bar:
            task = bar.add_task(self.name, total=total)

            def advance(count: int) -> None:
                bar.advance(task, count)

            try:
                futures = []
                parts = self.source.parts()
                for shard in shards:
                    shard.path.touch()
                    for part, row in zip(shard.parts, shard.rows, strict=True):
                        futures.append(
                            executor.submit(self._decode_part, parts[part], shard.path, row, stop, advance)
                        )
                return [future.result() for future in futures]  # in order: the first broken record is named
            finally:
                stop.set()  # after an error or Ctrl-C: do not finish parts that nobody wants
                executor.shutdown(cancel_futures=True)

    def _decode_part(
        self, part: Part, path: Path, row: int, stop: Event, advance: Callable[[int], None]
    ) -> _Result:
        result = _Result()
        batch = ImageBatch(self.preparation)
        shown = 0
        position = -1
        with path.open("r+b", buffering=0) as file:
            file.seek(HEADER_SIZE + row * self.row_bytes)
            for position, entry in enumerate(part.read()):
                if stop.is_set():
                    break
                try:
                    result.labels.append(add_record(batch, entry))
                    result.positions.append(position)
                except DataError as error:
                    if self.on_error == "raise":
                        raise DataError(refusal(str(error), 0)) from error
                    result.skipped.append(printable(str(error)))
                if batch.full:
                    _write(file, batch.take().reshape(-1).data)
                    advance(position + 1 - shown)
                    shown = position + 1
            _write(file, batch.take().reshape(-1).data)
        advance(position + 1 - shown)
        result.unclear_masks = batch.unclear_masks
        return result

    def _records(self, results: list[_Result]) -> NDArray[np.int64]:
        """Return which record of the source each image was, (N,)."""
        pieces = []
        start = 0
        for part, result in zip(self.source.parts(), results, strict=True):
            pieces.append(start + np.array(result.positions, dtype=np.int64))
            start += part.count()
        return np.concatenate(pieces)

    def _finish_all(self, folder: Path, shards: list[_Shard], results: list[_Result]) -> list[int]:
        """Finish the files; return the number of images in each that has any."""
        counts: list[int] = []
        for shard in shards:
            count = self._finish(shard, [results[part] for part in shard.parts])
            if count:
                shard.path.rename(folder / shard_name(len(counts)))
                counts.append(count)
            else:
                shard.path.unlink()
        return counts

    def _finish(self, shard: _Shard, results: list[_Result]) -> int:
        """Close the gaps that skipped records have left, cut the file to size and write its header."""
        count = 0
        with shard.path.open("r+b", buffering=0) as file:
            for row, result in zip(shard.rows, results, strict=True):
                if row != count:
                    self._move(file, row, count, len(result.labels))
                count += len(result.labels)
            file.truncate(HEADER_SIZE + count * self.row_bytes)
            file.seek(0)
            _write(file, images_header((count, *self.row_shape)))
        return count

    def _move(self, file: BinaryIO, row: int, to: int, count: int) -> None:
        step = max(1, _MOVE_BYTES // self.row_bytes)
        for start in range(0, count, step):
            rows = min(step, count - start)
            file.seek(HEADER_SIZE + (row + start) * self.row_bytes)
            data = file.read(rows * self.row_bytes)
            file.seek(HEADER_SIZE + (to + start) * self.row_bytes)
            _write(file, data)


def add_record(batch: ImageBatch, entry: Record | DataError) -> int:
    """Decode a record into a batch and return its label, -1 for none.

    Raises:
        DataError: The record is broken; the message says where it comes from.
    """
    if isinstance(entry, DataError):
        raise entry
    try:
        batch.add(entry.payload, entry.mask)
    except DataError as error:
        raise DataError(f"{entry.origin}: the payload is {error}.") from error
    return -1 if entry.label is None else entry.label


def _write(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write all of ``data``; an unbuffered file may take only a part at a time."""
    view = memoryview(data)
    while len(view):
        view = view[file.write(view) :]
