"""Generative adversarial networks (systems S3): noise and a condition in, an image out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.adversarial import AdversarialModule
from vedute.augment.differentiable import Policy, small_data_policies
from vedute.batch import Batch, Condition
from vedute.networks.generators import GeneratorNetwork
from vedute.sampling.seeds import seeded_normal


@dataclass
class Drawn:
    """Real images, and images generated under their conditions.

    Attributes:
        real: (N, C, H, W) in [0, 1].
        fake: (N, C, H, W) in [0, 1].
        vector: (N, D) condition vectors; D = 0: unconditional.
    """

    real: Tensor
    fake: Tensor
    vector: Tensor


class GAN(AdversarialModule):
    """A generator that learns from a discriminator alone.

    With DCGAN networks it is Radford et al. 2016, https://arxiv.org/abs/1511.06434; with plain residual
    networks, ``RelativisticPaired`` and both penalties, Huang et al. 2024 (R3GAN),
    https://arxiv.org/abs/2501.05441. Below 20,000 training images the discriminator sees them through
    DiffAugment (Zhao et al. 2020, https://arxiv.org/abs/2006.10738) unless ``augment`` says otherwise.
    """

    def __init__(
        self, network: Callable[[tuple[int, int], int, int], GeneratorNetwork], **options: Any
    ) -> None:
        """Build the networks.

        Args:
            network: From image size, image channels and condition size to the generator.
            options: See ``AdversarialModule`` and ``ImageModule``.

        Raises:
            ConfigurationError: The conditions are images.
        """
        super().__init__(**options)
        self.refuse_condition_images()
        self.network: GeneratorNetwork = network(self.image_size, self.image_channels, self.condition_size)

    def _default_policies(self) -> Sequence[Policy]:
        """Return DiffAugment's policies for few training images, none for many."""
        return small_data_policies(self.train_size)

    def described_networks(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """Return generator and discriminator with one example each."""
        example = (torch.zeros(1, *self.latent_shape), torch.zeros(1, self.condition_size))
        return {"network": (self.network, example), **self.described_discriminator()}

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape (Z,) of the noise that one image is made of."""
        return (self.network.noise_size,)

    def _generated(self, batch: Batch) -> Drawn:
        """Make one image under each condition of a batch, from new noise."""
        noise = torch.randn(len(batch), *self.latent_shape, device=self.device)
        return self._draw(batch, noise)

    def _draw(self, batch: Batch, noise: Tensor) -> Drawn:
        vector = self.condition_vector(batch.condition, len(batch))
        return Drawn(batch.image, self.network(noise, vector), vector)

    def _generator_loss(self, generated: Drawn) -> Tensor:
        return self.adversarial_term(*self.judge(generated))

    def _evaluate(self, batch: Batch, stage: str) -> None:
        """Log what the discriminator thinks of images that it has not learned from."""
        # A row has the same noise in each epoch: the curves show the networks, not the draw.
        rows = torch.arange(len(batch)) if batch.index is None else batch.index
        drawn = self._draw(batch, seeded_normal(rows, self.latent_shape, self.device))
        truth, opinion = self.judge(drawn)
        values = {
            "generator_loss": self.adversarial_term(truth, opinion),
            **self.unseen(truth, opinion),
        }
        self.log_stage(stage, values, len(batch))

    def validation_step(self, batch: Batch) -> None:
        """Log the losses of a batch."""
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch) -> None:
        """Log the losses of a batch."""
        self._evaluate(batch, "test")

    def generate(self, condition: Condition, noise: Tensor) -> Tensor:
        """Make images from noise (N, Z); see the base class."""
        vector = self.condition_vector(condition.to(self.device), len(noise))
        images: Tensor = self.network(noise.to(self.device), vector)
        return images
