"""What the values of a table's columns mean: classes, class probabilities, scores."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vedute.data.labels import Conditions, Labelled, Labels, TableEncoder, by_class, wanted_labels
from vedute.data.named_files import listed
from vedute.data.scores import MissingRule, check_range, checked_range, complete_rows, score_conditions
from vedute.data.source import Source, natural_order, printable
from vedute.data.table import Table
from vedute.errors import ConfigurationError, DataError

logger = logging.getLogger("vedute.data.columns")

_SUM_TOLERANCE = 1e-3
ClassName = str | int | float | bool
"""A class as YAML reads it: 7 is a number to it, and NO is false."""

_TRUE = ("true", "yes", "on", "y")
_FALSE = ("false", "no", "off", "n")
_MANY_CLASSES = 20  # fewer rows than this say nothing about whether values repeat


class Meaning(ABC):
    """The meaning of a table's rows."""

    @abstractmethod
    def usable(self, rule: MissingRule) -> NDArray[np.bool_]:
        """Return which rows can be used, (R,), under the rule for missing values.

        Raises:
            DataError: A value is missing and that is an error.
        """

    @abstractmethod
    def label(self, rows: Labels, sources: Mapping[str, Source]) -> Labelled:
        """Say what the labels of the part ``train`` mean.

        Args:
            rows: (N,) int64: the row of each image, all of them usable.
            sources: Where the images come from.
        """


class NoMeaning(Meaning):
    """Rows without labels."""

    def __init__(self, table: Table) -> None:
        """Take the number of rows.

        Args:
            table: The table.
        """
        self._rows = len(table)

    def usable(self, rule: MissingRule) -> NDArray[np.bool_]:
        """Return that all can be used."""
        return np.ones(self._rows, dtype=bool)

    def label(self, rows: Labels, sources: Mapping[str, Source]) -> Labelled:
        """Keep all rows."""
        return Labelled({"train": rows}, lambda _: Conditions())


class ClassMeaning(Meaning):
    """One column of classes, texts or numbers; numbers need not be contiguous."""

    def __init__(self, table: Table, column: str, wanted: Sequence[ClassName] | None) -> None:
        """Find the classes.

        Args:
            table: The table.
            column: Its column.
            wanted: Names of the classes to keep; None: all.

        Raises:
            DataError: Two classes differ in case only; or there are so many that they are no classes.
            ConfigurationError: A wanted class does not exist.
        """
        cells = _whole_numbers(table.column(column))
        names = sorted(set(cells) - {""}, key=lambda name: (natural_order(Path(name)), name))
        check_class_names(names, f"column '{column}' of {table.path.name}")
        filled = sum(cell != "" for cell in cells)
        if filled > _MANY_CLASSES and len(names) > filled / 2:
            raise DataError(
                f"{table.path.name}: the column '{column}' has {len(names)} different values in {filled} "
                "rows; a class needs several images. Numbers go into data.score_columns."
            )
        if len(names) < 2:
            raise DataError(
                f"{table.path.name}: the column '{column}' has {len(names)} different values "
                f"({listed(names)}); classes need at least two. Put it into data.ignore_columns."
            )
        self._names = dict(enumerate(names))
        self._wanted = chosen_classes(wanted, self._names)
        positions = {name: position for position, name in self._names.items()}
        self._numbers = np.array([positions.get(cell, -1) for cell in cells], dtype=np.int64)
        self._place = (table, f"the class ({column})")

    def usable(self, rule: MissingRule) -> NDArray[np.bool_]:
        """Return which rows have a class."""
        return complete(*self._place, self._numbers < 0, rule)

    def label(self, rows: Labels, sources: Mapping[str, Source]) -> Labelled:
        """Take the values as classes."""
        return by_class({"train": self._numbers[rows]}, self._names, sources, self._wanted)


class ProbabilityMeaning(Meaning):
    """A column for each class: soft labels. A sum below 1 is a fuzzy label and stays as it is."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        """Read the probabilities.

        Args:
            table: The table.
            columns: One for each class; what follows the beginning that all of them share (``p_``) names it.

        Raises:
            DataError: A value is outside [0, 1], or a row's sum is above 1.
        """
        values = np.stack([table.numbers(column) for column in columns], axis=1)  # (R, D)
        self._names = _without_prefix(columns)
        check_class_names(self._names, f"probability columns of {table.path.name}")
        for row, column in np.argwhere((values < 0) | (values > 1)).tolist():
            raise DataError(
                f"{table.where(row)}, column '{columns[column]}': {values[row, column]:g} is no probability; "
                "give numbers from 0 to 1 (not percent)."
            )
        sums = np.nansum(values, axis=1)
        for row in np.flatnonzero(sums > 1 + _SUM_TOLERANCE).tolist():
            raise DataError(
                f"{table.where(row)}: the probabilities sum to {sums[row]:g}; the sum must be at most 1. "
                "For images of several classes at once, use data.score_columns."
            )
        self._missing = np.isnan(values).any(axis=1) | (sums == 0)
        self._place = (table, f"a probability ({', '.join(columns)}; or all are 0)")
        self._table = np.nan_to_num(values / np.maximum(sums, 1)[:, None]).astype(np.float32)

    def usable(self, rule: MissingRule) -> NDArray[np.bool_]:
        """Return which rows have a probability for each class, and one above 0."""
        return complete(*self._place, self._missing, rule)

    def label(self, rows: Labels, sources: Mapping[str, Source]) -> Labelled:
        """Take the rows' probabilities as vectors; splits are drawn by the most probable class."""
        strata = self._table.argmax(axis=1).astype(np.int64)[rows]
        conditions = Conditions("class", self._names, TableEncoder(self._table))
        return Labelled({"train": rows}, lambda _: conditions, strata={"train": strata})


