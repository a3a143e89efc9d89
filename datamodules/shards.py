"""Images in tar shards of the WebDataset convention: for sets that outgrow a disk or a machine.

WebDataset rather than litdata: its shards are plain tar files, which other tools write and read and
which need no library, where litdata's chunks are a format of its own that only its own code reads.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.base import ImageDataModule
from vedute.data.column_values import ClassName, check_class_names, chosen_classes
from vedute.data.decoding import Preparation
from vedute.data.labels import Conditions, Labelled, Labels, by_class, unlabelled
from vedute.data.layout import find_below, shard_parts
from vedute.data.scores import score_conditions
from vedute.data.source import Source
from vedute.data.table import LARGEST_NUMBER
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
        classes: list[ClassName] | None = None,
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
        if label is None and (classes is not None or class_names is not None):
            raise ConfigurationError(
                "data.classes and data.class_names need data.label: the place of the classes."
            )
        self._label = None if label is None else _field(label)
        self._scores = [_field(score) for score in scores or []]
        self._class_names = class_names
        self._classes = classes
        self._mask = None if mask is None else _field(mask)
        names = list(class_names.values()) if isinstance(class_names, dict) else list(class_names or [])
        if len({name.casefold() for name in names}) < len(names):
            raise ConfigurationError(f"data.class_names has a name twice: {', '.join(names)}.")

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
                if self._scores:
                    _numbers(source, field)  # now, before the long work
        if self._label is not None:
            self._names(_present(source.field(self._label) for source in sources.values()))
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
        present = _present(texts.values())
        numbers = {text: number for number, text in enumerate(present)}
        labels = {
            part: np.array([numbers[texts[part][record]] for record in records], dtype=np.int64)
            for part, records in raw.items()
        }
        names = {numbers[text]: name for text, name in self._names(present).items()}
        return by_class(labels, names, sources, chosen_classes(self._classes, names))

    @property
    def _fields(self) -> list[str]:
        return self._scores or ([] if self._label is None else [self._label])

    def _check_field(self, field: str, source: TarSource, part: str) -> None:
        missing = [row for row, text in enumerate(source.field(field)) if not text]
        if missing:
            raise DataError(
                f"{len(missing):,} of {len(source):,} samples of {part} have no '{field}' (the first is "
                f"{source.origin(missing[0])}). The members end in: {', '.join(source.extensions)}. Name "
                "another field (data.label, data.scores; json.NAME for a field of a JSON member), or null."
            )

    def _names(self, present: Sequence[str]) -> dict[str, str]:
        """Return the name of each label that occurs, by its text."""
        given = self._class_names
        if given is None:
            check_class_names(present, f"the field '{self._label}'")
            others = [text for text in present if not _is_number(text)]
            if others and len(others) < len(present):
                raise DataError(
                    f"The field '{self._label}' holds numbers, but also '{others[0][:40]}'. Correct the "
                    "shards: labels are whole numbers from 0, or names."
                )
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
            return score_conditions(table, names, train, None)

        return Labelled(labels, conditions)


def _field(option: str) -> str:
    """Return a field as members are listed: extensions in lower case, without a dot before them."""
    return option if option.startswith("json.") else option.lower().removeprefix(".")


def _present(fields: Iterable[Sequence[str]]) -> list[str]:
    return sorted(set().union(*fields), key=_order)


def _order(text: str) -> tuple[int, int, str]:
    """Numbers by value, then names by the alphabet."""
    return (0, int(text), text) if _is_number(text) else (1, 0, text)


def _is_number(text: str) -> bool:
    """Whether a label is a whole number from 0 that int64 holds."""
    return text.isdecimal() and len(text) <= 18


def _numbers(source: TarSource, field: str) -> list[float]:
    return [_number(text, field, source, row) for row, text in enumerate(source.field(field))]


def _number(text: str, field: str, source: TarSource, row: int) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) <= LARGEST_NUMBER:  # NaN neither
        raise DataError(
            f"{source.origin(row)}: the field '{field}' holds something that is no number: '{text[:40]}'. "
            f"Scores must be numbers up to {LARGEST_NUMBER:g}."
        )
    return number
