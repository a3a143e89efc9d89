"""A mixture of Gaussians as density of latent vectors."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from vedute.errors import ConfigurationError
from vedute.metrics.latent import LatentRows
from vedute.sampling.latents import LatentSampler

_JITTER = 1e-3
"""Added to variances: latent vectors lie about 1 apart, and smaller details are noise of the posteriors."""

_ROUNDS = 10
_GAIN = 0.02
"""Rounds of EM at most, from clusters and from the last epoch's mixture: both are near already. And nats
that a round must gain for a vector to be followed by another."""

_STARTS = 4
_LLOYD_ROUNDS = 20
"""Of k-means."""

_CONSTANCY = 0.1
"""Nats by which a new start must explain a vector better than the last epoch's mixture does: a mixture
that goes on gives the same noise a similar image in the next epoch."""


class _Mixture(NamedTuple):
    """Shares (K,), means (K, Z) and lower factors of covariances (K, Z, Z), float64."""

    share: Tensor
    mean: Tensor
    factor: Tensor


class GaussianMixture(LatentSampler):
    """A mixture of Gaussians for each class, fitted to the posteriors by EM after each training epoch.

    Where a class has several kinds of images, one Gaussian also covers what lies between them. Standard
    normal until it is fitted. A fuzzy label takes one component of each of its classes and lies between.

    Source: ex-post density estimation with a mixture of ten components, Ghosh et al. 2020,
    https://arxiv.org/abs/1903.12436; EM as in Bishop 2006, "Pattern Recognition and Machine Learning", 9.2.
    """

    share: Tensor
    mean: Tensor
    factor: Tensor
    fits: Tensor

    def __init__(
        self,
        condition_size: int,
        latent_size: int,
        components: int = 4,
        full_covariance: bool = True,
        temperature: float = 1.0,
        rows: int = 10_000,
    ) -> None:
        """Start as the standard normal.

        Args:
            condition_size: Number D of classes; 0: one mixture for all images.
            latent_size: Entries Z of a latent vector.
            components: Gaussians K of each class.
            full_covariance: Whether the entries of a component depend on each other; a diagonal covariance
                needs fewer images and misses much.
            temperature: See the base class.
            rows: Latent vectors of an epoch that are fitted to, in each process.

        Raises:
            ConfigurationError: No components or too few rows.
        """
        super().__init__(condition_size, latent_size, temperature)
        if components < 1 or rows < components:
            raise ConfigurationError(
                f"GaussianMixture needs at least 1 component and as many rows, got {components} and {rows}."
            )
        self.components = components
        self.full_covariance = full_covariance
        self.rows = rows
        groups = max(1, condition_size)
        self.register_buffer("share", torch.full((groups, components), 1 / components))
        self.register_buffer("mean", torch.zeros(groups, components, latent_size))
        self.register_buffer("factor", torch.eye(latent_size).repeat(groups, components, 1, 1))
        self.register_buffer("fits", torch.zeros(groups, dtype=torch.long))

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Return latent vectors (N, Z); see the base class."""
        with torch.autocast(noise.device.type, enabled=False):
            return self._drawn(noise.float(), self.weights(condition.float()))

    def _drawn(self, noise: Tensor, weights: Tensor) -> Tensor:
        """Return latent vectors (N, Z) of noise and class weights (N, groups), float32."""
        latents = torch.zeros_like(noise)
        for group in range(len(self.mean)):
            rows = weights[:, group].nonzero()[:, 0]
            if not len(rows):
                continue
            component, own = pick_component(noise[rows], self.share[group])
            part = self.mean[group][component]
            for number in range(self.components):  # one product a component, not a factor a row
                members = (component == number).nonzero()[:, 0]
                deviation = own[members] @ self.factor[group, number].T
                part = part.index_add(0, members, self.temperature * deviation)
            latents = latents.index_add(0, rows, weights[rows, group, None] * part)
        return latents

    def collector(self) -> LatentRows:
        """Return a sample of latent vectors with their class weights."""
        return LatentRows(len(self.mean), self.latent_size, self.rows)

    @torch.no_grad()
    def fit(self, collected: Metric) -> None:
        """Fit the mixture of each class by EM; a class without images stays.

        It starts from clusters, and from the last fit; what explains the vectors better is kept. A
        component's covariance is drawn towards the mean one of the class's components, which counts as
        many images as there are dimensions. (Not towards that of all vectors: along the gap between two
        clusters this is so wide that either component would cover both.)
        """
        if not isinstance(collected, LatentRows):
            raise TypeError(f"GaussianMixture is fitted to LatentRows, got {type(collected).__name__}")
        z, weights = collected.compute()
        z, weights = z.reshape(-1, self.latent_size).double(), weights.reshape(len(z), -1).double()
        if not torch.isfinite(z).all():
            return
        for group in range(len(self.mean)):
            rows = weights[:, group].nonzero()[:, 0]
            if len(rows) >= self.components:
                self._fit_group(group, z[rows], weights[rows, group])

    def _fit_group(self, group: int, z: Tensor, weight: Tensor) -> None:
        """Fit one class's mixture to its vectors z (N, Z), each counting ``weight`` (N,), float64."""
        best, likelihood = self._climb(self._first(z, weight), z, weight)
        if self.fits[group] > 0:
            last = _Mixture(self.share[group].to(z), self.mean[group].to(z), self.factor[group].to(z))
            again, reached = self._climb(last, z, weight)
            if reached >= likelihood - _CONSTANCY or math.isnan(likelihood):
                best = again
        if torch.isfinite(best.mean).all() and torch.isfinite(best.factor).all():
            self.share[group], self.mean[group] = best.share.to(self.share), best.mean.to(self.mean)
            self.factor[group] = best.factor.to(self.factor)
            self.fits[group] += 1

    def _first(self, z: Tensor, weight: Tensor) -> _Mixture:
        """Return a mixture to start from: clusters, which all have the shape of their common rest."""
        member = clusters(z, weight, self.components)
        return self._mixture(z, nn.functional.one_hot(member, self.components) * weight[:, None])

    def _climb(self, mixture: _Mixture, z: Tensor, weight: Tensor) -> tuple[_Mixture, float]:
        """Return the mixture after some rounds of EM, and the mean log likelihood before the last, nats."""
        before = math.nan
        for _ in range(_ROUNDS):
            logs = _log_densities(z, mixture)  # (N, K)
            likelihood = float(weight @ logs.logsumexp(dim=1) / weight.sum())
            mixture = self._mixture(z, logs.softmax(dim=1) * weight[:, None])
            if likelihood - before < _GAIN:
                break
            before = likelihood
        return mixture, likelihood

    def _mixture(self, z: Tensor, belongs: Tensor) -> _Mixture:
        """Return the mixture of vectors z (N, Z) that belong to the components by ``belongs`` (N, K)."""
        count = belongs.sum(dim=0)  # (K,)
        total = count.sum()
        center = belongs.sum(dim=1) @ z / total
        # A trace of all vectors in each component, so that an empty one is somewhere.
        share = (count + 1e-3 * total / self.components) / (total * (1 + 1e-3))
        mean = (belongs.T @ z + 1e-3 * center) / (count[:, None] + 1e-3)
        scatter = torch.stack(
            [self._covariance(z - mean[number], belongs[:, number]) for number in range(self.components)]
        )
        common = scatter.sum(dim=0) / total
        diagonal = torch.diag(common.diagonal())
        # Fewer images than dimensions have no covariance in most directions.
        common = (total * common + self.latent_size * diagonal) / (total + self.latent_size)
        common = common + _JITTER * torch.eye(len(common), dtype=z.dtype, device=z.device)
        own = (scatter + self.latent_size * common) / (count[:, None, None] + self.latent_size)
        return _Mixture(share, mean, _cholesky(own))

    def _covariance(self, deviation: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted sum of products (Z, Z) of deviations (N, Z); diagonal where that is wanted."""
        if self.full_covariance:
            return (deviation * weight[:, None]).T @ deviation
        return torch.diag(weight @ deviation.square())


def pick_component(noise: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Let noise choose among components, and return noise for within the chosen one.

    The angle of the first two entries, seen as a point of the plane, is uniform and independent of the
    rest. Its place among the shares chooses the component, its place within that share becomes the new
    angle: again uniform. So nothing but the noise is needed, and scaled noise chooses the same.

    Args:
        noise: (N, Z) standard normal.
        share: (K,) probabilities of the components.

    Returns:
        The component of each row (N,) int64, and standard normal noise (N, Z) independent of it.
    """
    exact = noise.double()
    if noise.shape[1] == 1:  # no angle: the place in the normal distribution instead
        uniform = torch.special.ndtr(exact[:, 0])
    else:
        uniform = torch.atan2(exact[:, 1], exact[:, 0]) / (2 * math.pi) + 0.5
    edges = share.double().cumsum(0) / share.double().sum()  # (K,)
    component = torch.searchsorted(edges, uniform.contiguous(), right=True).clamp_max(len(share) - 1)
    lower = torch.where(component > 0, edges[component - 1], 0)
    within = ((uniform - lower) / (edges[component] - lower)).clamp(1e-12, 1 - 1e-12)
    own = noise.clone()
    if noise.shape[1] == 1:
        own[:, 0] = torch.special.ndtri(within).to(noise.dtype)
    else:
        radius, angle = exact[:, :2].norm(dim=1), (within - 0.5) * (2 * math.pi)
        own[:, 0] = (radius * angle.cos()).to(noise.dtype)
        own[:, 1] = (radius * angle.sin()).to(noise.dtype)
    return component, own


def clusters(z: Tensor, weight: Tensor, count: int) -> Tensor:
    """Divide vectors into clusters (k-means), the same whenever called with the same vectors.

    Of several starts the one with the smallest distances is taken.

    Source: Arthur & Vassilvitskii 2007, "k-means++: The Advantages of Careful Seeding"; Lloyd 1982.

    Args:
        z: (N, Z) float64.
        weight: (N,) how much each vector counts.
        count: Number K of clusters.

    Returns:
        The cluster of each vector, (N,) int64 from 0 to K - 1.
    """
    generator = torch.Generator().manual_seed(0)
    found: list[tuple[float, Tensor]] = []
    for _ in range(_STARTS if count > 1 else 1):
        center = _spread_points(z, weight, count, generator)
        for _ in range(_LLOYD_ROUNDS):
            belongs = nn.functional.one_hot(_distance(z, center).argmin(dim=1), count) * weight[:, None]
            size = belongs.sum(dim=0)[:, None]
            moved = torch.where(size > 0, belongs.T @ z / size, center)
            if torch.equal(moved, center):
                break
            center = moved
        distance, member = _distance(z, center).min(dim=1)
        found.append((float(weight @ distance), member))
    return min(found, key=lambda start: start[0])[1]


def _spread_points(z: Tensor, weight: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` vectors (count, Z) of z (N, Z): the next more likely, the farther from those before."""
    chosen = z[:0]
    chance = weight
    for _ in range(count):
        place = torch.rand((), generator=generator, dtype=torch.float64).to(z) * chance.sum()
        number = torch.searchsorted(chance.cumsum(0), place).clamp_max(len(z) - 1)
        chosen = torch.cat([chosen, z[number][None]])
        chance = weight * _distance(z, chosen).min(dim=1).values
    return chosen


def _distance(z: Tensor, center: Tensor) -> Tensor:
    """Return the squared distance (N, K) of each vector (N, Z) from each centre (K, Z)."""
    return torch.cdist(z, center).square()


def _log_densities(z: Tensor, mixture: _Mixture) -> Tensor:
    """Return the logarithm of each component's part of the density (N, K) at vectors (N, Z), nats."""
    logs = []
    for share, mean, factor in zip(mixture.share, mixture.mean, mixture.factor, strict=True):
        white = torch.linalg.solve_triangular(factor, (z - mean).T, upper=False)  # (Z, N)
        volume = factor.diagonal().log().sum() + 0.5 * len(factor) * math.log(2 * math.pi)
        logs.append(share.log() - volume - 0.5 * white.square().sum(dim=0))
    return torch.stack(logs, dim=1)


def _cholesky(covariance: Tensor) -> Tensor:
    """Return the lower factors (K, Z, Z); not finite where there is none, which ``fit`` then leaves out."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    return torch.where(failed[:, None, None] == 0, factor, torch.nan)
