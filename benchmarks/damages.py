"""Faults that a generator can have, made of real photos: what stands in for it in ``degradations.py``.

Here: the stand-in, what damages a photo, which photos are taken. Not here: measuring.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur

from vedute.batch import Batch, Condition
from vedute.metrics.details import detail_features
from vedute.metrics.features import resize
from vedute.metrics.neighbours import nearest
from vedute.promises import ImageData
from vedute.sampling.seeds import seeded_normal

UNDAMAGED = "none"
_FEW = 8  # photos of a class that are repeated
_LOOKED_AT = 1000  # photos of a class among which a kind is looked for

Change = Callable[[Tensor, Tensor], Tensor]
"""From photos (N, C, H, W) in [0, 1] and their seeds (N,) to damaged ones."""

Pools = list[Tensor]
"""For each class the rows of a split, (n,) int64, that images of it are taken from."""


class Half:
    """A data set whose training split is only some of its rows."""

    def __init__(self, data: ImageData, rows: Tensor) -> None:
        """Keep the ``rows`` (N,) int64 of the training split."""
        self._data, self._rows = data, rows
        self.image_size, self.image_channels = data.image_size, data.image_channels
        self.condition_kind, self.condition_names = data.condition_kind, data.condition_names
        self.train_size = len(rows)

    def size(self, split: str) -> int:
        """Return the number of images of a split."""
        return self.train_size if split == "train" else self._data.size(split)

    def labels(self, split: str) -> np.ndarray:
        """Return the class of each image."""
        labels = self._data.labels(split)
        return labels[self._rows.numpy()] if split == "train" else labels

    def batch(self, split: str, rows: Sequence[int] | Tensor) -> Batch:
        """Return images of a split."""
        return self._data.batch(split, self._rows[torch.as_tensor(rows)] if split == "train" else rows)

    def vectors(self, split: str) -> Tensor | None:
        """Return the condition vectors of a split."""
        vectors = self._data.vectors(split)
        return vectors if split != "train" or vectors is None else vectors[self._rows]

    def missing(self, split: str) -> Tensor | None:
        """Return that nothing is missing: classes have no gaps."""
        return None


class StandIn:
    """Real photos in place of a generator's images: a seed is a place in the pool of its class."""

    has_encoder, stochastic, scale = False, True, 1
    device = torch.device("cpu")

    def __init__(self, data: ImageData, pools: Pools, change: Change, split: str = "train") -> None:
        """Say where photos come from and what happens to them.

        Args:
            data: The whole data set.
            pools: Rows of its split for each class; of as many seeds in a row as a pool is long no
                two get the same photo.
            change: What damages them.
            split: The split.
        """
        self.data, self.pools, self.change, self.split = data, pools, change, split
        self.image_size, self.image_channels = data.image_size, data.image_channels
        self.condition_kind, self.condition_names = data.condition_kind, data.condition_names
        self.condition_mean: list[float] = []
        self.condition_scale: list[float] = []

    def condition_of(self, batch: Batch) -> Condition:
        """Return the classes of a batch."""
        return batch.condition

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        """Return damaged photos (N, C, H, W) in [0, 1] of the classes that are asked for."""
        assert condition.vector is not None
        pools = [self.pools[label] for label in condition.vector.argmax(dim=1).tolist()]
        rows = [int(pool[seed % len(pool)]) for pool, seed in zip(pools, seeds.tolist(), strict=True)]
        return self.change(self.data.batch(self.split, rows).image, seeds).clamp(0, 1)


# What damages a photo.


def unchanged(image: Tensor, seeds: Tensor) -> Tensor:
    """Return photos as they are."""
    return image


def blurred(deviation: float) -> Change:
    """Blur by a Gaussian of so many pixels."""
    return lambda image, _: gaussian_blur(image, [2 * math.ceil(3 * deviation) + 1] * 2, [deviation] * 2)


def noisy(deviation: float) -> Change:
    """Add Gaussian noise of a standard deviation, the whole range being 1."""
    return lambda image, seeds: image + deviation * seeded_normal(seeds, tuple(image.shape[1:]))


def compressed(quality: int) -> Change:
    """Store as JPEG and read again."""

    def change(image: Tensor, seeds: Tensor) -> Tensor:
        found = []
        for pixels in image.mul(255).round().byte().permute(0, 2, 3, 1).numpy():
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "JPEG", quality=quality)
            found.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1))
        return torch.stack(found).float() / 255

    return change


