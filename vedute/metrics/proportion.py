"""Shares of right answers, with what chance alone makes of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_95_PERCENT = 1.959963984540054  # of a normal distribution lie within so many standard deviations


def binomial_interval(right: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share: Wilson's, which stays in [0, 1] and works for small counts.

    Source: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953.

    Args:
        right: Right answers, 0 to ``total``.
        total: Independent answers; 0: the interval is [0, 1].
    """
    if total == 0:
        return 0.0, 1.0
    share, weight = right / total, _95_PERCENT**2 / total
    centre = (share + weight / 2) / (1 + weight)
    half = _95_PERCENT / (1 + weight) * math.sqrt(share * (1 - share) / total + weight / (4 * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def guessing_probability(right: int, total: int) -> float:
    """Return how probable at least so many right answers out of two are by guessing, in (0, 1]."""
    counts = torch.arange(right, total + 1, dtype=torch.float64)
    whole = torch.tensor(float(total), dtype=torch.float64)
    ways = torch.lgamma(whole + 1) - torch.lgamma(counts + 1) - torch.lgamma(whole - counts + 1)
    return min(1.0, float(torch.logsumexp(ways - total * math.log(2), dim=0).exp()))


def balanced_interval(right: Tensor, total: Tensor) -> tuple[float, float, float]:
    """Return the mean of the classes' shares of right answers, with its 95 % interval.

    Each class counts as much as any other. The interval is normal, with two right and two wrong answers
    added to each class for its width (Agresti and Coull 1998, https://doi.org/10.2307/2685469), so that it
    does not vanish where all answers are right.

    Args:
        right: (K,) right answers.
        total: (K,) answers; a class without any is left out.

    Returns:
        The mean, and the interval's ends, all in [0, 1]; NaN, 0 and 1 where there are no answers.
    """
    asked = total > 0
    hits, count = right[asked].double(), total[asked].double()
    if not len(count):
        return math.nan, 0.0, 1.0
    mean = float((hits / count).mean())
    share = (hits + 2) / (count + 4)
    half = _95_PERCENT * float((share * (1 - share) / (count + 4)).sum().sqrt()) / len(count)
    return mean, max(0.0, mean - half), min(1.0, mean + half)
