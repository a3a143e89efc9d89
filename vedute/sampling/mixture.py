"""A mixture of Gaussians as density of latent vectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import Metric

from vedute.errors import ConfigurationError
from vedute.metrics.latent import LatentRows
from vedute.sampling.latents import LatentSampler

_JITTER = 1e-3
"""Added to variances: latent vectors lie about 1 apart, and smaller details are noise of the posteriors."""

_FIRST_ROUNDS = 20
_LATER_ROUNDS = 5
"""Rounds of EM at the first fit, and from the last epoch's mixture on, which is near already."""


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
        weights = self.weights(condition)  # (N, groups)
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
        """Fit the mixture of each class by EM, from the last fit on; a class without images stays.

        Components with few images are drawn towards the class's common covariance, which counts as
        many images as there are dimensions.
        """
        if not isinstance(collected, LatentRows):
            raise TypeError(f"GaussianMixture is fitted to LatentRows, got {type(collected).__name__}")
        z, weights = collected.compute()
        z, weights = z.reshape(-1, self.latent_size).double(), weights.reshape(len(z), -1).double()
        for group in range(len(self.mean)):
            rows = weights[:, group].nonzero()[:, 0]
            if len(rows) >= self.components:
                self._fit_group(group, z[rows], weights[rows, group])

    def _fit_group(self, group: int, z: Tensor, weight: Tensor) -> None:
        """Fit one class's mixture to its vectors z (N, Z), each counting ``weight`` (N,), float64."""
        total = weight.sum()
        center = weight @ z / total
        common = self._covariance(z - center, weight) / total
        common = common + _JITTER * torch.eye(len(common), dtype=z.dtype, device=z.device)
        first = bool(self.fits[group] == 0)
        if first:
            mean = _spread_points(z, self.components)
            factor = _cholesky(common).expand(self.components, -1, -1)
            share = torch.full_like(mean[:, 0], 1 / self.components)
        else:
            mean, factor, share = self.mean[group].to(z), self.factor[group].to(z), self.share[group].to(z)
        for _ in range(_FIRST_ROUNDS if first else _LATER_ROUNDS):
            belongs = _responsibilities(z, mean, factor, share) * weight[:, None]  # (N, K)
            count = belongs.sum(dim=0)  # (K,)
            share = (count + 1e-3 * total / self.components) / (total * (1 + 1e-3))
            mean = (belongs.T @ z + 1e-3 * center) / (count[:, None] + 1e-3)
            factors = []
            for number in range(self.components):
                scatter = self._covariance(z - mean[number], belongs[:, number])
                own = (scatter + self.latent_size * common) / (count[number] + self.latent_size)
                factors.append(_cholesky(own))
            factor = torch.stack(factors)
        if torch.isfinite(mean).all() and torch.isfinite(factor).all():
            self.mean[group], self.factor[group] = mean.to(self.mean), factor.to(self.factor)
            self.share[group] = share.to(self.share)
            self.fits[group] += 1

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


def _responsibilities(z: Tensor, mean: Tensor, factor: Tensor, share: Tensor) -> Tensor:
    """Return the probability (N, K) that each vector (N, Z) is of each component."""
    logs = []
    for number in range(len(mean)):
        white = torch.linalg.solve_triangular(factor[number], (z - mean[number]).T, upper=False)  # (Z, N)
        volume = factor[number].diagonal().log().sum()
        logs.append(share[number].log() - volume - 0.5 * white.square().sum(dim=0))
    return torch.stack(logs, dim=1).softmax(dim=1)


def _cholesky(covariance: Tensor) -> Tensor:
    """Return the lower factor (Z, Z); not finite where there is none, which ``fit`` then leaves out."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    return torch.where(failed == 0, factor, torch.nan)


def _spread_points(z: Tensor, count: int) -> Tensor:
    """Return ``count`` vectors (count, Z) spread over z (N, Z), the same whenever called with the same z.

    k-means++ with a seed: each is drawn with a probability that grows with the squared distance from
    those that are there. Source: Arthur & Vassilvitskii 2007.
    """
    generator = torch.Generator().manual_seed(0)
    chosen = [z.mean(dim=0) if count == 1 else z[0]]
    distance = (z - chosen[0]).square().sum(dim=1)
    while len(chosen) < count:
        place = torch.rand((), generator=generator, dtype=torch.float64).to(z) * distance.sum()
        number = int(torch.searchsorted(distance.cumsum(0), place).clamp_max(len(z) - 1))
        chosen.append(z[number])
        distance = torch.minimum(distance, (z - z[number]).square().sum(dim=1))
    return torch.stack(chosen)
