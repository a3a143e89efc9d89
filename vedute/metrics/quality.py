"""Quality Q: whether a judge recognises in a generated image what was asked for (systems S1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric


class Quality(NamedTuple):
    """What :class:`ClassifierQuality` finds.

    Attributes:
        mean: () float64: mean of ``per_class`` over the classes that were asked for.
        per_class: (D,) float64 in [0, 1]: share recognised; NaN for a class never asked for.
        confusion: (D, K) int64: images of each class asked for (rows), by the class recognised.
        top2: (D,) float64 in [0, 1]: share whose class is among the two most probable ones.
    """

    mean: Tensor
    per_class: Tensor
    confusion: Tensor
    top2: Tensor


class ClassifierQuality(Metric):
    """Share of the images of each class that a judge recognises as that class.

    Source: the landscape CVAE that Vedute rebuilds (there on 128 images a class). The judge is a
    callable, not a submodule: it never enters anyone's ``state_dict``.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    confusion: Tensor
    among_two: Tensor
    _judge: Callable[[Tensor], Tensor] | None

    def __init__(
        self,
        classes: int,
        judge: Callable[[Tensor], Tensor] | None = None,
        columns: Sequence[int] | None = None,
        sync_on_compute: bool = True,
    ) -> None:
        """Start with nothing counted.

        Args:
            classes: Number D of classes that can be asked for.
            judge: From images (N, C, H, W) in [0, 1] to logits (N, K), K >= D; None: ``update`` is
                given the logits.
            columns: K positions in the judge's logits: first those of the D classes in order, then
                the others; None: the logits are in order and K = D.
            sync_on_compute: Whether several processes that each saw a part join their parts.
        """
        super().__init__(sync_on_compute=sync_on_compute)
        # Not registered: a network in here never enters anyone's state_dict.
        object.__setattr__(self, "_judge", judge)
        self._columns = list(columns) if columns is not None else list(range(classes))
        self.add_state(
            "confusion", torch.zeros(classes, len(self._columns), dtype=torch.int64), dist_reduce_fx="sum"
        )
        self.add_state("among_two", torch.zeros(classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, image: Tensor, wanted: Tensor) -> None:
        """Judge images.

        Args:
            image: (N, C, H, W) in [0, 1]; (N, K) logits where no judge was given.
            wanted: (N,) int64 in [0, D): the class that each image should show.
        """
        logits = image if self._judge is None else self._judge(image)
        logits = logits[:, self._columns].to(self.confusion.device)
        wanted = wanted.to(logits.device)
        found = logits.argmax(dim=1)
        classes, columns = self.confusion.shape
        cells = wanted * columns + found
        self.confusion += torch.bincount(cells, minlength=classes * columns).view(classes, columns)
        second = logits.topk(min(2, columns), dim=1).indices
        self.among_two += torch.bincount(wanted[(second == wanted[:, None]).any(dim=1)], minlength=classes)

    def compute(self) -> Quality:
        """Return Q per class, its mean, the confusion matrix, and how often the class is among two."""
        asked = self.confusion.sum(dim=1)
        per_class = self.confusion.diagonal().double() / asked
        return Quality(
            per_class.nanmean(), per_class, self.confusion.clone(), self.among_two.double() / asked
        )
