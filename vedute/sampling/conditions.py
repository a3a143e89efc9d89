"""Which conditions to show of a generator when nobody says which.

Here: rows of conditions with titles. Not here: conditions as typed (``vedute.conditions``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from vedute.batch import Condition, ConditionKind
from vedute.conditions import legal_range
from vedute.promises import Generator, ImageData

_SPREAD = 1.5
"""A low and a high score lie so many standard deviations from the mean: nine ratings in ten are between."""


@runtime_checkable
class Conditioned(Protocol):
    """What is known of a model's conditions; see ``lightning_modules.base.ImageModule``."""

    condition_kind: ConditionKind
    condition_names: list[str]
    condition_mean: Sequence[float]
    condition_scale: Sequence[float]
    condition_range: Sequence[float]


def vector_rows(model: object, limit: int) -> tuple[list[str], Condition]:
    """Return titles and conditions of at most ``limit`` rows, from what the model itself knows.

    Args:
        model: Of the condition kind ``class`` (a row each) or ``score`` (see :func:`score_rows`).
        limit: At most this many rows.

    Raises:
        TypeError: It does not say what its conditions mean.
    """
    if not isinstance(model, Conditioned):
        raise TypeError(f"{type(model).__name__} does not say what its conditions mean: see ImageModule")
    return (score_rows if model.condition_kind == "score" else class_rows)(model, limit)


def class_rows(model: Conditioned, limit: int) -> tuple[list[str], Condition]:
    """Return titles and one-hot vectors of the first ``limit`` classes."""
    names = list(model.condition_names)
    return names[:limit], Condition(torch.eye(len(names))[:limit])


def score_rows(model: Conditioned, limit: int) -> tuple[list[str], Condition]:
    """Return titles and vectors of low, middle and high scores: of all raters, then of each alone.

    Low and high are 1.5 standard deviations of the training data from the mean, as round numbers
    within the legal range. A rater who is not named in a title has their mean.

    Args:
        model: Of the condition kind ``score``.
        limit: At most this many rows; a rater has a low and a high one or none.

    Returns:
        R titles such as ``Moira 9``, and vectors (R, D).
    """
    names, size = list(model.condition_names), len(model.condition_names)
    mean = torch.tensor(list(model.condition_mean) or [0.0] * size)
    scale = torch.tensor(list(model.condition_scale) or [1.0] * size)
    low, middle, high = (
        torch.tensor(
            [
                _round_score(float(m + side * s), float(s), legal_range(model.condition_range, position))
                for position, (m, s) in enumerate(zip(mean, scale, strict=True))
            ]
        )
        for side in (-_SPREAD, 0, _SPREAD)
    )
    if size == 1:
        rows = [(f"{names[0]} {scores[0]:g}", scores) for scores in (low, middle, high)]
    else:
        rows = [("all low", low), ("all mean", mean), ("all high", high)]
        for column in range(min(size, (limit - 3) // 2)):
            for scores in (low, high):
                single = mean.clone()
                single[column] = scores[column]
                rows.append((f"{names[column]} {scores[column]:g}", single))
    rows = rows[:limit]
    vectors = torch.stack([(scores - mean) / scale for _, scores in rows])
    return [title for title, _ in rows], Condition(vectors)


def _round_score(score: float, scale: float, limits: tuple[float, float] | None) -> float:
    """Return ``score`` to the digit of ``scale``, within [lowest, highest]."""
    step = 10.0 ** math.floor(math.log10(scale)) if scale > 0 else 1.0
    rounded = round(score / step) * step
    return rounded if limits is None else min(max(rounded, limits[0]), limits[1])


def image_rows(
    generator: Generator, data: ImageData, split: str, limit: int
) -> tuple[list[str], Condition, Tensor]:
    """Return titles, conditions and real images of ``limit`` rows evenly spread over a split."""
    rows = spread(data.size(split), limit)
    batch = data.batch(split, rows).to(generator.device)
    return [f"{split} {row}" for row in rows], generator.condition_of(batch), batch.image


def spread(size: int, count: int) -> list[int]:
    """Return ``count`` rows (fewer in a small split) evenly spread over a split of ``size`` images."""
    count = min(count, size)
    return [position * size // count for position in range(count)]
