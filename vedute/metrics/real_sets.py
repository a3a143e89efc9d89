"""Real images under the instruments, measured once: features of a network are kept on disk.

A card of the second model of a data set, or of a later checkpoint, so costs nothing for the real images. Kept
features are found by what they are of: the pixels of the images themselves and the extractor with
its weights. Whatever changes one of them makes other features.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vedute.errors import VeduteError
from vedute.files import cache_folder, whole
from vedute.metrics.chosen import advancing
from vedute.metrics.features import FeatureExtractor
from vedute.metrics.sets import Instruments, Measured, real_batches
from vedute.promises import ImageData

_FORMAT = 1  # changes when features are computed in another way
_MOST_BYTES = 2 * 2**30  # of kept features; those that were not used for longest go first

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows a progress bar of a title and a number of images; yields what advances it."""


class RealSets:
    """Measures splits of a data set."""

    def __init__(self, data: ImageData, instruments: Instruments, batch_size: int, bar: Bar) -> None:
        """Say what is measured with what.

        Args:
            data: The data set.
            instruments: The instruments.
            batch_size: Images computed at a time.
            bar: Shows progress.
        """
        self._data = data
        self._instruments = instruments
        self._batch_size = batch_size
        self._bar = bar
        self._classes = bool(instruments.names)

    def measure(self, title: str, split: str, rows: Tensor) -> Measured:
        """Measure rows of a split, (N,) int64; features that are kept are read instead.

        Args:
            title: Of the bar.
            split: ``train``, ``val`` or ``test``.
            rows: Which of its images.
        """
        measuring = self._instruments.measuring
        lasting = [extractor for extractor in measuring if extractor.weights]
        files: dict[str, Path] = {}
        found: dict[str, Tensor] = {}
        if lasting:
            pixels = self._digest(split, rows)
            files = {extractor.name: _file(extractor, pixels) for extractor in lasting}
            read = {
                extractor.name: _read(files[extractor.name], len(rows), extractor) for extractor in lasting
            }
            found = {name: features for name, features in read.items() if features is not None}
        left = [extractor for extractor in measuring if extractor.name not in found]
        if not left:
            labels = torch.from_numpy(self._data.labels(split))[rows] if self._classes else None
            return Measured(found, labels)
        with self._bar(title, len(rows)) as advance:
            batches = real_batches(self._data, split, rows, self._batch_size, self._classes)
            measured = self._instruments.measure(advancing(batches, advance), left)
        for name, features in measured.features.items():
            if name in files:
                _keep(files[name], features)
        return Measured({**found, **measured.features}, measured.labels)

    def _digest(self, split: str, rows: Tensor) -> str:
        digest = hashlib.sha256(f"{_FORMAT}".encode())
        for image, _ in real_batches(self._data, split, rows, self._batch_size, classes=False):
            digest.update(str(tuple(image.shape)).encode())
            digest.update((image * 255).round().to(torch.uint8).contiguous().numpy().tobytes())
        return digest.hexdigest()


def _file(extractor: FeatureExtractor, pixels: str) -> Path:
    key = json.dumps([extractor.name, extractor.size, extractor.resizing, extractor.weights, pixels])
    digest = hashlib.sha256(key.encode()).hexdigest()[:24]
    readable = "".join(letter if letter.isalnum() else "-" for letter in extractor.name)[-40:]
    return cache_folder() / "features" / f"{readable}-{digest}.npy"


def _read(file: Path, count: int, extractor: FeatureExtractor) -> Tensor | None:
    try:
        features = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None  # not there, or damaged: it is written anew
    if features.shape != (count, extractor.size) or features.dtype != np.float32:
        return None
    with suppress(OSError):
        file.touch()  # used last now
    return torch.from_numpy(features)


def _keep(file: Path, features: Tensor) -> None:
    try:
        with whole(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, features.numpy())
    except VeduteError:
        return  # a full disk costs time at the next card, not this one
    kept = sorted(file.parent.glob("*.npy"), key=lambda one: one.stat().st_mtime, reverse=True)
    total = 0
    for one in kept:
        total += one.stat().st_size
        if total > _MOST_BYTES and one != file:
            with suppress(OSError):
                one.unlink()
