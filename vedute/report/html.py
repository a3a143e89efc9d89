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

Level = Literal["error", "warning", "note"]

_LEVELS = {"error": "Problem", "warning": "Look at this", "note": "Good to know"}
_STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --card: #ffffff; --ink: #23211e; --faint: #6b665f;
  --line: #dedad3; --accent: #1f6f8b; --error: #b3261e; --warning: #9a6700; --note: #1f6f8b;
  --series-1: #2f7f9e; --series-2: #d9822b; --series-3: #7a9a3a; --series-4: #8a5fa8; }
@media (prefers-color-scheme: dark) { :root { --paper: #171614; --card: #211f1d; --ink: #ebe7e0;
  --faint: #a39d93; --line: #3a3733; --accent: #7cc3db; --error: #ff8a80; --warning: #f0c14b;
  --note: #7cc3db; --series-1: #5fb3d1; --series-2: #f0a860; --series-3: #a9c96a; --series-4: #bb94d6; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 70rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 2rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; text-wrap: balance; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
h3 small { font-weight: 400; color: var(--faint); }
p { max-width: 44rem; margin: .5rem 0; overflow-wrap: anywhere; }
.faint, figcaption, footer, caption { color: var(--faint); font-size: .875rem; }
nav { margin: 1rem 0 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem; font-size: .9375rem; }
a { color: var(--accent); text-underline-offset: .15em; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: .5rem;
  margin: 1.25rem 0; padding: 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .75rem; }
.facts dt { color: var(--faint); font-size: .8125rem; }
.facts dd { margin: 0; font-size: 1.0625rem; font-weight: 600; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; }
.notices { list-style: none; margin: 1rem 0; padding: 0; display: grid; gap: .5rem; }
.notices li { background: var(--card); border: 1px solid var(--line); border-left: .3rem solid var(--level);
  border-radius: .375rem; padding: .5rem .75rem; overflow-wrap: anywhere; }
.notices b { color: var(--level); margin-right: .35rem; }
.error { --level: var(--error); } .warning { --level: var(--warning); } .note { --level: var(--note); }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .9375rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .25rem; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--faint); }
td.number, th.number { text-align: right; white-space: nowrap; }
table.bars { width: 100%; max-width: 46rem; }
td.bar { width: 55%; min-width: 7rem; padding-right: 0; white-space: nowrap; font-size: 0; }
td.bar span { display: inline-block; height: .8rem; vertical-align: middle; }
td.bar span:first-child { border-radius: .2rem 0 0 .2rem; }
td.bar span:last-child { border-radius: 0 .2rem .2rem 0; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .875rem; color: var(--faint);
  margin: .5rem 0; }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: .2rem; margin-right: .35rem;
  vertical-align: -.08rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr));
  gap: 1rem; margin: 1rem 0; }
figure { margin: 0; break-inside: avoid; }
.figures figure { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem; }
figure svg { display: block; width: 100%; height: auto; max-width: 34rem; }
svg text { font-family: inherit !important; }
.pictures { display: flex; flex-wrap: wrap; gap: .35rem; margin: .5rem 0 1rem; }
.pictures img { display: block; height: 6rem; width: auto; max-width: 100%; object-fit: contain;
  border-radius: .2rem; background: var(--line); }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); gap: .75rem;
  margin: .75rem 0; }
.pair { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem;
  break-inside: avoid; }
.pair .two { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }
.pair img { display: block; width: 100%; height: 9rem; object-fit: contain; background: var(--line);
  border-radius: .2rem; }
.pair figcaption { font-size: .75rem; line-height: 1.35; overflow-wrap: anywhere; margin-top: .25rem; }
.pair figcaption b { color: var(--ink); }
.pair p { margin: 0 0 .4rem; font-size: .8125rem; color: var(--faint); }
details { margin: .75rem 0; } summary { cursor: pointer; color: var(--accent); }
footer { padding-top: 2rem; padding-bottom: 3rem; }
@media (max-width: 30rem) { .pictures img { height: 4.6rem; } h1 { font-size: 1.4rem; }
  header { padding-top: 1rem; } .facts { grid-template-columns: 1fr 1fr; } .pair img { height: 7rem; }
  th, td { padding-right: .6rem; font-size: .875rem; } }
@media print { :root { --paper: #fff; --card: #fff; --ink: #000; --faint: #444; --line: #ccc;
  --accent: #124; --error: #900; --warning: #740; --note: #124; --series-1: #2f7f9e; --series-2: #d9822b;
  --series-3: #7a9a3a; --series-4: #8a5fa8; } nav { display: none; } body { font-size: 11pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } h2, h3 { break-after: avoid; } }
"""


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
            f"<style>{_STYLE}</style>\n</head>\n<body>\n"
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
    return f'<img src="{picture.source}" alt="{text}" title="{text}" loading="lazy">'


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
