"""The quality card of one generator: its scores, each beside what real images get.

Here: what is compared with what. Not here: networks and files (``vedute.cli.evaluate``), tables
and pictures (``vedute.report.card``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from vedute.errors import DataError
from vedute.metrics.features import eight_bit
from vedute.metrics.judge import MaskJudge
from vedute.metrics.pairs import Pairs, measure_pairs
from vedute.metrics.quality import Quality
from vedute.metrics.reconstruction import reconstruction_metrics, similarity_scales
from vedute.metrics.sets import (
    Instruments,
    Measured,
    distances,
    diversities,
    generated_batches,
    matched_rows,
    real_batches,
    wanted_images,
)
from vedute.promises import Generator, ImageData

SPLIT = "test"
"""The split that generated images are compared with."""

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows a progress bar of a title and a number of images; yields what advances it."""

_SHOWN = 8  # samples of each class for the picture


@dataclass(frozen=True)
class Card:
    """What is found.

    Attributes:
        classes: Names of the D classes; empty: the model has none.
        columns: Names of the K classes that the judge can recognise, the D first.
        quality: Of generated images; None: no judge.
        ceiling: Of all real test images under the same judge.
        distances: Between generated and test images, by name.
        floor: The same between training and test images, with as many images of each class.
        diversity: By the name of the features ``generated``, ``real``, ``ratio``, see
            ``vedute.metrics.sets.diversities``.
        images: Number generated, number of test images, and number on each side of a distance.
        reconstruction: psnr (dB), ssim, ms_ssim over the test images; None: the model has no encoder.
        pairs: Generated images beside the real ones of the same condition images; None: the model's
            conditions are none.
        samples: (n, C, H, W) in [0, 1], up to 8 generated images of each class, in order.
        repeats: By name (``q``, ``q/<class>``, ``fd_pixels``, ``diversity/pixels``, ...) each score of the
            generated images, once for each block of seeds; empty: there was one block. All other
            attributes are of the first block.
        notes: What was left out, and what a score cannot say.
    """

    classes: list[str]
    columns: list[str]
    quality: Quality | None
    ceiling: Quality | None
    distances: dict[str, float]
    floor: dict[str, float]
    diversity: dict[str, dict[str, float | None]]
    images: tuple[int, int, int]
    reconstruction: dict[str, float] | None
    samples: Tensor
    pairs: Pairs | None = None
    repeats: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def scores(self) -> dict[str, object]:
        """Return the scores as plain values for JSON: each with what real images get and N."""
        generated, test, each = self.images
        quality, ceiling = self.quality, self.ceiling
        return {
            "quality": None
            if quality is None or ceiling is None
            else {
                "generated": self._by_class(quality),
                "ceiling": self._by_class(ceiling),
                "images": {"generated": generated, "ceiling": test},
            },
            "confusion": None
            if quality is None or ceiling is None
            else {
                "rows": self.classes,
                "columns": self.columns,
                "generated": quality.confusion.tolist(),
                "ceiling": ceiling.confusion.tolist(),
            },
            "distances": {
                name: {"generated": value, "floor": self.floor[name], "images_per_side": each}
                for name, value in self.distances.items()
            },
            "diversity": {
                name: {**values, "images": {"generated": generated, "real": test}}
                for name, values in self.diversity.items()
            },
            "seeds": {
                name: {"mean": mean, "half_range": half, "blocks": len(self.repeats[name])}
                for name, (mean, half) in self.spread().items()
            }
            or None,
            "reconstruction": None
            if self.reconstruction is None
            else {**self.reconstruction, "images": test},
            "pairs": None
            if self.pairs is None
            else {
                **self.pairs.scores,
                "crop": self.pairs.crop,
                "overlap": self.pairs.overlap or None,
                "images": test,
                "each": self.pairs.rows,
            },
        }

    def spread(self) -> dict[str, tuple[float, float]]:
        """Return mean and half the range of each generated score over the blocks of seeds."""
        return {
            name: (sum(values) / len(values), (max(values) - min(values)) / 2)
            for name, values in self.repeats.items()
        }

    def _by_class(self, quality: Quality) -> dict[str, float | None]:
        values = [quality.mean, *quality.per_class]
        return {
            name: None if value.isnan() else float(value)  # a class that the test split lacks
            for name, value in zip(["mean", *self.classes], values, strict=True)
        }


