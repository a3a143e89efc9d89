"""How well predicted masks match given ones, over all pixels of a data set."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class MaskOverlap(Metric):
    """Intersection over union (IoU) of the foreground, and the share of right pixels.

    Counts pixels of all images together, as the Inria benchmark does: a mean over images would be
    ruled by those with hardly any foreground. The counts are integers, added over batches and ranks,
    so several processes find exactly what one finds.

    Torchmetrics' ``BinaryJaccardIndex`` keeps the same four numbers. It is not used, because it takes
    predictions for probabilities or for logits by their values, and calls a data set without
    foreground in which none is predicted a score of 0.
    """

    full_state_update = False
    true_positive: Tensor
    false_positive: Tensor
    false_negative: Tensor
    true_negative: Tensor

    def __init__(self) -> None:
        """Start counting."""
        super().__init__()
        for name in ("true_positive", "false_positive", "false_negative", "true_negative"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, mask: Tensor) -> None:
        """Add a batch.

        Args:
            predicted: (N, ...) bool; true is foreground.
            mask: (N, ...) bool.
        """
        both, found, given = (predicted & mask).sum(), predicted.sum(), mask.sum()
        self.true_positive += both
        self.false_positive += found - both
        self.false_negative += given - both
        self.true_negative += mask.numel() - found - given + both

    def compute(self) -> dict[str, Tensor]:
        """Return ``iou`` and ``pixel_accuracy``, in [0, 1]; 1 where there is nothing to find or to count."""
        right = self.true_positive + self.true_negative
        wrong = self.false_positive + self.false_negative
        return {
            "iou": _share(self.true_positive, self.true_positive + wrong),
            "pixel_accuracy": _share(right, right + wrong),
        }


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.clamp_min(1), 1.0)
