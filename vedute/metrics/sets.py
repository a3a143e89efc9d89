"""Sets of images, generated and real, under one set of instruments.

Here: measuring sets, choosing rows so that the sets of a distance match, distances between them,
diversity within them.
Not here: which sets a quality card compares (``vedute.metrics.card``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vedute.batch import Condition
from vedute.errors import DataError
from vedute.metrics.distances import FrechetDistance, KernelDistance
from vedute.metrics.diversity import Diversity
from vedute.metrics.features import FeatureExtractor, eight_bit, judge_features
from vedute.metrics.judge import Judge, ScoreJudge, judge_columns, score_columns
from vedute.metrics.lpips import Difference
from vedute.metrics.quality import ClassifierQuality, Quality
from vedute.promises import Generator, ImageData


class Instruments:
    """The networks that sets of images are measured with, each run once per image."""

    def __init__(
        self,
        names: Sequence[str],
        image_channels: int,
        judge: Judge | None = None,
        extractors: Sequence[FeatureExtractor] = (),
        regressor: ScoreJudge | None = None,
        scored: Sequence[str] | None = None,
        difference: Difference | None = None,
    ) -> None:
        """Check that the judges fit the images.

        Args:
            names: Names of the D classes that images are asked for; empty: no classes, no Q.
            image_channels: Channels of the images.
            judge: Recognises classes, and gives the features ``classifier``.
            extractors: Further features.
            regressor: Reads scores, and gives the features ``regressor``.
            scored: Names of the features that scores are of; None: all.
            difference: Finds how different two images look (LPIPS).

        Raises:
            CheckpointError: A judge takes other channels, or the classifier lacks a class.
        """
        self.names = list(names)
        self.judge = judge
        self.regressor = regressor
        self.difference = difference
        self.columns: list[int] = []
        """The judge's positions of ``names``, then of classes that only the judge knows."""
        self.measuring = list(extractors)
        """All features that are computed."""
        own = {extractor.name for extractor in extractors}
        if judge is not None:
            self.columns = judge_columns(judge, names, image_channels)
            if "classifier" not in own:
                self.measuring.append(judge_features(judge))
        if regressor is not None:
            score_columns(regressor, [], image_channels)
            if "regressor" not in own:
                self.measuring.append(judge_features(regressor, "regressor"))
        self.extractors = [one for one in self.measuring if scored is None or one.name in scored]
        """Those that scores are of."""

    @property
    def column_names(self) -> list[str]:
        """Names of the classes that the judge can recognise, those asked for first."""
        return [self.judge.condition_names[column] for column in self.columns] if self.judge else []

    @torch.inference_mode()
    def measure(
        self,
        batches: Iterable[tuple[Tensor, Tensor | None]],
        extractors: Sequence[FeatureExtractor] | None = None,
    ) -> Measured:
        """Measure a set of images.

        Args:
            batches: Images (n, C, H, W) in [0, 1], rounded here to 8 bits, and (n,) int64 classes.
            extractors: What to measure with; None: all.
        """
        used = self.measuring if extractors is None else extractors
        features: dict[str, list[Tensor]] = {extractor.name: [] for extractor in used}
        labels: list[Tensor] = []
        for image, label in batches:
            image = eight_bit(image)
            for extractor in used:
                features[extractor.name].append(extractor.extract(image).float().cpu())
            if label is not None:
                labels.append(label.cpu())
        return Measured(
            {name: torch.cat(parts) for name, parts in features.items()},
            torch.cat(labels) if labels else None,
        )

    @torch.inference_mode()
    def quality(self, measured: Measured) -> Quality | None:
        """Return what the judge recognises in a (whole) set; None without judge or classes."""
        if self.judge is None or measured.labels is None:
            return None
        quality = ClassifierQuality(len(self.names), columns=self.columns, sync_on_compute=False)
        features = measured.features["classifier"].to(self.judge.device)
        quality.update(self.judge.classify(features), measured.labels)
        found: Quality = quality.compute()
        return found

    @torch.inference_mode()
    def recognised(self, measured: Measured) -> Tensor | None:
        """Return (N,) in [0, 1]: how probable the judge finds each image's class; None as above."""
        if self.judge is None or measured.labels is None:
            return None
        features = measured.features["classifier"].to(self.judge.device)
        probable = self.judge.classify(features)[:, self.columns].float().softmax(dim=1).cpu()
        return probable.gather(1, measured.labels[:, None])[:, 0]

    @torch.inference_mode()
    def read_scores(self, measured: Measured, names: Sequence[str], image_channels: int) -> Tensor | None:
        """Return (N, D) scores in their unit, as the regressor reads them; None: there is none.

        Raises:
            CheckpointError: It does not know one of the ``names``.
        """
        if self.regressor is None:
            return None
        columns = score_columns(self.regressor, names, image_channels)
        features = measured.features["regressor"].to(self.regressor.device)
        return self.regressor.in_units(self.regressor.score(features))[:, columns].float().cpu()


@dataclass(frozen=True)
class Measured:
    """A set of N images, measured.

    Attributes:
        features: (N, F) float32 on the CPU for each extractor's name.
        labels: (N,) int64: the class of each image, or the one asked for; None: no classes.
    """

    features: Mapping[str, Tensor]
    labels: Tensor | None

    def __len__(self) -> int:
        """Return the number of images N."""
        return len(next(iter(self.features.values())))

    def __getitem__(self, rows: Tensor) -> Measured:
        """Select rows."""
        labels = None if self.labels is None else self.labels[rows]
        return Measured({name: value[rows] for name, value in self.features.items()}, labels)


