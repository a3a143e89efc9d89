"""The quality card of one generator: its scores, each beside what real images get.

Here: what is compared with what. Not here: networks and files (``vedute.cli.evaluate``), tables
and pictures (``vedute.report.card``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vedute.errors import DataError
from vedute.metrics.features import eight_bit
from vedute.metrics.quality import Quality
from vedute.metrics.reconstruction import reconstruction_metrics, similarity_scales
from vedute.metrics.sets import (
    Instruments,
    Measured,
    distances,
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
        images: Number generated, number of test images, and number on each side of a distance.
        reconstruction: psnr (dB), ssim, ms_ssim over the test images; None: the model has no encoder.
        samples: (n, C, H, W) in [0, 1], up to 8 generated images of each class, in order.
        notes: What was left out, and what a score cannot say.
    """

    classes: list[str]
    columns: list[str]
    quality: Quality | None
    ceiling: Quality | None
    distances: dict[str, float]
    floor: dict[str, float]
    images: tuple[int, int, int]
    reconstruction: dict[str, float] | None
    samples: Tensor
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
            "reconstruction": None
            if self.reconstruction is None
            else {**self.reconstruction, "images": test},
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

    Raises:
        DataError: Other classes than the generator's, images that are no numbers, or too few.
    """
    names = instruments.names
    if names and data.condition_names != names:
        raise DataError(
            f"The data set has the classes {', '.join(data.condition_names)}, the model {', '.join(names)}: "
            "give --data.root a data set with the model's classes."
        )
    condition, wanted, seeds = wanted_images(generator, data, SPLIT, count, seed)
    splits = (SPLIT, "train")
    labels = [torch.from_numpy(data.labels(split)) if names else None for split in splits]
    sizes = [len(seeds), *(data.size(split) for split in splits)]
    rows, test_rows, train_rows = matched_rows([wanted, *labels], sizes, seed)

    samples = _Samples(_first_of_each(wanted, len(seeds)))
    with bar("Generating", len(seeds)) as advance:
        batches = generated_batches(generator, condition, wanted, seeds, batch_size)
        generated = instruments.measure(_advancing(samples.taken_from(batches), advance))

    def measure_real(title: str, split: str, rows: Tensor) -> Measured:
        with bar(title, len(rows)) as advance:
            batches = real_batches(data, split, rows, batch_size, bool(names))
            return instruments.measure(_advancing(batches, advance))

    test = measure_real("Test images", SPLIT, torch.arange(sizes[1]))
    train = measure_real("Training images", "train", train_rows)
    quality = instruments.quality(generated)
    return Card(
        classes=names,
        columns=instruments.column_names,
        quality=quality,
        ceiling=instruments.quality(test),
        distances=distances(generated[rows], test[test_rows], instruments.extractors),
        floor=distances(train, test[test_rows], instruments.extractors),
        images=(sizes[0], sizes[1], len(rows)),
        reconstruction=_reconstruction(generator, data, batch_size, bar) if generator.has_encoder else None,
        samples=torch.cat(samples.images),
        notes=[
            f"{extractor.frechet_name}: {len(rows)} images a side are not more than its {extractor.size} "
            "features, so it says little on its own; read it beside its floor."
            for extractor in instruments.extractors
            if len(rows) <= extractor.size
        ],
    )


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
