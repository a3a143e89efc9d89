"""The measured part of the page of ``inspect``: plots and tables of sizes, formats, scores and masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vedute.data.splits import SPLITS
from vedute.report.findings import (
    Inspected,
    correlation,
    kind_numbers,
    mask_numbers,
    score_numbers,
    size_numbers,
)
from vedute.report.html import Page
from vedute.report.plots import histogram, matrix, scatter


def _by_split(found: Inspected, values: NDArray[np.number]) -> list[tuple[str, NDArray[np.number]]]:
    """Return values of the images of each split, without an image twice and without empty splits."""
    taken = np.zeros(len(values), dtype=bool)
    series: list[tuple[str, NDArray[np.number]]] = []
    for split in SPLITS:
        rows = found.rows_of(split) & ~taken
        taken |= rows
        if rows.any():
            series.append((split, values[rows]))
    if (~taken).any():
        series.append(("in no split", values[~taken]))
    return series


def add_sizes(page: Page, found: Inspected) -> None:
    """Add the sizes, bytes and formats of the images."""
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
    if facts["bytes"].min() < facts["bytes"].max():  # decoded images of one size all take the same
        weights = histogram(_by_split(found, facts["bytes"] / 1e3), "kB", logarithmic=True)
        figures.append((weights, "Bytes of each image"))
    if figures:
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


def add_scores(page: Page, found: Inspected) -> None:
    """Add the scores of each rater, where there are scores."""
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
        alike = matrix(correlation(scores.once), scores.raters)
        page.figures([(alike, "Correlation of raters: 1 is the same taste")])


def add_masks(page: Page, found: Inspected) -> None:
    """Add the shares of foreground, where there are masks."""
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
        f"Masks that are empty: {numbers['empty']:,}; all foreground: {numbers['full']:,}; with more than "
        f"two values: {numbers['unclear']:,}."
    )
