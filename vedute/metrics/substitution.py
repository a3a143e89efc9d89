"""The classification accuracy score of a generator beside its data set."""

from __future__ import annotations

import torch
from torch import Tensor

from vedute.metrics.card import Settings
from vedute.metrics.chosen import KeptImages, some_of_each
from vedute.metrics.classification_score import MINIMUM, ClassificationScore, ClassificationScores, Part
from vedute.metrics.learners import SmallNetwork
from vedute.metrics.real_sets import Bar
from vedute.metrics.sets import real_batches
from vedute.promises import ImageData


def substitution(
    data: ImageData, split: str, images: KeptImages, wanted: Tensor, settings: Settings, bar: Bar
) -> ClassificationScores:
    """Train small classifiers on generated and on real images, and test each on the other.

    Args:
        data: The data set, with classes.
        split: Its images to test with.
        images: Generated images, all of them used.
        wanted: (N,) int64, the class of every generated image, kept or not.
        settings: How many images, and the seed.
        bar: Shows progress.

    Raises:
        ValueError: There are too few images of a class.
    """
    classes = len(data.condition_names)
    learner, most = SmallNetwork(), max(classes * MINIMUM, settings.cas_images)
    total = 2 * learner.cost(min(len(images.rows), most))
    with bar("Training classifiers on generated and on real images", total) as advance:
        metric = ClassificationScore(classes, learner, most, settings.seed, advance, sync_on_compute=False)
        for rows in torch.split(images.rows, settings.batch_size):
            metric.update(images.of(rows), wanted[rows], Part.GENERATED)
        for part, name, limit in ((Part.TRAIN, "train", most), (Part.TEST, split, settings.train_images)):
            each = max(MINIMUM, limit // classes)
            rows = some_of_each(torch.from_numpy(data.labels(name)), each, settings.seed)
            for image, label in real_batches(data, name, rows, settings.batch_size, classes=True):
                assert label is not None
                metric.update(image, label, part)
        return metric.compute()
