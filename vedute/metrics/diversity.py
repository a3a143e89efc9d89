"""How different the images of one class are from each other.

A generator that repeats itself scores well in Q and badly here. Read the value beside that of
real images in the same features: above theirs it is noise as easily as variety.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

_ROWS = 1024  # distances of so many images to all others are held at a time


def mean_distances(features: Tensor) -> Tensor:
    """Return the mean Euclidean distance of each image to all others, (N,) float64; empty for N < 2.

    Args:
        features: (N, F).
    """
    count = len(features)
    if count < 2:
        return torch.zeros(0, dtype=torch.float64, device=features.device)
    centred = features.double() - features.double().mean(dim=0)  # smaller numbers, smaller rounding errors
    parts = []
    for start in range(0, count, _ROWS):
        distance = torch.cdist(centred[start : start + _ROWS], centred)  # (n, N)
        # An image's distance to itself is 0, but for a rounding error.
        parts.append(distance.sum(dim=1) - distance.diagonal(offset=start))
    return torch.cat(parts) / (count - 1)


def mean_pairwise_distance(features: Tensor) -> Tensor:
    """Return the mean Euclidean distance over all pairs of different images.

    Unbiased: its expectation is the same for any N, so sets of different sizes can be compared.

    Args:
        features: (N, F).

    Returns:
        () float64, at least 0; NaN where there is no pair.
    """
    return mean_distances(features).mean()


class Diversity(Metric):
    """Mean distance between two images of one class, for each class.

    Memory grows with N: it keeps the features.

    Source: the mean pairwise distance of images of one condition, as Zhu et al. 2017
    (https://arxiv.org/abs/1711.11586) report it in LPIPS features.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    kept_features: list[Tensor]
    kept_labels: list[Tensor]
    _features: Callable[[Tensor], Tensor] | None

    def __init__(
        self,
        classes: int = 0,
        features: Callable[[Tensor], Tensor] | None = None,
        sync_on_compute: bool = True,
    ) -> None:
        """Start with no images.

        Args:
            classes: Number of classes D; 0: no classes, all images are one.
            features: From images (N, C, H, W) in [0, 1] to (N, F); None: ``update`` is given features.
            sync_on_compute: Whether several processes that each saw a part join their parts.
        """
        super().__init__(sync_on_compute=sync_on_compute)
        # Not registered: a network in here never enters anyone's state_dict.
        object.__setattr__(self, "_features", features)
        self._classes = classes
        self.add_state("kept_features", [], dist_reduce_fx="cat")
        self.add_state("kept_labels", [], dist_reduce_fx="cat")

    def update(self, image: Tensor, label: Tensor | None = None) -> None:
        """Add images (N, C, H, W) in [0, 1] (or features, see the constructor) and their (N,) classes.

        Raises:
            ValueError: Classes are given and not expected, or the other way round.
        """
        if (label is None) != (self._classes == 0):
            raise ValueError(
                f"Diversity over {self._classes} classes was given {'no' if label is None else 'some'}"
            )
        features = image if self._features is None else self._features(image)
        self.kept_features.append(features.to(self.device).double())
        if label is None:
            label = torch.zeros(len(features), dtype=torch.int64)
        self.kept_labels.append(label.to(self.device))

    def compute(self) -> Tensor:
        """Return (D,) float64, NaN for a class with fewer than two images; a scalar for one or no class."""
        features, labels = dim_zero_cat(self.kept_features), dim_zero_cat(self.kept_labels)
        return torch.stack(
            [mean_pairwise_distance(features[labels == label]) for label in range(max(1, self._classes))]
        )
