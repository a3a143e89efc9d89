"""What ``inspect`` has found, as numbers and as sentences: the content of ``inspection.json``.

The page is made of the same numbers by ``inspection.py``. Keys of the JSON:

* ``data``, ``root``, ``image_size``, ``near``, ``limit``: what was looked at, and how.
* ``parts``: for each shipped part ``records``, ``seen``, ``readable``, ``unreadable``, ``bytes``.
* ``splits``: for each split its ``part`` and ``images``; ``left_out``: records in no split.
* ``sizes``: of ``width``, ``height``, ``aspect``, ``bytes`` the ``min, p5, median, p95, max``;
  ``commonest`` [width, height, images]; ``enlarged``: images smaller than ``image_size``.
* ``kinds``: ``format``, ``mode``, ``bits`` per channel, ``images``; ``rotated`` by EXIF;
  ``one_colour``: images that are nearly one colour (not searched for near duplicates).
* ``duplicates``: ``equal`` and ``near``, each with ``leaks`` and ``inside`` (numbers of pairs between
  splits and inside one; of n equal images n - 1 pairs are counted), and ``pairs``: ``distance`` in
  bits, ``leak``, ``splits`` and ``images`` (``part``, ``number``, ``origin``); leaks first, the first
  5,000. ``complete`` is false where the search was ended early.
* ``classes`` (null without): for each name its images in each split.
* ``scores`` (null without): ``raters``; for each ``statistics`` (``min, mean, max, deviation, missing``);
  ``correlation`` (D x D, Pearson); ``range``.
* ``masks`` (null without): ``foreground`` (``min, p5, median, p95, max, mean`` share), ``empty``, ``full``,
  ``unclear``.
* ``unreadable``: ``part``, ``number``, ``reason``. ``warnings``: ``level``, ``text``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vedute.data.duplicates import equal_groups, near_pairs
from vedute.data.facts import FACTS, Kind
from vedute.data.splits import SPLITS
from vedute.data.survey import Survey, Unreadable

ONE_COLOUR = 3.0
"""Standard deviation of grey values below which a picture is nearly one colour."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Scores:
    """Scores of the images of each split.

    Attributes:
        raters: D names.
        values: For each split (N, D) in the raters' own units; NaN where missing.
        range: The lowest and the highest legal score; empty: any.
        once: (M, D): those of all images, an image in two splits once.
    """

    raters: list[str]
    values: Mapping[str, NDArray[np.float64]]
    range: list[float]
    once: NDArray[np.float64]


@dataclass(frozen=True)
class Inspected:
    """All that was read: surveys, and what the data set says of splits and labels.

    Attributes:
        surveys: Of each shipped part.
        splits: For each split its part and (N,) numbers of its records; empty where they could not be made.
        class_names: Names of the classes; None: no classes.
        classes: For each split (N,) positions in ``class_names``.
        scores: None: no scores.
        image_size: (height, width) that images are prepared to.
        near: Bits in which near duplicates may differ.
        limit: Records looked at in each part at most; None: all.
    """

    surveys: Mapping[str, Survey]
    splits: Mapping[str, tuple[str, Numbers]]
    class_names: list[str] | None
    classes: Mapping[str, Numbers]
    scores: Scores | None
    image_size: tuple[int, int]
    near: int
    limit: int | None = None
    unreadable: Mapping[str, Sequence[Unreadable]] = field(default_factory=dict)

    @cached_property
    def parts(self) -> list[str]:
        """Names of the shipped parts."""
        return list(self.surveys)

    @cached_property
    def facts(self) -> NDArray[np.void]:
        """(N,) rows of ``FACTS``: all readable images, part after part; ``kind`` counts :attr:`kinds`."""
        pieces = []
        for survey in self.surveys.values():
            piece = survey.facts.copy()
            places = np.array([self.kinds.index(kind) for kind in survey.kinds] or [0], dtype=np.int16)
            piece["kind"] = places[piece["kind"]]
            pieces.append(piece)
        return np.concatenate([np.zeros(0, dtype=FACTS), *pieces])

    @cached_property
    def kinds(self) -> list[Kind]:
        """Formats that occur."""
        return sorted({kind for survey in self.surveys.values() for kind in survey.kinds})

    @cached_property
    def part_of(self) -> NDArray[np.int64]:
        """(N,) position in :attr:`parts` of each row of :attr:`facts`."""
        return np.repeat(np.arange(len(self.parts)), [len(survey.facts) for survey in self.surveys.values()])

    @cached_property
    def membership(self) -> NDArray[np.uint8]:
        """(N,) splits that each row of :attr:`facts` is in: the sum of 1 train, 2 val, 4 test."""
        result = []
        for part, survey in self.surveys.items():
            bits = np.zeros(survey.total, dtype=np.uint8)
            if self.splits:
                for bit, split in enumerate(SPLITS):
                    own, numbers = self.splits[split]
                    if own == part:
                        bits[numbers] |= 1 << bit
            elif part in SPLITS:
                bits[:] = 1 << SPLITS.index(part)
            result.append(bits[survey.facts["number"]])
        return np.concatenate([np.zeros(0, dtype=np.uint8), *result])

    def rows_of(self, split: str) -> NDArray[np.bool_]:
        """Return (N,) whether each row of :attr:`facts` is in a split."""
        chosen: NDArray[np.bool_] = (self.membership >> [*SPLITS].index(split)) & 1 == 1  # type: ignore[arg-type]
        return chosen


