"""When a latent sampler is fitted: to whole epochs, and not to the few batches of a broken one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vedute.sampling.latents import LatentSampler


class SamplerFitting(nn.Module):
    """Collects the latent vectors of an epoch, and fits a sampler when they are enough.

    Validations also come amid an epoch, and a time budget breaks one off: few vectors would replace
    a good fit by a bad one. Enough is half an epoch,
    or as many as the fit before had (where epochs are limited).
    """

    seen: Tensor
    fitted: Tensor
    fresh: Tensor

    def __init__(self, sampler: LatentSampler, train_size: int) -> None:
        """Ask the sampler what to collect.

        Args:
            sampler: The one to fit; one that needs no fit makes this do nothing.
            train_size: Images of an epoch, of all processes together.
        """
        super().__init__()
        self.collected = sampler.collector()
        self.train_size = train_size
        if self.collected is not None:
            self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
            self.register_buffer("fitted", torch.zeros((), dtype=torch.int64))
            self.register_buffer("fresh", torch.zeros((), dtype=torch.bool))  # vectors that no fit has seen

    def restart(self) -> None:
        """Begin an epoch."""
        if self.collected is not None:
            self.collected.reset()
            self.seen.zero_()
            self.fresh.fill_(False)

    def collect(self, z: Tensor, weights: Tensor) -> None:
        """Add a batch.

        Args:
            z: (N, Z) latent vectors.
            weights: (N, K) as :meth:`LatentSampler.weights` gives them.
        """
        if self.collected is not None:
            self.collected.update(z, weights)
            self.seen += len(z)
            self.fresh.fill_(True)

    def fit(self, sampler: LatentSampler, processes: int = 1) -> None:
        """Fit the sampler if enough is collected, and new; of several processes, all must call this.

        Args:
            sampler: The one to fit.
            processes: Number of processes that collect.
        """
        if self.collected is None or not self.fresh:
            return
        seen = int(self.seen) * processes
        if seen and seen >= min(int(self.fitted), self.train_size // 2):
            sampler.fit(self.collected)
            self.fitted.fill_(seen)
            self.fresh.fill_(False)
