"""Scores that several raters gave to each image: range, missing ones, standardisation, sampling weights.

Scores are (N, R) float64, one row an image, one column a rater, NaN where a score is missing. Pure
functions: reading tables is in ``table.py``, what is done with the results in the data sets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vedute.data.labels import Conditions, TableEncoder
from vedute.data.named_files import listed
from vedute.errors import ConfigurationError, DataError

logger = logging.getLogger("vedute.data.scores")

Scores = NDArray[np.float64]  # (N, R)
Where = Callable[[int], str]
"""From a row to where it is, for messages: ``scores.csv, line 17``."""

MissingRule = Literal["error", "drop", "mean"]
"""What a missing score does: it is an error, its image is left out, or it counts as the rater's mean."""

SamplingRule = Literal["none", "product", "consensus"]
"""How often an image is drawn in training: see :func:`sampling_weights`."""

_FLAT = 1e-9
"""A column whose deviation is below this share of its mean is constant but for rounding."""


def checked_range(limits: Sequence[float] | None, option: str) -> list[float]:
    """Return the lowest and the highest legal score; empty: any.

    Args:
        limits: As the user gives them; None: any.
        option: Where they come from, for the message.

    Raises:
        ConfigurationError: They are no two finite, ascending numbers.
    """
    if limits is None:
        return []
    values = [float(value) for value in limits]
    if len(values) != 2 or not np.isfinite(values).all() or not values[0] < values[1]:
        raise ConfigurationError(
            f"{option} must be the lowest and the highest score, e.g. [0, 9], or null for any; "
            f"got {list(limits)}."
        )
    return values


def check_range(scores: Scores, names: Sequence[str], limits: Sequence[float], where: Where) -> None:
    """Refuse scores outside the legal range.

    Args:
        scores: (N, R).
        names: Of the R raters.
        limits: The lowest and the highest legal score; empty: any.
        where: Names a row.

    Raises:
        DataError: A score is outside; the message names the first ones with row, rater and value.
    """
    if not limits:
        return
    outside = np.argwhere((scores < limits[0]) | (scores > limits[1])).tolist()  # a missing score is not
    if outside:
        found = [f"{where(row)}: {names[column]} {scores[row, column]:g}" for row, column in outside]
        raise DataError(
            f"{_count(len(outside), 'score')} outside of the range {limits[0]:g} to {limits[1]:g}: "
            f"{listed(found, '; ')}. Correct the table, give data.score_range as it is, or name only the "
            "columns that are scores."
        )


def complete_rows(scores: Scores, names: Sequence[str], rule: MissingRule, where: Where) -> NDArray[np.bool_]:
    """Say which rows can be used under the rule for missing scores.

    Args:
        scores: (N, R).
        names: Of the R raters.
        rule: ``error``, ``drop`` or ``mean``.
        where: Names a row.

    Returns:
        (N,): whether each row is used. Under ``mean``, a row without any score is not.

    Raises:
        DataError: A score is missing (``error``), or no row is left.
    """
    empty = np.isnan(scores)
    lacking = empty.any(axis=1)
    if not lacking.any() or not len(names):
        return np.ones(len(scores), dtype=bool)
    rows = np.flatnonzero(lacking)
    raters = [", ".join(names[column] for column in np.flatnonzero(empty[row]).tolist()) for row in rows]
    found = [f"{where(int(row))} ({who})" for row, who in zip(rows, raters, strict=True)]
    if rule == "error":
        raise DataError(
            f"{_count(len(rows), 'row')} without all scores: {listed(found)}. Fill them in, or set "
            "data.missing to drop (leave these images out) or mean (the rater's mean instead)."
        )
    left_out = lacking if rule == "drop" else empty.all(axis=1)
    if left_out.all():
        raise DataError(f"No image has {'all' if rule == 'drop' else 'any'} of the scores {listed(names)}.")
    if rule == "drop":
        logger.warning(
            "%d of %d images are left out for a missing score: %s.", len(rows), len(scores), listed(found)
        )
    else:
        logger.info("%d missing scores count as the rater's mean.", int(empty[~left_out].sum()))
        if left_out.any():
            logger.warning("%d images without any score are left out.", int(left_out.sum()))
    return np.asarray(~left_out)


