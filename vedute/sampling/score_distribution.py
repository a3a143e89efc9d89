"""Distributions of conditions: what else could be wanted where somebody wants a certain condition.

Conditions are vectors (N, D): class probabilities or standardised scores. Each draw is a function of
standard normal noise, so an image still depends on its seed and condition only.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from vedute.batch import ConditionKind
from vedute.conditions import legal_range
from vedute.errors import ConfigurationError

_SMALLEST = 0.02
"""Probability that a class has at least before it is changed: none is impossible."""


class ConditionDistribution(ABC):
    """A distribution of condition vectors around wanted ones."""

    @abstractmethod
    def draw(self, wanted: Tensor, noise: Tensor) -> Tensor:
        """Return a condition for each row.

        Args:
            wanted: (N, D).
            noise: (N, D) standard normal.

        Returns:
            (N, D), each row from its own wanted condition and noise.
        """


class AroundScores(ConditionDistribution):
    """Scores that are normally distributed around the wanted ones, and legal."""

    def __init__(self, deviation: float, lowest: Tensor | None = None, highest: Tensor | None = None) -> None:
        """Keep the spread.

        Args:
            deviation: Standard deviation, in those of the training scores.
            lowest: (D,) lowest legal standardised scores; None: any.
            highest: (D,) highest.
        """
        self.deviation = _not_negative(deviation)
        self.lowest = lowest
        self.highest = highest

    def draw(self, wanted: Tensor, noise: Tensor) -> Tensor:
        """Return scores (N, D); see the base class."""
        return _legal(wanted + self.deviation * noise, self.lowest, self.highest)


class AroundClasses(ConditionDistribution):
    """Fuzzy labels around the wanted one: mostly the wanted classes, with some of the others.

    The logarithms of the probabilities are normally distributed (a logistic normal distribution,
    Atchison & Shen 1980); the sum stays what was wanted.
    """

    def __init__(self, deviation: float) -> None:
        """Keep the standard deviation of the logarithms of probabilities; 0: as wanted."""
        self.deviation = _not_negative(deviation)

    def draw(self, wanted: Tensor, noise: Tensor) -> Tensor:
        """Return class probabilities (N, D); see the base class."""
        if self.deviation == 0:
            return wanted
        total = wanted.sum(dim=1, keepdim=True)
        share = (wanted / total.clamp_min(1e-6)).clamp_min(_SMALLEST)
        return total * torch.softmax(share.log() + self.deviation * noise, dim=1)


class LearnedScores(ConditionDistribution):
    """Scores as people give them, if those of the wanted image are about the wanted ones.

    A Gaussian of the training scores, conditioned on the wanted scores as an observation with an error.
    So nobody is asked for scores that never come together: of two raters who disagree, 9 from both
    becomes what is nearest to it among real opinions. Scores that are not wanted (NaN) are drawn as
    they come with the others.

    Source: Bishop 2006, "Pattern Recognition and Machine Learning", 2.3.3.
    """

    def __init__(
        self,
        scores: Tensor,
        deviation: float,
        lowest: Tensor | None = None,
        highest: Tensor | None = None,
    ) -> None:
        """Fit the Gaussian.

        Args:
            scores: (M, D) standardised scores of training images.
            deviation: Error of the wanted scores, in standard deviations of the training scores: near 0
                they are taken literally, 1 is about halfway to the mean of all images.
            lowest: (D,) lowest legal standardised scores; None: any.
            highest: (D,) highest.

        Raises:
            ConfigurationError: Fewer than two images, or a negative deviation.
        """
        self.deviation = _not_negative(deviation)
        if len(scores) < 2:
            raise ConfigurationError(f"Scores cannot be learned from {len(scores)} training images.")
        self.mean = scores.double().mean(dim=0)
        self.covariance = torch.cov(scores.double().T).reshape(scores.shape[1], scores.shape[1])
        self.lowest = lowest
        self.highest = highest

    def draw(self, wanted: Tensor, noise: Tensor) -> Tensor:
        """Return scores (N, D); see the base class."""
        drawn = torch.empty_like(wanted)
        named = ~torch.isnan(wanted)
        for pattern in torch.unique(named, dim=0):  # rows with the same scores named share a distribution
            rows = (named == pattern).all(dim=1).nonzero()[:, 0]
            gain, factor = (part.to(wanted) for part in self._conditioned(pattern.cpu()))
            mean = self.mean.to(wanted)
            observed = wanted[rows][:, pattern] - mean[pattern]
            drawn[rows] = mean + observed @ gain.T + noise[rows] @ factor.T
        return _legal(drawn, self.lowest, self.highest)

    def _conditioned(self, named: Tensor) -> tuple[Tensor, Tensor]:
        """Return how the mean follows from named scores (D, d), and the factor (D, D) of the covariance."""
        size = len(self.mean)
        cross = self.covariance[:, named]  # (D, d)
        observed = cross[named] + max(self.deviation, 1e-3) ** 2 * torch.eye(int(named.sum())).double()
        gain = torch.linalg.solve(observed, cross.T).T
        rest = self.covariance - gain @ cross.T
        values, vectors = torch.linalg.eigh((rest + rest.T) / 2)
        # Symmetric root: unlike a triangular one it changes little where a score changes little.
        factor = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
        return gain, factor.reshape(size, size)


class LearnedClasses(ConditionDistribution):
    """A label of the training images, the likelier the nearer it is to the wanted one.

    With fuzzy labels these are mixtures that exist; where every image has one class, it is that class.
    """

    def __init__(self, labels: Tensor, deviation: float) -> None:
        """Keep the labels.

        Args:
            labels: (M, D) class probabilities of training images.
            deviation: How far from the wanted label a label may lie, in probability.

        Raises:
            ConfigurationError: No labels, or a negative deviation.
        """
        if not len(labels):
            raise ConfigurationError("Labels cannot be learned from no training images.")
        self.labels, self.counts = torch.unique(labels, dim=0, return_counts=True)
        self.deviation = _not_negative(deviation)

    def draw(self, wanted: Tensor, noise: Tensor) -> Tensor:
        """Return class probabilities (N, D); see the base class. Only the noise's first column is used."""
        labels = self.labels.to(wanted)  # (L, D)
        distance = torch.cdist(wanted, labels).square()  # (N, L)
        nearness = -distance / (2 * max(self.deviation, 1e-3) ** 2)
        probability = (nearness + self.counts.to(wanted).log()).softmax(dim=1)
        place = torch.special.ndtr(noise[:, :1].double())
        edges = probability.double().cumsum(dim=1)
        chosen: Tensor = torch.searchsorted(edges, place * edges[:, -1:])[:, 0]
        drawn: Tensor = labels[chosen.clamp(max=len(labels) - 1)]
        return drawn


