"""Distances between two sets of images in injected features.

Names follow the features: ``fid`` and ``kid`` are these distances in Inception features, and
nothing else is called so (``FeatureExtractor`` has the names).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.utilities.data import dim_zero_cat

from vedute.metrics.frechet import frechet_of_moments


class _Given(nn.Identity):
    """Stands where torchmetrics expects a network: the features are already computed."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size


class FrechetDistance(FrechetInceptionDistance):
    """Fréchet distance between Gaussians fitted to the features of two sets of images.

    Running sums in float64, so memory does not grow with N. Biased upwards in small sets: compare
    only distances of the same N, and give the distance of two real sets beside them.

    Source: Heusel et al. 2017, https://arxiv.org/abs/1706.08500; sums by torchmetrics.
    """

    _features: Callable[[Tensor], Tensor] | None

    def __init__(
        self,
        size: int,
        features: Callable[[Tensor], Tensor] | None = None,
        sync_on_compute: bool = True,
    ) -> None:
        """Start with two empty sets.

        Args:
            size: Number F of features.
            features: From images (N, C, H, W) in [0, 1] to (N, F); None: ``update`` is given features.
            sync_on_compute: Whether several processes that each saw a part join their parts.
        """
        super().__init__(feature=_Given(size), sync_on_compute=sync_on_compute)
        self.orig_dtype = torch.float64  # torchmetrics learns it in update(), which a rank may never call
        # Not registered: a network in here never enters anyone's state_dict.
        object.__setattr__(self, "_features", features)

    def update(self, imgs: Tensor, real: bool) -> None:
        """Add images (N, C, H, W) in [0, 1] (or features, see the constructor) to one of the sets."""
        features = imgs if self._features is None else self._features(imgs)
        super().update(features.to(self.device).double(), real)

    def compute(self) -> Tensor:
        """Return the distance, () float32.

        Raises:
            ValueError: A set has fewer than two images.
        """
        sets = (
            ("real", self.real_features_sum, self.real_features_cov_sum, self.real_features_num_samples),
            ("fake", self.fake_features_sum, self.fake_features_cov_sum, self.fake_features_num_samples),
        )
        moments = []
        for name, total, products, count in sets:
            if count < 2:
                raise ValueError(
                    f"A Fréchet distance needs two images of each kind; {int(count)} are {name}."
                )
            mean = total / count
            moments += [mean, (products - count * mean[:, None] * mean) / (count - 1)]
        return frechet_of_moments(*moments).float()


def kernel_discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """Return the unbiased squared maximum mean discrepancy of two sets with the kernel (x y / F + 1)^3.

    Products are formed in float32, three times as fast as in float64 and to the same six digits, and
    summed in float64.

    Args:
        first: (N, F), N at least 2.
        second: (M, F), M at least 2.

    Returns:
        () float64.
    """

    def mean(one: Tensor, other: Tensor | None = None) -> Tensor:
        products = one.float() @ (one if other is None else other).float().T
        kernel = (products.double() / one.shape[1] + 1) ** 3
        if other is not None:
            return kernel.mean()
        return (kernel.sum() - kernel.diagonal().sum()) / (len(one) * (len(one) - 1))

    return mean(first) + mean(second) - 2 * mean(first, second)


class KernelDistance(Metric):
    """Unbiased squared maximum mean discrepancy with the kernel (x y / F + 1)^3.

    Unbiased: its expectation for two sets of one distribution is 0 at any N, so single values
    can be slightly negative. It is the mean over random subsets of ``subset_size``; with no more
    images than that, one subset of them all, which torchmetrics' own KID refuses.

    Source: Bińkowski et al. 2018, https://arxiv.org/abs/1801.01401; arithmetic tested against
    torchmetrics.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    real_features: list[Tensor]
    fake_features: list[Tensor]
    _features: Callable[[Tensor], Tensor] | None

    def __init__(
        self,
        features: Callable[[Tensor], Tensor] | None = None,
        subset_size: int = 1000,
        subsets: int = 100,
        seed: int = 0,
        sync_on_compute: bool = True,
    ) -> None:
        """Start with two empty sets.

        Args:
            features: From images (N, C, H, W) in [0, 1] to (N, F); None: ``update`` is given features.
            subset_size: Images in a subset, at least 2; fewer where there are fewer.
            subsets: Number of subsets, at least 1.
            seed: Of the choice of subsets.
            sync_on_compute: Whether several processes that each saw a part join their parts.

        Raises:
            ValueError: A number is too small.
        """
        super().__init__(sync_on_compute=sync_on_compute)
        if subset_size < 2 or subsets < 1:
            raise ValueError(f"KernelDistance needs subset_size >= 2, subsets >= 1: {subset_size}, {subsets}")
        # Not registered: a network in here never enters anyone's state_dict.
        object.__setattr__(self, "_features", features)
        self._subset_size = subset_size
        self._subsets = subsets
        self._seed = seed
        self.add_state("real_features", [], dist_reduce_fx="cat")
        self.add_state("fake_features", [], dist_reduce_fx="cat")

    def update(self, image: Tensor, real: bool) -> None:
        """Add images (N, C, H, W) in [0, 1] (or features, see the constructor) to one of the sets."""
        features = image if self._features is None else self._features(image)
        (self.real_features if real else self.fake_features).append(features.to(self.device).float())

    def compute(self) -> Tensor:
        """Return () float64.

        Raises:
            ValueError: A set has fewer than two images.
        """
        real, fake = dim_zero_cat(self.real_features), dim_zero_cat(self.fake_features)
        size = min(self._subset_size, len(real), len(fake))
        if size < 2:
            raise ValueError(f"KernelDistance needs two images on each side, got {len(real)} and {len(fake)}")
        # A set that fits as a whole is the best subset of itself: more draws of it would add nothing.
        whole = size == len(real) == len(fake)
        generator = torch.Generator().manual_seed(self._seed)

        def subset(features: Tensor) -> Tensor:
            if size == len(features):
                return features
            return features[torch.randperm(len(features), generator=generator)[:size]]

        values = [
            kernel_discrepancy(subset(real), subset(fake)) for _ in range(1 if whole else self._subsets)
        ]
        return torch.stack(values).mean()
