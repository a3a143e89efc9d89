"""What autoencoders with a latent vector share: network, objective, latent sampler, statistics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_modules.base import GenerativeModule
from vedute.batch import Batch, Condition
from vedute.errors import ConfigurationError
from vedute.losses.objective import Objective
from vedute.losses.pixel import mean_squared_error, peak_signal_to_noise_ratio
from vedute.losses.terms import ImageLoss, ImageLosses, LossBalance
from vedute.losses.variational import free_bits, kl_per_dimension
from vedute.metrics.latent import LatentStatistics
from vedute.networks.vae import VAENetwork
from vedute.sampling.fitting import SamplerFitting
from vedute.sampling.latents import LatentSampler, StandardNormal, build_sampler
from vedute.schedules import Schedule

RECONSTRUCTION = "reconstruction"
"""Name of the term that every model of this kind has: MSE * number of training images."""

LOGGED_NAMES = ("loss", "mse", "psnr", "active_units", "weight")
"""Names that are logged beside the terms."""


def kl_values(coded: Coded, minimum: float) -> tuple[Tensor, Tensor]:
    """Return the term ``kl`` of a loss and what is logged of it: means over a batch, in nats.

    Args:
        coded: A batch on its way through the network.
        minimum: Nats of each dimension of each image that the term does not count below.

    Returns:
        With and without ``minimum``.
    """
    kl = kl_per_dimension(coded.mu, coded.logvar)  # (N, Z)
    return free_bits(kl, minimum).mean(), kl.sum(dim=1).mean()


def check_free_bits(minimum: float) -> float:
    """Return ``minimum``.

    Raises:
        ConfigurationError: It is negative or no number.
    """
    if not 0 <= minimum < float("inf"):
        raise ConfigurationError(f"model.kl_free_bits is {minimum}: give nats of at least 0.")
    return minimum


@dataclass
class Coded:
    """A batch on its way through the network.

    Attributes:
        image: (N, C, H, W) in [0, 1], what the decoder made of ``z``.
        target: (N, C, H, W) in [0, 1], what it should have made.
        vector: (N, D) condition vectors; D = 0: unconditional.
        z: (N, Z) latent vectors that were decoded.
        mu: (N, Z) means of the posterior.
        logvar: (N, Z) logarithms of its variances.
    """

    image: Tensor
    target: Tensor
    vector: Tensor
    z: Tensor
    mu: Tensor
    logvar: Tensor


class LatentModule(GenerativeModule):
    """An encoder and a decoder around a latent vector, and what they are trained on.

    The objective is a sum of named terms: ``reconstruction`` (MSE * number of training images, as the
    reference system defines E_recon), the ``losses`` by their names, and what a subclass adds.
    """

    has_encoder: ClassVar[bool] = True

    def __init__(
        self,
        network: Callable[[tuple[int, int], int, int], VAENetwork],
        reconstruction_weight: float = 1.0,
        losses: dict[str, ImageLoss] | None = None,
        loss_schedules: dict[str, Schedule] | None = None,
        loss_balance: LossBalance | None = None,
        latent_sampler: Callable[[int, int], LatentSampler] = StandardNormal,
        **facts: Any,
    ) -> None:
        """Build the network and the latent sampler; a subclass calls :meth:`_compose` next.

        Args:
            network: From image size, image channels and condition size to the network.
            reconstruction_weight: Weight of MSE * number of training images.
            losses: Further distances between output and target by names of your choice; each has its
                own weight.
            loss_schedules: Multiply the weights of terms while training, by their names (``kl``,
                ``reconstruction`` or one of ``losses``). Validation uses the full weights.
            loss_balance: Adapts the weights to what the losses are; null: fixed.
            latent_sampler: From number of classes (0 where conditions are none) and latent size to what
                latent vectors are drawn from when sampling.
            facts: About the data, and how to optimise; see ``ImageModule``.

        Raises:
            ConfigurationError: The conditions are images, or a loss cannot be computed for these images.
        """
        super().__init__(**facts)
        self.refuse_condition_images()
        self.network = network(self.image_size, self.image_channels, self.condition_size)
        self.losses = ImageLosses(losses or {})
        self._reconstruction_weight = reconstruction_weight
        self._loss_schedules = dict(loss_schedules or {})
        self._loss_balance = loss_balance
        self.latent_sampler = build_sampler(
            latent_sampler, self.condition_kind, self.condition_size, self.network.latent_size
        )
        self.latent_fitting = SamplerFitting(self.latent_sampler, self.train_size)
        self.latent_statistics = nn.ModuleDict(
            {
                f"{stage}_latents": LatentStatistics(self.network.latent_size)
                for stage in ("train", "val", "test")
            }
        )

    def check(self) -> None:
        """Make sure that every loss can be computed for these images."""
        self.losses.check(self.image_size, self.image_channels)

    def _compose(self, weights: Mapping[str, float]) -> None:
        """Build the objective from the image losses and a subclass's own terms.

        Args:
            weights: Of the subclass's terms, by name.

        Raises:
            ConfigurationError: A loss has the name of a term that the model has anyway, or see ``Objective``.
        """
        own = {RECONSTRUCTION: self._reconstruction_weight, **weights}
        terms = {**own, **self.losses.weights([*own, *LOGGED_NAMES])}
        self.objective = Objective(terms, self._loss_schedules, self._loss_balance)

    @abstractmethod
    def _latent_terms(self, coded: Coded) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the subclass's own terms by name, means over the batch, and further values to log."""

    def schedules(self) -> dict[str, Schedule]:
        """Return all schedules by the options that they are given with."""
        return {**super().schedules(), **self.objective.schedule_options()}

    def described_networks(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """Return the network with one example image and condition."""
        return {
            "network": (
                self.network,
                (torch.zeros(1, *self.image_shape), torch.zeros(1, self.condition_size)),
            )
        }

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape (Z,) of the noise that one image is made of."""
        return (self.network.latent_size,)

    def code(self, batch: Batch) -> Coded:
        """Encode and decode a batch."""
        target = batch.image if batch.target is None else batch.target
        vector = self.condition_vector(batch.condition, len(batch))
        image, z, mu, logvar = self.network(batch.image, vector)
        return Coded(image, target, vector, z, mu, logvar)

    def _shared_step(self, batch: Batch, stage: str) -> Tensor:
        return self._finish(self.code(batch), stage)

    def terms(self, coded: Coded) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return all terms of the loss by name, means over the batch, and further values to log."""
        mse = mean_squared_error(coded.image, coded.target)  # (N,)
        own, further = self._latent_terms(coded)
        terms = {
            RECONSTRUCTION: mse.mean() * self.train_size,
            **self.losses(coded.image, coded.target),
            **own,
        }
        return terms, {"mse": mse.mean(), "psnr": peak_signal_to_noise_ratio(mse).mean(), **further}

    def _finish(self, coded: Coded, stage: str) -> Tensor:
        """Add the terms up, and log them."""
        terms, further = self.terms(coded)
        values: dict[str, Tensor | float] = {**terms, **further}
        if stage == "train":
            loss: Tensor
            loss, weights = self.objective(terms, self.progress(), coded.image)
            values |= {f"weight/{name}": weight for name, weight in weights.items()}
            self.latent_fitting.collect(coded.z, self.latent_sampler.weights(coded.vector))
            if self.trainer.world_size > 1:
                loss = loss + self.losses.rest()
        else:
            loss = self.objective.plain(terms)
        self._latents(stage).update(coded.mu, coded.logvar)
        self.log_stage(stage, {"loss": loss, **values}, len(coded.image))
        return loss

    def _latents(self, stage: str) -> LatentStatistics:
        statistics = self.latent_statistics[f"{stage}_latents"]
        assert isinstance(statistics, LatentStatistics)
        return statistics

    def training_step(self, batch: Batch) -> Tensor | None:
        """Return the loss of a batch; None where a subclass steps its optimisers itself."""
        return self._shared_step(batch, "train")

    def validation_step(self, batch: Batch) -> None:
        """Log the losses of a batch."""
        self._shared_step(batch, "val")

    def test_step(self, batch: Batch) -> None:
        """Log the losses of a batch."""
        self._shared_step(batch, "test")

    def _log_latents(self, stage: str) -> None:
        # The callback LatentTable reads the statistics before they are reset at the next start.
        active = self._latents(stage).active_units().float()
        self.log(f"{stage}/active_units", active, sync_dist=True)  # equal on all ranks

    def on_train_epoch_start(self) -> None:
        """Start the epoch's latent statistics."""
        self._latents("train").reset()
        self.latent_fitting.restart()

    def _fit_sampler(self) -> None:
        self.latent_fitting.fit(self.latent_sampler, self.trainer.world_size)

    def on_train_epoch_end(self) -> None:
        """Log the number of active latent dimensions; fit the sampler to what no validation has seen."""
        self._log_latents("train")
        self._fit_sampler()

    def on_validation_epoch_start(self) -> None:
        """Start the epoch's latent statistics; fit the sampler to the training epoch before it."""
        self._latents("val").reset()
        if self.fitting():
            self._fit_sampler()

    def on_validation_epoch_end(self) -> None:
        """Log the number of active latent dimensions, and let the loss balance see the losses."""
        self._log_latents("val")
        self.tell_validation(self.objective)

    def on_test_epoch_end(self) -> None:
        """Log the number of active latent dimensions."""
        self._log_latents("test")

    def generate(self, condition: Condition, noise: Tensor) -> Tensor:
        """Decode one latent vector per row of noise (N, Z); see the base class."""
        vector = self.condition_vector(condition.to(self.device), len(noise))
        latents = self.latent_sampler(noise.to(self.device), vector)
        return self.network.decode(latents, vector)

    def embed(self, batch: Batch) -> Tensor:
        """Return the posterior means, (N, Z)."""
        return self.network.posterior(batch.image, self.condition_vector(batch.condition, len(batch)))[0]

    def latent_scores(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return ``active_units``, ``latent_units``, and ``kl``, nats of an image; see the base class."""
        statistics = LatentStatistics(self.network.latent_size).to(self.device)
        for batch in batches:
            vector = self.condition_vector(batch.condition, len(batch))
            statistics.update(*self.network.posterior(batch.image, vector))
        kl, _ = statistics.compute()
        return {
            "active_units": float(statistics.active_units()),
            "latent_units": float(self.network.latent_size),
            "kl": float(kl.sum()),
        }

    def decode(self, latents: Tensor, condition: Condition) -> Tensor:
        """Decode latent vectors (N, Z): (N, C, H, W) in [0, 1]."""
        vector = self.condition_vector(condition.to(self.device), len(latents))
        return self.network.decode(latents.to(self.device), vector)

    def reconstruct(self, batch: Batch) -> Tensor:
        """Decode the posterior means: (N, C, H, W) in [0, 1]."""
        return self.decode(self.embed(batch), batch.condition)
