"""How far one set of images is from another, and how different images of one class are: with intervals.

Here: which scores there are in each extractor's features, their names and intervals. Not here: the
arithmetic of each (``distances``, ``manifold``, ``diversity``), which sets a card compares (``make_card``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from vedute.errors import DataError
from vedute.metrics.bootstrap import (
    Interval,
    bootstrap,
    bootstrap_mean,
    frechet_interval,
    interval_of,
    resampled_means,
)
from vedute.metrics.distances import kernel_discrepancy
from vedute.metrics.diversity import mean_distances
from vedute.metrics.features import FeatureExtractor
from vedute.metrics.learners import SmallPerceptron
from vedute.metrics.manifold import Neighbourhoods, neighbourhoods
from vedute.metrics.sets import Measured, distances
from vedute.metrics.two_sample import TwoSampleTest

_SEEN = 2000  # images a side at most of which the spread of a kernel distance is found
_DRAWN = 500  # of them that are drawn at a time
_REPEATS = 100
_LEAST = 20  # images a side without which such a spread says nothing


class Compared(NamedTuple):
    """What two sets get.

    Attributes:
        distances: By name (``fd_classifier``, ``kid``): Fréchet and kernel distances.
        manifold: By name (``precision_classifier``, ``recall_...``, ``density_...``, ``coverage_...``).
        intervals: 95 % intervals of both, by name; a score without one is missing.
        notes: What could not be computed, and why.
    """

    distances: dict[str, float]
    manifold: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    notes: list[str]


def compare(
    generated: Measured, real: Measured, extractors: Iterable[FeatureExtractor], intervals: bool = True
) -> Compared:
    """Compare two sets with as many images of each class.

    Args:
        generated: N images; or real ones, for what real images get.
        real: N images.
        extractors: What both are measured with.
        intervals: Whether to find those too.
    """
    found = Compared({}, {}, {}, [])
    for extractor in extractors:
        mine, theirs = generated.features[extractor.name], real.features[extractor.name]
        values = distances(generated, real, [extractor])
        found.distances.update(values)
        try:
            around = neighbourhoods(theirs, mine)
        except DataError as error:
            found.notes.append(f"Precision, recall, density and coverage ({extractor.name}): {error}")
            around = None
        if around is not None:
            found.manifold.update(
                {f"{name}_{extractor.name}": float(value) for name, value in around.scores().items()}
            )
        if intervals:
            of_distances = {
                extractor.frechet_name: frechet_interval(mine, theirs),
                extractor.kernel_name: _kernel_interval(mine, theirs, values[extractor.kernel_name]),
            }
            _keep(found, of_distances)
            if around is not None:
                _keep(found, _manifold_intervals(around, extractor.name))
    return found


def diversity_interval(generated: Measured, real: Measured, name: str) -> tuple[float, float] | None:
    """Return the interval of a ratio of diversities (see ``vedute.metrics.sets.diversities``) in features.

    To first order: a mean over pairs moves twice as much as the mean of the images' mean distances.

    Args:
        generated: Generated images.
        real: Real ones.
        name: Of the extractor.

    Returns:
        None: there is no class of which both have two images, or real images are all equal.
    """
    sides = [_row_distances(measured, name) for measured in (generated, real)]
    shared = set(sides[0]) & set(sides[1])
    if not shared:
        return None
    draws = []
    for number, side in enumerate(sides):
        rows = torch.cat([side[label] for label in sorted(shared)])
        labels = torch.cat([torch.full((len(side[label]),), label) for label in sorted(shared)])
        drawn = resampled_means(rows, labels, seed=number)
        value = torch.stack([side[label].mean() for label in sorted(shared)]).mean()
        draws.append(value + 2 * (drawn - value))
    if not bool((draws[1] > 0).all()):
        return None
    return tuple(interval_of(0.0, draws[0] / draws[1])[1:])  # type: ignore[return-value]


def told_apart(
    first: Measured, second: Measured, extractors: Iterable[FeatureExtractor], seed: int
) -> dict[str, dict[str, float]]:
    """Return how well a small network tells two sets of as many images apart, in each extractor's features.

    Returns:
        By the extractor's name the scores of ``vedute.metrics.two_sample.TwoSampleTest``.

    Raises:
        ValueError: There are too few images.
    """
    found = {}
    for extractor in extractors:
        test = TwoSampleTest(SmallPerceptron(), seed=seed, sync_on_compute=False)
        test.update(first.features[extractor.name], real=False)
        test.update(second.features[extractor.name], real=True)
        found[extractor.name] = {name: float(value) for name, value in test.compute().items()}
    return found


def _kernel_interval(mine: Tensor, theirs: Tensor, value: float) -> Interval:
    count = min(len(mine), len(theirs))
    if count < _LEAST:
        return Interval(value, float("nan"), float("nan"))
    some = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:_SEEN]
    drawn = bootstrap(
        kernel_discrepancy,
        mine[some],
        theirs[some],
        share=min(0.5, _DRAWN / len(some)),
        repeats=_REPEATS,
    )
    narrower = (len(some) / count) ** 0.5
    ends = (value + narrower * (end - drawn.value) for end in (drawn.low, drawn.high))
    return Interval(value, *ends)


def _manifold_intervals(around: Neighbourhoods, name: str) -> dict[str, Interval]:
    rows = {
        "precision": around.precise,
        "recall": around.recalled,
        "density": around.density,
        "coverage": around.covered,
    }
    return {f"{score}_{name}": bootstrap_mean(values) for score, values in rows.items()}


def _keep(found: Compared, intervals: dict[str, Interval]) -> None:
    for name, (_, low, high) in intervals.items():
        if low == low and high == high:
            found.intervals[name] = (low, high)


def _row_distances(measured: Measured, name: str) -> dict[int, Tensor]:
    """Return for each class with two images the mean distance of each of them to the others."""
    features = measured.features[name]
    labels = measured.labels
    if labels is None:
        labels = torch.zeros(len(features), dtype=torch.int64)
    rows = {int(label): mean_distances(features[labels == label]) for label in torch.unique(labels)}
    return {label: values for label, values in rows.items() if len(values)}