def around(
    kind: ConditionKind, deviation: float, limits: tuple[Tensor, Tensor] | None = None
) -> ConditionDistribution:
    """Return the distribution around wanted conditions of a kind.

    Args:
        kind: ``class`` or ``score``.
        deviation: See :class:`AroundScores` and :class:`AroundClasses`.
        limits: Lowest and highest legal standardised scores, (D,) each.

    Raises:
        ConfigurationError: Conditions of this kind are no numbers.
    """
    if kind == "class":
        return AroundClasses(deviation)
    if kind == "score":
        return AroundScores(deviation, *(limits or (None, None)))
    raise ConfigurationError(
        f"There are no conditions around one of the kind '{kind}': only classes and scores."
    )


def standard_limits(
    names: Sequence[str], legal: Sequence[float], mean: Sequence[float], scale: Sequence[float]
) -> tuple[Tensor, Tensor] | None:
    """Return the lowest and highest legal standardised scores, (D,) each; None: any.

    Args:
        names: Of the D scores.
        legal: As ``condition_range``: two numbers for all, or two for each in turn; empty: any.
        mean: Of each score; empty: scores are not standardised.
        scale: Of each score.
    """
    if not legal:
        return None
    edges = torch.tensor([legal_range(legal, position) or (0.0, 0.0) for position in range(len(names))])
    center = torch.tensor(list(mean) or [0.0] * len(names))
    width = torch.tensor(list(scale) or [1.0] * len(names))
    return (edges[:, 0] - center) / width, (edges[:, 1] - center) / width


def _legal(scores: Tensor, lowest: Tensor | None, highest: Tensor | None) -> Tensor:
    if lowest is not None:
        scores = torch.maximum(scores, lowest.to(scores))
    if highest is not None:
        scores = torch.minimum(scores, highest.to(scores))
    return scores


def _not_negative(deviation: float) -> float:
    if not 0 <= deviation < math.inf:
        raise ConfigurationError(
            f"The spread of conditions must be a number of at least 0, got {deviation:g}."
        )
    return deviation
