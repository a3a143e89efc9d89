"""The VAE-GAN (systems S4): an autoencoder whose images a discriminator judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_modules.adversarial import AdversarialModule
from lightning_modules.latent import Coded, LatentModule, check_free_bits, kl_values
from vedute.batch import Batch
from vedute.losses.adversarial import feature_distance
from vedute.networks.discriminators import choose_levels


@dataclass
class CodedAndSampled(Coded):
    """A batch on its way through the network, and images from the latent sampler beside it.

    Attributes:
        sampled: (N, C, H, W) in [0, 1], decoded from drawn latent vectors under the batch's conditions.
    """

    sampled: Tensor

    @property
    def real(self) -> Tensor:
        """(N, C, H, W): what the generated images are compared with."""
        return self.target

    @property
    def fake(self) -> Tensor:
        """(2 N, C, H, W): reconstructions, then samples."""
        return torch.cat([self.image, self.sampled])


class VAEGAN(AdversarialModule, LatentModule):
    """Conditional VAE with a discriminator that supplies a loss and the features to compare images in.

    The generator's terms, beside those of ``LatentModule``: ``kl``; ``feature``, the distance of image
    and reconstruction in the discriminator's features; ``adversarial``, of reconstructions and of images
    from the latent sampler alike. A schedule for ``adversarial`` (``vedute.schedules.FromEpoch``) lets
    that term start later; the discriminator learns from the beginning, because the features are its own.
    Unlike in the source, the encoder also learns from ``adversarial``.

    Source: Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric",
    https://arxiv.org/abs/1512.09300.
    """

    compares_features: ClassVar[bool] = True

    def __init__(
        self,
        kl_weight: float = 1.0,
        kl_free_bits: float = 0.0,
        feature_weight: float = 1000.0,
        adversarial_weight: float = 100.0,
        feature_levels: list[int] | None = None,
        **options: Any,
    ) -> None:
        """Build the model.

        Args:
            kl_weight: Weight of the KL divergence.
            kl_free_bits: Nats that each latent dimension of an image may cost before the loss counts them.
            feature_weight: Weight of the distance in features.
            adversarial_weight: Weight of the adversarial loss.
            feature_levels: Which of the discriminator's feature maps are compared, 0 the finest; null: all.
            options: See ``AdversarialModule``, ``LatentModule`` and ``ImageModule``.

        Raises:
            ConfigurationError: A number is out of range, or the discriminator has no such feature map.
        """
        super().__init__(**options)
        self._levels = choose_levels(self.discriminator, feature_levels)
        self.kl_free_bits = check_free_bits(kl_free_bits)
        self._compose({"kl": kl_weight, "feature": feature_weight, "adversarial": adversarial_weight})

    def described_networks(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """Return network and discriminator with one example image and condition."""
        return {**super().described_networks(), **self.described_discriminator()}

    def code(self, batch: Batch) -> CodedAndSampled:
        """Encode and decode a batch, and decode drawn latent vectors under its conditions."""
        coded = super().code(batch)
        latents = self.latent_sampler(torch.randn_like(coded.mu), coded.vector)
        return CodedAndSampled(**vars(coded), sampled=self.network.decode(latents, coded.vector))

    def _generated(self, batch: Batch) -> CodedAndSampled:
        return self.code(batch)

    def _generator_loss(self, generated: CodedAndSampled) -> Tensor:
        return self._finish(generated, "train")

    def _latent_terms(self, coded: Coded) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        assert isinstance(coded, CodedAndSampled)
        truth, opinion = self.judge(coded)
        assert truth is not None, "features are compared"
        counted, whole = kl_values(coded, self.kl_free_bits)
        count = len(coded.target)
        terms = {
            "kl": counted,
            "feature": feature_distance(
                [opinion.features[level][:count] for level in self._levels],
                [truth.features[level] for level in self._levels],
            ).mean(),
            "adversarial": self.adversarial_term(truth, opinion),
        }
        # Training logs what the discriminator thought when it learned.
        opinions = {} if self.training else self.opinions(truth.logits, opinion.logits)
        return terms, {"kl": whole, **opinions}