def warmer(share: float) -> Change:
    """Raise red and lower blue by a share."""
    factors = torch.tensor([1 + share, 1, 1 - share])[:, None, None]
    return lambda image, _: image * factors


def mirrored(image: Tensor, seeds: Tensor) -> Tensor:
    """Mirror left to right."""
    return image.flip(3)


def shifted(pixels: int) -> Change:
    """Move right and down; what comes in is mirrored."""
    return lambda image, _: F.pad(image, (pixels, 0, pixels, 0), mode="reflect")[:, :, :-pixels, :-pixels]


def cropped(share: float) -> Change:
    """Cut a share of height and width away, and enlarge what is left."""

    def change(image: Tensor, seeds: Tensor) -> Tensor:
        height, width = image.shape[2:]
        down, right = max(1, round(share * height)), max(1, round(share * width))
        inner = image[
            :, :, down // 2 : height - (down - down // 2), right // 2 : width - (right - right // 2)
        ]
        return resize(inner, (height, width))

    return change


# Which photos are taken.


def by_class(labels: np.ndarray, seed: int) -> Pools:
    """Return the rows of each class, mixed."""
    generator = np.random.default_rng(seed)
    rows = [generator.permutation(np.flatnonzero(labels == label)) for label in range(int(labels.max()) + 1)]
    return [torch.from_numpy(one) for one in rows]


def mixed(first: Pools, second: Pools, share: float, seed: int = 0) -> Pools:
    """Replace a share of the rows of each class by rows of other pools, from their end.

    Most of these are not on the card under their own class too; those that are show as duplicates.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for rows, other in zip(first, second, strict=True):
        chosen = torch.randperm(len(rows), generator=generator)[: round(share * len(rows))]
        pool = rows.clone()
        pool[chosen] = other.flip(0)[torch.arange(len(chosen)) % len(other)]
        found.append(pool)
    return found


def one_kind(data: ImageData, pools: Pools, share: float, least: int) -> Pools:
    """Return of each class the share of photos that are the most alike: the nearest ones around one photo.

    In the features ``details``, around the photo whose share lies nearest to it.
    """
    extractor = detail_features(data.image_channels, data.image_size)
    found = []
    for rows in pools:
        rows = rows[:_LOOKED_AT]
        features = extractor.extract(data.batch("train", rows).image)
        count = min(len(rows), max(least, round(share * len(rows))))
        near = nearest(features, features, count)
        found.append(rows[near.rows[int(near.distances[:, -1].argmin())]])
    return [rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))] for rows in found]


@dataclass(frozen=True)
class Damage:
    """A fault that a generator can have.

    Attributes:
        name: Of the row.
        pools: The photos that are taken.
        change: What happens to them.
        split: The split that the rows of ``pools`` are of.
    """

    name: str
    pools: Pools
    change: Change = unchanged
    split: str = "train"


def damages(data: ImageData, known: Pools, new: Pools, count: int) -> list[Damage]:
    """Return all damages.

    Args:
        data: The data set.
        known: Training rows of each class that the 'generator' knows.
        new: Those that it does not know.
        count: Images of a class on a card.
    """
    swapped = [*new[1:], new[0]]
    changes: dict[str, Change] = {
        "blur of 2 pixels": blurred(2.0),
        "blur of 0.5 pixels": blurred(0.5),
        "noise of 10 %": noisy(0.1),
        "noise of 2 %": noisy(0.02),
        "JPEG, quality 10": compressed(10),
        "JPEG, quality 85": compressed(85),
        "colours 25 % warmer": warmer(0.25),
        "colours 5 % warmer": warmer(0.05),
    }
    return [
        Damage(UNDAMAGED, new),
        Damage("none, validation photos", by_class(data.labels("val"), 0), split="val"),
        *(Damage(name, new, change) for name, change in changes.items()),
        Damage("30 % show another class", mixed(new, swapped, 0.3)),
        Damage("5 % show another class", mixed(new, swapped, 0.05)),
        Damage("a quarter of the kinds", one_kind(data, new, 0.25, count)),
        Damage("half of the kinds", one_kind(data, new, 0.5, count)),
        Damage(f"{_FEW} photos of each class", [rows[:_FEW] for rows in new]),
        Damage("copies of training photos", known),
        Damage("10 % copies", mixed(new, known, 0.1)),
        Damage("copies, mirrored", known, mirrored),
        Damage("copies, moved by 2 pixels", known, shifted(2)),
        Damage("copies, 5 % cut off", known, cropped(0.05)),
    ]
