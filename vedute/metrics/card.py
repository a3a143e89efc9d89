"""The quality card of one generator: its scores, each beside what real images get.

Here: what a card holds, and its scores as plain values. Not here: how it is made
(``vedute.metrics.make_card``), tables and pictures (``vedute.report.card``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from vedute.metrics.classification_score import ClassificationScores, ClassScore
from vedute.metrics.likelihood import Likelihood, LikelihoodSettings
from vedute.metrics.memorisation import Memory
from vedute.metrics.pairs import Pairs
from vedute.metrics.quality import Quality

SPLIT = "test"
"""The split that generated images are compared with."""

Values = dict[str, float | None]


@dataclass(frozen=True)
class Settings:
    """How much is generated and measured.

    Attributes:
        count: Images to generate per class; in total where there are no classes.
        seed: Of the first image (the next count up) and of every choice of real images.
        blocks: How often to generate, each time with the next seeds; real images are measured once.
        batch_size: Images computed at a time.
        train_images: At most so many training images are looked through for copies.
        cas_images: At most so many images in each training of the classification accuracy score; 0: none.
        likelihood: Of how many images the likelihood is measured, and how; None: it is left out.
    """

    count: int
    seed: int = 0
    blocks: int = 1
    batch_size: int = 64
    train_images: int = 20_000
    cas_images: int = 2000
    likelihood: LikelihoodSettings | None = None


@dataclass(frozen=True)
class Pictures:
    """Images to look at, all (n, C, H, W) in [0, 1].

    Attributes:
        samples: Up to 8 generated images of each class, in order.
        best: For each class the 8 images that the judge is most sure of; None: no judge, or no classes.
        worst: Those that it finds least probable.
        neighbours: Generated images, each followed by its nearest training image, the closest pairs first;
            None: they could not be looked for.
        neighbour_distances: Of each of these pairs.
        neighbour_features: Name of the features in which they are near.
    """

    samples: Tensor
    best: Tensor | None = None
    worst: Tensor | None = None
    neighbours: Tensor | None = None
    neighbour_distances: list[float] = field(default_factory=list)
    neighbour_features: str = ""


@dataclass(frozen=True)
class Card:
    """What is found.

    Attributes:
        classes: Names of the D classes; empty: the model has none.
        columns: Names of the K classes that the judge can recognise, the D first.
        quality: Of generated images; None: no judge.
        ceiling: Of all real test images under the same judge.
        agreement: By ``generated`` and ``ceiling``, by ``mean_absolute_error`` and ``rank_correlation``: how
            far the scores that a regressor reads are from those that were asked for (of real images:
            given), by the score's name and as ``mean``; empty: no regressor.
        distances: Between generated and test images, by name.
        manifold: Precision, recall, density, coverage of the same images, by name with the features'.
        floor: Both between training and test images, with as many images of each class.
        diversity: By the name of the features ``generated``, ``real``, ``ratio``, see
            ``vedute.metrics.sets.diversities``.
        two_sample: By the name of the features, for ``generated`` and for ``real`` (test) images beside
            training images: see ``vedute.metrics.two_sample.TwoSampleTest``.
        substitution: Classification accuracy score; None: there are no classes, or it was left out.
        memory: By the name of the features: whether images are copies.
        intervals: 95 % intervals of scores of the generated images by their names, as in ``repeats``.
        images: Number generated, number of test images, and number on each side of a distance.
        reconstruction: psnr (dB), ssim, ms_ssim over the test images, and what the latent code carries; None:
            the model has no encoder.
        likelihood: Of test and of training images; None: it was not asked for.
        pairs: Generated images beside the real ones of the same condition images; None: the model's
            conditions are none.
        pictures: What to look at.
        repeats: By name (``q``, ``q/<class>``, ``fd_pixels``, ``diversity/pixels``, ...) each score of the
            generated images, once for each block of seeds; empty: there was one block. All other
            attributes are of the first block.
        notes: What was left out, and what a score cannot say.
    """

    classes: list[str]
    columns: list[str]
    quality: Quality | None
    ceiling: Quality | None
    agreement: Mapping[str, Mapping[str, Mapping[str, float]]]
    distances: dict[str, float]
    manifold: dict[str, float]
    floor: dict[str, float]
    diversity: dict[str, Values]
    two_sample: dict[str, dict[str, dict[str, float]]]
    substitution: ClassificationScores | None
    memory: dict[str, Memory]
    intervals: dict[str, tuple[float, float]]
    images: tuple[int, int, int]
    reconstruction: dict[str, float] | None
    pictures: Pictures
    likelihood: Likelihood | None = None
    pairs: Pairs | None = None
    repeats: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def scores(self) -> dict[str, object]:
        """Return the scores as plain values for JSON, each with what real images get and N; NaN as None."""
        generated, test, _ = self.images
        found: dict[str, object] = {
            **self._qualities(),
            "agreement": self.agreement or None,
            "distances": self._beside_floor(self.distances),
            "manifold": self._beside_floor(self.manifold),
            "diversity": {
                name: {
                    **values,
                    "interval": self.intervals.get(f"diversity_ratio/{name}"),
                    "images": {"generated": generated, "real": test},
                }
                for name, values in self.diversity.items()
            },
            "two_sample": self.two_sample or None,
            "cas": None if self.substitution is None else _substitution(self.substitution, self.classes),
            "memorisation": {name: memory.scores() for name, memory in self.memory.items()} or None,
            "seeds": {
                name: {"mean": mean, "half_range": half, "blocks": len(self.repeats[name])}
                for name, (mean, half) in self.spread().items()
            }
            or None,
            "reconstruction": None
            if self.reconstruction is None
            else {
                **self.reconstruction,
                "interval": {
                    name: self.intervals[f"reconstruction/{name}"]
                    for name in self.reconstruction
                    if f"reconstruction/{name}" in self.intervals
                },
                "images": test,
            },
            "likelihood": None if self.likelihood is None else self.likelihood.scores(),
            "pairs": None
            if self.pairs is None
            else {
                **self.pairs.scores,
                "interval": self.pairs.intervals,
                "crop": self.pairs.crop,
                "overlap": self.pairs.overlap or None,
                "images": test,
                "each": self.pairs.rows,
            },
        }
        return {name: finite(value) for name, value in found.items()}

    def spread(self) -> dict[str, tuple[float, float]]:
        """Return mean and half the range of each generated score over the blocks of seeds."""
        return {
            name: (sum(values) / len(values), (max(values) - min(values)) / 2)
            for name, values in self.repeats.items()
        }

    def _qualities(self) -> dict[str, object]:
        quality, ceiling = self.quality, self.ceiling
        if quality is None or ceiling is None:
            return {"quality": None, "confusion": None}
        generated, test, _ = self.images
        intervals = {"mean": self.intervals.get("q")}
        intervals |= {name: self.intervals.get(f"q/{name}") for name in self.classes}
        sides = {"generated": quality, "ceiling": ceiling}
        return {
            "quality": {
                **{side: self._by_class(one.per_class) for side, one in sides.items()},
                "top2": {side: self._by_class(one.top2) for side, one in sides.items()},
                "interval": intervals,
                "images": {"generated": generated, "ceiling": test},
            },
            "confusion": {
                "rows": self.classes,
                "columns": self.columns,
                **{side: one.confusion.tolist() for side, one in sides.items()},
            },
        }

    def _beside_floor(self, values: Mapping[str, float]) -> dict[str, dict[str, object]]:
        return {
            name: {
                "generated": value,
                "floor": self.floor.get(name),
                "interval": self.intervals.get(name),
                "images_per_side": self.images[2],
            }
            for name, value in values.items()
        }

    def _by_class(self, values: Tensor) -> dict[str, float]:
        return dict(zip(["mean", *self.classes], [float(values.nanmean()), *values.tolist()], strict=True))


def finite(value: object) -> object:
    """Return a value for JSON: numbers that are none as None, whatever holds them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return value


def _substitution(scores: ClassificationScores, classes: list[str]) -> dict[str, object]:
    def side(score: ClassScore) -> dict[str, object]:
        return {
            "accuracy": float(score.accuracy),
            "low": float(score.low),
            "high": float(score.high),
            "per_class": dict(zip(classes, score.per_class().tolist(), strict=True)),
        }

    return {
        "generated_to_real": side(scores.generated_to_real),
        "real_to_generated": side(scores.real_to_generated),
        "ceiling": side(scores.ceiling),
        "training_images": int(scores.training_images),
    }
