"""What approaches with a discriminator share: two optimisers in turns, penalties, augmentation."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_modules.base import GenerativeModule, OptimizerFactory
from vedute.augment.adaptive import AdaptiveProbability
from vedute.augment.differentiable import DiffAugment, Policy
from vedute.batch import Batch
from vedute.errors import ConfigurationError
from vedute.losses.adversarial import AdversarialLoss, NonSaturating, zero_centred_penalty
from vedute.networks.discriminators import Discriminator, Judgement, ProjectionDiscriminator
from vedute.schedules import Schedule, check_schedule


class Generated(Protocol):
    """A batch on its way through the generator, as a discriminator sees it."""

    @property
    def real(self) -> Tensor:
        """(N, C, H, W): real images, with channels beside them that the discriminator also sees."""

    @property
    def fake(self) -> Tensor:
        """(K * N, C, H, W): K sets of generated images, each under the conditions of the real ones."""

    @property
    def vector(self) -> Tensor:
        """(N, D) condition vectors; D = 0: unconditional."""


class AdversarialModule(GenerativeModule):
    """A generator and a discriminator that take turns in each batch.

    A subclass makes images (:meth:`_generated`) and says what its generator minimises
    (:meth:`_generator_loss`); its generator is the attribute ``network``. Everything about the
    discriminator is here: what it minimises, zero-centred gradient penalties (R1 at real images, R2 at
    generated ones, in float32), augmentation of all images that it sees, its optimiser and schedule.
    """

    compares_features: ClassVar[bool] = False
    """Whether the generator's turn looks at the discriminator's features of real images."""

    def __init__(
        self,
        discriminator: Callable[[tuple[int, int], int, int], Discriminator] = ProjectionDiscriminator,
        adversarial: AdversarialLoss | None = None,
        penalty_weight: float = 1.0,
        fake_penalty_weight: float = 0.0,
        penalty_every: int = 8,
        discriminator_steps: int = 1,
        discriminator_optimizer: OptimizerFactory | None = None,
        discriminator_schedule: Schedule | None = None,
        gradient_clip: float | None = None,
        augment: list[Policy] | None = None,
        adaptive: AdaptiveProbability | None = None,
        **options: Any,
    ) -> None:
        """Build the discriminator; a subclass builds its generator.

        Args:
            discriminator: From image size, channels and condition size to the discriminator.
            adversarial: What discriminator and generator minimise; null: non-saturating cross-entropy.
            penalty_weight: Weight of the squared gradient of the discriminator at real images (R1); 0: none.
            fake_penalty_weight: The same at generated images (R2).
            penalty_every: Batches between two computations of the penalties, which have the weight of all
                of them then.
            discriminator_steps: Steps of the discriminator for each of the generator, which takes one every
                so many batches.
            discriminator_optimizer: From parameters to the discriminator's optimiser; null: as ``optimizer``.
            discriminator_schedule: Multiplies its learning rate; null: as ``learning_rate_schedule``.
            gradient_clip: Largest norm of the gradients of each optimiser's weights; null: any.
            augment: Changes of all images that the discriminator sees in training; null: the approach's
                own choice.
            adaptive: Multiplies the probabilities of ``augment`` by how far the discriminator overfits;
                null: they stay.
            options: See ``ImageModule`` and, where there is one, the approach's other base.

        Raises:
            ConfigurationError: A number is out of range.
        """
        super().__init__(**options)
        weights = (penalty_weight, fake_penalty_weight)
        known = (
            all(0 <= weight < math.inf for weight in weights) and min(penalty_every, discriminator_steps) >= 1
        )
        if not known or (gradient_clip is not None and not gradient_clip > 0):
            raise ConfigurationError(
                f"{type(self).__name__} needs penalty_weight and fake_penalty_weight >= 0, penalty_every and "
                f"discriminator_steps >= 1, and gradient_clip > 0 (or null); got {penalty_weight}, "
                f"{fake_penalty_weight}, {penalty_every}, {discriminator_steps}, {gradient_clip}."
            )
        # Each optimiser takes its turn in a batch: Lightning's own order has one.
        self.automatic_optimization = False
        self.discriminator = discriminator(self.image_size, self.judged_channels, self.condition_size)
        # Batch normalisation would let it tell sets of images apart instead of images.
        self._judges_batches = any(
            isinstance(layer, nn.BatchNorm2d) for layer in self.discriminator.modules()
        )
        self._adversarial = adversarial or NonSaturating()
        self._penalty_weight = penalty_weight
        self._fake_penalty_weight = fake_penalty_weight
        self._penalty_every = penalty_every
        self._discriminator_steps = discriminator_steps
        self._discriminator_optimizer = discriminator_optimizer or self._optimizer
        self._discriminator_schedule = discriminator_schedule or self._schedule
        check_schedule(self._discriminator_schedule, "discriminator_schedule")
        self._gradient_clip = gradient_clip
        policies = self._default_policies() if augment is None else augment
        if adaptive is not None and not policies:
            raise ConfigurationError("adaptive changes how often images are augmented: give augment as well.")
        self.augment = DiffAugment(policies, adaptive)

    @property
    def judged_channels(self) -> int:
        """Channels of what the discriminator sees."""
        return self.image_channels

    def _default_policies(self) -> Sequence[Policy]:
        """Return how the discriminator's images are changed where nothing else is asked for."""
        return []

    @abstractmethod
    def _generated(self, batch: Batch) -> Generated:
        """Make images under the conditions of a batch."""

    @abstractmethod
    def _generator_loss(self, generated: Any) -> Tensor:  # noqa: ANN401  # each approach's own Generated
        """Return what the generator minimises, and log it."""

    def setup(self, stage: str) -> None:
        """Prepare the weights' layout, and several processes for two optimisers."""
        super().setup(stage)
        strategy = self.trainer.strategy
        if isinstance(strategy, DDPStrategy):
            # Each backward pass leaves the other network's weights without gradients, on all ranks alike.
            strategy._ddp_kwargs["find_unused_parameters"] = True

    def schedules(self) -> dict[str, Schedule]:
        """Return all schedules by the options that they are given with."""
        return {**super().schedules(), "discriminator_schedule": self._discriminator_schedule}

    def described_discriminator(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """Return the discriminator with one example image and condition."""
        image = torch.zeros(1, self.judged_channels, *self.image_size)
        return {"discriminator": (self.discriminator, (image, torch.zeros(1, self.condition_size)))}

    def averaged_tensors(self) -> dict[str, Tensor]:
        """Return the generator's weights and statistics."""
        tensors = super().averaged_tensors()
        return {name: tensor for name, tensor in tensors.items() if name.startswith("network.")}

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

    def _discriminator_learns(self) -> bool:
        """Whether anything uses the discriminator by now."""
        return True

    def training_step(self, batch: Batch) -> None:
        """Let the discriminator, then the generator take a step."""
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        generator, discriminator = optimizers
        done = self.trainer.fit_loop.epoch_loop.total_batch_idx
        learns = self._discriminator_learns()
        generates = not learns or (done + 1) % self._discriminator_steps == 0
        with torch.set_grad_enabled(generates):
            generated = self._generated(batch)  # for both: the generator changes after the discriminator
        if learns:
            with self.toggled_optimizer(discriminator):
                self._step(
                    discriminator, self._discriminator_loss(generated, done % self._penalty_every == 0)
                )
        if generates:
            with self.toggled_optimizer(generator):
                loss = self._generator_loss(generated)
                self.log_stage("train", {"generator_loss": loss.detach()}, len(batch))
                self._step(generator, loss)
        # Before the callbacks that write checkpoints, which hold the next batch's rates then.
        schedulers = self.lr_schedulers()
        assert isinstance(schedulers, list)
        self._uncounted = 1
        for scheduler in schedulers:
            scheduler.step()  # type: ignore[call-arg]  # of those that Lightning knows one wants a metric
        self._uncounted = 0

    def _step(self, optimizer: LightningOptimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip gradients: after callbacks have seen them, and after a gradient scaler."""
        if self._gradient_clip is not None:
            self.clip_gradients(optimizer, gradient_clip_val=self._gradient_clip)

    def _discriminator_loss(self, generated: Generated, penalised: bool) -> Tensor:
        """Return what the discriminator minimises, and log it."""
        real, fake, vector = generated.real, generated.fake.detach(), generated.vector
        vectors = vector.repeat(1 + len(fake) // len(real), 1)
        images = self.change(torch.cat([real, fake]))
        if self._judges_batches:
            truth = self.discriminator(images[: len(real)], vector).logits
            opinion = self.discriminator(images[len(real) :], vectors[len(real) :]).logits
        else:
            truth, opinion = self.discriminator(images, vectors).logits.split([len(real), len(fake)])
        truth = self._beside(truth, opinion)
        if self.augment.adaptive is not None:
            # A row for each real image, compared K times: images are counted once.
            margins = self._adversarial.margins(truth, opinion)[0].detach()  # (K * N, P)
            margins = margins.reshape(-1, len(real), margins.shape[1]).transpose(0, 1)
            self.augment.adaptive.update(margins.flatten(1))  # (N, K * P)
        loss = self._adversarial.discriminator(truth, opinion).mean()
        values = {"discriminator_loss": loss.detach(), **self.opinions(truth, opinion)}
        if self.augment.adaptive is not None:
            values["augment_probability"] = self.augment.adaptive.probability.clone()
        for name, weight, image in (
            ("penalty", self._penalty_weight, real),
            ("fake_penalty", self._fake_penalty_weight, fake),
        ):
            if weight and penalised:
                penalty = self._penalty(image, vectors[: len(image)])
                values[name] = penalty.detach()
                loss = loss + weight * self._penalty_every * penalty
        self.log_stage("train", values, len(real))
        return loss

    def _penalty(self, image: Tensor, vector: Tensor) -> Tensor:
        """Return half the mean squared gradient of the logits at images, as the discriminator sees them."""
        image = self.change(image.detach())
        return (
            0.5
            * zero_centred_penalty(lambda changed: self.discriminator(changed, vector).logits, image).mean()
        )

    def change(self, image: Tensor, drawn: Tensor | None = None) -> Tensor:
        """Augment images for the discriminator.

        Args:
            image: (N, ``judged_channels``, H, W).
            drawn: What is random, of ``augment.draw``; None: drawn here.
        """
        changed: Tensor = self.augment(image, drawn)
        return changed

    def judge(self, generated: Generated) -> tuple[Judgement | None, Judgement]:
        """Let the discriminator judge for the generator's turn, and for validation.

        A generated image and the real one beside it are changed alike, so that they can be compared.

        Returns:
            On the N real images, without a graph (None in training where nothing is compared with them), and
            on the K * N generated ones.
        """
        real, fake, vector = generated.real, generated.fake, generated.vector
        if self.training:
            drawn = self.augment.draw(len(fake), fake.device)
            real, fake = self.change(real, drawn[: len(real)]), self.change(fake, drawn)
        truth: Judgement | None = None
        if self.compares_features or self._adversarial.compares or not self.training:
            with torch.no_grad():
                truth = self.discriminator(real, vector)
        opinion: Judgement = self.discriminator(fake, vector.repeat(len(fake) // len(real), 1))
        return truth, opinion

    def adversarial_term(self, truth: Judgement | None, opinion: Judgement) -> Tensor:
        """Return the generator's adversarial loss, a mean over a batch."""
        # A loss that compares nothing does not look at the first.
        real = opinion.logits if truth is None else self._beside(truth.logits, opinion.logits)
        return self._adversarial.generator(real, opinion.logits).mean()

    def unseen(self, truth: Judgement | None, opinion: Judgement) -> dict[str, Tensor]:
        """Return what validation logs of the discriminator, on images that it has not learned from."""
        if truth is None:
            return {}
        real = self._beside(truth.logits, opinion.logits)
        loss = self._adversarial.discriminator(real, opinion.logits).mean()
        return {"discriminator_loss": loss, **self.opinions(truth.logits, opinion.logits)}

    def _beside(self, truth: Tensor, opinion: Tensor) -> Tensor:
        """Repeat the real images' logits (N, P) for each set of generated ones (K * N, P)."""
        return truth.repeat(len(opinion) // len(truth), 1)

    def opinions(self, truth: Tensor, opinion: Tensor) -> dict[str, Tensor]:
        """Return what is logged of logits (N, P) of real images and (K * N, P) of generated ones."""
        real = self._beside(truth, opinion)
        return {
            "real_logits": truth.mean().detach(),
            "fake_logits": opinion.mean().detach(),
            "discriminator_accuracy": self._adversarial.correct(real, opinion).mean(),
        }
