"""The deterministic autoencoder (system S1's ``ae``), made generative by a fitted latent sampler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from lightning_modules.latent import Coded, LatentModule
from vedute.batch import Batch


class Autoencoder(LatentModule):
    """Encoder and decoder without noise; the term ``latent_norm`` keeps latent vectors short.

    Without it nothing holds the latent vectors together, and a sampler fitted to them (a Gaussian, a
    mixture) hits few places that the decoder knows.

    Source: regularised autoencoders, Ghosh et al. 2020, https://arxiv.org/abs/1903.12436.
    """

    def __init__(self, latent_norm_weight: float = 0.0, **options: Any) -> None:
        """Build the model.

        Args:
            latent_norm_weight: Weight of half the squared length of latent vectors.
            options: See ``LatentModule`` and ``ImageModule``.
        """
        super().__init__(**options)
        self.network.freeze_variance()
        self._compose({"latent_norm": latent_norm_weight})

    def code(self, batch: Batch) -> Coded:
        """Encode and decode a batch, without noise."""
        target = batch.image if batch.target is None else batch.target
        vector = self.condition_vector(batch.condition, len(batch))
        mu, logvar = self.network.posterior(batch.image, vector)
        return Coded(self.network.decode(mu, vector), target, vector, mu, mu, logvar.detach())

    def _latent_terms(self, coded: Coded) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return {"latent_norm": 0.5 * coded.mu.square().sum(dim=1).mean()}, {}

    def latent_scores(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return ``active_units`` and ``latent_units``: without noise there is no KL; see the base class."""
        return {name: value for name, value in super().latent_scores(batches).items() if name != "kl"}
