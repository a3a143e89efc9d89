"""Pages are whole, safe and need nothing from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vedute.report.html import Notice, Page, Picture, data_uri, megabytes
from vedute.report.plots import histogram, matrix, scatter

VOID = {"meta", "img", "br", "link", "wbr"}


class Nesting(HTMLParser):
    """Checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def full_page() -> Page:
    random = np.random.default_rng(0)
    picture = Picture(data_uri(Image.new("RGB", (8, 6), "red")), "a <b> & 'c'", "train")
    page = Page("Title <1>", "sub & title")
    page.facts([("images", "3")])
    page.section("First")
    page.notices([Notice("note", "fine"), Notice("error", "<script>bad</script>")])
    page.heading("Part", "remark")
    page.paragraph("text", faint=True)
    page.table(["name", "count"], [["<a>", 1], ["b", 2000.4]], "caption")
    page.folded("More", ["x"], [[1]])
    page.bars(["coast", "forest"], [("train", [3, 0]), ("val", [1, 2])])
    values = random.normal(size=50)
    page.figures(
        [
            (histogram([("a", values), ("b", values)], "pixels"), "one"),
            (histogram([("a", np.exp(values))], "kB", logarithmic=True), "two"),
            (scatter([("a", values, values)], ("x", "y"), ("wanted", 1.0, 1.0)), "three"),
            (matrix(np.array([[1, np.nan], [0.2, 1]]), ["a", "b"]), "four"),
        ]
    )
    page.pictures([picture])
    page.section("Second")
    page.pairs([("distance 1", picture, picture)])
    return page


def test_a_page_is_well_formed_and_escapes_text() -> None:
    text = full_page().render("foot & note")
    nesting = Nesting()
    nesting.feed(text)
    assert nesting.open == []
    assert nesting.seen.count("svg") == 4 and nesting.seen.count("img") == 3
    assert "<script" not in text and "&lt;script&gt;bad" in text and "&lt;a&gt;" in text
    assert text.index("bad") < text.index("fine"), "the worst notice first"
    assert 'href="#section-2"' in text and 'id="section-2"' in text
    assert "2,000" in text


def test_a_page_needs_nothing_from_outside() -> None:
    text = full_page().render()
    assert "http:" not in text and "https:" not in text and "//www" not in text
    assert all(source.startswith("data:image/") for source in re.findall(r'src="([^"]*)"', text))
    targets = re.findall(r'href="([^"]*)"', text)
    assert all(target.startswith(("#", "data:image/png")) for target in targets)
    assert not re.search(r"url\((?!#)|@import|<link|<script", text)


def test_plots_take_the_colours_of_the_page() -> None:
    text = histogram([("a", np.arange(5.0)), ("b", np.arange(5.0))], "x")
    assert "var(--ink)" in text and "var(--series-1)" in text and "var(--series-2)" in text
    assert "#0102" not in text, "no stand-in is left"


def test_equal_plots_are_equal_and_large_ones_small() -> None:
    random = np.random.default_rng(0)
    x, y = random.integers(1, 5000, (2, 100_000))
    assert len(scatter([("a", x, y)], ("w", "h"))) < 500_000
    values = random.normal(size=20)
    assert histogram([("a", values)], "x") == histogram([("a", values)], "x")


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0], [0.1, 0.1]])
def test_plots_of_one_value(values: list[float]) -> None:
    array = np.array(values)
    for logarithmic in (False, True):
        assert histogram([("a", array)], "x", logarithmic=logarithmic).startswith("<svg")


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    full_page().write(tmp_path / "index.html", "foot")
    assert (tmp_path / "index.html").read_text(encoding="utf-8").endswith("</html>\n")
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_bytes_for_people() -> None:
    assert [megabytes(count) for count in (12, 1500, 2.5e6, 3e9)] == [
        "12 bytes",
        "1.5 kB",
        "2.5 MB",
        "3.0 GB",
    ]
