"""Parts of the page of ``compare``: what is compared, confusion matrices, settings, how cards were made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from vedute.report.card_scores import duration, millions
from vedute.report.comparison import (
    Comparison,
    classes_of,
    condition_of,
    data_of,
    number,
    weights_of,
)
from vedute.report.comparison_settings import Difference, differences
from vedute.report.html import Page
from vedute.report.pieces import Cell, Confusion, WideRow, confusions, folded, listed, wide_table
from vedute.report.run_record import RunRecord
from vedute.run_folder import shown

_MOST_CLASSES = 24  # beyond, a confusion matrix has too many cells for a page


def add_overview(page: Page, comparison: Comparison) -> None:
    """Add what all runs share, and a table of what they do not."""
    runs = comparison.runs
    columns: list[tuple[str, Callable[[RunRecord], str]]] = [
        ("model", lambda run: type(run.module).__name__),
        ("data", data_of),
        ("made from", condition_of),
        ("image", _image_size),
        ("weights", lambda run: millions(weights_of(run))),
        ("epochs", lambda run: f"{run.cost['epochs'] or 0:g} (best: {run.best_epoch})"),
        ("processor time", lambda run: _time(run, "processor_seconds")),
        ("wall time", lambda run: _time(run, "wall_seconds")),
        ("best checkpoint", _date),
        ("images on the card", _count),
        ("classifier", _judge),
    ]
    values = {title: {read(run) for run in runs} - {"-"} for title, read in columns}
    # what is missing differs from nothing: a notice says which runs have no card
    page.facts([(title, next(iter(values[title]))) for title, _ in columns if len(values[title]) == 1])
    differing = [(title, read) for title, read in columns if len(values[title]) > 1 or len(runs) == 1]
    rows = [
        WideRow(name, [_brief(read(run)) for _, read in differing], position)
        for position, (run, name) in enumerate(zip(runs, comparison.names, strict=True))
    ]
    page.add(wide_table([(title, "") for title, _ in differing], rows, "run", values=True))


def _brief(text: str) -> Cell:
    return Cell(text, mark="short" if len(text) < 24 else "")


def _count(run: RunRecord) -> str:
    """Return how many images a card was made of, per class where there are classes."""
    count = number(run.scored("settings", "count"))
    return "-" if count is None else f"{count:,.0f}{' of each class' if classes_of(run) else ''}"


def _judge(run: RunRecord) -> str:
    judge = run.scored("classifier")
    return shown(Path(judge)) if isinstance(judge, str) else "-"


def _image_size(run: RunRecord) -> str:
    height, width = getattr(run.module, "image_size", (0, 0))
    return f"{height} x {width}"


def _time(run: RunRecord, name: str) -> str:
    seconds = run.cost[name]
    return "-" if seconds is None else duration(seconds)


def _date(run: RunRecord) -> str:
    return datetime.fromtimestamp(run.checkpoint.stat().st_mtime).strftime("%Y-%m-%d %H:%M")


def add_confusions(page: Page, comparison: Comparison) -> None:
    """Add what the classifier saw in the images of each class, for each run and for real images."""
    matrices: list[Confusion] = []
    real: dict[str, Confusion] = {}
    for position, (run, name) in enumerate(zip(comparison.runs, comparison.names, strict=True)):
        mine = _matrix(run, "generated", position, name)
        if mine is None:
            continue
        matrices.append(mine)
        theirs = _matrix(run, "ceiling", None, "real images")
        if theirs is not None:
            real.setdefault(str(theirs.counts), theirs)
    if not matrices:
        return
    page.section("Confusion matrices")
    small = [one for one in matrices if len(one.columns) <= _MOST_CLASSES]
    if small:
        page.paragraph(
            "Rows: the class that was asked for. Columns: what the classifier saw, in per cent of the row.",
            faint=True,
        )
        page.add(confusions([*small, *(one for one in real.values() if len(one.columns) <= _MOST_CLASSES)]))
    for large in [one for one in matrices if len(one.columns) > _MOST_CLASSES]:
        page.heading(large.name, "the most frequent mistakes")
        page.table(["asked for", "seen as", "of its images"], _mistakes(large))


def _matrix(run: RunRecord, side: str, position: int | None, name: str) -> Confusion | None:
    rows, columns, counts = (run.scored("confusion", key) for key in ("rows", "columns", side))
    if not (isinstance(rows, list) and isinstance(columns, list) and isinstance(counts, list)):
        return None
    whole = [[int(number(count) or 0) for count in line] for line in counts if isinstance(line, list)]
    if len(whole) != len(rows) or any(len(line) != len(columns) for line in whole):
        return None
    return Confusion(position, name, [str(one) for one in rows], [str(one) for one in columns], whole)


def _mistakes(matrix: Confusion) -> list[list[str | int | float]]:
    found = [
        (count / max(1, sum(counts)), row, column)
        for row, counts in zip(matrix.rows, matrix.counts, strict=True)
        for column, count in zip(matrix.columns, counts, strict=True)
        if row != column and count
    ]
    return [[row, column, f"{share:.0%}"] for share, row, column in sorted(found, reverse=True)[:10]]


def add_settings(page: Page, comparison: Comparison) -> None:
    """Add the settings in which the runs differ."""
    if len(comparison.runs) < 2:
        return
    page.section("Differences of configuration")
    found, inner = differences(comparison.runs)
    if not found:
        page.paragraph("The configurations are equal.")
        return

    def table(rows: Sequence[Difference]) -> str:
        return wide_table(
            [(name, "") for name in comparison.names],
            [
                WideRow(one.name, [_brief("-" if text is None else text) for text in one.values])
                for one in rows
            ],
            "setting",
            values=True,
        )

    page.add(table(found))
    page.paragraph("Equal settings are not shown; - is where a run has no such setting.", faint=True)
    if inner:
        page.add(folded(f"{len(inner)} settings of parts that only some of the runs have", table(inner)))


def add_small_print(page: Page, comparison: Comparison) -> None:
    """Add how each card was made, its notes, and the versions of the programs."""
    carded = [
        (run, name, run.evaluation)
        for run, name in zip(comparison.runs, comparison.names, strict=True)
        if run.evaluation is not None
    ]
    if not carded:
        return
    page.section("How the cards were made")
    notes: dict[str, list[str]] = {}
    for run, name, _ in carded:
        own = run.scored("notes")
        for note in own if isinstance(own, list) else []:
            notes.setdefault(str(note), []).append(name)
    lines = [
        note if len(names) == len(carded) else f"{', '.join(names)}: {note}" for note, names in notes.items()
    ]
    if lines:
        page.add(listed(lines))
    made = [_made(run, card) for run, _, card in carded]
    keys = dict.fromkeys(key for one in made for key in one)
    values = {key: [one.get(key, "-") for one in made] for key in keys}
    shared = [(key, own[0]) for key, own in values.items() if len(set(own)) == 1]
    inside = listed([f"{key}: {value}" for key, value in shared])
    rows = [WideRow(key, [_brief(text) for text in own]) for key, own in values.items() if len(set(own)) > 1]
    if rows:
        inside += wide_table([(name, "") for _, name, _ in carded], rows, "card of", values=True)
    page.add(folded("Settings and versions", inside))


def _made(run: RunRecord, card: Mapping[str, object]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ("classifier", "regressor", "segmenter"):
        if isinstance(card.get(name), str):
            found[name] = str(card[name])
    for part in ("settings", "versions"):
        values = card.get(part)
        for key, value in values.items() if isinstance(values, Mapping) else ():
            text = " x ".join(map(str, value)) if isinstance(value, list) else str(value)
            found[str(key).replace("_", " ")] = text
    if number(card.get("seconds")) is not None:
        found["made in"] = f"{card['seconds']} s"
    classes = ", ".join(classes_of(run))
    if classes:
        found["classes"] = classes
    return found
