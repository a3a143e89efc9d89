"""The scores of several cards beside each other: which there are, what real images get, which is the best.

Values are ranked only among runs for which everything that the score depends on is equal (data, split,
classifier, number of images, ...: ``vedute.report.comparison.BASES``).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from vedute.report.comparison import BASES, Comparison
from vedute.report.run_record import RunRecord

Direction = Literal["highest", "lowest", "nearest"]
Mark = Literal["best", "level", "other", ""]

Reader = Callable[[RunRecord], float | None]
Interval = tuple[float, float]
IntervalReader = Callable[[RunRecord], Interval | None]


def _nothing(run: RunRecord) -> None:
    return None


@dataclass(frozen=True)
class Score:
    """A column.

    Attributes:
        title: Its name.
        about: What it says, one sentence.
        value: Reads it from a run.
        text: From a number to how it is shown.
        direction: Which value is the best; None: none is.
        aim: The best value in words, where the nearest one is the best.
        target: The best value where the nearest one is the best; a reader, as it may be what real images
            get.
        real: Reads what real images get: ceiling or floor.
        interval: Reads its 95 % interval.
        half_range: Reads half its range over blocks of seeds.
        needs: Names in ``BASES`` of what it depends on.
        feature: The features that it is measured in, where its title does not say so.
    """

    title: str
    about: str
    value: Reader
    text: Callable[[float], str]
    direction: Direction | None = None
    aim: str = "1"
    target: Reader = field(default=lambda run: 1.0)
    real: Reader = _nothing
    interval: IntervalReader = _nothing
    half_range: Reader = _nothing
    needs: tuple[str, ...] = ("data", "split", "image size")
    feature: str = ""

    @property
    def name(self) -> str:
        """Title and features."""
        return f"{self.title}, {self.feature}" if self.feature else self.title

    def heading(self) -> str:
        """Return the title with an arrow to what is better."""
        arrow = {"highest": " ↑", "lowest": " ↓", "nearest": f" → {self.aim}", None: ""}[self.direction]
        return f"{self.title}{arrow}"

    def spread(self, run: RunRecord) -> Interval | None:
        """Return where the value may lie: its interval, else its range over blocks of seeds."""
        value = self.value(run)
        if value is None:
            return None
        interval = self.interval(run)
        if interval is not None:
            return interval
        half = self.half_range(run)
        return None if half is None else (value - half, value + half)

    def below(self, run: RunRecord) -> str:
        """Return what stands below the value: the interval, or half the range."""
        value, interval, half = self.value(run), self.interval(run), self.half_range(run)
        if value is None:
            return ""
        if interval is not None:
            low, high = (self.text(end) for end in interval)
            unit = high[len(high.rstrip("% ")) :]
            return f"{low.removesuffix(unit)} to {high}"
        return "" if half is None else f"± {self.text(half)}"


class ScoreCell(NamedTuple):
    """A cell: texts, and whether it is the best, not told apart from it, or measured otherwise."""

    text: str
    below: str
    mark: Mark


class ScoreRow(NamedTuple):
    """A row: a run by its position (None: real images), its name, and a cell for each column."""

    run: int | None
    name: str
    cells: list[ScoreCell]


def score_rows(comparison: Comparison, scores: Sequence[Score]) -> list[ScoreRow]:
    """Return a row for each run, and one for real images (several where the cards' differ)."""
    runs = comparison.runs
    marked = [marks(score, runs) for score in scores]
    rows = []
    for position, (run, name) in enumerate(zip(runs, comparison.names, strict=True)):
        cells = [_cell(score, run, mark[position]) for score, mark in zip(scores, marked, strict=True)]
        rows.append(ScoreRow(position, name, cells))
    found: list[tuple[list[float | None], list[int]]] = []  # what real images get, and of which runs
    for position, run in enumerate(runs):
        own = [score.real(run) for score in scores]
        for values, members in found:
            if all(a is None or b is None or abs(a - b) <= 1e-6 for a, b in zip(values, own, strict=True)):
                values[:] = [b if a is None else a for a, b in zip(values, own, strict=True)]
                members.append(position)
                break
        else:
            found.append((own, [position]))
    found = [one for one in found if any(value is not None for value in one[0])]
    for values, members in found:
        with_card = [comparison.names[member] for member in members if runs[member].evaluation is not None]
        title = "real images" if len(found) == 1 else f"real images, for {', '.join(with_card)}"
        cells = [
            ScoreCell("" if value is None else score.text(value), "", "")
            for score, value in zip(scores, values, strict=True)
        ]
        rows.append(ScoreRow(None, title, cells))
    return rows


def _cell(score: Score, run: RunRecord, mark: Mark) -> ScoreCell:
    value = score.value(run)
    return ScoreCell("-", "", "") if value is None else ScoreCell(score.text(value), score.below(run), mark)


def marks(score: Score, runs: Sequence[RunRecord]) -> list[Mark]:
    """Return for each run whether its value is the best, not told apart from the best, or not comparable.

    The runs that are ranked are the largest group that a score can be compared in; the first of equals.
    """
    found: list[Mark] = ["" for _ in runs]
    values = [score.value(run) for run in runs]
    groups: dict[Hashable, list[int]] = {}
    for position, run in enumerate(runs):
        if values[position] is not None:
            groups.setdefault(tuple(BASES[name](run) for name in score.needs), []).append(position)
    if score.direction is None or not groups:
        return found
    ranked = max(groups.values(), key=len)
    for members in groups.values():
        if members is not ranked:
            for position in members:
                found[position] = "other"
    if len(ranked) < 2:
        for position in ranked if len(groups) > 1 else ():
            found[position] = "other"
        return found
    if len({values[position] for position in ranked}) == 1:
        return found  # equal: none is the best
    ranks = {position: _badness(score, runs[position]) for position in ranked}
    best = min(rank for rank, _, _ in ranks.values())
    # The best's own interval; of several equal ones, the widest.
    ends = [(low, high) for rank, low, high in ranks.values() if rank == best]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    for position, (rank, own_low, own_high) in ranks.items():
        if rank == best:
            found[position] = "best"
        elif (high > low or own_high > own_low) and own_low <= high and low <= own_high:
            found[position] = "level"
    return found


def _badness(score: Score, run: RunRecord) -> tuple[float, float, float]:
    """Return how bad a value is, and between which limits that lies: the lower the better."""
    value, spread = score.value(run), score.spread(run)
    assert value is not None, "only runs with a value are ranked"
    low, high = spread or (value, value)
    if score.direction == "lowest":
        return value, low, high
    if score.direction == "highest":
        return -value, -high, -low
    target = score.target(run)
    wanted = 1.0 if target is None else target
    off = sorted((abs(low - wanted), abs(high - wanted)))
    nearest = 0.0 if low <= wanted <= high else off[0]
    return abs(value - wanted), nearest, off[1]


def verdicts(comparison: Comparison, scores: Sequence[Score]) -> list[str]:
    """Return for each score that ranks runs which is the best, and which are not told apart from it."""
    said = []
    for score in scores:
        found = marks(score, comparison.runs)
        best = [position for position, mark in enumerate(found) if mark == "best"]
        level = [comparison.names[position] for position, mark in enumerate(found) if mark == "level"]
        if not best:
            continue
        run = comparison.runs[best[0]]
        value, below = score.value(run), score.below(run)
        assert value is not None
        names = ", ".join(comparison.names[position] for position in best)
        interval = f" ({below})" if below else ""
        rest = f"; not told apart from it: {', '.join(level)}" if level else ""
        said.append(f"{score.name}: the best is {names} with {score.text(value)}{interval}{rest}.")
    return said
