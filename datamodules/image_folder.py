"""Anybody's own images: a folder for each class, or a table that says what each image shows.

The kind of condition follows from the columns that are named. Labels that exist but are not used are an
error, and so are labels that are asked for and do not exist.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ImageDataModule
from vedute.data.class_folders import find_class_folders
from vedute.data.column_values import (
    ClassMeaning,
    Meaning,
    NoMeaning,
    ProbabilityMeaning,
    ScoreMeaning,
    chosen_classes,
    complete,
    with_balance,
)
from vedute.data.columns import (
    Columns,
    drawn_where_missing,
    files_of_columns,
    fit_columns,
    named_files,
    split_positions,
)
from vedute.data.decoding import Preparation
from vedute.data.image_files import FileSource
from vedute.data.labels import Labelled, Labels, by_class
from vedute.data.named_files import listed
from vedute.data.scores import MissingRule
from vedute.data.source import Source
from vedute.data.table import TABLE_SUFFIXES, Table, match_files, read_table
from vedute.errors import ConfigurationError, DataError

logger = logging.getLogger("vedute.datamodules")

FOLDERS = "folders"
"""The value of ``table`` that leaves tables alone."""


class ImageFolderDataModule(ImageDataModule):
    """Images with classes, class probabilities, scores or masks from folders or a table."""

    def __init__(
        self,
        table: str | None = None,
        file_column: str = "file",
        split_column: str | None = None,
        class_column: str | None = None,
        probability_columns: list[str] | None = None,
        score_columns: list[str] | None = None,
        score_range: list[float] | None = None,
        mask_column: str | None = None,
        ignore_columns: list[str] | None = None,
        missing: MissingRule = "error",
        classes: list[str | int | float | bool] | None = None,
        **shared: Any,
    ) -> None:
        """Keep the options; nothing is read yet.

        ``root`` holds a table (CSV, TSV or JSON Lines) and images in and below it; or without a table a
        folder of images for each class, either directly or in folders train, val and test.

        Args:
            table: Name of the table below root; null: the only one in root, or class folders where there is
                none; folders: class folders although there is a table.
            file_column: Column with the images' names, paths below root.
            split_column: Column that says train, val or test; null: the column 'split' where there is one.
            class_column: Column with the class of each image, text or numbers.
            probability_columns: Columns with the probability of each class, from 0 to 1, with a sum of at
                most 1 in each row (soft labels). A beginning that all share, such as p_, is no part of the
                classes' names.
            score_columns: Columns with numbers, which are standardised.
            score_range: The lowest and the highest legal score; null: as found in the table.
            mask_column: Column with the names of mask images, paths below root; it may come in addition to
                the others. Alone it makes masks the condition.
            ignore_columns: Columns that are not used, on purpose; '*' stands for all others.
            missing: What a row without a label does: raise an error, be dropped, or (scores only) take the
                mean of the training images.
            classes: Names of the classes to keep; null: all.
            shared: Options of every data set, see ``ImageDataModule``.

        Raises:
            ConfigurationError: Options that exclude each other.
        """
        super().__init__(**shared)
        self._table_name = table
        self._columns = Columns(
            file_column,
            split_column,
            class_column,
            tuple(probability_columns or ()),
            tuple(score_columns or ()),
            mask_column,
            tuple(ignore_columns or ()),
        )
        self._score_range = score_range
        self._missing = missing
        self._classes = list(classes) if classes is not None else None
        self._check_options()
        self._meaning: Meaning | None = None
        self._splits: Labels | None = None  # (R,) by row of the table
        self._names: Mapping[int, str] = {}  # of class folders
        self._chosen: list[str] | None = None

    def find_sources(self, root: Path) -> Mapping[str, Source]:
        """Find the table and the files that it names, else the class folders."""
        path = self._find_table(root)
        if path is not None:
            return {"train": self._table_source(root, read_table(path))}
        self._meaning = self._splits = None
        if self._columns.used != [self._columns.file]:
            raise DataError(
                f"Columns are named ({', '.join(self._columns.used[1:])}), but {root} holds no table "
                f"({', '.join(TABLE_SUFFIXES)}). Name it with data.table, or set these columns to "
                "null: then each folder of images is a class."
            )
        self._names, sources = find_class_folders(root)
        self._chosen = chosen_classes(self._classes, self._names)
        return sources

    def paint_sample(self) -> Path:
        """Return the folder of painted landscapes with a table, of the wanted size."""
        from vedute.data.painted.image_folder import painted_image_folder

        return painted_image_folder(self.stored_size)

    def label(self, raw: Mapping[str, Labels], sources: Mapping[str, Source]) -> Labelled:
        """Take labels as rows of the table, or as numbers of class folders."""
        if self._meaning is None:
            return with_balance(by_class(raw, self._names, sources, self._chosen))
        labelled = with_balance(self._meaning.label(raw["train"], sources))
        if self._splits is None:
            return labelled
        given = drawn_where_missing(self._splits[raw["train"]], self._validation_share)
        return labelled if given is None else replace(labelled, splits={"train": given})

    def preparation(self) -> Preparation:
        """Return how images are prepared, with masks where a column names them."""
        return replace(super().preparation(), mask=self._columns.mask is not None)

    def _check_options(self) -> None:
        self._columns.check_roles()
        if self._missing == "mean" and not self._columns.scores:
            raise ConfigurationError("data.missing 'mean' is for data.score_columns; choose error or drop.")
        if self._score_range is not None and not self._columns.scores:
            raise ConfigurationError("data.score_range needs data.score_columns.")
        if self._classes is not None and (self._columns.probabilities or self._columns.scores):
            raise ConfigurationError(
                "data.classes keeps some classes of data.class_column or of class folders; for probabilities "
                "or scores leave out columns instead."
            )
        if self._table_name == FOLDERS and self._columns.used != [self._columns.file]:
            raise ConfigurationError(
                f"data.table '{FOLDERS}' takes folders as classes, but columns are named: "
                f"{', '.join(self._columns.used[1:])}. Leave out one of both."
            )

    def _find_table(self, root: Path) -> Path | None:
        if self._table_name == FOLDERS:
            return None
        if self._table_name is not None:
            return root / self._table_name
        found = sorted(
            path.name
            for path in root.iterdir()
            if path.suffix.lower() in TABLE_SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
        if len(found) > 1:
            raise DataError(
                f"{root} holds several tables: {listed(found)}. Choose one, e.g. --data.table {found[0]}, "
                f"or take the folders as classes with --data.table {FOLDERS}."
            )
        return root / found[0] if found else None

    def _table_source(self, root: Path, table: Table) -> Source:
        logger.info("Labels come from %s; names of folders are no classes beside a table.", table.path)
        columns = fit_columns(table, self._columns, root)
        meaning = self._meaning_of(table, columns)
        usable = self._usable(table, columns, meaning)
        masks = self._masks(root, table, columns)
        others = [*masks.values(), *files_of_columns(root, table, columns.ignored)]
        rows, paths = match_files(table, columns.file, root, self._on_error, others)
        both = [
            (row, path)
            for row, path in zip(rows, paths, strict=True)
            if usable[row] and (not masks or row in masks)
        ]
        if not both:
            raise DataError(f"{table.path}: no row is left that has all that is asked for.")
        self._meaning = meaning
        logger.info(
            "%s: %d of %d rows are used. Columns that are not used: %s.",
            *(table.path.name, len(both), len(table), ", ".join(columns.ignored) or "none"),
        )
        return FileSource(
            [path for _, path in both],
            [row for row, _ in both],
            [masks[row] for row, _ in both] if columns.mask is not None else None,
        )

    def _meaning_of(self, table: Table, columns: Columns) -> Meaning:
        if columns.category is not None:
            return ClassMeaning(table, columns.category, self._classes)
        if self._classes is not None:
            raise ConfigurationError("data.classes needs classes: set data.class_column.")
        if columns.probabilities:
            return ProbabilityMeaning(table, columns.probabilities)
        if columns.scores:
            return ScoreMeaning(table, columns.scores, self._score_range)
        return NoMeaning(table)

    def _usable(self, table: Table, columns: Columns, meaning: Meaning) -> NDArray[np.bool_]:
        """Return (R,): rows with a label, a split and a mask, as far as these are asked for."""
        usable = meaning.usable(self._missing)
        self._splits = None
        if columns.split is not None:
            self._splits = split_positions(table, columns.split)
            usable &= complete(table, f"the split ({columns.split})", self._splits < 0, self._missing)
        if columns.mask is not None:
            empty = np.array([not cell for cell in table.column(columns.mask)])
            usable &= complete(table, f"the mask ({columns.mask})", empty, self._missing)
        return usable

    def _masks(self, root: Path, table: Table, columns: Columns) -> dict[int, Path]:
        """Return the mask of each row that has one."""
        if columns.mask is None:
            return {}
        masks, problems = named_files(root, table, columns.mask)
        if problems and (self._on_error == "raise" or not masks):
            raise DataError(
                f"{len(problems)} rows have no mask file. {listed(problems, '; ')}. Correct the table, or "
                "leave these rows out with data.on_error skip."
            )
        if problems:
            logger.warning(
                "%d rows without a mask file are left out: %s.", len(problems), listed(problems, "; ")
            )
        return masks
