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
    kind_numbers,
    splits_of,
)
from vedute.report.html import Notice, Page, Picture, data_uri, megabytes
from vedute.report.inspection_plots import add_masks, add_scores, add_sizes

SHOWN_LEAKS = 24
"""Leaking pairs that the page shows."""

SHOWN_INSIDE = 12
"""Pairs inside a split that the page shows."""

_LISTED = 200  # rows of long tables


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
    add_sizes(page, found)
    add_scores(page, found)
    add_masks(page, found)
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
