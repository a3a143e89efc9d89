"""Which rows of the shipped parts of a data set make up train, val and test.

Pure functions on label arrays: nothing here reads files or decodes images.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from vedute.errors import ConfigurationError, DataError

logger = logging.getLogger(__name__)

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
DEFAULT_SHARE = 0.1
"""Share of the training part that becomes val (and test) where none is shipped."""


class Rows(NamedTuple):
    """Rows of one shipped part.

    Attributes:
        part: The shipped part: ``train``, ``val`` or ``test``.
        rows: (N,) int64, ascending.
    """

    part: str
    rows: np.ndarray


def draw_share(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose a share of the rows at random, the same share of every class.

    Args:
        labels: (N,) int64.
        share: In (0, 1). A class of two or more rows gives at least one and keeps at least one.
        seed: Same seed and labels, same choice.

    Returns:
        (N,) bool, True where chosen.
    """
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        # Seeded by class, so that a class filter does not change which of the kept are chosen.
        generator = np.random.default_rng([seed, int(label) + 1])
        chosen[generator.permutation(rows)[: _share_of(len(rows), share)]] = True
    return chosen


def draw_groups(groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose about a share of the rows at random, a group whole or not at all.

    Args:
        groups: (N,) int64: rows of one value belong together.
        share: In (0, 1), of the rows. Of two or more groups at least one is chosen and one left.
        seed: Same seed and groups, same choice.

    Returns:
        (N,) bool, True where chosen.
    """
    names, sizes = np.unique(groups, return_counts=True)
    if len(names) < 2:
        return np.zeros(len(groups), dtype=bool)
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.concatenate([[0], np.cumsum(sizes[order])[:-1]])
    wanted = share * len(groups)
    # A group is taken if that brings the sum nearer to the wanted number.
    count = int(np.sum(before + sizes[order] / 2 <= wanted))
    return np.isin(groups, names[order[: min(max(count, 1), len(names) - 1)]])


def _share_of(count: int, share: float) -> int:
    number = round(share * count)
    return min(max(number, 1), count - 1) if count > 1 else number


def assign_splits(
    keep: Mapping[str, np.ndarray],
    validation_share: float | None,
    seed: int,
    strata: Mapping[str, np.ndarray] | None = None,
    groups: Mapping[str, np.ndarray] | None = None,
    given: Mapping[str, np.ndarray] | None = None,
) -> dict[SplitName, Rows]:
    """Turn the shipped parts into train, val and test.

    Shipped parts serve as they are, and so do rows of the training part whose split is given. Where a
    split is still missing, or ``validation_share`` is given, a seeded share of the training part
    stands in; train loses what it takes.

    Args:
        keep: (N,) bool of each shipped part: which images are wanted.
        validation_share: Draw val although one may be shipped; the shipped val then stays untouched (it
            serves as test where no test is shipped).
        seed: Of the choices.
        strata: (N,) int64 of each part: drawn splits take the same share of each value.
        groups: (N,) int64 of each part: drawn splits take rows of one value together (without strata).
        given: (N,) int64 of the training part: the split of each row as position in ``SPLITS``, -1 where
            it is to be drawn.

    Raises:
        ConfigurationError: ``validation_share`` is outside (0, 1).
        DataError: A split would be empty.
    """
    if validation_share is not None and not 0 < validation_share < 1:
        raise ConfigurationError(f"data.validation_share must lie in (0, 1), got {validation_share:g}.")
    count = len(keep["train"])
    splits: dict[SplitName, Rows] = {part: _all(keep, part) for part in SPLITS[1:] if part in keep}
    remaining = np.ones(count, dtype=bool)
    if given is not None:
        for position, split in enumerate(SPLITS[1:], start=1):
            if (given["train"] == position).any():
                splits[split] = Rows("train", np.flatnonzero(given["train"] == position))
        remaining = given["train"] <= 0
    # Rows that the user has put into train stay there.
    free = remaining if given is None else given["train"] < 0

    def take(split: SplitName, share: float, offset: int) -> None:
        rows = np.flatnonzero(free)
        # Shares are of the shipped part, not of what an earlier take has left of it.
        share = share * count / max(len(rows), 1)
        if groups is not None:
            chosen = rows[draw_groups(groups["train"][rows], share, seed + offset)]
        else:
            values = np.zeros(count, dtype=np.int64) if strata is None else strata["train"]
            chosen = rows[draw_share(values[rows], share, seed + offset)]
        free[chosen] = remaining[chosen] = False
        splits[split] = Rows("train", chosen)

    drawn_validation = validation_share is not None or "val" not in splits
    if "test" not in splits and "val" not in splits:
        # Test first, so that another validation_share does not change the test split.
        take("test", DEFAULT_SHARE, offset=1)
        logger.info(
            "No test split is shipped: %d seeded training images become test.", len(splits["test"].rows)
        )
    if "test" not in splits:
        splits["test"] = splits["val"]
        logger.info("No test split is shipped: the validation split also serves as test.")
    if drawn_validation:
        take("val", validation_share if validation_share is not None else DEFAULT_SHARE, offset=0)
        logger.info("%d seeded training images become val.", len(splits["val"].rows))
    splits["train"] = Rows("train", np.flatnonzero(remaining))
    kept = {split: Rows(part, rows[keep[part][rows]]) for split, (part, rows) in splits.items()}
    for split, (_, rows) in kept.items():
        if len(rows) == 0:
            found = [f"{len(mask)} in {part} ({mask.sum()} of them wanted)" for part, mask in keep.items()]
            raise DataError(
                f"No image is left for the split '{split}': the data set has {', '.join(found)}"
                ". More images, other classes or another validation_share are needed."
            )
    return kept


def _all(keep: Mapping[str, np.ndarray], part: str) -> Rows:
    return Rows(part, np.arange(len(keep[part])))
