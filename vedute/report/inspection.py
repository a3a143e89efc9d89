"""The page of ``inspect``: facts, warnings, leaks, plots and contact sheets.

The numbers come from ``findings.py``, the warnings from ``advice.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vedute.data.survey import Thumbnail
from vedute.report.findings import (
    Duplicates,
    Inspected,
    class_numbers,
    correlation,
    kind_numbers,
    mask_numbers,
    score_numbers,
    size_numbers,
    splits_of,
)
from vedute.report.html import Notice, Page, Picture, data_uri, megabytes
from vedute.report.plots import histogram, matrix, scatter

SHOWN_LEAKS = 24
"""Leaking pairs that the page shows."""

SHOWN_INSIDE = 12
"""Pairs inside a split that the page shows."""

_LISTED = 200  # rows of long tables
_SPLITS = ("train", "val", "test")


class Sheet(NamedTuple):
    """Pictures that belong together: a class, or the best and worst of a rater."""

    title: str
    remark: str
    pictures: list[Thumbnail]


class Pictures(NamedTuple):
    """Everything on the page that is a photo.

    Attributes:
        pairs: Thumbnails by row of ``Inspected.facts``, of the pairs that are shown.
        sheets: Contact sheets.
    """

    pairs: Mapping[int, Thumbnail]
    sheets: Sequence[Sheet]


def shown_pairs(duplicates: Duplicates) -> NDArray[np.int64]:
    """Return positions of the pairs that the page shows."""
    places = np.arange(len(duplicates.rows))
    return np.concatenate([places[duplicates.leaks][:SHOWN_LEAKS], places[~duplicates.leaks][:SHOWN_INSIDE]])


def inspection_page(
    title: str,
    subtitle: str,
    found: Inspected,
    equal: Duplicates,
    near: Duplicates,
    warnings: Sequence[Notice],
    pictures: Pictures,
) -> Page:
    """Write down everything.

    Args:
        title: Which data.
        subtitle: Where from.
        found: The numbers.
        equal: Pairs of equal files.
        near: Pairs of nearly equal images.
        warnings: What the reader should know.
        pictures: The photos.
    """
    page = Page(title, subtitle)
    page.facts(_facts(found))
    page.section("Warnings")
    if warnings:
        page.notices(warnings)
    else:
        page.paragraph("Nothing to worry about was found.")
    _duplicates(page, found, equal, near, pictures.pairs, leaks=True)
    _splits(page, found)
    _sizes(page, found)
    _scores(page, found)
    _masks(page, found)
    if pictures.sheets:
        page.section("Pictures")
        if found.scores is None:
            page.paragraph("Drawn at random, always the same ones.", faint=True)
        for sheet in pictures.sheets:
            page.heading(sheet.title, sheet.remark)
            page.pictures([Picture(data_uri(small.picture), small.origin) for small in sheet.pictures])
    _duplicates(page, found, equal, near, pictures.pairs, leaks=False)
    _unreadable(page, found)
    return page


def _facts(found: Inspected) -> list[tuple[str, str]]:
    facts = found.facts
    result = [("images", f"{len(facts):,}")]
    sizes = found.splits or {part: (part, np.arange(len(s.facts))) for part, s in found.surveys.items()}
    result.append((" / ".join(sizes), " / ".join(f"{len(numbers):,}" for _, numbers in sizes.values())))
    if len(facts):
        result.append(("median size", f"{np.median(facts['width']):g} x {np.median(facts['height']):g}"))
        low, high = (
            facts[["width", "height"]][_extreme(facts, np.argmin)],
            facts[["width", "height"]][_extreme(facts, np.argmax)],
        )
        if low != high:
            result.append(("smallest to largest", f"{low[0]} x {low[1]} to {high[0]} x {high[1]}"))
        decoded = any(kind.format == "pixels" for kind in found.kinds)
        title = "in memory, decoded" if decoded else "on disk"
        result.append((title, megabytes(float(facts["bytes"].sum()))))
        commonest = kind_numbers(found)[0]
        more = f" and {len(found.kinds) - 1} more" if len(found.kinds) > 1 else ""
        result.append(
            ("format", f"{commonest['format']}, {commonest['mode']}, {commonest['bits']} bit{more}")
        )
    if found.class_names is not None:
        result.append(("classes", f"{len(found.class_names):,}"))
    if found.scores is not None:
        result.append(("raters", f"{len(found.scores.raters):,}"))
    result.append(("cannot be used", f"{sum(map(len, found.unreadable.values())):,}"))
    return result


def _extreme(facts: NDArray[np.void], which: object) -> int:
    areas = facts["width"].astype(np.int64) * facts["height"]
    return int(which(areas))  # type: ignore[operator]  # argmin or argmax


def _duplicates(
    page: Page,
    found: Inspected,
    equal: Duplicates,
    near: Duplicates,
    thumbnails: Mapping[int, Thumbnail],
    leaks: bool,
) -> None:
    total = sum(int((pairs.leaks == leaks).sum()) for pairs in (equal, near))
    if not total:
        return
    if leaks:
        page.section("Leaks between splits")
        page.paragraph(
            "The same picture, or nearly the same, in two splits. The distance is the number of bits, of 64, "
            f"in which the looks of two pictures differ; up to {found.near} count as nearly equal. Mirrored "
            "and cropped copies are not found."
        )
    else:
        page.section("Duplicates inside a split")
    cards = []
    for pairs, word in ((equal, "equal files"), (near, "nearly equal")):
        for place in shown_pairs(pairs):
            if pairs.leaks[place] != leaks:
                continue
            two = [int(row) for row in pairs.rows[place]]
            if not all(row in thumbnails for row in two):
                continue
            label = word if pairs is equal else f"{word}, distance {pairs.distances[place]}"
            left, right = (
                Picture(
                    data_uri(thumbnails[row].picture),
                    thumbnails[row].origin,
                    " and ".join(splits_of(int(found.membership[row]))) or "in no split",
                )
                for row in two
            )
            cards.append((label, left, right))
    page.pairs(cards)
    if total > len(cards):
        page.paragraph(
            f"{len(cards):,} of {total:,} pairs are shown; inspection.json lists more.", faint=True
        )


def _splits(page: Page, found: Inspected) -> None:
    page.section("Splits")
    rows: list[list[str | int | float]] = []
    for split, (part, numbers) in found.splits.items():
        own = found.facts[found.rows_of(split)]
        rows.append([split, part, len(numbers), megabytes(float(own["bytes"].sum())) if len(own) else "-"])
    if rows:
        page.table(["split", "from part", "images", "bytes"], rows)
    page.table(
        ["part as shipped", "records", "looked at", "cannot be used"],
        [
            [part, survey.total, survey.seen, len(found.unreadable.get(part, ()))]
            for part, survey in found.surveys.items()
        ],
    )
    counts = class_numbers(found)
    if counts:
        page.section("Classes")
        names = sorted(counts, key=lambda name: -sum(counts[name].values()))
        series = [(split, [counts[name][split] for name in names]) for split in found.classes]
        page.bars(names[:_LISTED], [(split, values[:_LISTED]) for split, values in series])
        if len(names) > _LISTED:
            page.paragraph(f"The {_LISTED} largest of {len(names):,} classes.", faint=True)


def _by_split(found: Inspected, values: NDArray[np.number]) -> list[tuple[str, NDArray[np.number]]]:
    """Return values of the images of each split, without an image twice and without empty splits."""
    taken = np.zeros(len(values), dtype=bool)
    series = []
    for split in _SPLITS:
        rows = found.rows_of(split) & ~taken
        taken |= rows
        if rows.any():
            series.append((split, values[rows]))
    if (~taken).any():
        series.append(("in no split", values[~taken]))
    return series


def _sizes(page: Page, found: Inspected) -> None:
    facts = found.facts
    if not len(facts):
        return
    page.section("Sizes and formats")
    numbers = size_numbers(found)
    if len({tuple(size) for size in np.stack([facts["width"], facts["height"]], axis=1).tolist()}) == 1:
        page.paragraph(f"All images are {facts['width'][0]} x {facts['height'][0]} pixels.")
        figures = []
    else:
        width, height = _by_split(found, facts["width"]), _by_split(found, facts["height"])
        points = [(name, x, y) for (name, x), (_, y) in zip(width, height, strict=True)]
        mark = (
            f"data.image_size {found.image_size[1]} x {found.image_size[0]}",
            float(found.image_size[1]),
            float(found.image_size[0]),
        )
        aspect = facts["width"] / np.maximum(facts["height"], 1)
        figures = [
            (scatter(points, ("width, pixels", "height, pixels"), mark), "Width and height of each image"),
            (histogram(width, "width, pixels"), "Widths"),
            (histogram(height, "height, pixels"), "Heights"),
            (
                histogram(_by_split(found, aspect), "width / height", logarithmic=True),
                "Shapes: above 1 is wide",
            ),
        ]
    figures.append(
        (histogram(_by_split(found, facts["bytes"] / 1e3), "kB", logarithmic=True), "Bytes of each image")
    )
    page.figures(figures)
    rows: list[list[str | int | float]] = []
    for name, unit in (
        ("width", "pixels"),
        ("height", "pixels"),
        ("aspect", "width / height"),
        ("bytes", ""),
    ):
        values = numbers[name]
        assert isinstance(values, dict)
        rows.append([f"{name}, {unit}" if unit else name, *values.values()])
    page.table(["", "min", "5 %", "median", "95 %", "max"], rows)
    page.table(
        ["format", "channels", "bits a channel", "images"],
        [
            [str(kind["format"]), str(kind["mode"]), int(str(kind["bits"])), int(str(kind["images"]))]
            for kind in kind_numbers(found)
        ],
    )
    commonest = numbers["commonest"]
    assert isinstance(commonest, list)
    if len(commonest) > 1:
        page.folded("The commonest sizes", ["width", "height", "images"], commonest)


def _scores(page: Page, found: Inspected) -> None:
    scores = found.scores
    numbers = score_numbers(scores)
    if scores is None or numbers is None:
        return
    page.section("Scores")
    figures = []
    for column, rater in enumerate(scores.raters):
        series = [
            (split, values[np.isfinite(values[:, column]), column]) for split, values in scores.values.items()
        ]
        series = [(split, values) for split, values in series if len(values)]
        if series:
            figures.append((histogram(series, f"score of {rater}", bins=20), rater))
    page.figures(figures)
    statistics = numbers["statistics"]
    assert isinstance(statistics, dict)
    names = ("min", "mean", "max", "deviation", "missing")
    page.table(
        ["rater", "lowest", "mean", "highest", "standard deviation", "missing"],
        [[rater, *(statistics[rater].get(name, "-") for name in names)] for rater in scores.raters],
    )
    if len(scores.raters) > 1:
        values = np.concatenate(list(scores.values.values()))
        page.figures(
            [(matrix(correlation(values), scores.raters), "Correlation of raters: 1 is the same taste")]
        )


def _masks(page: Page, found: Inspected) -> None:
    numbers = mask_numbers(found)
    if numbers is None:
        return
    page.section("Masks")
    shares = 100 * found.facts["foreground"]
    series = [(name, values[np.isfinite(values)]) for name, values in _by_split(found, shares)]
    page.figures(
        [
            (
                histogram([entry for entry in series if len(entry[1])], "foreground, %"),
                "Foreground of each mask",
            )
        ]
    )
    page.paragraph(
        f"{numbers['empty']:,} masks are empty, {numbers['full']:,} are all foreground, and "
        f"{numbers['unclear']:,} have more than two values."
    )


def _unreadable(page: Page, found: Inspected) -> None:
    rows: list[list[str | int | float]] = [
        [part, record.number, record.message]
        for part, records in found.unreadable.items()
        for record in records
    ]
    if not rows:
        return
    page.section("Records that cannot be used")
    page.table(["part", "record", "reason"], rows[:_LISTED])
    if len(rows) > _LISTED:
        page.paragraph(f"{len(rows) - _LISTED:,} more are in inspection.json.", faint=True)
