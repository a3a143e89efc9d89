"""OpenStreetView-5M's metadata: a CSV file streamed into small arrays. The photos: ``street_view_index``.

Source: Astruc et al. 2024, "OpenStreetView-5M: The Many Roads to Global Visual Geolocation" (CVPR),
https://huggingface.co/datasets/osv5m/osv5m
"""

from __future__ import annotations

import csv
import logging
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vedute.countries import country_code, country_names
from vedute.errors import ConfigurationError, DataError

logger = logging.getLogger(__name__)

ID = "id"
COUNTRY = "country"
NAMED = 3
"""How many of many are named in a message."""

_CHUNK = 512  # rows in memory at a time: twice as fast as 8192, whose cells outgrow the processor's cache
_EMPTY = frozenset({"", "nan", "none", "null"})  # how tools write a missing country; NA is Namibia


@dataclass(frozen=True)
class Rows:
    """What the metadata say, in their order.

    Attributes:
        path: The CSV file.
        ids: (N,) int64.
        countries: (N,) uint16, positions in ``country_names()``.
        without_country: Rows left out because they name no country.
    """

    path: Path
    ids: NDArray[np.int64]
    countries: NDArray[np.uint16]
    without_country: int


def read_rows(path: Path, on_error: Literal["raise", "skip"] = "raise") -> Rows:
    """Read a CSV of OpenStreetView-5M, or of its form: columns ``id`` and ``country``, and any others.

    Args:
        path: The file; comma-separated, UTF-8.
        on_error: What a row with a wrong id or country does: raise an error, or be left out, counted.

    Raises:
        DataError: A column is missing, a row is wrong (its line is named), an id comes twice, or nothing
            is in the file.
    """
    known = {code: number for number, code in enumerate(country_names())}
    ids, countries = array("q"), array("H")
    wrong: list[tuple[int, str]] = []  # row number, what is wrong
    without_country = wrong_count = row = 0
    with _opened(path) as (reader, id_column, country_column):
        while chunk := list(islice(reader, _CHUNK)):
            chunk = [cells for cells in chunk if cells]  # csv gives empty lines as empty rows
            try:
                texts = [cells[id_column] for cells in chunk]
                numbers = [known[cells[country_column]] for cells in chunk]
                if not all(map(str.isdecimal, texts)):
                    raise ValueError
                whole = array("q", map(int, texts))
            except (LookupError, ValueError, OverflowError):
                # Rare: this chunk row by row, to find out.
                for offset, cells in enumerate(chunk):
                    try:
                        photo, number = _parsed(cells, id_column, country_column, known)
                    except DataError as error:
                        wrong_count += 1
                        if len(wrong) < NAMED:
                            wrong.append((row + offset, str(error)))
                        continue
                    if number is None:
                        without_country += 1
                    else:
                        ids.append(photo)
                        countries.append(number)
                if wrong and on_error == "raise":
                    break
            else:
                ids.extend(whole)
                countries.extend(numbers)
            row += len(chunk)
    if wrong:
        message = _wrong_rows(path, wrong, wrong_count if on_error == "skip" else None)
        if on_error == "raise":
            raise DataError(f"{message} Correct the file, or leave such rows out with data.on_error skip.")
        logger.warning("%s Left out.", message)
    if not ids:
        raise DataError(f"{path} holds no row with an id and a country.")
    rows = Rows(path, np.frombuffer(ids, np.int64), np.frombuffer(countries, np.uint16), without_country)
    _check_unique(rows)
    return rows


def some(things: Sequence[str] | NDArray[np.int64], count: int | None = None) -> str:
    """Return the first few of many (of ``count``, where only some are given) for a message."""
    shown = ", ".join(str(thing) for thing in things[:NAMED])
    return shown + (", ..." if (count or len(things)) > NAMED else "")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Iterator[list[str]], int, int]]:
    """Give the rows after the header, and the positions of the two columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            columns = {name.casefold(): position for position, name in enumerate(header)}
            missing = [name for name in (ID, COUNTRY) if name not in columns]
            if missing:
                raise DataError(
                    f"{path} has no column {' and none called '.join(missing)}. It has: "
                    f"{', '.join(header[:40]) or 'nothing'}. Name the columns '{ID}' and '{COUNTRY}', "
                    "separated by commas."
                )
            yield reader, columns[ID], columns[COUNTRY]
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: {error}. A quotation mark may be missing."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason}). Convert it.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _parsed(
    cells: list[str], id_column: int, country_column: int, known: dict[str, int]
) -> tuple[int, int | None]:
    """Return the id and the country's number (None: no country) of a row, and remember its spelling.

    Raises:
        DataError: What is wrong with the row.
    """
    if len(cells) <= max(id_column, country_column):
        raise DataError(f"the row has {len(cells)} cells, the header more")
    text, country = cells[id_column].strip(), cells[country_column]
    if not text.isdecimal() or int(text) >= 2**63:
        raise DataError(f"the id '{text}' is no whole number")
    if country.strip().casefold() in _EMPTY:
        return int(text), None
    if country not in known:
        try:
            code = country_code(country)
        except ConfigurationError as error:
            raise DataError(str(error).removesuffix(".")) from None
        known[country] = known[code]
    return int(text), known[country]


def _wrong_rows(path: Path, wrong: Sequence[tuple[int, str]], count: int | None) -> str:
    """Return a message on wrong rows with their lines, found by reading the file once more."""
    lines = dict(_lines(path, {row for row, _ in wrong}))
    named = "; ".join(f"line {lines[row]}: {what}" for row, what in wrong)
    return f"{path}, {named}." if count is None else f"{path} has {count} wrong rows: {named}."


def _lines(path: Path, rows: set[int]) -> Iterator[tuple[int, int]]:
    """Yield (row, line) for some rows; a quoted cell may hold line breaks, so rows alone do not tell."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        row = -1
        for cells in reader:
            row += bool(cells)
            if cells and row in rows:
                yield row, reader.line_num


def _check_unique(rows: Rows) -> None:
    ordered = np.sort(rows.ids)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(twice):
        return
    with _opened(rows.path) as (reader, id_column, _):
        cells_of_rows = (cells for cells in reader if cells)
        wanted = {
            row
            for row, cells in enumerate(cells_of_rows)
            if len(cells) > id_column and cells[id_column].strip().lstrip("0") == str(twice[0])
        }
    lines = [line for _, line in _lines(rows.path, wanted)]
    raise DataError(
        f"{rows.path} has {len(twice)} ids more than once: {some(twice)}. The first is on lines "
        f"{', '.join(map(str, lines))}. Keep one row of each."
    )