def wanted_images(
    generator: Generator, data: ImageData, split: str, count: int, seed: int
) -> tuple[Condition, Tensor | None, Tensor]:
    """Return what to generate.

    Args:
        generator: Classes are asked for ``count`` times each; other conditions are drawn from the
            split, ``count`` in total; without conditions ``count`` images are made.
        data: Where other conditions come from.
        split: Its split.
        count: Images a class, or in total.
        seed: Of the draw, and of the first image; the next images' seeds count up.

    Returns:
        N conditions, (N,) int64 classes where there are classes, and (N,) int64 seeds.
    """
    if generator.condition_kind == "class":
        classes = len(generator.condition_names)
        labels = torch.arange(classes).repeat_interleave(count)
        return Condition(torch.eye(classes)[labels]), labels, seed + torch.arange(len(labels))
    if generator.condition_kind == "none":
        return Condition(), None, seed + torch.arange(count)
    rows = torch.from_numpy(np.random.default_rng(seed).integers(data.size(split), size=count))
    return generator.condition_of(data.batch(split, rows)), None, seed + torch.arange(count)


def generated_batches(
    generator: Generator, condition: Condition, labels: Tensor | None, seeds: Tensor, batch_size: int
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield generated images (n, C, H, W) in [0, 1] with their classes, one image per seed."""
    for start in range(0, len(seeds), batch_size):
        rows = slice(start, start + batch_size)
        part = condition[rows].to(generator.device)
        # Left before the yield: a mode that is still on when a generator is dropped stays on.
        with torch.inference_mode():
            image = generator.sample(part, seeds[rows])
        yield image, None if labels is None else labels[rows]


def real_batches(
    data: ImageData, split: str, rows: Tensor, batch_size: int, classes: bool
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield images of a split with their classes (None where ``classes`` is false)."""
    labels = torch.from_numpy(data.labels(split)) if classes else None
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        yield data.batch(split, part).image, None if labels is None else labels[part]


def matched_rows(labels: Sequence[Tensor | None], sizes: Sequence[int], seed: int) -> list[Tensor]:
    """Choose from several sets of images as many each, and of each class as many.

    Distances grow with unequal class shares and with small N, so sets that are compared get the
    same of both.

    Args:
        labels: For each set (N_i,) int64 classes; None in all sets: no classes.
        sizes: N_i of each set.
        seed: Of the choice.

    Returns:
        For each set (n,) int64 rows, n the same for all.

    Raises:
        DataError: Fewer than two images remain.
    """
    generator = torch.Generator().manual_seed(seed)
    groups = [
        [torch.arange(size)]
        if label is None
        else [torch.where(label == c)[0] for c in range(_classes(labels))]
        for label, size in zip(labels, sizes, strict=True)
    ]
    chosen: list[list[Tensor]] = [[] for _ in groups]
    for members in zip(*groups, strict=True):  # the same class in each set
        count = min(map(len, members))
        for picked, rows in zip(chosen, members, strict=True):
            picked.append(rows[torch.randperm(len(rows), generator=generator)[:count]])
    result = [torch.cat(picked).sort().values for picked in chosen]
    if len(result[0]) < 2:
        raise DataError(
            f"A distance between sets of images needs two images a side, of the same classes; the sets have "
            f"{', '.join(map(str, sizes))} images. Give a larger --count or more data."
        )
    return result


def _classes(labels: Sequence[Tensor | None]) -> int:
    return 1 + max((int(label.max()) for label in labels if label is not None and len(label)), default=-1)


def distances(first: Measured, second: Measured, extractors: Iterable[FeatureExtractor]) -> dict[str, float]:
    """Return Fréchet and kernel distances between two sets, by the name of each.

    Of several processes each has the whole sets, so nothing is joined.
    """
    found: dict[str, float] = {}
    for extractor in extractors:
        frechet = FrechetDistance(extractor.size, sync_on_compute=False)
        kernel = KernelDistance(sync_on_compute=False)
        for measured, real in ((first, False), (second, True)):
            frechet.update(measured.features[extractor.name], real)
            kernel.update(measured.features[extractor.name], real)
        found[extractor.frechet_name] = float(frechet.compute())
        found[extractor.kernel_name] = float(kernel.compute())
    return found


def diversities(
    generated: Measured, real: Measured, extractors: Iterable[FeatureExtractor], classes: int
) -> dict[str, dict[str, float | None]]:
    """Return how far apart images of one class are, generated and real, in each extractor's features.

    Args:
        generated: Generated images.
        real: Real ones; the numbers need not be equal.
        extractors: What both are measured with.
        classes: Number of classes D; 0: all images are one.

    Returns:
        By the extractor's name ``generated`` and ``real``, the mean over the classes of which both
        sets have two images, and ``ratio``, the one over the other; None where there is no such class, or
        all real images are equal.
    """
    found: dict[str, dict[str, float | None]] = {}
    for extractor in extractors:
        sides = []
        for measured in (generated, real):
            metric = Diversity(classes, sync_on_compute=False)
            metric.update(measured.features[extractor.name], measured.labels)
            sides.append(metric.compute())
        both = sides[0].isfinite() & sides[1].isfinite()
        mine, theirs = (float(side[both].mean()) if both.any() else None for side in sides)
        ratio = mine / theirs if mine is not None and theirs else None
        found[extractor.name] = {"generated": mine, "real": theirs, "ratio": ratio}
    return found
