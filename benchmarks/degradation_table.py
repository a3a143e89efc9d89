"""The tables of ``degradations.py``: which scores moved.

Here: what counts as moved, and markdown. Not here: how scores are found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Score = tuple[float, float, float]
"""Value, lower and upper end of its 95 % interval; NaN where there is none."""

Scores = Mapping[str, Score]
"""The scores of one card by name."""


class Column(NamedTuple):
    """A column.

    Attributes:
        title: Above it.
        score: Name of its score.
        form: How a value is written: ``%`` in per cent, else a format.
    """

    title: str
    score: str
    form: str


_FEATURES = ("classifier", "details", "pixels")

TABLES: tuple[tuple[str, tuple[Column, ...]], ...] = (
    (
        "Condition, distances, two-sample test",
        (
            Column("Q", "q", "%"),
            Column("CAS gen. to real", "cas/generated_to_real", "%"),
            Column("CAS real to gen.", "cas/real_to_generated", "%"),
            Column("fd_classifier", "fd_classifier", ".2f"),
            Column("fd_details", "fd_details", ".3f"),
            Column("fd_pixels", "fd_pixels", ".2f"),
            *(Column(f"told apart by {name}", f"two_sample/{name}", "%") for name in _FEATURES),
        ),
    ),
    (
        "Coverage and diversity",
        tuple(
            Column(f"{title} {name}", f"{score}{name}", form)
            for name in _FEATURES[:2]
            for title, score, form in (
                ("precision", "precision_", "%"),
                ("recall", "recall_", "%"),
                ("density", "density_", ".2f"),
                ("coverage", "coverage_", "%"),
                ("diversity", "diversity_ratio/", "%"),
            )
        ),
    ),
    (
        "Memorisation",
        tuple(
            Column(f"{title} {name}", f"memory/{score}/{name}", form)
            for name in _FEATURES
            for title, score, form in (
                ("distance ratio", "distance_ratio", ".2f"),
                ("close", "close_share", "%"),
                ("duplicates", "duplicate_share", "%"),
            )
        ),
    ),
)


def moved(score: Score, clean: Sequence[Score]) -> bool:
    """Return whether a score is other than that of undamaged photos.

    It moved by more than twice the range of those and 2 % of its value, and their mean lies outside its
    interval, if it has one.
    """
    value, low, high = score
    values = [one[0] for one in clean]
    mean = sum(values) / len(values)
    if not math.isfinite(value) or not math.isfinite(mean):
        return False
    far = abs(value - mean) > max(2 * (max(values) - min(values)), 0.02 * abs(mean), 1e-9)
    return far and not low <= mean <= high


def tables(clean: Sequence[Scores], rows: Mapping[str, Scores]) -> str:
    """Return markdown: scores that moved in bold.

    Args:
        clean: The cards of undamaged photos.
        rows: The card of each damage, by its name.
    """
    parts = []
    for title, columns in TABLES:
        columns = tuple(column for column in columns if column.score in clean[0])
        lines = [f"{title}:\n", "| damage | " + " | ".join(column.title for column in columns) + " |"]
        lines.append("| --- " * (len(columns) + 1) + "|")
        ranges = [_range([one[column.score][0] for one in clean], column.form) for column in columns]
        lines.append("| none, other photos each time | " + " | ".join(ranges) + " |")
        for name, scores in rows.items():
            cells = [_cell(scores, clean, column) for column in columns]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _cell(scores: Scores, clean: Sequence[Scores], column: Column) -> str:
    score = scores.get(column.score, (math.nan,) * 3)
    text = _written(score[0], column.form)
    return f"**{text}**" if moved(score, [one[column.score] for one in clean]) else text


def _range(values: Sequence[float], form: str) -> str:
    low, high = (_written(one, form) for one in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _written(value: float, form: str) -> str:
    if not math.isfinite(value):
        return ""
    return f"{100 * value:.0f} %" if form == "%" else format(value, form)
