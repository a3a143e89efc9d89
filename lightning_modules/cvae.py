"""The conditional variational autoencoder (systems S1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from lightning_modules.base import GenerativeModule
from vedute.batch import Batch, Condition
from vedute.errors import ConfigurationError
from vedute.losses.pixel import mean_squared_error, peak_signal_to_noise_ratio
from vedute.losses.variational import kl_per_dimension
from vedute.metrics.latent import LatentStatistics
from vedute.networks.vae import VAENetwork
from vedute.sampling.latents import LatentSampler, StandardNormal, class_weights
from vedute.sampling.seeds import seeded_normal
from vedute.schedules import Constant, Schedule


class CVAE(GenerativeModule):
    """Conditional VAE on an injected network.

    The loss of an image is ``reconstruction_weight * E_recon + kl_weight * KL`` with
    E_recon = MSE * number of training images and KL summed over latent dimensions, as the
    reference system defines them.

    Source: Sohn et al. 2015, "Learning Structured Output Representation using Deep
    Conditional Generative Models" (NeurIPS).
    """

    has_encoder: ClassVar[bool] = True

    def __init__(
        self,
        network: Callable[[tuple[int, int], int, int], VAENetwork],
        reconstruction_weight: float = 1.0,
        kl_weight: float = 1.0,
        kl_schedule: Schedule | None = None,
        latent_sampler: Callable[[int, int], LatentSampler] = StandardNormal,
        **facts: Any,
    ) -> None:
        """Build the model.

        Args:
            network: From image size, image channels and condition size to the network.
            reconstruction_weight: Weight of E_recon.
            kl_weight: Weight of the KL divergence.
            kl_schedule: Multiplies ``kl_weight`` while training; None: constant.
            latent_sampler: From number of classes (0 where conditions are none) and latent size to what
                latent vectors are drawn from when sampling.
            facts: About the data, and how to optimise; see ``ImageModule``.

        Raises:
            ConfigurationError: The conditions are images.
        """
        super().__init__(**facts)
        if self.condition_channels:
            raise ConfigurationError(
                f"{type(self).__name__} has no input for condition images, but the data have masks. Leave "
                "them out (data.condition none, or no data.mask_column), or choose a model that makes images "
                "from masks."
            )
        self.network = network(self.image_size, self.image_channels, self.condition_size)
        self.reconstruction_weight = reconstruction_weight
        self.kl_weight = kl_weight
        self._kl_schedule = kl_schedule or Constant()
        classes = self.condition_size if self.condition_kind == "class" else 0
        self.latent_sampler = latent_sampler(classes, self.network.latent_size)
        self.latent_moments = self.latent_sampler.moments()
        self.latent_statistics = nn.ModuleDict(
            {
                f"{stage}_latents": LatentStatistics(self.network.latent_size)
                for stage in ("train", "val", "test")
            }
        )

    def described_networks(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """Return the network with one example image and condition."""
        return {
            "network": (
                self.network,
                (torch.zeros(1, *self.image_shape), torch.zeros(1, self.condition_size)),
            )
        }

    def _vector(self, condition: Condition, count: int) -> Tensor:
        """Return the condition vector (N, D); (N, 0) when the model is unconditional."""
        if self.condition_size and condition.vector is not None:
            return condition.vector
        if self.condition_size:
            raise ValueError(
                f"{type(self).__name__} needs a condition vector of {self.condition_size} entries"
            )
        return torch.zeros(count, 0, device=self.device)

    def _classes(self, vector: Tensor) -> Tensor:
        """Return the class probabilities in a condition vector, (N, D); (N, 0) where it holds scores."""
        return vector if self.condition_kind == "class" else vector[:, :0]

    def _shared_step(self, batch: Batch, stage: str) -> Tensor:
        target = batch.image if batch.target is None else batch.target
        vector = self._vector(batch.condition, len(batch))
        image, z, mu, logvar = self.network(batch.image, vector)
        mse = mean_squared_error(image, target)  # (N,)
        kl = kl_per_dimension(mu, logvar).sum(dim=1)  # (N,)
        reconstruction = mse.mean() * self.train_size
        kl_weight = self.kl_weight * (self._kl_schedule(self.progress()) if stage == "train" else 1.0)
        loss = self.reconstruction_weight * reconstruction + kl_weight * kl.mean()
        self._latents(stage).update(mu, logvar)
        values: dict[str, Tensor | float] = {
            "loss": loss,
            "reconstruction": reconstruction,
            "mse": mse.mean(),
            "psnr": peak_signal_to_noise_ratio(mse).mean(),
            "kl": kl.mean(),
        }
        if stage == "train":
            values["kl_weight"] = kl_weight
            if self.latent_moments is not None:
                self.latent_moments.update(z, class_weights(self._classes(vector)))
        self.log_stage(stage, values, len(batch))
        return loss

    def _latents(self, stage: str) -> LatentStatistics:
        statistics = self.latent_statistics[f"{stage}_latents"]
        assert isinstance(statistics, LatentStatistics)
        return statistics

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
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
        if self.latent_moments is not None:
            self.latent_moments.reset()

    def on_train_epoch_end(self) -> None:
        """Log the number of active latent dimensions."""
        self._log_latents("train")

    def on_validation_epoch_start(self) -> None:
        """Start the epoch's latent statistics; fit the sampler to the training epoch before it."""
        self._latents("val").reset()
        fitting = self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking
        if self.latent_moments is not None and fitting:
            self.latent_sampler.fit(self.latent_moments)

    def on_validation_epoch_end(self) -> None:
        """Log the number of active latent dimensions."""
        self._log_latents("val")

    def on_test_epoch_end(self) -> None:
        """Log the number of active latent dimensions."""
        self._log_latents("test")

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        """Decode one latent vector per seed; see the base class."""
        vector = self._vector(condition.to(self.device), len(seeds))
        noise = seeded_normal(seeds, (self.network.latent_size,), self.device)
        return self.network.decode(self.latent_sampler(noise, self._classes(vector)), vector)

    def embed(self, batch: Batch) -> Tensor:
        """Return the posterior means, (N, Z)."""
        return self.network.posterior(batch.image, self._vector(batch.condition, len(batch)))[0]

    def reconstruct(self, batch: Batch) -> Tensor:
        """Decode the posterior means: (N, C, H, W) in [0, 1]."""
        return self.network.decode(self.embed(batch), self._vector(batch.condition, len(batch)))
