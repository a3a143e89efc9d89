"""What metrics expect of a judge, and how one is taken from its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from vedute.checkpoints import load_module, summary
from vedute.errors import CheckpointError, named

JudgeType = TypeVar("JudgeType")


class Measuring(Protocol):
    """What every judge has: features of images of its size."""

    image_size: tuple[int, int]
    image_channels: int
    condition_names: list[str]

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""

    def features(self, image: Tensor) -> Tensor:
        """Return (N, F) features of images (N, C, H, W) in [0, 1] of the judge's size."""


@runtime_checkable
class Judge(Measuring, Protocol):
    """A trained classifier of images; see ``lightning_modules.classifier.Classifier``."""

    def classify(self, features: Tensor) -> Tensor:
        """Return (N, D) logits of features (N, F)."""


@runtime_checkable
class ScoreJudge(Measuring, Protocol):
    """A trained regressor of scores; see ``lightning_modules.regressor.Regressor``."""

    def score(self, features: Tensor) -> Tensor:
        """Return (N, D) standardised scores of features (N, F)."""

    def in_units(self, vector: Tensor) -> Tensor:
        """Return (N, D) scores in the data set's unit of standardised ones (N, D)."""


@runtime_checkable
class MaskJudge(Measuring, Protocol):
    """A trained segmenter; see ``lightning_modules.segmenter.Segmenter``."""

    def segment(self, image: Tensor) -> Tensor:
        """Return (N, 1, H, W) in {0, 1}: the mask found in images (N, C, H, W) in [0, 1]."""


def load_judge(path: Path, device: torch.device | str = "cpu") -> Judge:
    """Return the classifier of a checkpoint, in eval mode and without gradients.

    Raises:
        CheckpointError: It cannot be used, or holds no classifier.
    """
    return _load(path, device, Judge, "a classifier", "classifier_landscapes")  # type: ignore[type-abstract]


def load_score_judge(path: Path, device: torch.device | str = "cpu") -> ScoreJudge:
    """Return the regressor of a checkpoint, in eval mode and without gradients.

    Raises:
        CheckpointError: It cannot be used, or holds no regressor.
    """
    return _load(path, device, ScoreJudge, "a regressor of scores", "regressor_cars")  # type: ignore[type-abstract]


def load_mask_judge(path: Path, device: torch.device | str = "cpu") -> MaskJudge:
    """Return the segmenter of a checkpoint, in eval mode and without gradients.

    Raises:
        CheckpointError: It cannot be used, or holds no segmenter.
    """
    return _load(path, device, MaskJudge, "a segmenter", "segmenter_aerial")  # type: ignore[type-abstract]


def _load(path: Path, device: torch.device | str, kind: type[JudgeType], what: str, config: str) -> JudgeType:
    module = load_module(path, LightningModule, device)
    if not isinstance(module, kind):
        raise CheckpointError(
            f"{path} holds {named(type(module))} ({summary(type(module))}), but {what} is needed. Train "
            f"one with 'fit --config configs/{config}.yaml' on the same data."
        )
    module.requires_grad_(False)
    return module


def check_channels(judge: Measuring, name: str, image_channels: int) -> None:
    """Make sure that a judge takes images with so many channels.

    Args:
        judge: The judge.
        name: What it is, e.g. ``classifier``.
        image_channels: Channels of the images that it shall look at.

    Raises:
        CheckpointError: It takes others.
    """
    if judge.image_channels != image_channels:
        raise CheckpointError(
            f"The {name} takes images with {judge.image_channels} channels, these have {image_channels}. "
            f"Train a {name} with data.image_channels {image_channels}."
        )


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
    check_channels(judge, "classifier", image_channels)
    known = [judge.condition_names.index(name) for name in names]
    return known + [position for position in range(len(judge.condition_names)) if position not in known]


def score_columns(judge: ScoreJudge, names: Sequence[str], image_channels: int) -> list[int]:
    """Return the regressor's position of each score in ``names``.

    Args:
        judge: The regressor.
        names: Scores of the generator that it shall read.
        image_channels: Channels of the images that it shall read them from.

    Raises:
        CheckpointError: It lacks a score, or takes images with other channels.
    """
    missing = [name for name in names if name not in judge.condition_names]
    if missing:
        raise CheckpointError(
            f"The regressor does not know the scores of {', '.join(missing)}: it knows "
            f"{', '.join(judge.condition_names)}. Train one on the generator's data "
            "(fit --config configs/regressor_cars.yaml)."
        )
    check_channels(judge, "regressor", image_channels)
    return [judge.condition_names.index(name) for name in names]