class ScoreMeaning(Meaning):
    """Columns of numbers, standardised by their mean and deviation over the training rows."""

    def __init__(self, table: Table, columns: Sequence[str], value_range: Sequence[float] | None) -> None:
        """Read the scores.

        Args:
            table: The table.
            columns: One for each score.
            value_range: The lowest and the highest legal score; None: as found.

        Raises:
            DataError: A value is no number or outside the range.
            ConfigurationError: The range is none.
        """
        self._names = list(columns)
        self._values = np.stack([table.numbers(column) for column in columns], axis=1)  # (R, D)
        self._range = checked_range(value_range, "data.score_range")
        self._where = table.where
        check_range(self._values, self._names, self._range, table.where)

    def usable(self, rule: MissingRule) -> NDArray[np.bool_]:
        """Return which rows have all scores, or (``mean``) any."""
        return complete_rows(self._values, self._names, rule, self._where)

    def label(self, rows: Labels, sources: Mapping[str, Source]) -> Labelled:
        """Standardise the rows' scores."""
        return Labelled({"train": rows}, self._conditions)

    def _conditions(self, train: Labels) -> Conditions:
        made = score_conditions(self._values, self._names, train, self._range or None)
        scores = [
            f"{n} {m:.3g} +- {s:.3g}" for n, m, s in zip(made.names, made.mean, made.scale, strict=True)
        ]
        logger.info("Training scores, mean and deviation: %s.", listed(scores, limit=20))
        return made


def complete(table: Table, what: str, missing: NDArray[np.bool_], rule: MissingRule) -> NDArray[np.bool_]:
    """Return which rows can be used where some lack a value that has no mean.

    Args:
        table: The table.
        what: What is missing, for messages.
        missing: (R,): where.
        rule: ``error``; anything else leaves the rows out, with one warning.

    Raises:
        DataError: A value is missing (``error``), or no row is left.
    """
    rows = np.flatnonzero(missing).tolist()
    lines = listed([str(table.lines[row]) for row in rows])
    if rows and (rule == "error" or len(rows) == len(table)):
        raise DataError(
            f"{table.path.name}: {what} is missing in {len(rows)} of {len(table)} rows (line {lines}). Fill "
            "the cells, or set data.missing to drop to leave these images out."
        )
    if rows:
        logger.warning(
            "%d rows of %s lack %s and are left out (line %s).", len(rows), table.path.name, what, lines
        )
    return ~missing


def check_class_names(names: Sequence[str], where: str) -> None:
    """Refuse names that nobody can type apart.

    Raises:
        DataError: Two names differ in case only, or one is no UTF-8.
    """
    seen: dict[str, str] = {}
    for name in names:
        if printable(name) != name:
            raise DataError(f"The class '{printable(name)}' ({where}) is no UTF-8 text. Rename it.")
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise DataError(
                f"The classes '{other}' and '{name}' ({where}) differ only in upper and lower case. "
                "Write one class in one way."
            )


def chosen_classes(wanted: Sequence[ClassName] | None, names: Mapping[int, str]) -> list[str] | None:
    """Return the names of the classes to keep, None for all.

    Args:
        wanted: As the user gives them.
        names: Of all classes.

    Raises:
        ConfigurationError: A class is unknown, or a value fits several.
    """
    if wanted is None:
        return None
    chosen: list[str] = []
    for value in wanted:
        fitting = [name for name in names.values() if not isinstance(value, str) and _reads_as(name, value)]
        if len(fitting) > 1:
            raise ConfigurationError(
                f"data.classes: {value} may be {' or '.join(fitting)}. Put double quotes around it."
            )
        chosen.append(fitting[0] if fitting else str(value))
    wanted_labels(chosen, names)
    return chosen


def _reads_as(name: str, value: int | float | bool) -> bool:
    if isinstance(value, bool):
        return name.casefold() in (_TRUE if value else _FALSE)
    try:
        return float(name) == value
    except ValueError:
        return False


def with_balance(labelled: Labelled) -> Labelled:
    """Say how many training images each class has, in one line, once that is known."""

    def conditions(train: Labels) -> Conditions:
        made = labelled.conditions(train)
        if made.kind == "class" and made.encoder is not None:
            labels = torch.from_numpy(train)
            pieces = [made.encoder(labels[i : i + 4096]).sum(dim=0) for i in range(0, len(labels), 4096)]
            counts = torch.stack(pieces).sum(dim=0).tolist()
            pairs = [f"{name} {count:.4g}" for name, count in zip(made.names, counts, strict=True)]
            logger.info("Training images of each class: %s.", listed(pairs, limit=20))
        return made

    return replace(labelled, conditions=conditions)


def _without_prefix(names: Sequence[str]) -> list[str]:
    """Leave off what all names have in common up to an underscore: p_cat, p_dog are cat and dog."""
    ends = [place + 1 for place, letter in enumerate(names[0]) if letter == "_"]
    shared = [end for end in ends if all(name.startswith(names[0][:end]) and name[end:] for name in names)]
    return [name[max(shared, default=0) :] for name in names]


def _whole_numbers(cells: Sequence[str]) -> list[str]:
    """Write whole numbers without '.0', which pandas adds where a column has gaps."""
    if not all(cell.endswith(".0") and cell[:-2].lstrip("-").isdecimal() for cell in cells if cell):
        return list(cells)
    return [cell.removesuffix(".0") for cell in cells]
