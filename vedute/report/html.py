"""Writing a report as one HTML file that needs no other file and no network.

Everything is inside: style sheet, pictures (as data URIs) and plots (as SVG, see ``plots.py``). Pages
are readable on a phone, follow the reader's light or dark setting, and print in light colours. Text is
escaped here, so callers pass it as it is.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image

from vedute.files import whole
from vedute.report.style import STYLE

Level = Literal["error", "warning", "note"]

_LEVELS = {"error": "Problem", "warning": "Look at this", "note": "Good to know"}


class Notice(NamedTuple):
    """One thing that the reader should know: how bad it is, and a sentence."""

    level: Level
    text: str


class Picture(NamedTuple):
    """A picture for a page.

    Attributes:
        source: A data URI, from :func:`data_uri`.
        text: What it is; shown beside pairs, elsewhere on hovering and to who cannot see it.
        label: A word in bold before the text, shown with pairs.
    """

    source: str
    text: str
    label: str = ""


def data_uri(picture: Image.Image, quality: int | None = 82) -> str:
    """Return a picture as text that can stand in a page.

    Args:
        picture: RGB or grey.
        quality: Of JPEG; None: PNG, without loss.
    """
    buffer = io.BytesIO()
    if quality is None:
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.convert("RGB").save(buffer, "JPEG", quality=quality, optimize=True)
    kind = "png" if quality is None else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


class Page:
    """A page that is filled from top to bottom."""

    def __init__(self, title: str, subtitle: str = "") -> None:
        """Start a page.

        Args:
            title: Its heading, and its name in the browser.
            subtitle: A line below.
        """
        self._title = title
        self._subtitle = subtitle
        self._body: list[str] = []
        self._sections: list[tuple[str, str]] = []

    def section(self, title: str) -> None:
        """Begin a section; it appears in the list at the top of the page."""
        anchor = f"section-{len(self._sections) + 1}"
        self._sections.append((anchor, title))
        self._body.append(f'<h2 id="{anchor}">{escape(title)}</h2>')

    def heading(self, title: str, remark: str = "") -> None:
        """Begin a part of a section."""
        small = f" <small>{escape(remark)}</small>" if remark else ""
        self._body.append(f"<h3>{escape(title)}{small}</h3>")

    def paragraph(self, text: str, faint: bool = False) -> None:
        """Add a paragraph; ``faint`` ones explain."""
        self._body.append(f'<p class="faint">{escape(text)}</p>' if faint else f"<p>{escape(text)}</p>")

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Add the few facts that matter most, each a name and a value."""
        items = "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts
        )
        self._body.append(f'<dl class="facts">{items}</dl>')

    def notices(self, notices: Sequence[Notice]) -> None:
        """Add warnings, the worst first."""
        ranked = sorted(notices, key=lambda notice: list(_LEVELS).index(notice.level))
        items = "".join(
            f'<li class="{level}"><b>{_LEVELS[level]}:</b>{escape(text)}</li>' for level, text in ranked
        )
        self._body.append(f'<ul class="notices">{items}</ul>')

    def table(
        self, head: Sequence[str], rows: Sequence[Sequence[str | int | float]], caption: str = ""
    ) -> None:
        """Add a table; numbers stand right-aligned."""
        self._body.append(_table(head, rows, caption))

    def folded(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str | int | float]]) -> None:
        """Add a long table that is opened by a click."""
        self._body.append(f"<details><summary>{escape(title)}</summary>{_table(head, rows, '')}</details>")

    def bars(self, names: Sequence[str], series: Sequence[tuple[str, Sequence[float]]]) -> None:
        """Add a table of counts with bars, one row for each name.

        Args:
            names: N names.
            series: At most four: a title, and N values of at least 0.
        """
        totals = [sum(values[row] for _, values in series) for row in range(len(names))]
        largest = max([*totals, 1])
        legend = "".join(
            f'<span><i style="background:var(--series-{number})"></i>{escape(title)}</span>'
            for number, (title, _) in enumerate(series, 1)
        )
        lines = []
        for row, name in enumerate(names):
            styles = [
                f"width:{100 * values[row] / largest:.2f}%;background:var(--series-{number})"
                for number, (_, values) in enumerate(series, 1)
                if values[row]
            ]
            pieces = "".join(f'<span style="{style}"></span>' for style in styles)
            numbers = "".join(f'<td class="number">{_number(values[row])}</td>' for _, values in series)
            lines.append(f'<tr><td>{escape(name)}</td>{numbers}<td class="bar">{pieces}</td></tr>')
        head = "".join(f'<th class="number">{escape(title)}</th>' for title, _ in series)
        table = (
            f'<table class="bars"><thead><tr><th></th>{head}<th></th></tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table>"
        )
        self._body.append(f'<div class="legend">{legend}</div><div class="scroll">{table}</div>')

    def figures(self, figures: Sequence[tuple[str, str]]) -> None:
        """Add plots beside each other, as many as the width allows.

        Args:
            figures: SVG from ``vedute.report.plots``, and a caption.
        """
        items = "".join(
            f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>" for svg, caption in figures
        )
        self._body.append(f'<div class="figures">{items}</div>')

    def pictures(self, pictures: Sequence[Picture]) -> None:
        """Add pictures in rows of one height."""
        items = "".join(_image(picture) for picture in pictures)
        self._body.append(f'<div class="pictures">{items}</div>')

    def pairs(self, pairs: Sequence[tuple[str, Picture, Picture]]) -> None:
        """Add pictures two by two, each pair with a line above and its texts below."""
        items = []
        for title, *two in pairs:
            both = "".join(
                f"<figure>{_image(picture)}<figcaption><b>{escape(picture.label)}</b> {escape(picture.text)}"
                "</figcaption></figure>"
                for picture in two
            )
            items.append(f'<div class="pair"><p>{escape(title)}</p><div class="two">{both}</div></div>')
        self._body.append(f'<div class="pairs">{"".join(items)}</div>')

    def add(self, piece: str) -> None:
        """Add a piece that is HTML already, with its text escaped."""
        self._body.append(piece)

    def render(self, footer: str = "") -> str:
        """Return the page.

        Args:
            footer: Its last lines.
        """
        links = "".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title in self._sections)
        title, subtitle = escape(self._title), escape(self._subtitle)
        body = "\n".join(self._body)
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<style>{STYLE}</style>\n</head>\n<body>\n"
            f'<header><h1>{title}</h1><p class="faint">{subtitle}</p><nav>{links}</nav></header>\n'
            f"<main>\n{body}\n</main>\n<footer>{escape(footer)}</footer>\n</body>\n</html>\n"
        )

    def write(self, path: Path, footer: str = "") -> None:
        """Write the page, whole or not at all.

        Args:
            path: The file.
            footer: Its last lines.
        """
        with whole(path) as temporary:
            temporary.write_text(self.render(footer), encoding="utf-8")


def megabytes(count: float) -> str:
    """Return a number of bytes for people."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,.0f} bytes"


def _image(picture: Picture) -> str:
    text = escape(f"{picture.label} {picture.text}".strip(), quote=True)
    return f'<img src="{picture.source}" alt="{text}" title="{text}">'


def _number(value: float) -> str:
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str | int | float]], caption: str) -> str:
    numeric = [all(not isinstance(row[column], str) for row in rows) for column in range(len(head))]

    def line(cells: Sequence[str | int | float], tag: str) -> str:
        pieces = (
            f"<{tag}{' class=number' if numeric[column] else ''}>"
            f"{escape(cell) if isinstance(cell, str) else _number(cell)}</{tag}>"
            for column, cell in enumerate(cells)
        )
        return f"<tr>{''.join(pieces)}</tr>"

    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "".join(line(row, "td") for row in rows)
    inner = f"{title}<thead>{line(head, 'th')}</thead><tbody>{body}</tbody>"
    return f'<div class="scroll"><table>{inner}</table></div>'
