"""The (conditional) variational autoencoder (systems S1, S2, S4); unconditional where the data are."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lightning_modules.latent import Coded, LatentModule
from vedute.errors import ConfigurationError
from vedute.losses.variational import free_bits, kl_per_dimension


class CVAE(LatentModule):
    """Conditional VAE on an injected network.

    The term ``kl`` is the KL divergence of the posterior from N(0, 1), summed over latent dimensions.

    Source: Sohn et al. 2015, "Learning Structured Output Representation using Deep
    Conditional Generative Models" (NeurIPS).
    """

    def __init__(self, kl_weight: float = 1.0, kl_free_bits: float = 0.0, **options: Any) -> None:
        """Build the model.

        Args:
            kl_weight: Weight of the KL divergence.
            kl_free_bits: Nats that each latent dimension may cost on average before the loss counts them.
            options: See ``LatentModule`` and ``ImageModule``.

        Raises:
            ConfigurationError: ``kl_free_bits`` is negative; and see the bases.
        """
        super().__init__(**options)
        if kl_free_bits < 0:
            raise ConfigurationError(f"model.kl_free_bits is {kl_free_bits}: give at least 0 nats.")
        self.kl_weight = kl_weight
        self.kl_free_bits = kl_free_bits
        self._compose({"kl": kl_weight})

    def _latent_terms(self, coded: Coded) -> dict[str, Tensor]:
        kl = kl_per_dimension(coded.mu, coded.logvar)  # (N, Z)
        return {"kl": free_bits(kl, self.kl_free_bits).mean()}