def make_card(
    generator: Generator,
    data: ImageData,
    instruments: Instruments,
    count: int,
    seed: int,
    batch_size: int,
    bar: Bar,
    blocks: int = 1,
    segmenter: MaskJudge | None = None,
) -> Card:
    """Generate, measure and compare.

    Args:
        generator: In eval mode.
        data: Its data set.
        instruments: What to measure with; classes as the generator's.
        count: Images to generate per class; in total where there are no classes.
        seed: Of the first image (the next count up) and of every choice of real images.
        batch_size: Images computed at a time.
        bar: Shows progress.
        blocks: How often to generate, each time with the next seeds; real images are measured once.
        segmenter: Finds in generated images the masks that they were made from.

    Raises:
        DataError: Other classes than the generator's, images that are no numbers, or too few.
    """
    names = instruments.names
    if names and data.condition_names != names:
        raise DataError(
            f"The data set has the classes {', '.join(data.condition_names)}, the model {', '.join(names)}: "
            "give --data.root a data set with the model's classes."
        )
    _, wanted, seeds = wanted_images(generator, data, SPLIT, count, seed)
    splits = (SPLIT, "train")
    labels = [torch.from_numpy(data.labels(split)) if names else None for split in splits]
    sizes = [len(seeds), *(data.size(split) for split in splits)]
    rows, test_rows, train_rows = matched_rows([wanted, *labels], sizes, seed)
    samples = _Samples(_first_of_each(wanted, len(seeds)))

    def measure_generated(block: int) -> Measured:
        condition, wanted, seeds = wanted_images(generator, data, SPLIT, count, seed + block * sizes[0])
        kept = samples if block == 0 else _Samples(samples.rows[:0])
        with bar("Generating", len(seeds)) as advance:
            batches = generated_batches(generator, condition, wanted, seeds, batch_size)
            return instruments.measure(_advancing(kept.taken_from(batches), advance))

    def measure_real(title: str, split: str, rows: Tensor) -> Measured:
        with bar(title, len(rows)) as advance:
            batches = real_batches(data, split, rows, batch_size, bool(names))
            return instruments.measure(_advancing(batches, advance))

    generated = [measure_generated(block) for block in range(blocks)]
    test = measure_real("Test images", SPLIT, torch.arange(sizes[1]))
    train = measure_real("Training images", "train", train_rows)
    extractors = instruments.extractors

    scores = [
        _Scored(
            instruments.quality(block),
            distances(block[rows], test[test_rows], extractors),
            diversities(block, test, extractors, len(names)),
        )
        for block in generated
    ]
    quality, found, diversity = scores[0]
    return Card(
        classes=names,
        columns=instruments.column_names,
        quality=quality,
        ceiling=instruments.quality(test),
        distances=found,
        floor=distances(train, test[test_rows], extractors),
        diversity=diversity,
        images=(sizes[0], sizes[1], len(rows)),
        reconstruction=_reconstruction(generator, data, batch_size, bar) if generator.has_encoder else None,
        samples=torch.cat(samples.images),
        pairs=_pairs(generator, data, batch_size, bar, segmenter, seed),
        repeats=_by_name(scores, names) if blocks > 1 else {},
        notes=[
            f"{extractor.frechet_name}: {len(rows)} images a side are not more than its {extractor.size} "
            "features, so it says little on its own; read it beside its floor."
            for extractor in extractors
            if len(rows) <= extractor.size
        ],
    )


class _Scored(NamedTuple):
    """What one block of generated images gets."""

    quality: Quality | None
    distances: dict[str, float]
    diversity: dict[str, dict[str, float | None]]

    def values(self, names: list[str]) -> dict[str, float]:
        """Return each score under its own name."""
        found = dict(self.distances)
        if self.quality is not None:
            found["q"] = float(self.quality.mean)
            found |= {
                f"q/{name}": value for name, value in zip(names, self.quality.per_class.tolist(), strict=True)
            }
        for name, sides in self.diversity.items():
            if sides["generated"] is not None:
                found[f"diversity/{name}"] = sides["generated"]
        return found


def _by_name(scores: Sequence[_Scored], names: list[str]) -> dict[str, list[float]]:
    values = [block.values(names) for block in scores]
    return {name: [block[name] for block in values] for name in values[0]}


Batches = Iterator[tuple[Tensor, Tensor | None]]


def _advancing(batches: Batches, advance: Callable[[int], None]) -> Batches:
    """Pass batches on, moving a bar after each."""
    for image, label in batches:
        yield image, label
        advance(len(image))


class _Samples:
    """Keeps some of the generated images as they pass by, and refuses what are no images."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.images: list[Tensor] = []

    def taken_from(self, batches: Batches) -> Batches:
        start = 0
        for image, label in batches:
            if not image.isfinite().all():
                raise DataError(
                    "The model generates images that are no numbers (NaN or infinite): its training has "
                    "diverged. Take an earlier checkpoint, or train with a lower learning rate."
                )
            here = self.rows[(self.rows >= start) & (self.rows < start + len(image))] - start
            self.images.append(eight_bit(image[here.to(image.device)]).cpu())
            start += len(image)
            yield image, label


def _first_of_each(labels: Tensor | None, count: int) -> Tensor:
    """Return the rows of the first images of each class; the first of all without classes."""
    if labels is None:
        return torch.arange(min(count, _SHOWN * _SHOWN))
    return torch.cat([torch.where(labels == label)[0][:_SHOWN] for label in range(int(labels.max()) + 1)])


def _pairs(
    generator: Generator,
    data: ImageData,
    batch_size: int,
    bar: Bar,
    segmenter: MaskJudge | None,
    seed: int,
) -> Pairs | None:
    if generator.condition_kind != "image":
        return None
    with bar("Pairs", data.size(SPLIT)) as advance:
        return measure_pairs(generator, data, SPLIT, batch_size, advance, segmenter, seed)


def _reconstruction(generator: Generator, data: ImageData, batch_size: int, bar: Bar) -> dict[str, float]:
    metrics = reconstruction_metrics(generator.image_size)
    size = data.size(SPLIT)
    with bar("Reconstructing", size) as advance, torch.inference_mode():
        for start in range(0, size, batch_size):
            batch = data.batch(SPLIT, range(start, min(start + batch_size, size)))
            image = eight_bit(generator.reconstruct(batch.to(generator.device))).cpu()
            metrics.update(image, batch.image)
            advance(len(batch))
    scores = {name: float(value) for name, value in metrics.compute().items()}
    if "ms_ssim" in scores:
        scores["ms_ssim_scales"] = similarity_scales(generator.image_size)
    return scores