@dataclass(frozen=True)
class Standardisation:
    """How scores become numbers around 0: ``(score - mean) / scale``, for each rater.

    Attributes:
        mean: (R,).
        scale: (R,) above 0.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __call__(self, scores: Scores) -> NDArray[np.float32]:
        """Return (N, R) float32; a missing score becomes 0, the mean."""
        return np.nan_to_num((scores - self.mean) / self.scale, nan=0.0).astype(np.float32)


def standardisation(scores: Scores, names: Sequence[str]) -> Standardisation:
    """Return mean and standard deviation of each rater's scores, missing ones left aside.

    A rater who gives every image the same score has scale 1, with a warning: the score says nothing,
    but a person may still be asked for it.

    Args:
        scores: (N, R) of the training images.
        names: Of the R raters.

    Raises:
        DataError: A rater has no score in these images.
    """
    nobody = np.flatnonzero(np.isnan(scores).all(axis=0)).tolist()
    if nobody:
        raise DataError(
            f"{listed([names[column] for column in nobody])}: no training image has a score. Leave the "
            "column out, or fill the scores in."
        )
    mean, scale = np.nanmean(scores, axis=0), np.nanstd(scores, axis=0)
    flat = scale <= _FLAT * np.maximum(1.0, np.abs(mean))
    for column in np.flatnonzero(flat).tolist():
        logger.warning(
            "%s gives every training image the score %g: conditions on it mean nothing.",
            names[column],
            mean[column],
        )
    return Standardisation(mean, np.where(flat, 1.0, scale))


def score_conditions(
    scores: Scores, names: Sequence[str], train: NDArray[np.int64], limits: Sequence[float] | None
) -> Conditions:
    """Make rows of a score table the conditions.

    Args:
        scores: (R, D), NaN where missing; labels are its rows.
        names: Of the D scores.
        train: Rows of the training images, which mean and scale are taken from.
        limits: The lowest and the highest legal score, empty for any; None: of each score what the
            table holds.

    Raises:
        DataError: A score is missing in all training images.
    """
    standard = standardisation(scores[train], names)
    if limits is None:
        ends = np.stack([np.nanmin(scores, axis=0), np.nanmax(scores, axis=0)], axis=1)
        limits = ends.ravel().tolist()
    missing = np.isnan(scores)
    return Conditions(
        "score",
        list(names),
        TableEncoder(standard(scores)),
        standard.mean.tolist(),
        standard.scale.tolist(),
        list(limits),
        missing if missing.any() else None,
    )


def sampling_weights(
    scores: Scores, rule: Literal["product", "consensus"], limits: Sequence[float]
) -> NDArray[np.float64]:
    """Return how often each training image is drawn, in proportion.

    ``product``: the product of the scores, each as its share of the range (0 lowest, 1 highest): images
    that all the raters like. One lowest score makes the weight 0.
    ``consensus``: 1 minus the mean distance between the scores of two raters as a share of the range: 1
    where all agree, whatever they think of the image, and 0 for two opposite scores.

    Args:
        scores: (N, R) of the training images and the raters that count; a missing score counts as the
            rater's mean.
        rule: ``product`` or ``consensus``.
        limits: The lowest and the highest legal score; empty: as found.

    Returns:
        (N,) in [0, 1].

    Raises:
        ConfigurationError: Consensus of fewer than two raters, or a product of none.
        DataError: All weights are 0.
    """
    raters = scores.shape[1]
    if raters < (2 if rule == "consensus" else 1):
        raise ConfigurationError(
            f"data.sampling {rule} needs {'two or more raters' if rule == 'consensus' else 'a rater'}; "
            f"there {'is 1' if raters == 1 else 'are none'}. Name them in data.sampling_raters."
        )
    if np.isnan(scores).all(axis=0).any():
        raise DataError("A rater of data.sampling_raters has no score for any training image.")
    filled = np.where(np.isnan(scores), np.nanmean(scores, axis=0), scores)
    low, high = limits or (float(filled.min()), float(filled.max()))
    shares = np.clip((filled - low) / (high - low), 0.0, 1.0) if high > low else np.ones_like(filled)
    if rule == "product":
        weights = shares.prod(axis=1)
    else:
        pairs = list(combinations(range(raters), 2))
        weights = 1.0 - sum(np.abs(shares[:, a] - shares[:, b]) for a, b in pairs) / len(pairs)
        weights = np.maximum(weights, 0.0)  # against rounding
    if not weights.sum() > 0:
        what = "a score above the lowest from every rater" if rule == "product" else "raters who agree at all"
        raise DataError(
            f"data.sampling {rule}: no training image has {what}, so none would be drawn. Set data.sampling "
            "to none, or choose other data.sampling_raters."
        )
    return np.asarray(weights, dtype=np.float64)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{' is' if number == 1 else 's are'}"
