"""Sets of images that the ranks of a training measure in parts and then have whole."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from vedute.batch import Condition
from vedute.metrics.details import plain_features
from vedute.metrics.judge import load_judge
from vedute.metrics.sets import Instruments, Measured, generated_batches, real_batches
from vedute.promises import Generator, ImageData, as_generator


def training_instruments(generator: Generator, classifier: str | None, device: torch.device) -> Instruments:
    """Return what images are measured with in training: a classifier, or features that need no network.

    Args:
        generator: Says which classes and channels.
        classifier: Checkpoint of a trained classifier with the same classes; None: pixels of images shrunk
            to 8x8, and colours and details.
        device: Where to compute.

    Raises:
        CheckpointError: The classifier cannot be used for this generator.
    """
    judge = None if classifier is None else load_judge(Path(classifier), device)
    names = generator.condition_names if generator.condition_kind == "class" else []
    plain = plain_features(generator.image_channels, generator.image_size) if judge is None else []
    return Instruments(names, generator.image_channels, judge, plain)


def measure_generated(
    trainer: Trainer,
    module: LightningModule,
    instruments: Instruments,
    wanted: tuple[Condition, Tensor | None, Tensor],
    batch_size: int,
) -> Measured:
    """Generate and measure a set, each rank its share; every rank returns the whole.

    Args:
        trainer: Knows the ranks.
        module: The generator.
        instruments: What to measure with.
        wanted: N conditions, classes and seeds, see ``vedute.metrics.sets.wanted_images``.
        batch_size: Images computed at a time.
    """
    condition, labels, seeds = wanted
    mine = share(trainer, len(seeds))
    batches = generated_batches(
        as_generator(module),
        condition if not len(condition) else condition[mine],
        None if labels is None else labels[mine],
        seeds[mine],
        batch_size,
    )
    return joined(trainer, module, instruments.measure(batches), labels, len(seeds))


def measure_real(
    trainer: Trainer,
    module: LightningModule,
    instruments: Instruments,
    data: ImageData,
    split: str,
    chosen: tuple[Tensor, Tensor | None],
    batch_size: int,
) -> Measured:
    """Measure rows of a split, each rank its share; every rank returns the whole.

    Args:
        trainer: Knows the ranks.
        module: Joins what they measure.
        instruments: What to measure with.
        data: The data set.
        split: Its split.
        chosen: (n,) int64 rows, and their classes, (n,) int64, or None: no classes.
        batch_size: Images computed at a time.
    """
    rows, labels = chosen
    batches = real_batches(data, split, rows[share(trainer, len(rows))], batch_size, labels is not None)
    return joined(trainer, module, instruments.measure(batches), labels, len(rows))


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
