"""What a judge thinks of images that were made for a condition: the order for best-of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from vedute.batch import Condition
from vedute.metrics.features import resize
from vedute.metrics.judge import Judge, ScoreJudge, judge_columns, score_columns

Ranker = Callable[[Tensor, Condition], Tensor]
"""From images (N, C, H, W) in [0, 1] and what was wanted to values (N,): higher is better."""


def class_ranker(judge: Judge, names: Sequence[str], image_channels: int) -> Ranker:
    """Rank by the probability of the wanted class; of a fuzzy label, by the likelihood of its classes.

    Args:
        judge: A classifier that knows at least the classes ``names``.
        names: The generator's classes.
        image_channels: Channels of the generator's images.

    Raises:
        CheckpointError: The classifier does not fit the generator.
    """
    columns = judge_columns(judge, names, image_channels)[: len(names)]

    def rank(image: Tensor, condition: Condition) -> Tensor:
        assert condition.vector is not None
        logits = judge.classify(judge.features(resize(image.to(judge.device), judge.image_size))).float()
        likelihood = logits.log_softmax(dim=1)[:, columns]
        return (likelihood * condition.vector.to(likelihood)).sum(dim=1).to(image.device)

    return rank


def score_ranker(
    judge: ScoreJudge,
    names: Sequence[str],
    image_channels: int,
    mean: Sequence[float],
    scale: Sequence[float],
    prefer: Literal["close", "high"] = "close",
) -> Ranker:
    """Rank by what a regressor says of the wanted raters' scores.

    Args:
        judge: A regressor that knows at least the raters ``names``.
        names: The generator's raters.
        image_channels: Channels of the generator's images.
        mean: Of each of the generator's scores.
        scale: Of each of them.
        prefer: ``close``: scores near the wanted ones (mean square of the differences, in standard
            deviations). ``high``: a high mean score, whatever was wanted.

    Raises:
        CheckpointError: The regressor does not fit the generator.
    """
    columns = score_columns(judge, names, image_channels)
    center, width = torch.tensor(list(mean)), torch.tensor(list(scale))

    def rank(image: Tensor, condition: Condition) -> Tensor:
        features = judge.features(resize(image.to(judge.device), judge.image_size))
        scores = judge.in_units(judge.score(features))[:, columns].to(image.device)
        standard = (scores - center.to(scores)) / width.to(scores)
        if prefer == "high":
            return standard.mean(dim=1)
        assert condition.vector is not None
        return -(standard - condition.vector.to(standard)).square().mean(dim=1)

    return rank
