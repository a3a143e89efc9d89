"""Classification accuracy score (CAS): whether generated images can stand in for real ones."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from vedute.metrics.kept_rows import KeptRows
from vedute.metrics.learners import Advance, Answer, Learner, SmallNetwork, silent
from vedute.metrics.proportion import balanced_interval

MINIMUM = 4
"""Fewest images of a class in each set that is trained on."""


class Part(IntEnum):
    """The three sets of a classification accuracy score."""

    GENERATED = 0
    TRAIN = 1
    TEST = 2


class ClassScore(NamedTuple):
    """How well the images of one set were recognised after training on another.

    Attributes:
        accuracy: () float64 in [0, 1], the mean over the classes: 1 / K is what guessing gets.
        low: () float64, the lower end of its 95 % interval over the choice of tested images. What another
            training would find is not in it: repeat with other seeds.
        high: () float64, the upper end.
        confusion: (K, K) int64: images of the row's class that were taken for the column's.
    """

    accuracy: Tensor
    low: Tensor
    high: Tensor
    confusion: Tensor

    def per_class(self) -> Tensor:
        """Return (K,) float64 in [0, 1]; NaN for a class without images."""
        return self.confusion.diagonal() / self.confusion.sum(dim=1).double()


class ClassificationScores(NamedTuple):
    """A classification accuracy score both ways, and what real images get.

    Attributes:
        generated_to_real: Trained on generated, tested on held-out real images.
        real_to_generated: Trained on real, tested on generated images.
        ceiling: Trained on as many real images of each class, tested on the same held-out ones.
        training_images: () int64, in each of the two trainings.
    """

    generated_to_real: ClassScore
    real_to_generated: ClassScore
    ceiling: ClassScore
    training_images: Tensor


class ClassificationScore(KeptRows):
    """Trains a classifier on generated images and tests it on real ones, and the other way round.

    Two classifiers start from the same weights and see equally many images of each class, one of the
    generated, one of the real training images. ``generated_to_real`` beside ``ceiling`` says how much of what
    a classifier needs the generated images hold. It catches wrong classes, missing kinds of images, blur that
    hides classes and little variety; a copy of the training set reaches the ceiling and is not
    caught. ``real_to_generated`` says whether the images show what was asked for; it cannot see
    that all images of a class are one.

    Sources: Ravuri and Vinyals 2019 (CAS), https://arxiv.org/abs/1905.10887; Shmelkov et al. 2018 (both
    ways), https://arxiv.org/abs/1807.09499. Those train a ResNet-50 for days; a small network for minutes
    ranks models of one data set, and its values are to be read beside its own ceiling only.
    """

    higher_is_better = True

    def __init__(
        self,
        classes: int,
        learner: Learner | None = None,
        images: int = 2000,
        seed: int = 0,
        advance: Advance = silent,
        sync_on_compute: bool = True,
    ) -> None:
        """Start with three empty sets.

        Args:
            classes: Number K of classes, at least 2.
            learner: What is trained; None: a small network on images.
            images: At most so many in each of the two trainings, the classes with equal shares as far as
                they have so many: ``2 * learner.cost(images)`` bounds the cost.
            seed: Of the choice of images and the training.
            advance: Told of progress, :meth:`cost` in total at most.
            sync_on_compute: Whether several processes that each saw a part join their parts.

        Raises:
            ValueError: A number is too small.
        """
        self.learner = SmallNetwork() if learner is None else learner
        super().__init__(self.learner.dtype, sync_on_compute)
        if classes < 2 or images < classes * MINIMUM:
            raise ValueError(
                f"ClassificationScore needs two classes and {MINIMUM} images of each: got {classes} "
                f"classes, {images} images"
            )
        self.classes = classes
        self.images = images
        self.seed = seed
        self._advance = advance

    def update(self, rows: Tensor, labels: Tensor, part: Part, index: Tensor | None = None) -> None:
        """Add images.

        Args:
            rows: What the learner takes: images (N, C, H, W) in [0, 1], or features (N, F).
            labels: (N,) int64 in [0, K): their classes; of generated images those that were asked for.
            part: The set that they belong to.
            index: (N,) int64, their numbers in their set; see :meth:`KeptRows.keep`.

        Raises:
            ValueError: Rows of another shape than before or with NaN, or classes out of range.
        """
        if len(labels) != len(rows) or (
            len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.classes
        ):
            raise ValueError(
                f"ClassificationScore expects a class in [0, {self.classes}) for each of {len(rows)} images, "
                f"got {len(labels)}"
                + (f" in [{int(labels.min())}, {int(labels.max())}]" if len(labels) else "")
            )
        self.keep(rows, int(part), labels, index)

    def cost(self, images: int) -> int:
        """Return at most what ``advance`` is told in total, for so many images of the smaller set."""
        return 2 * self.learner.cost(min(images, self.images))

    def compute(self) -> ClassificationScores:
        """Train twice and return the scores.

        Raises:
            ValueError: Too few images of a class, or no real images to test.
        """
        generated, train, test = (self.kept(part) for part in Part)
        if not len(test[0]):
            raise ValueError("ClassificationScore got no real images to test with")
        share = self._share(generated[1], train[1])
        answers = []
        for rows, labels in (generated, train):
            chosen = self._chosen(labels, share)
            answer = self.learner.fit(rows[chosen], labels[chosen], self.classes, self.seed, self._advance)
            answers.append(answer)
        return ClassificationScores(
            self._score(answers[0], test),
            self._score(answers[1], generated),
            self._score(answers[1], test),
            share.sum(),
        )

    def _share(self, generated: Tensor, train: Tensor) -> Tensor:
        """Return (K,) int64, on the CPU: how many images of each class to train with."""
        counts = [torch.bincount(labels, minlength=self.classes).cpu() for labels in (generated, train)]
        least = torch.minimum(*counts)
        if int(least.min()) < MINIMUM:
            poor = int(least.argmin())
            raise ValueError(
                f"ClassificationScore needs {MINIMUM} images of each class in both sets to train on; class "
                f"{poor} has {int(counts[0][poor])} generated and {int(counts[1][poor])} real ones"
            )
        share = torch.zeros_like(least)
        left, open_classes = self.images, list(range(self.classes))
        for label in sorted(open_classes, key=lambda label: int(least[label])):  # what one lacks, others get
            share[label] = min(int(least[label]), left // len(open_classes))
            left -= int(share[label])
            open_classes.remove(label)
        return share

    def _chosen(self, labels: Tensor, share: Tensor) -> Tensor:
        """Return the rows to train with, mixed: the same for two sets with the same classes."""
        generator = torch.Generator().manual_seed(self.seed)
        parts = []
        for label, count in enumerate(share.tolist()):
            rows = torch.where(labels == label)[0].cpu()
            parts.append(rows[torch.randperm(len(rows), generator=generator)[:count]])
        return torch.cat(parts).to(labels.device)

    def _score(self, answer: Answer, part: tuple[Tensor, Tensor]) -> ClassScore:
        rows, labels = part
        pairs = labels * self.classes + answer(rows).argmax(dim=1)
        confusion = torch.bincount(pairs, minlength=self.classes**2).view(self.classes, self.classes)
        ends = balanced_interval(confusion.diagonal(), confusion.sum(dim=1))
        accuracy, low, high = (torch.tensor(value, dtype=torch.float64) for value in ends)
        return ClassScore(accuracy, low, high, confusion)
