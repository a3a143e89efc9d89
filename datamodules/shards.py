"""Images in tar shards of the WebDataset convention: for sets that outgrow a disk or a machine.

WebDataset rather than litdata: its shards are plain tar files, which other tools write and read and
which need no library, where litdata's chunks are a format of its own that only its own code reads.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.base import ImageDataModule
from vedute.data.decoding import Preparation
from vedute.data.labels import Conditions, Labelled, Labels, TableEncoder, by_class, unlabelled
from vedute.data.layout import find_below, shard_parts
from vedute.data.scores import standardisation
from vedute.data.source import Source
from vedute.data.tar_shards import TAR_SUFFIXES, TarSource
from vedute.errors import ConfigurationError, DataError

logger = logging.getLogger("vedute.datamodules")

DEPTH = 2
"""Levels below ``root`` to search for shards."""


class ShardsDataModule(ImageDataModule):
    """Samples in tar files, prepared like any other data set or streamed (``residence: stream``).

    ``root`` holds ``train``, ``val`` and ``test`` folders of ``*.tar`` files, or the files directly:
    those whose names begin with ``val`` or ``test`` are these parts, all others train.
    """

    def __init__(
        self,
        label: str | None = "cls",
        class_names: list[str] | dict[int, str] | None = None,
        classes: list[str] | None = None,
        scores: list[str] | None = None,
        mask: str | None = None,
        **shared: Any,
    ) -> None:
        """Keep the options; nothing is read yet.

        Args:
            label: Where a sample's class is: the extension of a member that holds a number or a name
                (cls), or a field of its JSON member (json.species). null: no classes.
            class_names: Names of numbered classes: a list (from 0), or a map from number to name; null: the
                numbers are the names.
            classes: Names of the classes to keep; null: all.
            scores: Fields with numbers that condition the model, e.g. [json.beauty, json.age]; with
                label null.
            mask: Extension of the members that are masks, e.g. mask.png; null: there are none.
            shared: Options of every data set, see ``ImageDataModule``.

        Raises:
            ConfigurationError: An option is out of its range, or classes and scores are both asked for.
        """
        super().__init__(**shared)
        if label is not None and scores:
            raise ConfigurationError(
                "data.label and data.scores cannot both condition a model: set data.label to null for scores."
            )
        self._label = label
        self._scores = list(scores or [])
        self._class_names = class_names
        self._classes = classes
        self._mask = mask

    def preparation(self) -> Preparation:
        """Return how images and their masks are prepared."""
        return replace(super().preparation(), mask=self._mask is not None)

    def find_sources(self, root: Path) -> Mapping[str, Source]:
        """Find the tar files and index them."""
        found = find_below(root, lambda folder: shard_parts(folder, TAR_SUFFIXES), DEPTH)
        if found is None:
            raise DataError(
                f"{root} holds no shards. Looked there and up to {DEPTH} levels below for *.tar files, "
                "directly or in folders train, val, test. Check data.root."
            )
        sources = {part: TarSource(files, self._fields, self._mask) for part, files in found.items()}
        for part, source in sources.items():
            for field in self._fields:
                self._check_field(field, source, part)
        return sources

    def paint_sample(self) -> Path:
        """Return the folder of the painted landscapes as shards."""
        from vedute.data.painted.shards import painted_shards

        return painted_shards(self.image_size)

    def label(self, raw: Mapping[str, Labels], sources: Mapping[str, Source]) -> Labelled:
        """Look the records' fields up."""
        tars = {part: source for part, source in sources.items() if isinstance(source, TarSource)}
        if self._scores:
            return self._by_score(raw, tars)
        if self._label is None:
            return unlabelled(raw)
        texts = {part: source.field(self._label) for part, source in tars.items()}
        present = sorted(set().union(*texts.values()), key=_order)
        numbers = {text: number for number, text in enumerate(present)}
        labels = {
            part: np.array([numbers[texts[part][record]] for record in records], dtype=np.int64)
            for part, records in raw.items()
        }
        names = {numbers[text]: name for text, name in self._names(present).items()}
        return by_class(labels, names, sources, self._classes)

    @property
    def _fields(self) -> list[str]:
        return self._scores or ([] if self._label is None else [self._label])

    def _check_field(self, field: str, source: TarSource, part: str) -> None:
        missing = [row for row, text in enumerate(source.field(field)) if not text]
        if missing:
            record = next(iter(source.read([missing[0]])))
            where = record if isinstance(record, DataError) else record.origin
            raise DataError(
                f"{len(missing):,} of {len(source):,} samples of {part} have no '{field}' (the first is "
                f"{where}). The members end in: {', '.join(source.extensions)}. Name another field "
                "(data.label, data.scores; json.NAME for a field of a JSON member), or null."
            )

    def _names(self, present: Sequence[str]) -> dict[str, str]:
        """Return the name of each label that occurs, by its text."""
        given = self._class_names
        if given is None:
            return {text: text for text in present}
        pairs = given.items() if isinstance(given, dict) else enumerate(given)
        known = {str(number): name for number, name in pairs}
        for text in present:
            if text not in known:
                listed = ", ".join(f"{number} {name}" for number, name in known.items())
                raise DataError(
                    f"The label '{text}' ({self._label}) has no name in data.class_names ({listed})."
                )
        return {text: known[text] for text in present}

    def _by_score(self, raw: Mapping[str, Labels], sources: Mapping[str, TarSource]) -> Labelled:
        labels, tables, first = {}, [], 0
        for part, records in raw.items():
            tables.append(np.array([_numbers(sources[part], field) for field in self._scores]).T)
            labels[part] = records + first
            first += len(tables[-1])
        table = np.concatenate(tables)

        def conditions(train: Labels) -> Conditions:
            names = [field.removeprefix("json.") for field in self._scores]
            standard = standardisation(table[train], names)
            legal = [float(table[train].min()), float(table[train].max())]
            encoder = TableEncoder(standard(table))
            return Conditions("score", names, encoder, standard.mean.tolist(), standard.scale.tolist(), legal)

        return Labelled(labels, conditions)


def _order(text: str) -> tuple[int, int, str]:
    """Numbers by value, then names by the alphabet."""
    return (0, int(text), text) if text.isdecimal() else (1, 0, text)


def _numbers(source: TarSource, field: str) -> list[float]:
    try:
        return [float(text) for text in source.field(field)]
    except ValueError as error:
        raise DataError(f"The field '{field}' holds something that is no number: {error}.") from error
