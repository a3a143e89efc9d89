"""The painted landscapes once more, as tar shards in the WebDataset convention."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from vedute.data.painted.landscapes import LANDSCAPE_TYPES
from vedute.data.painted.painting import check_image_size, paint_encoded
from vedute.data.painted.workshop import in_processes, painted_folder

COUNTS: Mapping[str, int] = MappingProxyType({"train": 1000, "val": 125, "test": 125})
"""Samples in each part."""

_SHARD = 125  # samples in a file
_VERSION = 1

_Task = tuple[list[int], list[int], tuple[int, int]]


def painted_shards(image_size: tuple[int, int] = (64, 64), counts: Mapping[str, int] = COUNTS) -> Path:
    """Return the folder of painted shards in the cache, painting them on first use.

    A sample has ``jpg``, ``cls`` (the type's name) and ``json`` (``kind``, ``seed``).

    Args:
        image_size: Height and width in pixels.
        counts: Samples in each part; the types take turns.

    Returns:
        A folder that holds ``<part>/<number>.tar``.

    Raises:
        ConfigurationError: The size is too small to paint on.
        VeduteError: The cache cannot be written.
    """
    check_image_size(image_size)
    height, width = image_size
    numbers = "-".join(str(count) for count in counts.values())
    name = f"shards-{height}x{width}-{numbers}-v{_VERSION}"
    return painted_folder(name, lambda folder: _write(folder, image_size, counts))


def _write(folder: Path, image_size: tuple[int, int], counts: Mapping[str, int]) -> None:
    files: list[Path] = []
    tasks: list[_Task] = []
    for position, (part, count) in enumerate(counts.items()):
        (folder / part).mkdir()
        for number, start in enumerate(range(0, count, _SHARD)):
            places = range(start, min(count, start + _SHARD))
            files.append(folder / part / f"{part}-{number:05d}.tar")
            labels = [place % len(LANDSCAPE_TYPES) for place in places]
            tasks.append((labels, [(position + 1) * 1_000_000 + place for place in places], image_size))
    results = in_processes(_paint, tasks, "Painting shards")
    for file, (labels, seeds, _), images in zip(files, tasks, results, strict=True):
        with tarfile.open(file, "w") as tar:
            for label, seed, image in zip(labels, seeds, images, strict=True):
                kind = LANDSCAPE_TYPES[label]
                facts = json.dumps({"kind": kind, "seed": seed})
                for extension, data in (("jpg", image), ("cls", kind.encode()), ("json", facts.encode())):
                    member = tarfile.TarInfo(f"{seed:08d}.{extension}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def _paint(task: _Task) -> list[bytes]:
    return paint_encoded(*task)
