"""A table of scores as text for the terminal, Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.table import Table

from vedute.errors import ConfigurationError

ENDINGS = (".md", ".csv", ".json")
"""Kinds of files that a table can be written to."""

_MISSING = "-"


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        title: For people.
        key: For programs: the name in CSV and JSON.
        text: From a number to how it is shown.
        best: Which value is the best; None: none is.
    """

    title: str
    key: str
    text: Callable[[float], str]
    best: Literal["highest", "lowest", "nearest to 1"] | None = None

    def shown(self, cell: Cell) -> str:
        """Return a cell as a person reads it."""
        if cell.value is None:
            return _MISSING
        if isinstance(cell.value, str):
            return cell.value
        text = self.text(cell.value)
        if not cell.half_range:
            return text
        number, space, unit = text.partition(" ")
        # both in the unit of the value: '18.3 ± 0.4 min', not '18.3 min ± 24 s'
        return f"{number} ± {self._as(cell.half_range, cell.value, number)}{space}{unit}"

    def _as(self, half_range: float, value: float, number: str) -> str:
        """Return half a range in the unit and with the decimals of the shown value."""
        suffix = number.lstrip("-0123456789.,")
        digits = number.removesuffix(suffix).replace(",", "")
        decimals = len(digits.partition(".")[2])
        unit = value / float(digits) if float(digits) else 1.0
        return f"{half_range / unit:,.{max(decimals, 1)}f}{suffix}"


@dataclass(frozen=True)
class Cell:
    """A value: a number with half the range over repeats (None: one run), a word, or None: unknown."""

    value: float | str | None
    half_range: float | None = None


@dataclass(frozen=True)
class Row:
    """A row: its name, the runs it is of, and a cell for each column."""

    name: str
    runs: list[str]
    cells: list[Cell]


@dataclass(frozen=True)
class ScoreTable:
    """A table.

    Attributes:
        subject: Title of the first column, the rows' names.
        columns: The others.
        rows: At least one.
        notes: Lines below it.
    """

    subject: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str]

    def texts(self) -> list[tuple[str, list[str], list[bool]]]:
        """Return for each row its name, what its cells show, and which of them are the best."""
        bests = [self._best(position) for position in range(len(self.columns))]
        found = []
        for number, row in enumerate(self.rows):
            shown = [column.shown(cell) for column, cell in zip(self.columns, row.cells, strict=True)]
            found.append((row.name, shown, [number in best for best in bests]))
        return found

    def _best(self, position: int) -> set[int]:
        """Return the rows with the best value of a column; none where there is nothing to compare."""
        kind = self.columns[position].best
        values = {
            number: row.cells[position].value
            for number, row in enumerate(self.rows)
            if isinstance(row.cells[position].value, int | float)
        }
        if kind is None or len(values) < 2:
            return set()
        ranks = {number: _rank(float(value), kind) for number, value in values.items() if value is not None}
        return {number for number, rank in ranks.items() if rank == min(ranks.values())}


def _rank(value: float, kind: str) -> float:
    """Return a number that is the lower the better the value."""
    if kind == "nearest to 1":
        return abs(value - 1)
    return value if kind == "lowest" else -value


def check_ending(path: Path) -> None:
    """Make sure that a table can be written to a file of this name.

    Raises:
        ConfigurationError: Its ending is none of ``ENDINGS``.
    """
    if path.suffix.lower() not in ENDINGS or path.is_dir():
        raise ConfigurationError(f"--output {path}: give a file name that ends in {', '.join(ENDINGS)}.")


def as_text(table: ScoreTable, ending: str) -> str:
    """Return a table as the content of a file.

    Args:
        table: The table.
        ending: ``.md`` (best values bold), ``.csv`` or ``.json`` (numbers as they are).
    """
    return {".md": _markdown, ".csv": _csv, ".json": _json}[ending.lower()](table)


def rich_table(table: ScoreTable) -> Table:
    """Return a table for the terminal; its notes are not in it."""
    shown = Table()
    shown.add_column(table.subject, no_wrap=True)
    for column in table.columns:
        shown.add_column(column.title, justify="right", no_wrap=True)
    for name, texts, best in table.texts():
        cells = [
            f"[bold]{text}[/bold]" if is_best else text for text, is_best in zip(texts, best, strict=True)
        ]
        shown.add_row(name, *cells)
    return shown


def _markdown(table: ScoreTable) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    lines = [
        line([table.subject, *(column.title for column in table.columns)]),
        line(["---", *("---:" for _ in table.columns)]),
    ]
    for name, texts, best in table.texts():
        cells = [f"**{text}**" if is_best else text for text, is_best in zip(texts, best, strict=True)]
        lines.append(line([name, *cells]))
    return "\n".join([*lines, "", *(f"{note}\n" for note in table.notes)])


def _csv(table: ScoreTable) -> str:
    repeats = any(len(row.runs) > 1 for row in table.rows)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = [column.key for column in table.columns]
    spreads = [f"{name}_half_range" for name in names] if repeats else []
    writer.writerow([table.subject, "runs", *names, *spreads])
    for row in table.rows:
        values = [cell.value for cell in row.cells]
        halves = [cell.half_range for cell in row.cells] if repeats else []
        writer.writerow([row.name, " ".join(row.runs), *values, *halves])
    return stream.getvalue()


def _json(table: ScoreTable) -> str:
    rows = []
    for row in table.rows:
        cells = zip(table.columns, row.cells, strict=True)
        values = {
            column.key: cell.value
            if cell.half_range is None
            else {"mean": cell.value, "half_range": cell.half_range}
            for column, cell in cells
        }
        rows.append({table.subject: row.name, "runs": row.runs, **values})
    return json.dumps({"rows": rows, "notes": table.notes}, indent=2, allow_nan=False) + "\n"
