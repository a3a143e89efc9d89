"""Tables beside images (CSV, TSV, JSON Lines), and the files that their rows name.

Here: reading a table as text, column by column, and matching a column of file names with a folder.
What a column means is the data sets' business (``columns.py``, ``scores.py``).
"""

from __future__ import annotations

import csv
import difflib
import io
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vedute.data.json_lines import read_json_lines
from vedute.data.named_files import NamedFiles, listed
from vedute.errors import DataError

logger = logging.getLogger("vedute.data.table")

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
"""Names of files that can be read, in lower case."""

LARGEST_TABLE = 1000 * 10**6
"""Bytes of the largest table that is read: it is held in memory as a whole."""

LARGEST_NUMBER = 1e30
"""Numbers beyond it have squares that float32 cannot hold: nothing could be learnt from them."""

_DELIMITERS = (",", ";", "\t")
_MISSING_NUMBERS = frozenset({"", "nan", "na", "n/a", "null", "none"})
_BOM_16 = (b"\xff\xfe", b"\xfe\xff")
_Rows = Iterator[tuple[int, list[str]]]  # line number and cells


@dataclass(frozen=True)
class Table:
    """A table as it is written; nothing is interpreted.

    Attributes:
        path: The file.
        columns: The cells of each column, stripped of blanks around them, in the order of the file;
            "" where a value is missing. All columns have the same length, at least 1.
        lines: The line of the file, from 1, on which each row begins.
    """

    path: Path
    columns: Mapping[str, list[str]]
    lines: list[int]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lines)

    def column(self, name: str) -> list[str]:
        """Return the cells of a column.

        Raises:
            DataError: There is none of this name; the message suggests the nearest.
        """
        if name not in self.columns:
            raise DataError(f"{self.path.name} has no column '{name}'.{self._hint(name)}")
        return self.columns[name]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column (N,) as numbers; NaN where a cell is empty or says NA, NaN, null or none.

        Raises:
            DataError: There is no such column, or a cell is no finite number or a huge one.
        """
        values = np.full(len(self), math.nan)
        for row, cell in enumerate(self.column(name)):
            if cell.casefold() in _MISSING_NUMBERS:
                continue
            value = _number(cell)
            if value is None:
                comma = _number(cell.replace(",", ".")) is not None and "," in cell
                hint = (
                    " Write decimals with a point." if comma else " Leave the cell empty where it is missing."
                )
                raise DataError(f"{self.where(row)}, column '{name}': '{cell}' is no finite number.{hint}")
            if abs(value) > LARGEST_NUMBER:
                raise DataError(
                    f"{self.where(row)}, column '{name}': {cell} is too large; numbers up to "
                    f"{LARGEST_NUMBER:g} can be used. Correct it, or leave the cell empty."
                )
            values[row] = value
        return values

    def where(self, row: int) -> str:
        """Return where a row is, for messages: ``scores.csv, line 17``."""
        return f"{self.path.name}, line {self.lines[row]}"

    def _hint(self, name: str) -> str:
        folded = {known.casefold(): known for known in self.columns}
        near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
        hint = f" Did you mean '{folded[near[0]]}'?" if near else ""
        if any(Path(known).suffix.lower() in (".jpg", ".jpeg", ".png") for known in self.columns):
            hint = " Its first line looks like data: put a line with the names of the columns above it."
        return f"{hint} Its columns: {', '.join(self.columns)}."


def read_table(path: Path) -> Table:
    """Read a table: UTF-8, with or without a byte order mark, any line ends, blank lines ignored.

    CSV may be separated by commas, semicolons or tabs, whichever fits. In JSON Lines each line is an
    object of texts, numbers, booleans and nulls; a key that a line leaves out is missing there.

    Args:
        path: A .csv, .tsv, .jsonl or .ndjson file.

    Raises:
        DataError: The file is missing, empty, no such table, or not UTF-8; a column is named twice;
            a row has more or fewer cells than there are columns.
    """
    text = _text(Path(path))
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        columns, lines = read_json_lines(path.name, text)
    else:
        columns, lines = _separated(path, text, "\t" if suffix == ".tsv" else None)
    if not lines:
        raise DataError(f"{path} has no rows.")
    return Table(path, columns, lines)


def match_files(
    table: Table,
    column: str,
    folder: Path,
    on_error: Literal["raise", "skip"],
    others: Sequence[Path] = (),
) -> tuple[list[int], list[Path]]:
    """Find the image files that a column names.

    A cell is a path below ``folder``; ``./``, backslashes and absolute paths into the folder are
    understood, and the suffix may be left out where only one file fits. Where no row fits, but all
    files lie in one folder below (``images``), cells are taken as paths below that one.

    Args:
        table: The table.
        column: The column with the files' names.
        folder: Where the files are.
        on_error: What rows without a file do: ``raise`` an error that lists them, or ``skip`` them
            with a warning. Image files that no row names are always left out with a warning.
        others: Image files in the folder that are no images of the set, such as masks.

    Returns:
        The rows whose file exists, ascending, and the files (same length).

    Raises:
        DataError: There is no such column; rows without files (``raise``); no row has a file; a path
            leads out of the folder; a file is named twice.
    """
    files = NamedFiles(folder)
    cells = table.column(column)
    files.choose_base(cells)
    rows: list[int] = []
    paths: list[Path] = []
    problems: list[str] = []
    first_row: dict[Path, int] = {}
    for row, cell in enumerate(cells):
        found = files.find(cell, table.where(row))
        if isinstance(found, str):
            problems.append(found)
            continue
        if found in first_row:
            raise DataError(
                f"{table.where(row)} names {found.name}, as {table.where(first_row[found])} does. "
                f"The column '{column}' must name each image once: one row an image."
            )
        first_row[found] = row
        rows.append(row)
        paths.append(found)
    known = {*first_row, *others}
    without_row = [path.relative_to(folder).as_posix() for path in files.paths if path not in known]
    unused = f"{len(without_row)} image files of {folder} have no row in {table.path.name}"
    if problems and (on_error == "raise" or not rows):
        also = f" Besides, {unused}: {listed(without_row)}." if without_row else ""
        how = (
            " Correct the table, or leave these rows out with data.on_error skip."
            if rows
            else f" Does the column '{column}' hold names of files below {folder}?"
        )
        raise DataError(
            f"{len(problems)} of {len(table)} rows have no image file. {listed(problems, '; ')}.{how}{also}"
        )
    if problems:
        logger.warning("%d rows are left out: %s.", len(problems), listed(problems, "; "))
    if without_row:
        logger.warning("%s and are left out: %s.", unused, listed(without_row))
    return rows, paths


def _text(path: Path) -> str:
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the table in it, a file {', '.join(TABLE_SUFFIXES)}.")
    if path.suffix.lower() not in TABLE_SUFFIXES:
        hint = " (JSON Lines: one object a line)" if path.suffix.lower() == ".json" else ""
        raise DataError(f"{path} is no table that can be read: give {', '.join(TABLE_SUFFIXES)}{hint}.")
    try:
        size = path.stat().st_size
        if size > LARGEST_TABLE:
            raise DataError(
                f"{path} has {size / 1e6:,.0f} MB; tables of at most {LARGEST_TABLE // 10**6} MB are read. "
                "Leave out the rows or columns that are not needed."
            )
        content = path.read_bytes()
    except FileNotFoundError:
        beside = path.parent.iterdir() if path.parent.is_dir() else []
        tables = sorted(other.name for other in beside if other.suffix.lower() in TABLE_SUFFIXES)
        have = f"The folder holds: {listed(tables)}." if tables else "There is no other table in its folder."
        raise DataError(f"The table {path} does not exist. {have} Check data.root and the name.") from None
    except OSError as error:
        raise DataError(f"The table {path} cannot be read: {error.strerror}.") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = "UTF-16" if content.startswith(_BOM_16) else f"not UTF-8 (line {line})"
        raise DataError(f"{path} is {what}. Save the table as UTF-8; Excel calls it 'CSV UTF-8'.") from None
    if "\0" in text:
        raise DataError(f"{path} is no text: it holds zero bytes. Save the table as UTF-8 text.")
    if not text.strip():
        raise DataError(f"{path} is empty.")
    return text


def _separated(path: Path, text: str, delimiter: str | None) -> tuple[dict[str, list[str]], list[int]]:
    rows = _cells(path, text, delimiter or _likely_delimiter(text))
    _, header = next(rows)
    lines: list[int] = []
    table: list[list[str]] = []
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{path.name}, line {line} has {len(row)} cells, but there are {len(header)} columns "
                f"({', '.join(header)}). Cells that hold the separator need quotes around them."
            )
        lines.append(line)
        table.append(row)
    columns = [list(cells) for cells in zip(*table, strict=True)] if table else [[] for _ in header]
    kept: dict[str, list[str]] = {}
    for name, cells in zip(header, columns, strict=True):
        if name in kept:
            raise DataError(f"{path.name} has two columns '{name}'. Rename or remove one.")
        if name:
            kept[name] = cells
        elif any(cells) and cells != [str(row) for row in range(len(cells))]:  # pandas writes its row numbers
            raise DataError(f"{path.name} has a column without a name ({listed(cells)}). Name or remove it.")
    return kept, lines


def _cells(path: Path, text: str, delimiter: str) -> _Rows:
    """Yield the rows that hold anything, with the line on which each begins."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    line = 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path.name}, line {line}: {error}. Is a quote not closed? A quote inside quotes is doubled."
        ) from None


def _likely_delimiter(text: str) -> str:
    """Return the delimiter that cuts the first rows into equally many cells, the most of them."""

    def fit(delimiter: str) -> tuple[bool, int]:
        try:
            reader = csv.reader(io.StringIO(text[:100_000], newline=""), delimiter=delimiter)
            widths = [len(row) for _, row in zip(range(20), reader, strict=False) if row]
        except csv.Error:
            return False, 0
        return len(set(widths)) == 1 and widths[0] > 1, widths[0] if widths else 0

    return max(_DELIMITERS, key=fit)  # of equals the first: the comma


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in cell else None  # Python reads 1_000 as 1000
