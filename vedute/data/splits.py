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
        count = round(share * len(rows))
        if len(rows) > 1:
            count = min(max(count, 1), len(rows) - 1)
        chosen[generator.permutation(rows)[:count]] = True
    return chosen


def assign_splits(
    labels: Mapping[str, np.ndarray],
    keep: Mapping[str, np.ndarray],
    validation_share: float | None,
    seed: int,
) -> dict[SplitName, Rows]:
    """Turn the shipped parts into train, val and test.

    Shipped parts serve as they are. Where one is missing, or ``validation_share`` is given, seeded
    shares of the training part (stratified by class) stand in; train loses what they take.

    Args:
        labels: (N,) int64 for each shipped part, ``train`` among them.
        keep: (N,) bool for each shipped part: the rows that a class filter leaves.
        validation_share: Share of train, in (0, 1), that becomes val although one may be shipped; the
            shipped val then stays untouched (it serves as test where no test is shipped).
        seed: Of the choices.

    Raises:
        ConfigurationError: ``validation_share`` is outside (0, 1).
        DataError: A split would be empty.
    """
    if validation_share is not None and not 0 < validation_share < 1:
        raise ConfigurationError(f"data.validation_share must lie in (0, 1), got {validation_share:g}.")
    raw, remaining = labels["train"], np.ones(len(labels["train"]), dtype=bool)
    taken: dict[SplitName, np.ndarray] = {}

    def take(split: SplitName, share: float, offset: int) -> None:
        rows = np.flatnonzero(remaining)
        # Shares are of the shipped part, not of what an earlier take has left of it.
        chosen = rows[draw_share(raw[rows], share * len(raw) / max(len(rows), 1), seed + offset)]
        remaining[chosen] = False
        taken[split] = chosen

    if "test" not in labels and "val" not in labels:
        # Test first, so that another validation_share does not change the test split.
        take("test", DEFAULT_SHARE, offset=1)
        logger.info("No test split is shipped: %d seeded training images become test.", len(taken["test"]))
    if validation_share is not None or "val" not in labels:
        take("val", validation_share if validation_share is not None else DEFAULT_SHARE, offset=0)
        logger.info("%d seeded training images become val.", len(taken["val"]))
    splits: dict[SplitName, Rows] = {"train": Rows("train", np.flatnonzero(remaining))}
    splits["val"] = Rows("train", taken["val"]) if "val" in taken else _all(labels, "val")
    if "test" in taken:
        splits["test"] = Rows("train", taken["test"])
    elif "test" in labels:
        splits["test"] = _all(labels, "test")
    else:
        splits["test"] = _all(labels, "val")
        logger.info("No test split is shipped: the shipped validation split also serves as test.")
    kept = {split: Rows(part, rows[keep[part][rows]]) for split, (part, rows) in splits.items()}
    for split, (_, rows) in kept.items():
        if len(rows) == 0:
            raise DataError(
                f"No image is left for the split '{split}': the data set has "
                + ", ".join(
                    f"{len(mask)} in {part} ({mask.sum()} of the wanted classes)"
                    for part, mask in keep.items()
                )
                + ". More images, other classes or another validation_share are needed."
            )
    return kept


def _all(labels: Mapping[str, np.ndarray], part: str) -> Rows:
    return Rows(part, np.arange(len(labels[part])))
