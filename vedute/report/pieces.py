"""Pieces of a comparison page as HTML; text is escaped here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from vedute.report.html import Picture

_COLOURS = 8
_MOST_NUMBERS = 12  # classes with which cells of a confusion matrix have room for numbers


class Cell(NamedTuple):
    """A cell: text, a smaller line below, and a class of the style sheet (``best``, ``level``, ``other``)."""

    text: str
    below: str = ""
    mark: str = ""


class WideRow(NamedTuple):
    """A row: its name (``run``: with that run's colour), its cells, and whether it is of real images."""

    name: str
    cells: Sequence[Cell]
    run: int | None = None
    real: bool = False


def breakable(name: str) -> str:
    """Return a name that may be broken after its parts."""
    return re.sub(r"([_/.])(?=[^_/.])", r"\1<wbr>", escape(name))


def swatch(run: int) -> str:
    """Return a run's colour as a dot; after eight runs, as a ring."""
    again = " again" if run >= _COLOURS else ""
    return f'<i class="run{again}" style="--of:var(--run-{run % _COLOURS + 1})"></i>'


def wide_table(
    head: Sequence[tuple[str, str]], rows: Sequence[WideRow], corner: str = "", values: bool = False
) -> str:
    """Return a table that scrolls inside while its first column stays in view.

    Args:
        head: Title of each column, and a smaller line below.
        rows: Its rows.
        corner: Title of the first column.
        values: Whether cells are texts, which stand left and may break.
    """
    number = "" if values else " class=number"
    titles = "".join(
        f"<th{number}>{breakable(title)}{f'<small>{escape(below)}</small>' if below else ''}</th>"
        for title, below in head
    )
    lines = []
    for row in rows:
        dot = "" if row.run is None else swatch(row.run)
        cells = "".join(_cell(cell, values) for cell in row.cells)
        kind = ' class="real"' if row.real else ""
        lines.append(f"<tr{kind}><td>{dot}{breakable(row.name)}</td>{cells}</tr>")
    kind = "wide values" if values else "wide"
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr><th>{escape(corner)}</th>{titles}'
        f"</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(cell: Cell, values: bool) -> str:
    kinds = " ".join(kind for kind in ("" if values else "number", cell.mark) if kind)
    below = f"<small>{escape(cell.below)}</small>" if cell.below else ""
    sign = "†" if cell.mark == "other" else ""
    kind = f' class="{kinds}"' if kinds else ""
    return f"<td{kind}>{escape(cell.text)}{sign}{below}</td>"


def legend(names: Sequence[tuple[int, str]]) -> str:
    """Return which colour is which run."""
    items = "".join(f"<span>{swatch(run)}{escape(name)}</span>" for run, name in names)
    return f'<div class="legend">{items}</div>'


def folded(title: str, inside: str) -> str:
    """Return something that is opened by a click."""
    return f"<details><summary>{escape(title)}</summary>{inside}</details>"


def listed(lines: Sequence[str]) -> str:
    """Return lines as a list."""
    return f'<ul class="verdicts">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>'


def words(explained: Sequence[tuple[str, str]]) -> str:
    """Return words with what they mean."""
    items = "".join(f"<dt>{escape(word)}</dt><dd>{escape(about)}</dd>" for word, about in explained)
    return f'<dl class="words">{items}</dl>'


def figures(plots: Sequence[tuple[str, str]], two: bool = False) -> str:
    """Return plots (SVG) with captions beside each other, ``two``: at most two."""
    items = "".join(f"<figure>{svg}<figcaption>{escape(text)}</figcaption></figure>" for svg, text in plots)
    return f'<div class="figures{" two" if two else ""}">{items}</div>'


def beside(pictures: Sequence[tuple[int, str, Picture]]) -> str:
    """Return pictures of runs beside each other, each below its run's name."""
    items = []
    for run, name, picture in pictures:
        remark = f" <small>{escape(picture.label)}</small>" if picture.label else ""
        # not lazy: browsers print what was not scrolled to as empty
        image = f'<img src="{picture.source}" alt="{escape(picture.text)}">'
        items.append(
            f"<figure><figcaption>{swatch(run)}{breakable(name)}{remark}</figcaption>{image}</figure>"
        )
    return f'<div class="beside">{"".join(items)}</div>'


class Confusion(NamedTuple):
    """A confusion matrix: of which run (None: real images), its name, classes asked for and seen, counts."""

    run: int | None
    name: str
    rows: Sequence[str]
    columns: Sequence[str]
    counts: Sequence[Sequence[int]]


def confusions(matrices: Sequence[Confusion]) -> str:
    """Return confusion matrices beside each other, cells coloured by their share of their row."""
    items = []
    for matrix in matrices:
        dot = "" if matrix.run is None else swatch(matrix.run)
        items.append(
            f"<figure><figcaption>{dot}{breakable(matrix.name)}</figcaption>"
            f'<div class="scroll">{_confusion(matrix)}</div></figure>'
        )
    return f'<div class="beside small">{"".join(items)}</div>'


def _confusion(matrix: Confusion) -> str:
    numbers = len(matrix.columns) <= _MOST_NUMBERS
    head = "".join(f"<th>{escape(name) if numbers else ''}</th>" for name in matrix.columns)
    lines = []
    for name, counts in zip(matrix.rows, matrix.counts, strict=False):
        total = max(1, sum(counts))
        cells = []
        for column, count in zip(matrix.columns, counts, strict=False):
            share = 100 * count / total
            right = ' class="right"' if column == name else ""
            text = f"{share:.0f} %" if numbers else ""
            title = f"{name} seen as {column}: {count:,} of {total:,}"
            cells.append(f'<td{right} style="--share:{share:.0f}" title="{escape(title)}">{text}</td>')
        lines.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")
    return (
        f'<table class="confusion"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )
