"""Where a decoder's latent vectors come from when there is no image to encode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from vedute.batch import ConditionKind
from vedute.errors import ConfigurationError
from vedute.metrics.latent import LatentMoments


class LatentSampler(nn.Module, ABC):
    """A density of latent vectors under a condition, drawn from by transforming noise.

    What it learns is in its buffers, or in weights without gradients, so that it is saved in
    checkpoints and neither optimisers, averages nor DDP touch it.
    """

    uses_scores: ClassVar[bool] = False
    """Whether scores are a condition for it; otherwise all images have one density where conditions are
    scores: they explained 1 % of any latent dimension on rated cars."""

    def __init__(self, condition_size: int, latent_size: int, temperature: float = 1.0) -> None:
        """Keep the sizes.

        Args:
            condition_size: Number D of classes, or of scores for a sampler that uses them; 0: one density
                for all images.
            latent_size: Entries Z of a latent vector.
            temperature: Multiplies the deviations from the mean: below 1, more typical samples and less
                variety.

        Raises:
            ConfigurationError: The temperature is not above 0.
        """
        super().__init__()
        if not temperature > 0:
            raise ConfigurationError(
                f"{type(self).__name__} needs a temperature above 0 (1: as trained), got {temperature}."
            )
        self.condition_size = condition_size
        self.latent_size = latent_size
        self.temperature = temperature

    @abstractmethod
    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Turn noise into latent vectors; each row from its own noise and condition alone.

        In float32, also under autocast.

        Args:
            noise: (N, Z) standard normal.
            condition: (N, D) class probabilities, or scores; more entries are left out where D is 0.

        Returns:
            (N, Z).
        """

    def weights(self, condition: Tensor) -> Tensor:
        """Return what is collected of conditions beside latent vectors, (N, K).

        Args:
            condition: (N, D) class probabilities, or scores; see :meth:`forward`.

        Returns:
            Class weights that sum to 1, for a sampler of classes.
        """
        return class_weights(condition if self.condition_size else condition[:, :0])

    def collector(self) -> Metric | None:
        """Return what collects a training epoch for :meth:`fit`; None: nothing is fitted.

        Its ``update`` takes latent vectors (N, Z) and their :meth:`weights` (N, K).
        """
        return None

    def fit(self, collected: Metric) -> None:
        """Adapt to the latent vectors of a training epoch: what :meth:`collector` returned, filled.

        Of several processes all must call it.
        """
        raise NotImplementedError(f"{type(self).__name__} is not fitted")


def build_sampler(
    factory: Callable[[int, int], LatentSampler], kind: ConditionKind, condition_size: int, latent_size: int
) -> LatentSampler:
    """Return the sampler of a model.

    Args:
        factory: From condition size and latent size to the sampler.
        kind: What the model's condition is.
        condition_size: Entries of the model's condition vector.
        latent_size: Entries Z of a latent vector.

    Returns:
        One for the model's classes; for its scores where it uses scores; otherwise one for all images.
    """
    sampler = factory(condition_size if kind == "class" else 0, latent_size)
    return factory(condition_size, latent_size) if kind == "score" and sampler.uses_scores else sampler


class StandardNormal(LatentSampler):
    """The prior of a VAE: noise as it is."""

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Return the noise."""
        return self.temperature * noise


class ClassGaussian(LatentSampler):
    """A Gaussian with full covariance for each entry of the condition, fitted to the posteriors.

    The latent vectors of a class are far from standard normal: those of 5,207 photos had
    covariances with eigenvalues from 0.01 to 8 around a mean of norm 2, and decoding standard
    normal noise gave shapeless blobs. Fitted after each training epoch; it is standard normal
    until then. Between classes (fuzzy labels) mean and factor are interpolated.

    Source: ex-post density estimation, Ghosh et al. 2020, https://arxiv.org/abs/1903.12436.
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, condition_size: int, latent_size: int, temperature: float = 1.0) -> None:
        """Start as the standard normal; see the base class."""
        super().__init__(condition_size, latent_size, temperature)
        groups = max(1, condition_size)
        self.register_buffer("mean", torch.zeros(groups, latent_size))
        self.register_buffer("factor", torch.eye(latent_size).repeat(groups, 1, 1))

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Return latent vectors (N, Z); see the base class."""
        with torch.autocast(noise.device.type, enabled=False):
            noise, weights = noise.float(), self.weights(condition.float())  # (N, groups)
            deviation = torch.zeros_like(noise)
            for group in range(len(self.mean)):  # one (N, Z) product a class, not an (N, Z, Z) factor each
                rows = weights[:, group].nonzero()[:, 0]
                if len(rows):
                    part = noise[rows] @ self.factor[group].T
                    deviation = deviation.index_add(0, rows, weights[rows, group, None] * part)
            return weights @ self.mean + self.temperature * deviation

    def collector(self) -> LatentMoments:
        """Return moments per class."""
        return LatentMoments(len(self.mean), self.latent_size)

    @torch.no_grad()
    def fit(self, collected: Metric) -> None:
        """Take the classes' means and covariances.

        A class with few images is drawn towards the classes' common covariance, which counts
        as many images as there are dimensions.
        """
        if not isinstance(collected, LatentMoments):
            raise TypeError(f"ClassGaussian is fitted to LatentMoments, got {type(collected).__name__}")
        count, mean, covariance = collected.compute()
        count = count.reshape(len(self.mean))  # torchmetrics makes a single class's (1,) a scalar
        share = count / count.sum().clamp_min(1)
        common = torch.einsum("k,kij->ij", share, covariance)
        weight = (count / (count + self.latent_size))[:, None, None]
        covariance = weight * covariance + (1 - weight) * common
        jitter = 1e-4 * torch.eye(self.latent_size, dtype=covariance.dtype, device=covariance.device)
        factor, failed = torch.linalg.cholesky_ex(covariance + jitter)
        usable = (failed == 0) & torch.isfinite(factor).all(dim=-1).all(dim=-1) & (count > 0)
        self.mean[usable] = mean[usable].to(self.mean.dtype)
        self.factor[usable] = factor[usable].to(self.factor.dtype)


def class_weights(condition: Tensor) -> Tensor:
    """Return non-negative weights of each class that sum to 1, (N, max(1, D)).

    Args:
        condition: (N, D) class probabilities, possibly fuzzy (their sum below 1).
    """
    if condition.shape[1] == 0:
        return condition.new_ones(len(condition), 1)
    weights = condition.clamp_min(0)
    return weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-6)
