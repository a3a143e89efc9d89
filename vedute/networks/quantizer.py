"""Vector quantisation: each vector of a map becomes the nearest entry of a learned codebook."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.distributed import from_first, summed
from vedute.errors import ConfigurationError

_KMEANS_ROUNDS = 10


@dataclass
class Quantised:
    """What quantisation makes of a map of vectors.

    Attributes:
        vectors: (N, D, h, w) float32, the chosen codes; gradients pass to the given vectors unchanged.
        codes: (N, h * w) int64, their numbers in [0, K), row by row.
        commitment: (N,) float32, mean squared distance of the given vectors from their codes.
    """

    vectors: Tensor
    codes: Tensor
    commitment: Tensor


class EMAQuantizer(nn.Module):
    """A codebook that follows the vectors it stands for as a moving average, without gradients.

    The first training batch initialises it by k-means. A code that is hardly chosen any more takes the
    place of a vector of the batch, drawn at random, so that no part of the codebook dies. All of its
    state lies in buffers; over several processes the statistics are summed, and all keep one codebook.

    Sources: van den Oord et al. 2017, https://arxiv.org/abs/1711.00937 (straight-through gradient; moving
    averages in appendix A.1); Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341 (restarts); Yu et
    al. 2021, https://arxiv.org/abs/2110.04627 (few entries, vectors of length 1).
    """

    codebook: Tensor
    use: Tensor
    total: Tensor
    ready: Tensor

    def __init__(
        self,
        codes: int = 512,
        code_size: int = 16,
        normalise: bool = False,
        decay: float = 0.95,
        restart_share: float = 0.2,
    ) -> None:
        """Build an empty codebook.

        Args:
            codes: Number K of codes.
            code_size: Entries D of a code.
            normalise: Bring vectors and codes to length 1 before they are compared.
            decay: Of the moving averages, per batch, in [0, 1).
            restart_share: A code chosen less often than this share of the mean is restarted; 0: never.

        Raises:
            ConfigurationError: Fewer than two codes, no entries, or a share out of its range.
        """
        super().__init__()
        if codes < 2:
            raise ConfigurationError(f"A codebook needs at least 2 codes, got codes {codes}.")
        least = 2 if normalise else 1
        if code_size < least:
            raise ConfigurationError(
                f"code_size is {code_size}: codes need at least {least} entries"
                f"{' where normalise brings them to length 1' if normalise else ''}."
            )
        if not 0 <= decay < 1:
            raise ConfigurationError(f"The codebook's decay must lie in [0, 1), got {decay:g}.")
        if not 0 <= restart_share < 1:
            raise ConfigurationError(f"restart_share must lie in [0, 1), got {restart_share:g}.")
        self.codes = codes
        self.code_size = code_size
        self.normalise = normalise
        self.decay = decay
        self.restart_share = restart_share
        # Random until the first batch, so that a model that was never trained works too.
        codebook = torch.randn(codes, code_size)
        self.register_buffer("codebook", F.normalize(codebook, dim=1) if normalise else codebook)
        self.register_buffer("use", torch.ones(codes))
        self.register_buffer("total", self.codebook.clone())
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))
        self._seen_ready = False  # that ``ready`` is set: reading it in each step would make a GPU wait
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]  # untyped in torch

    def look_up(self, codes: Tensor) -> Tensor:
        """Return (*shape, D) float32: the vectors of codes (*shape)."""
        return F.embedding(codes, self.codebook)

    def forward(self, vectors: Tensor, learn: bool = False) -> Quantised:
        """Quantise a map.

        Args:
            vectors: (N, D, h, w).
            learn: Move the codebook towards the vectors afterwards.

        Returns:
            Codes and their vectors; see :class:`Quantised`.
        """
        # bfloat16 would take neighbouring codes for one, and moving averages in it stand still.
        with torch.autocast(vectors.device.type, enabled=False):
            given = vectors.float()
            if self.normalise:
                given = F.normalize(given, dim=1)
            rows = given.permute(0, 2, 3, 1).reshape(-1, self.code_size)  # (N * h * w, D)
            found = rows.detach()
            if learn and not self._seen_ready:
                if not self.ready:
                    self._initialise(found)
                self._seen_ready = True
            codes = self._nearest(found)  # (N * h * w,)
            chosen = self.look_up(codes)
            commitment = (rows - chosen).square().reshape(len(given), -1).mean(dim=1)  # (N,)
            passed = rows + (chosen - rows).detach()
            if learn:
                self._learn(found, codes)
            count, _, height, width = given.shape
            quantised = passed.reshape(count, height, width, self.code_size).permute(0, 3, 1, 2)
            return Quantised(quantised, codes.reshape(count, -1), commitment)

    def _nearest(self, rows: Tensor) -> Tensor:
        """Return the number of the nearest code for each row (M, D), (M,)."""
        # |x - e|^2 without |x|^2, which is the same for all codes
        distance = self.codebook.square().sum(dim=1) - 2 * rows @ self.codebook.T  # (M, K)
        return distance.argmin(dim=1)

    def _counted(self, rows: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return how often each code was chosen (K,) and the sum of the rows it stands for (K, D)."""
        use = torch.zeros_like(self.use).index_add_(0, codes, torch.ones_like(rows[:, 0]))
        total = torch.zeros_like(self.total).index_add_(0, codes, rows)
        return use, total

    def _initialise(self, rows: Tensor) -> None:
        """Place the codes by k-means on the rows (M, D) of the first process."""
        order = torch.randperm(len(rows), device=rows.device)
        codebook = rows[order.repeat(-(-self.codes // len(rows)))[: self.codes]]
        if len(rows) < self.codes:  # equal codes would stay equal
            codebook = self._sized(codebook + 0.01 * torch.randn_like(codebook))
        self.codebook.copy_(codebook)
        for _ in range(_KMEANS_ROUNDS):
            use, total = self._counted(rows, self._nearest(rows))
            means = self._sized(total / use.clamp_min(1)[:, None])
            self.codebook.copy_(torch.where(use[:, None] > 0, means, self.codebook))
        self.codebook.copy_(from_first(self.codebook))
        # As many rows as ``_learn`` counts in a batch: those of all processes.
        self.use.copy_(summed(self.use.new_full((), len(rows))).expand(self.codes) / self.codes)
        self.total.copy_(self.codebook * self.use[:, None])
        self.ready.fill_(True)

    def _learn(self, rows: Tensor, codes: Tensor) -> None:
        """Move the codebook towards the rows (M, D) of all processes, and restart unused codes."""
        use, total = (summed(value) for value in self._counted(rows, codes))
        self.use.lerp_(use, 1 - self.decay)
        self.total.lerp_(total, 1 - self.decay)
        mean_use = self.use.mean()
        unused = (self.use < self.restart_share * mean_use)[:, None]  # (K, 1)
        # Drawn whether they are needed or not: asking would make a GPU wait.
        drawn = from_first(rows[torch.randint(len(rows), (self.codes,), device=rows.device)])
        self.use.copy_(torch.where(unused[:, 0], mean_use, self.use))
        self.total.copy_(torch.where(unused, drawn * mean_use, self.total))
        self.codebook.copy_(self._sized(self.total / self.use.clamp_min(1e-6)[:, None]))

    def _sized(self, codebook: Tensor) -> Tensor:
        return F.normalize(codebook, dim=1) if self.normalise else codebook


def _forget(quantizer: nn.Module, _: object) -> None:
    """Look again whether a codebook is ready, after another state was loaded."""
    assert isinstance(quantizer, EMAQuantizer)
    quantizer._seen_ready = False