def splits_of(membership: int) -> list[str]:
    """Return the names of the splits in a sum of 1 train, 2 val, 4 test."""
    return [split for bit, split in enumerate(SPLITS) if membership >> bit & 1]


@dataclass(frozen=True)
class Duplicates:
    """Pairs of equal or nearly equal images, those between splits first.

    Attributes:
        rows: (P, 2) rows of ``Inspected.facts``.
        distances: (P,) bits; 0 for equal files.
        leaks: (P,) whether the two share no split though each is in one.
        complete: False where the search was ended early.
    """

    rows: Numbers
    distances: Numbers
    leaks: NDArray[np.bool_]
    complete: bool = True

    @property
    def inside(self) -> int:
        """Number of pairs within a split."""
        return int((~self.leaks).sum())


def find_duplicates(found: Inspected) -> tuple[Duplicates, Duplicates]:
    """Return pairs of equal files, and pairs of others that look nearly equal."""
    facts, membership = found.facts, found.membership
    pairs: list[tuple[int, int]] = []
    for group in equal_groups(facts["content"]):
        # One pair for each further image: preferably with one of another split.
        for row in group[1:]:
            others = group[(group < row)]
            across = others[membership[others] & membership[row] == 0]
            pairs.append((int(across[0]) if len(across) else int(others[0]), int(row)))
    equal_rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    equal = _ranked(membership, equal_rows, np.zeros(len(pairs), dtype=np.int64))
    # Of equal files in the same splits one is enough.
    keys = np.stack([facts["content"], membership.astype(np.uint64)], axis=1)
    units = np.sort(np.unique(keys, axis=0, return_index=True)[1]) if len(facts) else np.zeros(0, np.int64)
    units = units[facts["contrast"][units] >= ONE_COLOUR]
    near = near_pairs(facts["look"][units], facts["grid"][units], found.near)
    rows = units[near.rows]
    other = facts["content"][rows[:, 0]] != facts["content"][rows[:, 1]]
    return equal, _ranked(membership, rows[other], near.distances[other], near.complete)


def _ranked(
    membership: NDArray[np.uint8], rows: Numbers, distances: Numbers, complete: bool = True
) -> Duplicates:
    first, second = membership[rows[:, 0]], membership[rows[:, 1]]
    leaks = (first & second == 0) & (first > 0) & (second > 0)
    # Of a leak the training image comes first; splits are bits in the order train, val, test.
    rows = np.where((leaks & ((second & -second) < (first & -first)))[:, None], rows[:, ::-1], rows)
    order = np.lexsort((rows[:, 1], rows[:, 0], distances, ~leaks))
    return Duplicates(rows[order], distances[order], leaks[order], complete)


