"""Vectors of many dimensions laid out in two."""

from __future__ import annotations

from importlib import import_module

import torch
from torch import Tensor

from vedute.errors import ConfigurationError

_LARGEST = 2048  # rows or columns of the matrix that a PCA decomposes: a few seconds on one core
_FEWEST = 8  # UMAP compares each vector with its neighbours: of fewer it cannot make a map


def principal_components(vectors: Tensor, count: int = 2) -> tuple[Tensor, Tensor]:
    """Project vectors onto the directions in which they vary most.

    A direction points to where its largest coefficient is positive, so that equal vectors always give
    the same map. Of more than 2,048 dimensions, 2,048 rows spread over the data decide the directions.

    Args:
        vectors: (N, Z).
        count: Number K of directions.

    Returns:
        (N, K) float32 coordinates around their mean, and (K,) the share of the variance of each; 0 where
        there are fewer than K directions.
    """
    values = vectors.detach().double().cpu()
    values = values - values.mean(dim=0)
    rows, size = values.shape
    if size <= _LARGEST:
        directions = torch.linalg.eigh(values.T @ values)[1].flip(1)[:, :count]  # (Z, K), largest first
    else:
        chosen = values[torch.linspace(0, rows - 1, min(rows, _LARGEST)).round().long()]
        weights = torch.linalg.eigh(chosen @ chosen.T)[1].flip(1)[:, :count]  # (n, K)
        directions = torch.nn.functional.normalize(chosen.T @ weights, dim=0)  # (Z, K)
    largest = directions.abs().argmax(dim=0)
    directions = directions * directions[largest, torch.arange(len(largest))].sign()
    points = torch.zeros(rows, count, dtype=torch.float64)
    points[:, : directions.shape[1]] = values @ directions
    total = values.square().sum().clamp_min(1e-30)
    return points.float(), (points.square().sum(dim=0) / total).float()


def check_umap(count: int | None = None) -> None:
    """Make sure that UMAP can be used.

    Args:
        count: Number of vectors; None: not known yet.

    Raises:
        ConfigurationError: umap-learn is not installed, or the vectors are too few.
    """
    try:
        import_module("umap")
    except ImportError as error:
        raise ConfigurationError(
            f"A UMAP needs the package umap-learn, which cannot be imported ({error}): pip install "
            "umap-learn, or take --map pca."
        ) from error
    if count is not None and count < _FEWEST:
        raise ConfigurationError(f"A UMAP needs at least {_FEWEST} images, got {count}: take --map pca.")


def umap_points(vectors: Tensor, seed: int = 0) -> Tensor:
    """Lay vectors out so that near ones stay near; distances between groups mean little.

    Source: McInnes et al. 2018, https://arxiv.org/abs/1802.03426, with umap-learn's defaults.

    Args:
        vectors: (N, Z).
        seed: Of the layout: the same vectors and seed give the same map.

    Returns:
        (N, 2) float32.

    Raises:
        ConfigurationError: See :func:`check_umap`.
    """
    check_umap(len(vectors))
    neighbours = min(15, len(vectors) - 1)
    # One thread: with a seed UMAP takes one anyway, and warns when it is not asked to.
    reducer = import_module("umap").UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1)
    return torch.from_numpy(reducer.fit_transform(vectors.float().cpu().numpy())).float()
