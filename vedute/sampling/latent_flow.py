"""A small normalising flow as density of latent vectors: the sampler that can use scores."""

from __future__ import annotations

import logging
import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from vedute.errors import ConfigurationError
from vedute.metrics.latent import LatentRows
from vedute.sampling.latents import LatentSampler

logger = logging.getLogger("vedute.sampling")

_BOUND = 2.0
"""A layer scales an entry by at most e to the power of this: bounded, so that odd noise cannot explode."""

_JITTER = 1e-3


class Coupling(nn.Module):
    """Shifts and scales half of the entries by what the other half and the condition say; invertible."""

    def __init__(self, size: int, condition_size: int, hidden: int, odd: bool) -> None:
        """Start as the identity; ``odd`` says which half changes."""
        super().__init__()
        first = int(odd)
        self.register_buffer("kept", torch.arange(first, size, 2), persistent=False)
        self.register_buffer("changed", torch.arange(1 - first, size, 2), persistent=False)
        self.kept: Tensor
        self.changed: Tensor
        self.inner = nn.Linear(len(self.kept) + condition_size, hidden)
        self.middle = nn.Linear(hidden, hidden)
        self.outer = nn.Linear(hidden, 2 * len(self.changed))
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, value: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normalised value (N, Z) and the logarithm of the volume change (N,)."""
        log_scale, shift = self._affine(value, condition)
        changed = (value[:, self.changed] - shift) * torch.exp(-log_scale)
        return value.index_copy(1, self.changed, changed), -log_scale.sum(dim=1)

    def inverse(self, value: Tensor, condition: Tensor) -> Tensor:
        """Return what :meth:`forward` made ``value`` (N, Z) of."""
        log_scale, shift = self._affine(value, condition)
        changed = value[:, self.changed] * torch.exp(log_scale) + shift
        return value.index_copy(1, self.changed, changed)

    def _affine(self, value: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        h = nn.functional.silu(self.inner(torch.cat([value[:, self.kept], condition], dim=1)))
        h = nn.functional.silu(self.middle(h))
        log_scale, shift = self.outer(h).chunk(2, dim=1)
        return _BOUND * torch.tanh(log_scale / _BOUND), shift


class LatentFlow(LatentSampler):
    """Latent vectors given classes or scores: a linear Gaussian model, bent by affine couplings.

    After each training epoch the mean is regressed on the condition, the covariance of the rest is
    taken, and the couplings learn for a bounded number of steps what is not Gaussian in it and how it
    depends on the condition. Standard normal until then.

    Source: Dinh et al. 2017, "Density estimation using Real NVP", https://arxiv.org/abs/1605.08803.
    """

    uses_scores: ClassVar[bool] = True
    slope: Tensor
    center: Tensor
    factor: Tensor
    fits: Tensor

    def __init__(
        self,
        condition_size: int,
        latent_size: int,
        layers: int = 4,
        hidden: int = 128,
        steps: int = 60,
        batch_size: int = 256,
        learning_rate: float = 2e-3,
        temperature: float = 1.0,
        rows: int = 10_000,
    ) -> None:
        """Start as the standard normal.

        Args:
            condition_size: Number D of classes or of scores; 0: no condition.
            latent_size: Entries Z of a latent vector.
            layers: Couplings; 0: only the linear Gaussian model.
            hidden: Width of a coupling's network.
            steps: Steps of the optimiser after each epoch.
            batch_size: Latent vectors in a step.
            learning_rate: Of Adam, falling to 0 in the course of each fit.
            temperature: See the base class.
            rows: Latent vectors of an epoch that are fitted to, in each process.

        Raises:
            ConfigurationError: A value that is out of range, or a single latent entry with couplings.
        """
        super().__init__(condition_size, latent_size, temperature)
        if layers < 0 or hidden < 1 or steps < 0 or batch_size < 2 or learning_rate <= 0 or rows < batch_size:
            raise ConfigurationError(
                "LatentFlow needs layers and steps of at least 0, hidden of at least 1, a batch_size from 2 "
                f"to the number of rows, and a learning_rate above 0; got layers {layers}, hidden {hidden}, "
                f"steps {steps}, batch_size {batch_size}, learning_rate {learning_rate}, rows {rows}."
            )
        if layers and latent_size < 2:
            raise ConfigurationError("LatentFlow couples latent entries: with a single one, set layers to 0.")
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.rows = rows
        self.couplings = nn.ModuleList(
            Coupling(latent_size, condition_size, hidden, odd=layer % 2 == 1) for layer in range(layers)
        )
        self.couplings.requires_grad_(False)  # not the model's to train
        self.register_buffer("slope", torch.zeros(condition_size, latent_size))
        self.register_buffer("center", torch.zeros(latent_size))
        self.register_buffer("factor", torch.eye(latent_size))
        self.register_buffer("fits", torch.zeros((), dtype=torch.long))

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Return latent vectors (N, Z); see the base class."""
        with torch.autocast(noise.device.type, enabled=False):
            known = self.weights(condition.float())
            value = self.temperature * noise.float()
            for coupling in reversed(self.couplings):
                assert isinstance(coupling, Coupling)
                value = coupling.inverse(value, known)
            return self.center + known @ self.slope + value @ self.factor.T

    def weights(self, condition: Tensor) -> Tensor:
        """Return the condition as it is, (N, D)."""
        return condition[:, : self.condition_size]

    def log_density(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return the logarithm of the density of latent vectors, (N,), in nats.

        Args:
            z: (N, Z).
            condition: (N, D).
        """
        with torch.autocast(z.device.type, enabled=False):
            known = self.weights(condition.float())
            rest = (z.float() - self.center - known @ self.slope).T
            value = torch.linalg.solve_triangular(self.factor, rest, upper=False).T
            return self._log_normal(value, known) - self.factor.diagonal().log().sum()

    def collector(self) -> LatentRows:
        """Return a sample of latent vectors with their conditions."""
        return LatentRows(self.condition_size, self.latent_size, self.rows)

    @torch.inference_mode(False)  # validation runs without gradients, and in a mode that forbids them
    def fit(self, collected: Metric) -> None:
        """Take the linear Gaussian part from the epoch, and train the couplings on the rest."""
        if not isinstance(collected, LatentRows):
            raise TypeError(f"LatentFlow is fitted to LatentRows, got {type(collected).__name__}")
        z, known = (tensor.clone() for tensor in collected.compute())
        z = z.reshape(-1, self.latent_size)  # torchmetrics makes a scalar of a single number
        known = known.reshape(len(z), self.condition_size)
        if len(z) < 2 or not torch.isfinite(z).all():
            return
        with torch.autocast(z.device.type, enabled=False):
            white = self._fit_gaussian(z.double(), known.double())
            if white is not None and len(self.couplings):
                self._train(white, known)

    @torch.no_grad()
    def _fit_gaussian(self, z: Tensor, known: Tensor) -> Tensor | None:
        """Regress the mean, take the covariance of the rest; return it whitened (N, Z), or None."""
        center, mean = z.mean(dim=0), known.mean(dim=0)
        inputs, outputs = known - mean, z - center
        ridge = inputs.T @ inputs + torch.eye(known.shape[1], dtype=z.dtype, device=z.device)
        slope = torch.linalg.solve(ridge, inputs.T @ outputs)
        rest = outputs - inputs @ slope
        covariance = rest.T @ rest / len(z)
        # Few images: towards independent entries, which count as many images as there are dimensions.
        share = len(z) / (len(z) + self.latent_size)
        covariance = share * covariance + (1 - share) * torch.diag(covariance.diagonal())
        covariance += _JITTER * torch.eye(len(covariance), dtype=z.dtype, device=z.device)
        factor, failed = torch.linalg.cholesky_ex(covariance)
        if failed or not torch.isfinite(factor).all():
            return None
        self.slope.copy_(slope)
        self.center.copy_(center - mean @ slope)
        self.factor.copy_(factor)
        white: Tensor = torch.linalg.solve_triangular(factor, rest.T, upper=False).T
        return white.to(self.factor)

    def _train(self, white: Tensor, known: Tensor) -> None:
        """Train the couplings on whitened vectors (N, Z) and conditions (N, D); bad steps are undone."""
        before = {name: value.clone() for name, value in self.couplings.state_dict().items()}
        generator = torch.Generator().manual_seed(int(self.fits))
        size = min(self.batch_size, len(white))
        with torch.enable_grad():
            self.couplings.requires_grad_(True)
            parameters = list(self.couplings.parameters())
            optimizer = torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=0.01)
            for step in range(self.steps):
                optimizer.param_groups[0]["lr"] = self.learning_rate * (1 - step / self.steps)
                rows = torch.randint(len(white), (size,), generator=generator).to(white.device)
                loss = -self._log_normal(white[rows], known[rows]).mean() / self.latent_size
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch's own
                nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
            self.couplings.requires_grad_(False)
        for parameter in parameters:
            parameter.grad = None
        if not all(torch.isfinite(parameter).all() for parameter in parameters):
            logger.warning("The latent flow's weights were not finite after a fit: it keeps those before it.")
            self.couplings.load_state_dict(before)
        self.fits += 1

    def _log_normal(self, value: Tensor, known: Tensor) -> Tensor:
        """Return the log density (N,) of whitened vectors (N, Z)."""
        total = value.new_zeros(len(value))
        for coupling in self.couplings:
            value, change = coupling(value, known)
            total = total + change
        return total - 0.5 * (value.square() + math.log(2 * math.pi)).sum(dim=1)