def quantiles(values: NDArray[np.generic]) -> dict[str, float]:
    """Return minimum, 5 %, median, 95 % and maximum of (N,) values; empty without values."""
    if not len(values):
        return {}
    shares = np.quantile(values.astype(np.float64), [0, 0.05, 0.5, 0.95, 1])
    return {
        name: float(f"{value:.6g}")
        for name, value in zip(("min", "p5", "median", "p95", "max"), shares, strict=True)
    }


def size_numbers(found: Inspected) -> dict[str, object]:
    """Return the ``sizes`` of the JSON."""
    facts = found.facts
    pictures, counts = np.unique(
        np.stack([facts["width"], facts["height"]], axis=1), axis=0, return_counts=True
    )
    common = np.argsort(-counts, kind="stable")[:20]
    return {
        "width": quantiles(facts["width"]),
        "height": quantiles(facts["height"]),
        "aspect": quantiles(facts["width"] / np.maximum(facts["height"], 1)),
        "bytes": quantiles(facts["bytes"]),
        "commonest": [[int(side) for side in pictures[place]] + [int(counts[place])] for place in common],
        "enlarged": int(enlarged(found).sum()),
    }


def enlarged(found: Inspected) -> NDArray[np.bool_]:
    """Return (N,) whether each image is smaller than what it is prepared to."""
    height, width = found.image_size
    smaller: NDArray[np.bool_] = (found.facts["height"] < height) | (found.facts["width"] < width)
    return smaller


def kind_numbers(found: Inspected) -> list[dict[str, object]]:
    """Return the ``kinds`` of the JSON, the commonest first."""
    counts = np.bincount(found.facts["kind"], minlength=len(found.kinds))
    order = np.argsort(-counts, kind="stable")
    return [
        {
            "format": found.kinds[place].format,
            "mode": found.kinds[place].mode,
            "bits": found.kinds[place].bits,
            "images": int(counts[place]),
        }
        for place in order
        if counts[place]
    ]


def class_numbers(found: Inspected) -> dict[str, dict[str, int]] | None:
    """Return the ``classes`` of the JSON."""
    if found.class_names is None:
        return None
    counts = {
        split: np.bincount(labels, minlength=len(found.class_names))
        for split, labels in found.classes.items()
    }
    return {
        name: {split: int(counts[split][place]) for split in counts}
        for place, name in enumerate(found.class_names)
    }


def score_numbers(scores: Scores | None) -> dict[str, object] | None:
    """Return the ``scores`` of the JSON."""
    if scores is None:
        return None
    statistics: dict[str, dict[str, float]] = {}
    for rater, own in zip(scores.raters, scores.once.T, strict=True):
        known = own[np.isfinite(own)]
        numbers = (known.min(), known.mean(), known.max(), known.std()) if len(known) else ()
        names = ("min", "mean", "max", "deviation")
        statistics[rater] = {name: float(f"{x:.6g}") for name, x in zip(names, numbers, strict=False)}
        statistics[rater]["missing"] = len(own) - len(known)
    table = [
        [None if np.isnan(value) else round(float(value), 4) for value in row]
        for row in correlation(scores.once)
    ]
    return {"raters": scores.raters, "statistics": statistics, "correlation": table, "range": scores.range}


def correlation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (D, D) correlations of the columns of (N, D), each over rows that have both; NaN: undefined."""
    size = values.shape[1]
    result = np.full((size, size), np.nan)
    for row, column in np.ndindex(size, size):
        both = values[np.isfinite(values[:, [row, column]]).all(axis=1)][:, [row, column]]
        if len(both) > 1 and (both.std(axis=0) > 1e-9).all():
            result[row, column] = np.atleast_2d(np.corrcoef(both.T))[0, 1]
    return result


def mask_numbers(found: Inspected) -> dict[str, object] | None:
    """Return the ``masks`` of the JSON."""
    shares = found.facts["foreground"]
    shares = shares[np.isfinite(shares)]
    if not len(shares):
        return None
    return {
        "foreground": {**quantiles(shares), "mean": round(float(shares.mean()), 6)},
        "empty": int((shares == 0).sum()),
        "full": int((shares == 1).sum()),
        "unclear": int(found.facts["unclear_mask"].sum()),
    }
