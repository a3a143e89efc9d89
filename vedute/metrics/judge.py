"""What metrics expect of a judge, and how one is taken from its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from vedute.checkpoints import load_module, summary
from vedute.errors import CheckpointError


@runtime_checkable
class Judge(Protocol):
    """A trained classifier of images; see ``lightning_modules.classifier.Classifier``."""

    image_size: tuple[int, int]
    image_channels: int
    condition_names: list[str]

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""

    def features(self, image: Tensor) -> Tensor:
        """Return (N, F) features of images (N, C, H, W) in [0, 1] of the judge's size."""

    def classify(self, features: Tensor) -> Tensor:
        """Return (N, D) logits of features (N, F)."""


def load_judge(path: Path, device: torch.device | str = "cpu") -> Judge:
    """Return the judge of a checkpoint, in eval mode and without gradients.

    Raises:
        CheckpointError: It cannot be used, or holds no classifier.
    """
    module = load_module(path, LightningModule, device)
    if not isinstance(module, Judge):
        raise CheckpointError(
            f"{path} holds a {type(module).__name__} ({summary(type(module))}), but a classifier is needed. "
            "Train one with 'fit --config configs/classifier_landscapes.yaml' on the same data."
        )
    module.requires_grad_(False)
    return module


def judge_columns(judge: Judge, names: Sequence[str], image_channels: int) -> list[int]:
    """Return the judge's position of each class in ``names``, then those that only the judge knows.

    Args:
        judge: The judge.
        names: Classes of the generator that it shall judge.
        image_channels: Channels of the images that it shall judge.

    Raises:
        CheckpointError: The judge lacks a class, or takes images with other channels.
    """
    missing = [name for name in names if name not in judge.condition_names]
    if missing:
        raise CheckpointError(
            f"The classifier does not know the class {', '.join(missing)}: it knows "
            f"{', '.join(judge.condition_names)}. Train one on data with the generator's classes: "
            f"{', '.join(names)}."
        )
    if judge.image_channels != image_channels:
        raise CheckpointError(
            f"The classifier takes images with {judge.image_channels} channels, the generator makes "
            f"{image_channels}. Train a classifier with data.image_channels {image_channels}."
        )
    known = [judge.condition_names.index(name) for name in names]
    return known + [position for position in range(len(judge.condition_names)) if position not in known]
