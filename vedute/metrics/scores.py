"""How well predicted scores match given ones: mean absolute error and rank correlation."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class ScoreAgreement:
    """Predicted beside given scores.

    No dataclass: torchmetrics would squeeze the tensors of a single image in it.

    Attributes:
        predicted: (N, D) float32.
        given: (N, D) float32, in the same unit.
    """

    def __init__(self, predicted: Tensor, given: Tensor) -> None:
        """Keep (N, D) scores."""
        self.predicted = predicted
        self.given = given

    def mean_absolute_error(self) -> Tensor:
        """Return (D,), in the unit of the scores."""
        return (self.predicted - self.given).abs().mean(dim=0)

    def rank_correlation(self) -> Tensor:
        """Return (D,) in [-1, 1]: Spearman's; 0 where all predicted or all given scores are equal."""
        return rank_correlation(self.predicted, self.given)


class ScorePairs(Metric):
    """Keeps predicted and given scores of a data set, whose agreement it returns.

    Ranks need all the scores: 8 * D bytes an image, 1 MB for 20,000 images and six scores. Of several
    processes each gets the scores of all, so they find exactly what one finds.
    """

    full_state_update = False
    predicted: list[Tensor]
    given: list[Tensor]

    def __init__(self, scores: int) -> None:
        """Start without images.

        Args:
            scores: Number D of scores of an image.
        """
        super().__init__()
        self.scores = scores
        self.add_state("predicted", [], dist_reduce_fx="cat")
        self.add_state("given", [], dist_reduce_fx="cat")

    def update(self, predicted: Tensor, given: Tensor) -> None:
        """Add a batch: predicted and given scores, (N, D) each."""
        # Flat, as the empty state of a process without images is: joined states must have the same axes.
        self.predicted.append(predicted.detach().float().flatten())
        self.given.append(given.detach().float().flatten())

    def compute(self) -> ScoreAgreement:
        """Return the scores of all images; the order of the images is the same in both."""
        return ScoreAgreement(self._joined(self.predicted), self._joined(self.given))

    def _joined(self, parts: list[Tensor] | Tensor) -> Tensor:
        # Joined over processes, a state is one tensor.
        values = [parts] if isinstance(parts, Tensor) else parts
        joined = torch.cat(values) if values else torch.zeros(0, device=self.device)
        return joined.view(-1, self.scores)


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation of each column; equal values share the mean of their ranks.

    Own, because torchmetrics adds ranks up in 32-bit integers, which 70,000 equal scores overflow.

    Args:
        first: (N, D).
        second: (N, D).

    Returns:
        (D,) float32 in [-1, 1]; 0 for a column whose values are all equal, and for N < 2.
    """
    columns = []
    for one, other in zip(first.unbind(dim=1), second.unbind(dim=1), strict=True):
        a, b = _centred_ranks(one), _centred_ranks(other)
        spread = (a.square().sum() * b.square().sum()).sqrt()
        columns.append(torch.where(spread > 0, (a * b).sum() / spread.clamp_min(1e-12), 0.0))
    return torch.stack(columns).clamp(-1, 1).float()


def _centred_ranks(values: Tensor) -> Tensor:
    """Return (N,) float64: the ranks of (N,) values less their mean."""
    # On the CPU: float64, which some devices lack.
    _, positions, counts = torch.unique(values.cpu(), return_inverse=True, return_counts=True)
    mean_rank = counts.cumsum(0).double() - (counts - 1).double() / 2
    ranks: Tensor = mean_rank[positions] - (len(values) + 1) / 2
    return ranks
