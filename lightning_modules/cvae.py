"""The (conditional) variational autoencoder (systems S1, S2, S4); unconditional where the data are."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lightning_modules.latent import Coded, LatentModule, check_free_bits, kl_values


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
            kl_free_bits: Nats that each latent dimension of an image may cost before the loss counts them.
            options: See ``LatentModule`` and ``ImageModule``.

        Raises:
            ConfigurationError: ``kl_free_bits`` is negative; and see the bases.
        """
        super().__init__(**options)
        self.kl_free_bits = check_free_bits(kl_free_bits)
        self._compose({"kl": kl_weight})

    def _latent_terms(self, coded: Coded) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        counted, whole = kl_values(coded, self.kl_free_bits)
        return {"kl": counted}, {"kl": whole}
