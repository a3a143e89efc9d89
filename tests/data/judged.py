"""Tiny data sets with scores and with masks, for tests of the judges: nothing is read from disk.

A picture is a bright rectangle on a dark ground. Raters like its redness and its size, in whole
numbers from 0 to 9; its mask is the rectangle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from datamodules.base import ImageDataModule
from lightning_modules.base import GenerativeModule
from vedute.batch import Batch, Condition
from vedute.data.decoding import Preparation
from vedute.data.labels import Conditions, Labelled, Labels, TableEncoder, unlabelled
from vedute.data.source import Part, Record, Source
from vedute.errors import DataError

RATERS = ["Moira", "Louie"]
SIZE = 32


@lru_cache
def rectangle(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[int, int]]:
    """Return a picture (H, W, 3), its mask (H, W, 1) in {0, 255}, and what the raters say."""
    random = np.random.default_rng(number)
    redness, share = random.uniform(size=2)
    side = round(4 + 20 * share)
    top, left = random.integers(0, SIZE - side, 2)
    picture = random.integers(0, 60, (SIZE, SIZE, 3), dtype=np.uint8)
    mask = np.zeros((SIZE, SIZE, 1), np.uint8)
    inside = slice(top, top + side), slice(left, left + side)
    picture[inside] = (round(80 + 170 * redness), 120, 120)
    mask[inside] = 255
    return picture, mask, (int(redness * 9.99), int(share * 9.99))


class _Rectangles(Part, Source):
    """Pictures with numbers from ``first`` on, their position as label."""

    def __init__(self, first: int, size: int, masks: bool) -> None:
        self.first = first
        self.size = size
        self.masks = masks

    def files(self) -> list[Path]:
        return [Path(__file__)]

    def settings(self) -> dict[str, str]:
        return {"first": str(self.first), "size": str(self.size), "masks": str(self.masks)}

    def parts(self) -> list[Part]:
        return [self]

    def broken(self) -> list[DataError]:
        return []

    def count(self) -> int:
        return self.size

    def read(self, positions: Sequence[int] | None = None) -> Iterator[Record]:
        for position in range(self.size) if positions is None else positions:
            picture, mask, _ = rectangle(self.first + position)
            yield Record(picture, position, f"rectangle {position}", mask if self.masks else None)


class RatedDataModule(ImageDataModule):
    """Rectangles with scores."""

    def __init__(self, count: int = 120, **shared: Any) -> None:
        """Say how many.

        Args:
            count: Pictures.
            shared: See ``ImageDataModule``.
        """
        super().__init__(**shared)
        self._count = count

    def find_sources(self, root: Path) -> Mapping[str, Source]:
        """Return the rectangles."""
        return {"train": _Rectangles(0, self._count, masks=False)}

    def paint_sample(self) -> Path:
        """Return any folder."""
        return Path(__file__).parent

    def label(self, raw: Mapping[str, Labels], sources: Mapping[str, Source]) -> Labelled:
        """Give each its scores, standardised by the training split."""
        scores = np.array([rectangle(row)[2] for row in range(self._count)], np.float32)

        def conditions(rows: Labels) -> Conditions:
            mean, scale = scores[rows].mean(0), scores[rows].std(0)
            encoder = TableEncoder((scores - mean) / scale)
            return Conditions("score", RATERS, encoder, mean.tolist(), scale.tolist(), [0.0, 9.0])

        return Labelled({"train": raw["train"]}, conditions)


class MaskPainter(GenerativeModule):
    """Paints the foreground of a mask in a colour drawn from the seed; learns nothing."""

    def __init__(self, **facts: Any) -> None:
        """Build one weight.

        Args:
            facts: See ``ImageModule``.
        """
        super().__init__(**facts)
        self.weight = nn.Parameter(torch.zeros(()))

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        """Return painted masks."""
        assert condition.image is not None and len(condition.image) == len(seeds)
        return condition.image * seeded_uniform(seeds).to(condition.image)

    def training_step(self, batch: Batch) -> Tensor:
        """Return a loss that is always zero."""
        return self.weight.square()

    def validation_step(self, batch: Batch) -> None:
        """Log that loss."""
        self.log_stage("val", {"loss": self.weight.square()}, len(batch))


def seeded_uniform(seeds: Tensor) -> Tensor:
    """Return a colour (N, 3, 1, 1) in [0.2, 0.9] for each seed."""
    colours = [0.2 + 0.7 * np.random.default_rng(seed).uniform(size=3) for seed in seeds.tolist()]
    return torch.tensor(np.array(colours))[:, :, None, None]


class MaskedDataModule(ImageDataModule):
    """Rectangles with masks."""

    def __init__(self, count: int = 80, **shared: Any) -> None:
        """Say how many.

        Args:
            count: Pictures.
            shared: See ``ImageDataModule``.
        """
        super().__init__(**shared)
        self._count = count

    def find_sources(self, root: Path) -> Mapping[str, Source]:
        """Return the rectangles."""
        return {"train": _Rectangles(0, self._count, masks=True)}

    def paint_sample(self) -> Path:
        """Return any folder."""
        return Path(__file__).parent

    def label(self, raw: Mapping[str, Labels], sources: Mapping[str, Source]) -> Labelled:
        """Give them no vectors."""
        return unlabelled(raw)

    def preparation(self) -> Preparation:
        """Return that there are masks."""
        return Preparation(self.stored_size, self.image_channels, mask=True)


def write_config(path: Path, model: str, data: str, extra: str = "") -> Path:
    """Write a configuration that trains on the rectangles, and return its path.

    Args:
        path: The file.
        model: Body of ``model``, YAML in flow style.
        data: Name of the datamodule in this file.
        extra: Further lines.
    """
    path.write_text(
        f"seed_everything: 0\n"
        f"data: {{class_path: tests.data.judged.{data}, init_args: {{image_size: 32, batch_size: 16}}}}\n"
        f"model: {model}\n"
        f"trainer: {{max_epochs: 8, precision: 32-true, enable_progress_bar: false}}\n{extra}\n",
        encoding="utf-8",
    )
    return path
