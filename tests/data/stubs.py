"""Stand-ins for trained models and data sets: classes are colours, nothing is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vedute.batch import Batch, Condition


def colour_judge(image: Tensor) -> Tensor:
    """Recognise the class by the brightest channel."""
    return image.mean(dim=(2, 3))


def colours(labels: Tensor) -> Tensor:
    """Draw images whose brightest channel is their class."""
    return torch.eye(3)[labels][:, :, None, None].expand(-1, 3, 8, 8) * 0.8 + 0.1


class StubJudge:
    """A judge that knows the brightest of three channels, and some more names."""

    def __init__(self, names: list[str], image_channels: int = 3) -> None:
        self.condition_names = names
        self.image_channels = image_channels
        self.image_size = (4, 4)
        self.device = torch.device("cpu")

    def features(self, image: Tensor) -> Tensor:
        assert image.shape[-2:] == self.image_size
        return image.mean(dim=(2, 3))

    def classify(self, features: Tensor) -> Tensor:
        return torch.nn.functional.pad(features, (0, len(self.condition_names) - 3))


class StubScores:
    """Rates the redness and the blueness of a picture from 0 to 10."""

    image_size, image_channels, condition_names = (4, 4), 3, ("Blue", "Red")
    device = torch.device("cpu")

    def features(self, image: Tensor) -> Tensor:
        return image.mean(dim=(2, 3))

    def score(self, features: Tensor) -> Tensor:
        return features[:, [2, 0]]

    def in_units(self, vector: Tensor) -> Tensor:
        return 10 * vector


class StubData:
    """Images whose brightest channel is their class; each split has its own noise."""

    image_size, image_channels, condition_kind = (8, 8), 3, "class"
    condition_names: ClassVar = ["red", "green", "blue"]
    train_size = 90

    def __init__(self, train: int = 90, test: int = 60) -> None:
        self.sizes = {"train": train, "test": test}

    def size(self, split: str) -> int:
        return self.sizes[split]

    def labels(self, split: str) -> np.ndarray:
        return np.arange(self.size(split)) % 3

    def batch(self, split: str, rows: Sequence[int] | Tensor) -> Batch:
        labels = torch.as_tensor(rows) % 3
        noise = torch.rand(self.size(split), 3, 8, 8, generator=torch.Generator().manual_seed(len(split)))
        image = colours(labels) + 0.1 * (noise[rows] - 0.5)
        return Batch(image, Condition(torch.eye(3)[labels]), torch.as_tensor(rows))


class StubGenerator:
    """Returns training images: of the class asked for, or of any."""

    has_encoder, stochastic, scale, image_size, image_channels = False, True, 1, (8, 8), 3
    device = torch.device("cpu")

    def __init__(self, data: StubData, kind: str) -> None:
        self.data = data
        self.condition_kind = kind
        self.condition_names = data.condition_names if kind == "class" else []

    def condition_of(self, batch: Batch) -> Condition:
        return batch.condition

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        wanted = seeds if condition.vector is None else condition.vector.argmax(1) + 3 * seeds
        return self.data.batch("train", wanted % self.data.size("train")).image
