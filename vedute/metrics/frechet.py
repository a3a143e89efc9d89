"""Fréchet distance of two whole sets of features, and what each image adds to it.

Here: the arithmetic, for sets that are kept and for moments. Not here: running sums over batches
(``vedute.metrics.distances.FrechetDistance``), intervals (``vedute.metrics.bootstrap``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from vedute.metrics.checks import check_features

_ROWS = 4096  # added to a triangular factor at a time


def frechet_distance(first: Tensor, second: Tensor) -> Tensor:
    """Return the Fréchet distance between Gaussians fitted to two sets.

    |mean difference|^2 + tr(A + B - 2 (A B)^1/2) of covariances A = R'R and B = S'S, where the trace of the
    root is the sum of the singular values of R S': no root of a matrix is taken and nothing is inverted, so
    it is exact with fewer images than features as well (and biased upwards then, as always in small sets).

    Source: Heusel et al. 2017, https://arxiv.org/abs/1706.08500.

    Args:
        first: (N, F).
        second: (M, F).

    Returns:
        () float64, at least 0.

    Raises:
        DataError: A set has fewer than two images, or features are no finite numbers.
    """
    check_features("A Fréchet distance", 2, first=first, second=second)
    mean, factor = _moments(first)
    other_mean, other_factor = _moments(second)
    trace = factor.square().sum() + other_factor.square().sum()
    root = torch.linalg.svdvals(factor @ other_factor.T).sum()
    distance: Tensor = (mean - other_mean).square().sum() + trace - 2 * root
    return distance.clamp_min(0)  # of equal sets rounding leaves a little on either side


def frechet_of_moments(
    mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor
) -> Tensor:
    """Return the Fréchet distance between two Gaussians.

    The trace of (A B)^1/2 is that of (A^1/2 B A^1/2)^1/2, of symmetric matrices only: eigenvalues of A B
    itself, which is not symmetric, were not found where features hardly vary.

    Args:
        mean: (F,) float64.
        covariance: (F, F) float64.
        other_mean: (F,) float64.
        other_covariance: (F, F) float64.

    Returns:
        () float64, at least 0; NaN where a moment is no finite number.
    """
    moments = (mean, covariance, other_mean, other_covariance)
    if not all(bool(moment.isfinite().all()) for moment in moments):
        return mean.new_tensor(torch.nan)
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    product = root @ other_covariance @ root
    shared = torch.linalg.eigvalsh((product + product.T) / 2).clamp_min(0).sqrt().sum()
    trace = covariance.trace() + other_covariance.trace()
    distance: Tensor = (mean - other_mean).square().sum() + trace - 2 * shared
    return distance.clamp_min(0)


def frechet_influence(first: Tensor, second: Tensor) -> Tensor:
    """Return how each image of the first set moves the Fréchet distance: its influence function.

    To first order the distance of resampled sets is the distance of the whole ones plus the mean influence of
    the drawn images, so resampling it costs no more than resampling a mean. With T the linear map
    that carries the first Gaussian to the second, the influence of x (less the mean m) is
    2 (m - m') x + x' (1 - T) x less its mean.

    Source: the gradient of the Bures distance, e.g. Bhatia et al. 2019, https://arxiv.org/abs/1712.01504.

    Args:
        first: (N, F); N several times F, or T is fitted to noise.
        second: (M, F).

    Returns:
        (N,) float64, of mean 0.

    Raises:
        DataError: A set has fewer than two images, or features are no finite numbers.
    """
    check_features("A Fréchet distance", 2, first=first, second=second)
    mean, factor = _moments(first)
    other_mean, other_factor = _moments(second)
    _, lengths, axes = torch.linalg.svd(factor, full_matrices=False)
    # Directions in which the images do not differ (features that are always 0) have no part in it.
    kept = lengths > lengths.max() * 1e-10 * max(factor.shape)
    lengths, axes = lengths[kept], axes[kept]
    # T = W' (D S S' D)^1/2 W with whitening W = D^-1 axes; its root by singular values.
    left, values, _ = torch.linalg.svd(lengths[:, None] * (axes @ other_factor.T), full_matrices=False)
    carried = (left * values.sqrt()).T @ (axes / lengths[:, None])  # T = carried' carried
    parts = []
    for part in torch.split(first, _ROWS):
        centred = part.double() - mean
        moved = (centred @ carried.T).square().sum(dim=1)
        parts.append(2 * centred @ (mean - other_mean) + centred.square().sum(dim=1) - moved)
    influence = torch.cat(parts)
    return influence - influence.mean()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (F,) and R (at most F, F) with R'R the covariance, float64."""
    count, width = features.shape
    mean = sum(
        (part.sum(dim=0, dtype=torch.float64) for part in torch.split(features, _ROWS)),
        start=torch.zeros(width, dtype=torch.float64, device=features.device),
    ) / len(features)
    factor = torch.zeros(0, width, dtype=torch.float64, device=features.device)
    for part in torch.split(features, _ROWS):
        factor = torch.cat([factor, part.double() - mean])
        if len(factor) > width:
            factor = torch.linalg.qr(factor, mode="r").R
    return mean, factor / (count - 1) ** 0.5
