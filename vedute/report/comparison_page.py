"""The page of ``compare``: runs beside each other, from what their folders hold.

What is compared comes from ``comparison.py``, scores from ``comparison_scores.py`` and
``comparison_columns.py``, curves, pictures and settings from their own files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vedute.report.comparison import (
    Comparison,
    data_of,
    weights_of,
)
from vedute.report.comparison_columns import score_columns
from vedute.report.comparison_curves import MOST_POINTS, panels
from vedute.report.comparison_details import (
    add_confusions,
    add_overview,
    add_settings,
    add_small_print,
)
from vedute.report.comparison_pictures import pictures_beside
from vedute.report.comparison_scores import Score, ScoreRow, score_rows, verdicts
from vedute.report.html import Page
from vedute.report.pieces import (
    Cell,
    WideRow,
    beside,
    figures,
    folded,
    legend,
    listed,
    wide_table,
    words,
)
from vedute.report.run_plots import Point, curve_panel, labelled_points
from vedute.report.run_record import RunRecord
from vedute.run_folder import METRICS

_FIRST_CURVES = 8
_LONGEST = 34  # characters of a name in a plot


def comparison_page(comparison: Comparison) -> Page:
    """Write down everything.

    Args:
        comparison: The runs.
    """
    runs = comparison.runs
    count = f"{len(runs)} runs" if len(runs) > 1 else "One run"
    data = list(dict.fromkeys(data_of(run) for run in runs))
    page = Page(
        f"{count} of {_kinds(runs)}",
        f"{'; '.join(data)}. From the run folders alone: nothing was generated or measured anew.",
    )
    pictures, unreadable = pictures_beside(comparison)
    page.section("What is compared")
    add_overview(page, comparison)
    notices = [*comparison.notices, *unreadable]
    if notices:
        page.notices(notices)
    shown_first, others = score_columns(runs)
    _scores(page, comparison, shown_first, others)
    _costs(page, comparison, shown_first)
    _curves(page, comparison)
    if pictures:
        page.section("Pictures")
        for one in pictures:
            page.heading(one.title, one.remark)
            page.add(beside([(run, comparison.names[run], picture) for run, picture in one.pictures]))
    add_confusions(page, comparison)
    add_settings(page, comparison)
    add_small_print(page, comparison)
    return page


def _kinds(runs: Sequence[RunRecord]) -> str:
    kinds = list(dict.fromkeys(type(run.module).__name__ for run in runs))
    return ", ".join(kinds) if len(kinds) < 4 else f"{len(kinds)} kinds of models"


def _scores(
    page: Page, comparison: Comparison, shown_first: Sequence[Score], others: Sequence[Score]
) -> None:
    page.section("Scores")
    if all(run.evaluation is None for run in comparison.runs):
        page.paragraph("None of the runs has a card yet, so there are only sizes and times.")
    said = verdicts(comparison, shown_first)
    if said:
        page.add(listed(said))
    page.add(_score_table(score_rows(comparison, shown_first), shown_first))
    page.paragraph(
        "Bold: the best of the column; grey: its interval overlaps that of the best, so the two are not told "
        "apart; † with italics: measured otherwise (see above), not ranked. Below a value stands its 95 % "
        "interval, or ± half the range over repeats with other seeds. ↑ higher is better, ↓ lower, → nearer "
        "to. The last row is what real images get under the same instruments.",
        faint=True,
    )
    if said and not any(score.below(run) for score in shown_first for run in comparison.runs):
        page.paragraph(
            "These cards have no intervals, so small differences may be chance; 'evaluate --seeds 3' adds "
            "them.",
            faint=True,
        )
    if others:
        page.add(folded(_more(len(others), "score"), _score_table(score_rows(comparison, others), others)))
    explained = [(score.name, score.about) for score in [*shown_first, *others]]
    page.add(folded("What the scores mean", words(explained)))


def _score_table(rows: Sequence[ScoreRow], scores: Sequence[Score]) -> str:
    return wide_table(
        [(score.heading(), score.feature) for score in scores],
        [
            WideRow(row.name, [Cell(*cell) for cell in row.cells], row.run, real=row.run is None)
            for row in rows
        ],
        "run",
    )


def _costs(page: Page, comparison: Comparison, scores: Sequence[Score]) -> None:
    """Add the two most important scores against training time and weights."""
    runs = comparison.runs
    plots, missing = [], set()
    costs: list[tuple[str, str, Callable[[RunRecord], float | None]]] = [
        ("training time, processor minutes", "training time", _minutes),
        ("trainable weights, millions", "weights", lambda run: weights_of(run) / 1e6),
    ]
    ranked = [score for score in scores if score.direction is not None][:2]
    for score in ranked:
        scale, unit = (100.0, ", %") if score.text(0.5).endswith("%") else (1.0, "")
        for label, word, cost in costs:
            points = []
            for position, (run, name) in enumerate(zip(runs, comparison.names, strict=True)):
                value, x, spread = score.value(run), cost(run), score.spread(run)
                if value is None:
                    continue
                if x is None:
                    missing.add(name)
                    continue
                ends = None if spread is None else (scale * spread[0], scale * spread[1])
                points.append(Point(position, _short(name), x, scale * value, ends))
            if len(points) > 1:
                svg = labelled_points(points, (label, f"{score.heading()}{unit}"))
                plots.append((svg, f"{score.name} against {word}"))
    if plots:
        page.section("Quality against cost")
        page.add(figures(plots, two=True))
        if missing:
            names = ", ".join(sorted(missing))
            page.paragraph(f"Without training time, so not in those plots: {names}.", faint=True)


def _minutes(run: RunRecord) -> float | None:
    seconds = run.cost["processor_seconds"]
    return None if seconds is None else seconds / 60


def _more(count: int, what: str) -> str:
    return f"{count} more {what}{'s' if count > 1 else ''}"


def _short(name: str) -> str:
    if len(name) <= _LONGEST:
        return name
    half = (_LONGEST - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _curves(page: Page, comparison: Comparison) -> None:
    found, label = panels([run.folder / METRICS for run in comparison.runs])
    if not found:
        return
    page.section("Curves")
    page.add(legend(list(enumerate(comparison.names))))
    plots = [(curve_panel(panel, label), panel.name) for panel in found]
    page.add(figures(plots[:_FIRST_CURVES]))
    if len(plots) > _FIRST_CURVES:
        page.add(folded(_more(len(plots) - _FIRST_CURVES, "curve"), figures(plots[_FIRST_CURVES:])))
    page.paragraph(
        f"Values that at least two of the runs logged, at most {MOST_POINTS} points a curve. Losses of "
        "models with other terms or weights differ for that reason alone. Training losses are means over "
        "neighbouring steps.",
        faint=True,
    )
