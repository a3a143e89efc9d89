"""Precision, recall, density and coverage: does a generator stay where real images are, and reach them all?

Here: what lies in whose neighbourhood. Not here: the search for neighbours (``vedute.metrics.neighbours``),
intervals (``vedute.metrics.bootstrap``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vedute.metrics.checks import check_features
from vedute.metrics.kept_rows import KeptRows
from vedute.metrics.neighbours import Blocks, exact_products, exact_squared, nearest

_DENSE = 32  # a block with more unsure pairs than one in so many is computed again in float64
_TIE = 1e-9  # squared distances closer than this share are equal


@dataclass(frozen=True)
class Neighbourhoods:
    """What each image adds to the scores: their means are the scores, their spread gives intervals.

    Attributes:
        precise: (M,) bool, generated images inside the neighbourhood of a real one.
        density: (M,) float64, for each generated image the number of real neighbourhoods it lies in, over k.
        recalled: (N,) bool, real images inside the neighbourhood of a generated one.
        covered: (N,) bool, real images with a generated one in their neighbourhood.
    """

    precise: Tensor
    density: Tensor
    recalled: Tensor
    covered: Tensor

    def scores(self) -> dict[str, Tensor]:
        """Return ``precision``, ``recall``, ``density`` and ``coverage``, () float64 each."""
        return {
            "precision": self.precise.double().mean(),
            "recall": self.recalled.double().mean(),
            "density": self.density.mean(),
            "coverage": self.covered.double().mean(),
        }


def neighbourhoods(
    real: Tensor,
    generated: Tensor,
    k: int = 3,
    density_k: int = 5,
    advance: Callable[[int], None] | None = None,
) -> Neighbourhoods:
    """Compare two sets of features; see :class:`Manifold`.

    Works in blocks: beside the features it takes about 150 MB.

    Args:
        real: (N, F).
        generated: (M, F).
        k: Neighbours that span a neighbourhood of precision and recall.
        density_k: The same of density and coverage.
        advance: Told the number of distances computed since it was last told, N^2 + M^2 + N M in all.

    Raises:
        DataError: A set has no more images than neighbours are asked for, or features are no finite numbers.
    """
    check_features("Precision and recall", max(k + 1, density_k + 1), real=real, generated=generated)
    around_real = nearest(real, real, max(k, density_k), exclude_self=True, advance=advance).distances
    around_generated = nearest(generated, generated, k, exclude_self=True, advance=advance).distances
    near, dense = around_real[:, k - 1].square(), around_real[:, density_k - 1].square()  # (N,) squared radii
    reach = around_generated[:, k - 1].square()  # (M,)
    device = real.device
    precise = torch.zeros(len(generated), dtype=torch.bool, device=device)
    counts = torch.zeros(len(generated), dtype=torch.float64, device=device)
    recalled, covered = (torch.zeros(len(real), dtype=torch.bool, device=device) for _ in range(2))
    blocks = Blocks.of(generated, real)
    generated_rows, real_rows = blocks.rows(torch.float32)
    with exact_products():
        for start in range(0, len(real), real_rows):
            theirs = slice(start, start + real_rows)
            for place in range(0, len(generated), generated_rows):
                mine = slice(place, place + generated_rows)
                inside = _Inside(blocks, mine, theirs)
                within = inside.compare(near[None, theirs], closed=True)
                precise[mine] |= within.any(dim=1)
                within = inside.compare(reach[mine, None], closed=True)
                recalled[theirs] |= within.any(dim=0)
                within = inside.compare(dense[None, theirs], closed=False)
                counts[mine] += within.sum(dim=1)
                covered[theirs] |= within.any(dim=0)
                if advance is not None:
                    advance(within.numel())
    return Neighbourhoods(precise, counts / density_k, recalled, covered)


class Manifold(KeptRows):
    """Improved precision and recall, density and coverage of generated images, in given features.

    The neighbourhood of an image is the ball up to its k-th nearest neighbour in its own set.

    * ``precision`` in [0, 1]: share of generated images in the neighbourhood of a real image. Falls with
      noise and artefacts. One real outlier with a huge neighbourhood hides faults; images that are all alike
      do not lower it, nor blur in features that hardly see it.
    * ``recall`` in [0, 1]: share of real images in the neighbourhood of a generated image. Falls where modes
      are missing. Noise spreads the generated images and can raise it.
    * ``density``, 0 or more, about 1 for real images: precision that counts in how many neighbourhoods an
      image lies, so outliers matter little. Above 1 where the generator prefers typical images.
    * ``coverage`` in [0, 1]: share of real images with a generated image in their neighbourhood, so outliers
      among the generated ones cannot raise it. About 1 - 2^-5 = 97 % for as many real images.

    Each depends on the numbers of images: compare only scores of the same two numbers, and give those of
    real against real images beside them. None of them notices images copied from the training set. A copy
    on the rim of a ball belongs to the closed balls of precision and recall, and not to the open ones of
    density and coverage, as in the sources.

    Source: Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991 (k = 3); Naeem et al. 2020,
    https://arxiv.org/abs/2002.09797 (k = 5).
    """

    higher_is_better = True

    def __init__(self, k: int = 3, density_k: int = 5, sync_on_compute: bool = True) -> None:
        """Start with two empty sets.

        Args:
            k: Neighbours that span a neighbourhood of precision and recall, at least 1.
            density_k: The same of density and coverage, at least 1.
            sync_on_compute: Whether several processes that each saw a part join their parts.

        Raises:
            ValueError: A number is below 1.
        """
        if min(k, density_k) < 1:
            raise ValueError(f"Manifold needs k and density_k of at least 1, got {k} and {density_k}")
        super().__init__(torch.float32, sync_on_compute)
        self._k = k
        self._density_k = density_k

    def update(self, features: Tensor, real: bool) -> None:
        """Add features (n, F) to one of the sets."""
        self.keep(features, int(real), None, None)

    def compute(self) -> dict[str, Tensor]:
        """Return ``precision``, ``recall``, ``density`` and ``coverage``, () float64 each.

        Raises:
            DataError: A set has too few images, or features are no finite numbers.
        """
        generated, real = (self.kept(which)[0] for which in range(2))
        return neighbourhoods(real, generated, self._k, self._density_k).scores()


class _Inside:
    """Which of a block of generated images lie in which balls; near a rim decided exactly."""

    def __init__(self, blocks: Blocks, mine: slice, theirs: slice) -> None:
        self._mine, self._theirs = blocks.first[mine], blocks.second[theirs]
        self._blocks = blocks
        self._squared, self._error = self._block(torch.float32)

    def _block(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        here, here_squared = self._blocks.part(self._mine, dtype)
        there, there_squared = self._blocks.part(self._theirs, dtype)
        squared = torch.addmm(there_squared.to(dtype)[None], here, there.T, alpha=-2)
        squared += here_squared.to(dtype)[:, None]
        # One bound for each row: the largest length among the others costs little sharpness.
        return squared, (self._blocks.rounding(dtype) * (here_squared + there_squared.max())).to(dtype)[
            :, None
        ]

    def compare(self, radius: Tensor, closed: bool) -> Tensor:
        """Return (n, m) bool: whether pairs are at most (closed) or less than the radius apart.

        Args:
            radius: Squared radii, (1, m) or (n, 1) float64.
            closed: Whether the rim belongs to the ball.
        """
        scaled = radius / self._blocks.scale**2
        unsure = self._unsure(scaled)
        pairs = torch.where(unsure)
        if len(pairs[0]) * _DENSE > unsure.numel() and self._squared.dtype == torch.float32:
            self._squared, self._error = self._block(torch.float64)
            pairs = torch.where(self._unsure(scaled))
        inside = self._squared <= scaled.to(self._squared.dtype)
        if len(pairs[0]):
            exact = exact_squared(self._mine, self._theirs, (pairs[0], pairs[1]))
            rim = radius.expand_as(inside)[pairs]
            inside[pairs] = exact <= rim * (1 + _TIE) if closed else exact < rim * (1 - _TIE)
        return inside

    def _unsure(self, scaled: Tensor) -> Tensor:
        """Return (n, m) bool: pairs for which rounding could decide, given scaled squared radii."""
        difference = self._squared - scaled.to(self._squared.dtype)
        # Wide enough for the rounding of the radius too, which near the rim is as long as the distance.
        return difference.abs_() <= self._error
