"""Whether a small classifier can tell generated from real images."""

from __future__ import annotations

import torch
from torch import Tensor

from vedute.metrics.kept_rows import KeptRows
from vedute.metrics.learners import Advance, Learner, LogisticRegression, silent
from vedute.metrics.proportion import binomial_interval, guessing_probability

MINIMUM = 20
"""Fewest images of each set: with 10 a side to judge, the interval is 40 % wide."""


class TwoSampleTest(KeptRows):
    """Accuracy of a classifier that is trained to tell generated from real images.

    Each set is halved by the seed; the classifier is trained on one half of both and asked about the other,
    as many generated as real images in either. 50 % is what guessing gets.

    Catches whatever the classifier can learn: blur, noise, wrong colours, missing kinds of images, and
    images that repeat (those of one half are known from the other). Says nothing about an image being good,
    and nothing of classes: give both sets equal shares of each. Any systematic trace tells the sets apart,
    so both need the same resizing, compression and rounding. Close to 50 % means that *this* classifier
    finds no difference in *these* features with so many images; a copy of the training set does that too,
    and can fall below 50 %, because the real twin of a copy may be in the other half: see the metrics of
    memorisation.

    Source: Lopez-Paz and Oquab 2017, https://arxiv.org/abs/1610.06545.
    """

    higher_is_better = False

    def __init__(
        self,
        learner: Learner | None = None,
        images: int = 5000,
        seed: int = 0,
        advance: Advance = silent,
        sync_on_compute: bool = True,
    ) -> None:
        """Start with two empty sets.

        Args:
            learner: What is trained: on features (``LogisticRegression``, ``SmallPerceptron``) or on images
                (``SmallNetwork``); None: logistic regression.
            images: At most so many of each set are used, half of them for training: ``learner.cost(images)``
                bounds the cost.
            seed: Of the halves and the training.
            advance: Told of progress, :meth:`cost` in total.
            sync_on_compute: Whether several processes that each saw a part join their parts.

        Raises:
            ValueError: ``images`` is too small.
        """
        self.learner = LogisticRegression() if learner is None else learner
        super().__init__(self.learner.dtype, sync_on_compute)
        if images < MINIMUM:
            raise ValueError(f"TwoSampleTest needs images >= {MINIMUM}, got {images}")
        self.images = images
        self.seed = seed
        self._advance = advance

    def update(self, rows: Tensor, real: bool, index: Tensor | None = None) -> None:
        """Add features (N, F), or images (N, C, H, W) in [0, 1], to one of the sets.

        Args:
            rows: What the learner takes.
            real: Whether they are real.
            index: (N,) int64, their numbers in their set; see :meth:`KeptRows.keep`.

        Raises:
            ValueError: Rows of another shape than before, or with NaN.
        """
        self.keep(rows, int(real), None, index)

    def cost(self, generated: int, real: int) -> int:
        """Return what ``advance`` is told in total for so many images of each set."""
        return self.learner.cost(2 * (min(generated, real, self.images) // 2))

    def compute(self) -> dict[str, Tensor]:
        """Return scalars.

        Returns:
            ``accuracy`` on the held-out halves, in [0, 1]; ``low`` and ``high``, its 95 % interval over the
            choice of held-out images, not over trainings; ``p_value``, how often guessing is so
            right or more; ``training_accuracy``; and the numbers ``training_images`` and ``test_images``,
            both sets together. All float64.

        Raises:
            ValueError: A set has too few images.
        """
        generated, real = self.kept(0)[0], self.kept(1)[0]
        count = min(len(generated), len(real), self.images)
        if count < MINIMUM:
            raise ValueError(
                f"TwoSampleTest needs {MINIMUM} images of each set, got {len(generated)} generated and "
                f"{len(real)} real ones"
            )
        generator = torch.Generator().manual_seed(self.seed)
        train: list[Tensor] = []
        test: list[Tensor] = []
        for rows in (generated, real):
            # As many of one set as of the other: else always answering the larger would beat guessing.
            order = torch.randperm(len(rows), generator=generator)[:count].to(rows.device)
            train.append(rows[order[: count // 2]])
            test.append(rows[order[count // 2 :]])
        answer = self.learner.fit(torch.cat(train), _sides(train), 2, self.seed, self._advance)
        right = [int((answer(torch.cat(rows)).argmax(1) == _sides(rows)).sum()) for rows in (train, test)]
        total = [2 * len(rows[0]) for rows in (train, test)]
        low, high = binomial_interval(right[1], total[1])
        values = {
            "accuracy": right[1] / total[1],
            "low": low,
            "high": high,
            "p_value": guessing_probability(right[1], total[1]),
            "training_accuracy": right[0] / total[0],
            "training_images": total[0],
            "test_images": total[1],
        }
        return {name: torch.tensor(float(value), dtype=torch.float64) for name, value in values.items()}


def _sides(rows: list[Tensor]) -> Tensor:
    """Return 0 for each generated and 1 for each real row."""
    return torch.arange(2, device=rows[0].device).repeat_interleave(len(rows[0]))
