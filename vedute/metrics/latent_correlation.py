"""How the dimensions of latent vectors vary together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

from vedute.metrics.latent import add_sum


@dataclass(frozen=True)
class Correlation:
    """What a set of latent vectors shows.

    Attributes:
        matrix: (Z, Z) correlations in [-1, 1]; a dimension that does not vary has 0 with all others.
        variance: (Z,) of each dimension.
    """

    matrix: Tensor
    variance: Tensor

    def low_variance(self, threshold: float) -> int:
        """Return the number of dimensions whose variance is not above ``threshold``."""
        return int((self.variance <= threshold).sum())

    def correlated_pairs(self, correlation: float, variance: float) -> int:
        """Return the number of pairs of dimensions that say almost the same.

        Args:
            correlation: A pair counts when its correlation is above it, whatever its sign.
            variance: Dimensions that do not vary more than this are left aside: what little they do is
                noise, which a network often repeats in several of them.
        """
        varying = self.variance > variance
        strong = self.matrix[varying][:, varying].abs() > correlation
        return int(strong.triu(diagonal=1).sum())


class LatentCorrelation(Metric):
    """Correlation matrix of latent vectors over a data set, added up over batches and processes.

    Its state takes 8 * Z^2 bytes (8 MB for 1,024 dimensions) and is not saved in checkpoints.
    """

    full_state_update = False
    total: Tensor
    product: Tensor
    count: Tensor

    def __init__(self, latent_size: int) -> None:
        """Collect over ``latent_size`` dimensions."""
        super().__init__()
        add_sum(self, "total", latent_size)
        add_sum(self, "product", latent_size, latent_size)
        add_sum(self, "count")
        self.persistent(False)

    def update(self, mu: Tensor) -> None:
        """Add a batch of latent vectors (N, Z)."""
        values = mu.detach().double()
        self.total += values.sum(dim=0)
        self.product += values.T @ values
        self.count += len(values)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return correlations (Z, Z) and variances (Z,) over all vectors so far."""
        mean = self.total / self.count
        covariance = self.product / self.count - mean[:, None] * mean[None, :]
        variance = covariance.diagonal().clamp_min(0)
        # Rounding leaves about 1e-16 of the mean square where nothing varies.
        varying = variance > 1e-12 * (self.product.diagonal() / self.count).clamp_min(1e-30)
        deviation = torch.where(varying, variance, 1.0).sqrt()
        matrix = covariance / (deviation[:, None] * deviation[None, :])
        matrix = torch.where(varying[:, None] & varying[None, :], matrix.clamp(-1, 1), 0.0)
        matrix.fill_diagonal_(1.0)
        return matrix.float(), torch.where(varying, variance, 0.0).float()

    def correlation(self) -> Correlation:
        """Return what the vectors of all processes show, on the CPU."""
        matrix, variance = self.compute()
        size = len(self.total)  # torchmetrics makes a single dimension's values scalars
        return Correlation(matrix.reshape(size, size).cpu(), variance.reshape(size).cpu())
