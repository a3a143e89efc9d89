"""What a variational autoencoder's latent dimensions carry."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from vedute.losses.variational import kl_per_dimension


def add_sum(metric: Metric, name: str, *shape: int) -> None:
    """Give ``metric`` a state that adds up over batches and ranks.

    In float64, since millions of values are added; saved in checkpoints, so that an epoch
    that is resumed in the middle ends with the statistics of the whole epoch.
    """
    metric.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum", persistent=True)


class LatentStatistics(Metric):
    """KL divergence and activity of each latent dimension over a data set.

    A dimension is active when the variance of its posterior mean over the data is above
    ``threshold`` (Burda et al. 2016, https://arxiv.org/abs/1509.00519, section 5.2).
    """

    full_state_update = False
    kl_sum: Tensor
    mu_sum: Tensor
    mu_square_sum: Tensor
    count: Tensor

    def __init__(self, latent_size: int, threshold: float = 0.01) -> None:
        """Collect over ``latent_size`` dimensions."""
        super().__init__()
        self.threshold = threshold
        for name in ("kl_sum", "mu_sum", "mu_square_sum"):
            add_sum(self, name, latent_size)
        add_sum(self, "count")

    def update(self, mu: Tensor, logvar: Tensor) -> None:
        """Add a batch of posteriors: mu and logvar, (N, Z) each."""
        mu, logvar = mu.detach(), logvar.detach()
        self.kl_sum += kl_per_dimension(mu, logvar).sum(dim=0)
        self.mu_sum += mu.sum(dim=0)
        self.mu_square_sum += mu.square().sum(dim=0)
        self.count += len(mu)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return the mean KL per dimension in nats and the variance of mu per dimension, (Z,) each."""
        mean = self.mu_sum / self.count
        return self.kl_sum / self.count, (self.mu_square_sum / self.count - mean.square()).clamp_min(0)

    def active_units(self) -> Tensor:
        """Return the number of active dimensions."""
        return (self.compute()[1] > self.threshold).sum()


class LatentMoments(Metric):
    """Mean and covariance of the latent vectors of each class."""

    full_state_update = False
    count: Tensor
    total: Tensor
    square: Tensor

    def __init__(self, classes: int, latent_size: int) -> None:
        """Collect over ``classes`` classes of vectors of ``latent_size`` entries."""
        super().__init__()
        add_sum(self, "count", classes)
        add_sum(self, "total", classes, latent_size)
        add_sum(self, "square", classes, latent_size, latent_size)

    def update(self, z: Tensor, weights: Tensor) -> None:
        """Add a batch.

        Args:
            z: (N, Z) latent vectors, drawn from their posteriors.
            weights: (N, classes) how much each counts for each class.
        """
        z, weights = z.detach().double(), weights.detach().double()
        self.count += weights.sum(dim=0)
        self.total += weights.T @ z
        for group in weights.any(dim=0).nonzero()[:, 0].tolist():
            rows = weights[:, group].nonzero()[:, 0]
            self.square[group] += (weights[rows, group, None] * z[rows]).T @ z[rows]

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return count (K,), mean (K, Z) and covariance (K, Z, Z) of each class."""
        count = self.count.clamp_min(1e-9)
        mean = self.total / count[:, None]
        covariance = self.square / count[:, None, None] - mean[:, :, None] * mean[:, None, :]
        return self.count, mean, covariance


class LatentRows(Metric):
    """A sample of an epoch's latent vectors with their conditions, for densities that need vectors.

    Every vector of the epoch has the same chance to be kept. Which ones are is decided by their place
    in the epoch alone, so two runs of one seed keep the same. Of several processes each keeps its own;
    :meth:`compute` returns those of all.

    Source: Vitter 1985, "Random Sampling with a Reservoir", algorithm R.
    """

    full_state_update = False
    z: Tensor
    weights: Tensor
    seen: Tensor

    def __init__(self, weights: int, latent_size: int, capacity: int = 10_000) -> None:
        """Reserve the rows: 4 * capacity * (latent_size + weights) bytes, also in every checkpoint.

        Args:
            weights: Number K of entries that describe a vector's condition.
            latent_size: Entries Z of a latent vector.
            capacity: At most this many vectors are kept, in each process.
        """
        super().__init__()
        self.capacity = capacity
        self.latent_size = latent_size
        # One row more than are kept: where the vectors go that are not.
        for name, size in (("z", latent_size), ("weights", weights)):
            self.add_state(name, torch.zeros(capacity + 1, size), dist_reduce_fx="cat", persistent=True)
        self.add_state("seen", torch.zeros(1, dtype=torch.long), dist_reduce_fx="cat", persistent=True)

    def update(self, z: Tensor, weights: Tensor) -> None:
        """Add a batch.

        Args:
            z: (N, Z) latent vectors, drawn from their posteriors.
            weights: (N, K) class weights, or scores.
        """
        place = self.seen + torch.arange(len(z), device=z.device)  # (N,) in the epoch, from 0
        slot = torch.where(place < self.capacity, place, _scattered(place) % (place + 1))
        later = (slot[:, None] == slot[None, :]).triu(1).any(dim=1)  # a later vector takes the same slot
        kept = (slot < self.capacity) & ~later
        slot = torch.where(kept, slot, self.capacity)
        self.z[slot] = torch.where(kept[:, None], z.detach().to(self.z.dtype), 0)
        self.weights[slot] = torch.where(kept[:, None], weights.detach().to(self.weights.dtype), 0)
        self.seen += len(z)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return the kept latent vectors (n, Z) and their weights (n, K), float32."""
        seen = self.seen.reshape(-1)  # of each process
        filled = torch.arange(self.capacity, device=seen.device) < seen[:, None]  # (processes, capacity)
        rows = self.z.reshape(len(seen), self.capacity + 1, -1)[:, :-1]
        weights = self.weights.reshape(len(seen), self.capacity + 1, -1)[:, :-1]
        return rows[filled], weights[filled]


def _scattered(numbers: Tensor) -> Tensor:
    """Return numbers in [0, 2^62) that look random, each from its number alone (int64).

    Source: the finaliser of SplitMix64, Steele et al. 2014, with the constants halved to fit int64.
    """
    mixed = (numbers + 1) * 0x1E3779B97F4A7C15  # wraps around, as meant
    mixed = (mixed ^ ((mixed >> 30) & 0x3FFFFFFFF)) * 0x3F58476D1CE4E5B9
    mixed = (mixed ^ ((mixed >> 27) & 0x1FFFFFFFFF)) * 0x14D049BB133111EB
    return ((mixed ^ ((mixed >> 31) & 0x1FFFFFFFF)) >> 1) & 0x3FFFFFFFFFFFFFFF
