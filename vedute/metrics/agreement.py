"""Whether a regressor reads in images the scores that they were made for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vedute.batch import Condition
from vedute.metrics.scores import ScoreAgreement
from vedute.metrics.sets import Instruments, Measured
from vedute.promises import Generator, ImageData


def agreement(
    generator: Generator,
    data: ImageData,
    split: str,
    instruments: Instruments,
    condition: Condition,
    sides: Mapping[str, Measured],
) -> dict[str, dict[str, dict[str, float]]]:
    """Compare the scores that the regressor reads with those that were asked for, or given.

    Args:
        generator: Says what its scores are.
        data: The data set.
        split: The split that ``ceiling`` is of; images that lack a score are left out.
        instruments: With the regressor.
        condition: What ``generated`` images were asked to be.
        sides: ``generated`` and ``ceiling``, measured.

    Returns:
        By side, by ``mean_absolute_error`` (in the unit of the scores) and ``rank_correlation``, by the
        score's name and as ``mean``; empty: the generator has no scores, or there is no regressor.
    """
    if generator.condition_kind != "score" or instruments.regressor is None:
        return {}
    asked, given = condition.vector, data.vectors(split)
    assert asked is not None and given is not None
    missing = data.missing(split)
    every = torch.ones(len(asked), dtype=torch.bool)
    known = torch.ones(len(given), dtype=torch.bool) if missing is None else ~missing.any(dim=1)
    scale, mean = (torch.tensor(list(one)) for one in (generator.condition_scale, generator.condition_mean))
    names = generator.condition_names
    found = {}
    for side, wanted, rows in (("generated", asked, every), ("ceiling", given, known)):
        read = instruments.read_scores(sides[side], names, generator.image_channels)
        assert read is not None
        pairs = ScoreAgreement(read[rows], wanted[rows] * scale + mean)
        found[side] = {
            "mean_absolute_error": _by_name(names, pairs.mean_absolute_error()),
            "rank_correlation": _by_name(names, pairs.rank_correlation()),
        }
    return found


def _by_name(names: Sequence[str], values: Tensor) -> dict[str, float]:
    return dict(zip(["mean", *names], [float(values.mean()), *values.tolist()], strict=True))
