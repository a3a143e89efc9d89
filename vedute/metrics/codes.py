"""How much of a codebook is used."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from vedute.metrics.latent import add_sum


class CodeUsage(Metric):
    """How often each code was chosen over a data set, all processes together."""

    full_state_update = False
    count: Tensor

    def __init__(self, codes: int) -> None:
        """Count ``codes`` codes."""
        super().__init__()
        self.codes = codes
        add_sum(self, "count", codes)

    def update(self, codes: Tensor) -> None:
        """Add codes: any shape, int64 in [0, K)."""
        self.count += torch.bincount(codes.flatten(), minlength=self.codes)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return perplexity and usage, scalars.

        The perplexity is exp(entropy) of how often codes are chosen: K where all are chosen equally often,
        1 where all images have one code. The usage is the share of the codes chosen at all, in [0, 1].
        """
        share = self.count / self.count.sum().clamp_min(1)
        return torch.exp(torch.special.entr(share).sum()).float(), (self.count > 0).double().mean().float()
