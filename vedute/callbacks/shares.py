"""Sets of images that the ranks of a training measure in parts and then have whole."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from vedute.metrics.sets import Measured


def share(trainer: Trainer, count: int) -> Tensor:
    """Return this rank's part of ``count`` rows; all parts have one length, the first rows filling up."""
    ranks = trainer.world_size
    return torch.arange(trainer.global_rank, -(-count // ranks) * ranks, ranks) % count


def joined(
    trainer: Trainer, module: LightningModule, part: Measured, labels: Tensor | None, count: int
) -> Measured:
    """Bring the ranks' parts together, on every rank.

    Args:
        trainer: Knows the ranks.
        module: Joins them.
        part: This rank's :func:`share` of the set, measured.
        labels: Classes of the whole set, (``count``,) int64; None: no classes.
        count: Number of images of the whole set.
    """
    if trainer.world_size == 1:
        return part
    features = {}
    for name, value in part.features.items():
        gathered = module.all_gather(value.to(module.device))  # (ranks, n, F)
        assert isinstance(gathered, Tensor)
        features[name] = gathered.transpose(0, 1).flatten(0, 1)[:count].cpu()
    return Measured(features, labels)
