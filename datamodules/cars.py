"""Cars and what several people think of them (systems S4), or any pictures with a table of scores.

Source: the reference has 6,000 photos of 96 x 128 pixels and a table with the scores, 0 to 9, of Raof,
Moira, Louie, Ferdinando, Gragar and Esther. The painted sample has the same layout.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ImageDataModule
from vedute.data.image_files import FileSource
from vedute.data.labels import Conditions, Labelled, Labels, unlabelled
from vedute.data.named_files import listed
from vedute.data.scores import (
    MissingRule,
    SamplingRule,
    Scores,
    check_range,
    checked_range,
    complete_rows,
    sampling_weights,
    score_conditions,
)
from vedute.data.source import Source
from vedute.data.table import Table, match_files, read_table
from vedute.errors import ConfigurationError, DataError

logger = logging.getLogger("vedute.datamodules")

_IMAGES = "images"


class CarsDataModule(ImageDataModule):
    """Pictures with the scores of several raters as condition."""

    def __init__(
        self,
        raters: list[str] | None = None,
        scores: str = "scores.csv",
        file_column: str = "file",
        images: str | None = None,
        score_range: tuple[float, float] | None = (0, 9),
        missing: MissingRule = "error",
        sampling: SamplingRule = "none",
        sampling_raters: list[str] | None = None,
        image_size: int | tuple[int, int] = (96, 128),
        **shared: Any,
    ) -> None:
        """Keep the options; nothing is read yet.

        ``root`` holds a table with a column of file names and a column of numbers for each rater, and the
        pictures in a folder.

        Args:
            raters: Whose scores are the condition, e.g. [Moira, Ferdinando]; null: every column of numbers;
                []: no condition.
            scores: The table below ``root``: .csv, .tsv or .jsonl.
            file_column: Its column with the pictures' names.
            images: Folder of the pictures below ``root``; null: 'images' where there is one, else wherever
                the names fit.
            score_range: The lowest and the highest score; one outside is an error. null: any.
            missing: What a missing score does: error; drop leaves the picture out; mean takes the rater's
                mean instead.
            sampling: How often a training picture is drawn: none: once in each epoch. product: in
                proportion to the product of the scores, counted from the range's lower end: pictures
                that all the raters like. consensus: the more, the closer the scores are to each other,
                be they high or low.
            sampling_raters: Whose scores count for the sampling; null: those of the condition.
            image_size: Side of the images in pixels, or [height, width].
            shared: Options of every data set, see ``ImageDataModule``.

        Raises:
            ConfigurationError: An option is out of its range.
        """
        super().__init__(image_size=image_size, **shared)
        self._raters = _without_repeats(raters, "raters")
        self._sampling_raters = _without_repeats(sampling_raters, "sampling_raters")
        self._scores_name = scores
        self._file_column = file_column
        self._images = images
        self._range = checked_range(score_range, "data.score_range")
        self._missing: MissingRule = missing
        self._sampling: SamplingRule = sampling
        if sampling == "none" and sampling_raters is not None:
            raise ConfigurationError(
                "data.sampling_raters is given, but data.sampling is none: set it to product or consensus."
            )
        # What find_sources reads:
        self._conditioning: list[str] = []
        self._counting: list[str] = []  # for the sampling
        self._names: list[str] = []  # of the columns of _values
        self._values: Scores = np.zeros((0, 0))  # (rows of the table, raters that are used)
        self._usable: NDArray[np.bool_] = np.zeros(0, dtype=bool)

    def find_sources(self, root: Path) -> Mapping[str, Source]:
        """Read the table, and find the picture of each row."""
        table = self._read(root)
        for option, names in (("raters", self._raters), ("sampling_raters", self._sampling_raters)):
            for name in names or ():
                _check_rater(name, table, self._file_column, option)
        known = _score_columns(table, self._file_column) if self._raters is None else self._raters
        counting = self._sampling_raters if self._sampling_raters is not None else known
        self._conditioning, self._counting = known, counting if self._sampling != "none" else []
        self._names = list(dict.fromkeys([*self._conditioning, *self._counting]))
        columns = [table.numbers(name) for name in self._names]
        self._values = np.stack(columns, axis=1) if columns else np.zeros((len(table), 0))
        check_range(self._values, self._names, self._range, table.where)
        self._usable = complete_rows(self._values, self._names, self._missing, table.where)
        if self._sampling != "none":
            # Now, before the long work: the weights of all rows show what is wrong with the options.
            self.sampling_weights(np.flatnonzero(self._usable))
        rows, paths = match_files(table, self._file_column, self._folder(root, table), self._on_error)
        return {"train": FileSource(paths, rows)}

    def paint_sample(self) -> Path:
        """Return the folder of the painted cars, of the wanted size."""
        from vedute.data.painted.cars import painted_cars

        return painted_cars(self.image_size)

    def label(self, raw: Mapping[str, Labels], sources: Mapping[str, Source]) -> Labelled:
        """Take labels as rows of the table."""
        labels = {part: np.where(self._usable[rows], rows, -1) for part, rows in raw.items()}
        if not self._conditioning:
            # Rows that lack a score still leave, where the sampling needs it.
            return Labelled(labels, unlabelled(raw).conditions)
        return Labelled(labels, self._conditions)

    def sampling_weights(self, labels: Labels) -> NDArray[np.float64] | None:
        """Return the weights of training images, (N,)."""
        if self._sampling == "none":
            return None
        return sampling_weights(self._columns(self._counting)[labels], self._sampling, self._range)

    def _conditions(self, train: Labels) -> Conditions:
        names = list(self._conditioning)
        return score_conditions(self._columns(names), names, train, self._range)

    def _columns(self, names: Sequence[str]) -> Scores:
        return self._values[:, [self._names.index(name) for name in names]]

    def _read(self, root: Path) -> Table:
        table = read_table(root / self._scores_name)
        table.column(self._file_column)
        return table

    def _folder(self, root: Path, table: Table) -> Path:
        if self._images is not None:
            folder = root / self._images
            if not folder.is_dir():
                raise DataError(f"data.images: there is no folder {folder}.")
            return folder
        folder = root / _IMAGES
        # Names that say 'images/17.jpg' themselves are below the root.
        below = any("/" in cell or "\\" in cell for cell in table.column(self._file_column))
        return folder if folder.is_dir() and not below else root


def _without_repeats(names: Sequence[str] | None, option: str) -> list[str] | None:
    if names is None:
        return None
    if len(set(names)) < len(names):
        raise ConfigurationError(f"data.{option} has a name twice: {listed(names)}.")
    return list(names)


def _check_rater(name: str, table: Table, file_column: str, option: str) -> None:
    """Refuse a rater who is not in the table."""
    others = [column for column in table.columns if column != file_column]
    if name in others:
        return
    folded = {other.casefold(): other for other in others}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    hint = f" Did you mean '{folded[near[0]]}'?" if near else ""
    raise ConfigurationError(
        f"data.{option}: {table.path.name} has no rater '{name}'.{hint} "
        f"Its columns: {listed(others, limit=20)}."
    )


def _score_columns(table: Table, file_column: str) -> list[str]:
    """Return every column of numbers; a column where some cells are numbers must hold numbers only."""
    columns: list[str] = []
    others: list[str] = []
    for name in table.columns:
        if name == file_column:
            continue
        (columns if _any_number(table.column(name)) else others).append(name)
    if not columns:
        raise DataError(
            f"{table.path.name} has no column of scores beside '{file_column}'. For pictures without "
            "conditions set data.raters to []."
        )
    if others:
        logger.info("Columns of %s that are no scores: %s.", table.path.name, listed(others))
    return columns


def _any_number(cells: Sequence[str]) -> bool:
    for cell in cells:
        try:
            if np.isfinite(float(cell)):
                return True
        except ValueError:
            continue
    return False
