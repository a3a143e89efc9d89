"""Distances between a predicted and a given mask, one value per sample."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def binary_cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over pixels.

    Args:
        logits: (N, C, H, W), of the foreground.
        mask: (N, C, H, W) in [0, 1]; 1 is foreground.

    Returns:
        (N,), in nats.
    """
    return F.binary_cross_entropy_with_logits(logits, mask, reduction="none").flatten(1).mean(dim=1)


def soft_dice(logits: Tensor, mask: Tensor, smoothing: float = 1.0) -> Tensor:
    """One minus the Dice coefficient of foreground probabilities.

    Does not depend on how many pixels are background, unlike cross-entropy.

    Source: Milletari et al. 2016, "V-Net", https://arxiv.org/abs/1606.04797, without the squares.

    Args:
        logits: (N, C, H, W), of the foreground.
        mask: (N, C, H, W) in [0, 1]; 1 is foreground.
        smoothing: Pixels added to intersection and sum, so that an empty mask has a loss: it is
            near 0 where next to nothing is predicted.

    Returns:
        (N,) in [0, 1].
    """
    probability, wanted = logits.sigmoid().flatten(1), mask.flatten(1)
    both = (probability * wanted).sum(dim=1)
    total = probability.sum(dim=1) + wanted.sum(dim=1)
    return 1 - (2 * both + smoothing) / (total + smoothing)
