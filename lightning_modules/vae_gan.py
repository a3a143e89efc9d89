"""The VAE-GAN (systems S4): an autoencoder whose images a discriminator judges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import Parameter

from lightning_modules.base import OptimizerFactory
from lightning_modules.latent import Coded, LatentModule, check_free_bits, kl_values
from vedute.augment.differentiable import DiffAugment, Policy
from vedute.batch import Batch
from vedute.errors import ConfigurationError
from vedute.losses.adversarial import AdversarialLoss, NonSaturating, feature_distance, gradient_penalty
from vedute.networks.discriminators import Discriminator, ProjectionDiscriminator, choose_levels
from vedute.schedules import Schedule, check_schedule


@dataclass
class Generated(Coded):
    """A batch on its way through the network, and images from the latent sampler beside it.

    Attributes:
        sampled: (N, C, H, W) in [0, 1], decoded from drawn latent vectors under the batch's conditions.
    """

    sampled: Tensor


class VAEGAN(LatentModule):
    """Conditional VAE with a discriminator that supplies a loss and the features to compare images in.

    The generator's terms, beside those of ``LatentModule``: ``kl``; ``feature``, the distance of image
    and reconstruction in the discriminator's features; ``adversarial``, of reconstructions and of images
    from the latent sampler alike. A schedule for ``adversarial`` (``vedute.schedules.FromEpoch``) lets
    that term start later; the discriminator learns from the beginning, because the features are its own.
    Unlike in the source, the encoder also learns from ``adversarial``.

    Source: Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric",
    https://arxiv.org/abs/1512.09300.
    """

    optimizer_steps_per_batch: ClassVar[int] = 2

    def __init__(
        self,
        discriminator: Callable[[tuple[int, int], int, int], Discriminator] = ProjectionDiscriminator,
        adversarial: AdversarialLoss | None = None,
        kl_weight: float = 1.0,
        kl_free_bits: float = 0.0,
        feature_weight: float = 1000.0,
        adversarial_weight: float = 100.0,
        feature_levels: list[int] | None = None,
        penalty_weight: float = 1.0,
        penalty_every: int = 8,
        discriminator_optimizer: OptimizerFactory | None = None,
        discriminator_schedule: Schedule | None = None,
        gradient_clip: float | None = None,
        augment: list[Policy] | None = None,
        **options: Any,
    ) -> None:
        """Build the model.

        Args:
            discriminator: From image size, image channels and condition size to the discriminator.
            adversarial: What discriminator and generator minimise; null: non-saturating cross-entropy.
            kl_weight: Weight of the KL divergence.
            kl_free_bits: Nats that each latent dimension of an image may cost before the loss counts them.
            feature_weight: Weight of the distance in features.
            adversarial_weight: Weight of the adversarial loss.
            feature_levels: Which of the discriminator's feature maps are compared, 0 the finest; null: all.
            penalty_weight: Weight of the squared gradient of the discriminator at real images (R1); 0: none.
            penalty_every: Batches between two computations of it, which has the weight of all of them then.
            discriminator_optimizer: From parameters to the discriminator's optimiser; null: as ``optimizer``.
            discriminator_schedule: Multiplies its learning rate; null: as ``learning_rate_schedule``.
            gradient_clip: Largest norm of the gradients of each optimiser's weights; null: any.
            augment: Changes of all images that the discriminator sees in training; null: none.
            options: See ``LatentModule`` and ``ImageModule``.

        Raises:
            ConfigurationError: A number is out of range, or the discriminator has no such feature map.
        """
        super().__init__(**options)
        known = 0 <= penalty_weight < math.inf and penalty_every >= 1
        if not known or (gradient_clip is not None and not gradient_clip > 0):
            raise ConfigurationError(
                f"{type(self).__name__} needs penalty_weight >= 0, penalty_every >= 1 and gradient_clip > 0 "
                f"(or null); got {penalty_weight}, {penalty_every}, {gradient_clip}."
            )
        # Each optimiser takes its turn in a batch: Lightning's own order has one.
        self.automatic_optimization = False
        self.discriminator = discriminator(self.image_size, self.image_channels, self.condition_size)
        self._levels = choose_levels(self.discriminator, feature_levels)
        self._adversarial = adversarial or NonSaturating()
        self._penalty_weight = penalty_weight
        self._penalty_every = penalty_every
        self._discriminator_optimizer = discriminator_optimizer or self._optimizer
        self._discriminator_schedule = discriminator_schedule or self._schedule
        check_schedule(self._discriminator_schedule, "discriminator_schedule")
        self._gradient_clip = gradient_clip
        self._augment = DiffAugment(augment or [])
        self.kl_free_bits = check_free_bits(kl_free_bits)
        self._compose({"kl": kl_weight, "feature": feature_weight, "adversarial": adversarial_weight})

    def setup(self, stage: str) -> None:
        """Prepare the weights' layout, and several processes for two optimisers."""
        super().setup(stage)
        strategy = self.trainer.strategy
        if isinstance(strategy, DDPStrategy):
            # Each backward pass leaves the other network's weights without gradients, on all ranks alike.
            strategy._ddp_kwargs.setdefault("find_unused_parameters", True)

    def schedules(self) -> dict[str, Schedule]:
        """Return all schedules by the options that they are given with."""
        return {**super().schedules(), "discriminator_schedule": self._discriminator_schedule}

    def described_networks(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """Return network and discriminator with one example image and condition."""
        networks = super().described_networks()
        return {**networks, "discriminator": (self.discriminator, networks["network"][1])}

    def averaged_parameters(self) -> dict[str, Parameter]:
        """Return the weights of encoder and decoder."""
        return {
            name: parameter
            for name, parameter in super().averaged_parameters().items()
            if name.startswith("network.")
        }

    def configure_optimizers(  # type: ignore[override]  # several, where the base has one
        self,
    ) -> Sequence[OptimizerLRSchedulerConfig]:
        """Build the generator's and the discriminator's optimiser."""
        judges = set(self.discriminator.parameters())
        generator = [p for p in self.parameters() if p.requires_grad and p not in judges]
        discriminator = [p for p in self.discriminator.parameters() if p.requires_grad]
        return (
            self.scheduled(self._optimizer(generator), self._schedule),
            self.scheduled(self._discriminator_optimizer(discriminator), self._discriminator_schedule),
        )

    def code(self, batch: Batch) -> Generated:
        """Encode and decode a batch, and decode drawn latent vectors under its conditions."""
        coded = super().code(batch)
        latents = self.latent_sampler(torch.randn_like(coded.mu), coded.vector)
        return Generated(**vars(coded), sampled=self.network.decode(latents, coded.vector))

    def training_step(self, batch: Batch) -> None:
        """Let the discriminator, then the generator take a step."""
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        generator, discriminator = optimizers
        coded = self.code(batch)  # for both: the generator changes after the discriminator
        with self.toggled_optimizer(discriminator):
            self._step(discriminator, self._discriminator_loss(coded))
        with self.toggled_optimizer(generator):
            self._step(generator, self._generator_loss(coded))
        schedulers = self.lr_schedulers()
        assert isinstance(schedulers, list)
        for scheduler in schedulers:
            scheduler.step()  # type: ignore[call-arg]  # of those that Lightning knows one wants a metric

    def _step(self, optimizer: LightningOptimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self._gradient_clip is not None:
            self.clip_gradients(optimizer.optimizer, gradient_clip_val=self._gradient_clip)
        optimizer.step()

    def _discriminator_loss(self, coded: Generated) -> Tensor:
        """Return what the discriminator minimises, and log it."""
        target, vector = coded.target, coded.vector
        fakes = torch.cat([coded.image, coded.sampled]).detach()
        images, vectors = self._augment(torch.cat([target, fakes])), vector.repeat(3, 1)
        real, fake = self.discriminator(images, vectors).logits.split([len(target), len(fakes)])
        real = real.repeat(2, 1)  # each fake has its real image, of the same condition
        loss = self._adversarial.discriminator(real, fake).mean()
        values: dict[str, Tensor | float] = {
            "discriminator_loss": loss.detach(),
            **self._opinions(real, fake),
        }
        batch = self.trainer.fit_loop.epoch_loop.total_batch_idx
        if self._penalty_weight and batch % self._penalty_every == 0:
            penalty = self._penalty(target, vector)
            values["penalty"] = penalty.detach()
            loss = loss + self._penalty_weight * self._penalty_every * penalty
        self.log_stage("train", values, len(target))
        return loss

    def _penalty(self, image: Tensor, vector: Tensor) -> Tensor:
        """Return half the mean squared gradient of the logits at real images."""
        with torch.autocast(image.device.type, enabled=False):
            image = image.detach().float().requires_grad_()
            return 0.5 * gradient_penalty(self.discriminator(image, vector).logits, image).mean()

    def _opinions(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return what is logged of logits (N, K)."""
        return {
            "real_logits": real.mean().detach(),
            "fake_logits": fake.mean().detach(),
            "discriminator_accuracy": self._adversarial.correct(real, fake).mean(),
        }

    def _generator_loss(self, coded: Generated) -> Tensor:
        """Return what encoder and decoder minimise, and log it."""
        loss = self._finish(coded, "train")
        self.log_stage("train", {"generator_loss": loss.detach()}, len(coded.target))
        return loss

    def _latent_terms(self, coded: Coded) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        assert isinstance(coded, Generated)
        count = len(coded.target)
        target, fakes = coded.target, torch.cat([coded.image, coded.sampled])
        if self.training:
            # Image and reconstruction are compared: both are changed alike.
            drawn = self._augment.draw(len(fakes), fakes.device)
            target, fakes = self._augment(target, drawn[:count]), self._augment(fakes, drawn)
        with torch.no_grad():
            truth = self.discriminator(target, coded.vector)
        opinion = self.discriminator(fakes, coded.vector.repeat(2, 1))
        real = truth.logits.repeat(2, 1)
        counted, whole = kl_values(coded, self.kl_free_bits)
        terms = {
            "kl": counted,
            "feature": feature_distance(
                [opinion.features[level][:count] for level in self._levels],
                [truth.features[level] for level in self._levels],
            ).mean(),
            "adversarial": self._adversarial.generator(real, opinion.logits).mean(),
        }
        # Training logs what the discriminator thought when it learned.
        opinions = {} if self.training else self._opinions(real, opinion.logits)
        return terms, {"kl": whole, **opinions}
