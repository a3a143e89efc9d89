"""Finding the records that ``inspect`` looks at, also where training would refuse the data.

A data set stops at the first thing that is wrong with its table or its folders. Who inspects wants to see
the rest all the same: options that leave out what is wrong are tried, and at last all image files are
taken without their labels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vedute.cli.data_arguments import build_data
from vedute.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from datamodules.base import ImageDataModule
    from vedute.data.source import Source
    from vedute.report.html import Notice


class _Attempt(NamedTuple):
    """Options under which a data set may be readable, and what they mean for the reader of the page."""

    options: Mapping[str, str]
    meaning: str


_LEFT_OUT = "Below, images without a label are in no split"
_ATTEMPTS = (
    # Missing scores can be counted only where their images stay.
    _Attempt({"missing": "mean"}, "Below, missing scores are counted and left aside."),
    _Attempt({"missing": "drop"}, f"{_LEFT_OUT}."),
    _Attempt({"score_range": "null"}, "Below, scores are not held against a range."),
    _Attempt(
        {"missing": "mean", "score_range": "null"},
        "Below, scores are not held against a range, and missing ones are counted and left aside.",
    ),
    _Attempt(
        {"missing": "drop", "score_range": "null"},
        f"{_LEFT_OUT}, and scores are not held against a range.",
    ),
)


@dataclass(frozen=True)
class Found:
    """What can be looked at.

    Attributes:
        data: The data set; with other options than the user's where those could not be used.
        sources: Its records, by shipped part in the order of the splits.
        labelled: Whether the data set itself found them; else they are all image files below the root.
        problems: What the reader should know first.
    """

    data: ImageDataModule
    sources: Mapping[str, Source]
    labelled: bool
    problems: list[Notice]


def find_records(args: Sequence[str]) -> Found:
    """Find the records of a data set.

    Args:
        args: Options of the data, as ``build_data`` takes them.

    Raises:
        ConfigurationError: The options cannot be used.
        DataError: The data set refuses, and there are no image files either.
    """
    from vedute.report.html import Notice

    data = build_data("inspect", args)
    try:
        return _found(data)
    except DataError as error:
        refused = error
    said = f"Training cannot use these data as they are: {refused}"
    for attempt in _ATTEMPTS:
        if not all(name in data.hparams for name in attempt.options):
            continue
        try:
            lenient = build_data(
                "inspect", [*args, *(f"--data.{name}={value}" for name, value in attempt.options.items())]
            )
            found = _found(lenient)
        except (ConfigurationError, DataError):  # the user's own options were checked above
            continue
        found.problems.insert(0, Notice("error", f"{said} {attempt.meaning}"))
        return found
    source = _image_files(data)
    if source is None:
        raise refused
    meaning = "Below are all image files, without labels and splits."
    return Found(data, {"train": source}, False, [Notice("error", f"{said} {meaning}")])


def _found(data: ImageDataModule) -> Found:
    """Return what the data set finds; its own warnings are about rows and files that it leaves out."""
    from vedute.data.splits import SPLITS
    from vedute.report.html import Notice

    with _warnings() as heard:
        sources = data.sources()
    ordered: dict[str, Source] = {part: sources[part] for part in SPLITS if part in sources}
    return Found(data, ordered, True, [Notice("warning", text) for text in heard])


def _image_files(data: ImageDataModule) -> Source | None:
    """Return all image files below the root; None: there are none, or there is no such folder."""
    from vedute.data.image_files import FileSource, image_files

    root = data.hparams.get("root")
    if root is None or not Path(root).is_dir():
        return None
    paths = image_files(Path(root))
    return FileSource(paths) if paths else None


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect what Vedute warns of, besides showing it."""
    heard: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    handler = Collect(logging.WARNING)
    own = logging.getLogger("vedute")
    own.addHandler(handler)
    try:
        yield heard
    finally:
        own.removeHandler(handler)
