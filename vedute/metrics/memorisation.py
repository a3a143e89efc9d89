"""Memorisation: are generated images copies of training images, or of each other?

Here: distances to training images, beside those of held-out real images. Not here: the search for
neighbours (``vedute.metrics.neighbours``), pictures of the pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from vedute.metrics.checks import check_features
from vedute.metrics.chosen import drawn
from vedute.metrics.frechet import frechet_distance
from vedute.metrics.kept_rows import KeptRows
from vedute.metrics.neighbours import nearest

_CLOSE = 0.01  # the quantile of real distances below which a distance is called close
_SETS = ("train", "held_out", "generated")
_LEAST = 100  # images without which there is no such quantile

Pairs = list[tuple[int, int, float]]
"""Row, row of the other set, distance."""


@dataclass(frozen=True)
class Memory:
    """What is found; 'distance' is that to the nearest training image.

    Attributes:
        distance_ratio: Median distance of generated over that of held-out images; 1 for new images.
        close_share: Share of generated images at most as far as the 1 % quantile of held-out ones; NaN with
            fewer than 100 of those.
        close_share_real: The same share of the held-out images: 0.01, more where they have copies themselves.
        nearer: Probability that a generated image is nearer than a held-out one, in [0, 1]; 0.5 for new
            images.
        p_value: Of the one-sided Mann-Whitney test that generated images are nearer than held-out ones.
        train_share: Share of generated images whose nearest real image is a training image, not a held-out
            one.
        train_share_expected: What new images get: the share of training images among all real ones.
        duplicate_share: Share of generated images at most as far from another generated image as the 1 %
            quantile among as many training images; NaN with fewer than 100 of either.
        duplicate_share_real: The same share of those training images.
        frechet_train: Fréchet distance to training images; NaN where it was left out, as the next two.
        frechet_held_out: Fréchet distance to held-out images, with as many images on each side.
        frechet_gap: The second less the first: about 0 for new images, positive for copies.
        closest: Generated and training rows of the closest pairs, the closest first.
        twins: Rows of the closest generated pairs, the closest first.
    """

    distance_ratio: float
    close_share: float
    close_share_real: float
    nearer: float
    p_value: float
    train_share: float
    train_share_expected: float
    duplicate_share: float
    duplicate_share_real: float
    frechet_train: float
    frechet_held_out: float
    frechet_gap: float
    closest: Pairs
    twins: Pairs

    def scores(self) -> dict[str, float]:
        """Return the numbers by name, without the pairs."""
        return {
            one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("closest", "twins")
        }


def memorisation(
    train: Tensor,
    held_out: Tensor,
    generated: Tensor,
    *,
    pairs: int = 16,
    frechet: bool = True,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> Memory:
    """Compare generated with training and held-out images; see :class:`Memorisation`.

    Args:
        train: (N, F), all images that the generator was trained on: of left-out ones no copy is found.
        held_out: (H, F), real images that it was not trained on.
        generated: (M, F).
        pairs: Closest pairs to return.
        frechet: Whether to compute the gap of Fréchet distances, which takes F^3 steps.
        seed: Of the choice of as many images from larger sets.
        advance: Told the number of distances computed since it was last told.

    Raises:
        DataError: A set has fewer than two images, or features are no finite numbers.
    """
    check_features("Memorisation", 2, train=train, held_out=held_out, generated=generated)
    near = nearest(generated, train, advance=advance)
    mine = near.distances[:, 0]
    theirs = nearest(held_out, train, advance=advance).distances[:, 0]
    other = nearest(generated, held_out, advance=advance).distances[:, 0]
    # 0 over 0: all generated and held-out images are copies, and the generated ones none the more.
    ratio = float(mine.median() / theirs.median()) if theirs.median() > 0 or mine.median() > 0 else 1.0
    close, close_real = _close_shares(mine, theirs)
    nearer, p_value = mann_whitney(mine, theirs)
    won = (mine < other).double() + 0.5 * (mine == other).double()

    count = min(len(train), len(generated))
    own = nearest(generated, generated, exclude_self=True, advance=advance)
    # Neighbours are nearer in larger sets, so of the larger one as many are drawn.
    some = _drawn(generated, count, seed)
    within = own if count == len(generated) else nearest(some, some, exclude_self=True, advance=advance)
    real = _drawn(train, count, seed + 1)
    among = nearest(real, real, exclude_self=True, advance=advance)
    duplicates, duplicates_real = _close_shares(within.distances[:, 0], among.distances[:, 0])

    to_train = to_held_out = float("nan")
    if frechet:
        each = min(len(train), len(held_out), len(generated))  # a distance is biased by the number of images
        sample = _drawn(generated, each, seed)
        to_train = float(frechet_distance(sample, _drawn(train, each, seed + 1)))
        to_held_out = float(frechet_distance(sample, _drawn(held_out, each, seed + 2)))
    return Memory(
        distance_ratio=ratio,
        close_share=close,
        close_share_real=close_real,
        nearer=nearer,
        p_value=p_value,
        train_share=float(won.mean()),
        train_share_expected=len(train) / (len(train) + len(held_out)),
        duplicate_share=duplicates,
        duplicate_share_real=duplicates_real,
        frechet_train=to_train,
        frechet_held_out=to_held_out,
        frechet_gap=to_held_out - to_train,
        closest=_closest(mine, near.rows[:, 0], pairs),
        twins=_twins(own.distances[:, 0], own.rows[:, 0], pairs),
    )


class Memorisation(KeptRows):
    """Whether generated images lie nearer to training images than unseen real images do.

    Catches copies, whole or slightly changed, and a generator that repeats itself. What it cannot see: copies
    of parts or moved copies, if the features change with them; training images that are not given; a few
    copies among many new images in all but ``close_share``, ``closest`` and ``twins``.

    **Images that are nearer than real ones need not be copies.** Blurred or averaged images are near
    everything, in pixels above all: ``distance_ratio`` falls below 1, ``p_value`` to 0 (with thousands of
    images it finds differences of no importance anyway). ``train_share`` above its expectation is what blur
    does not cause, as it is as near to held-out images; it says little where these are few. Look at the
    closest pairs before you call it memorising.

    The gap of Fréchet distances is weak evidence: it sees means and covariances only, and of a training set
    larger than the held-out one just a sample.

    Held-out images must be new to the generator and of the same source. Where they have copies among
    the training images (frames of one film), all scores are relative to that.

    Source: Meehan, Chaudhuri and Dasgupta 2020, https://arxiv.org/abs/2004.05675 (the test); Mann and Whitney
    1947, https://doi.org/10.1214/aoms/1177730491.
    """

    higher_is_better = None

    def __init__(
        self, pairs: int = 16, frechet: bool = True, seed: int = 0, sync_on_compute: bool = True
    ) -> None:
        """Start with three empty sets.

        Args:
            pairs: Closest pairs to return.
            frechet: Whether to compute the gap of Fréchet distances.
            seed: Of the choice of as many images from larger sets.
            sync_on_compute: Whether several processes that each saw a part join their parts.
        """
        super().__init__(torch.float32, sync_on_compute)
        self._pairs = pairs
        self._frechet = frechet
        self._seed = seed

    def update(self, features: Tensor, kind: str) -> None:
        """Add features (n, F) to the set ``train``, ``held_out`` or ``generated``.

        Raises:
            ValueError: There is no such set.
        """
        if kind not in _SETS:
            raise ValueError(f"Memorisation has the sets {', '.join(_SETS)}, no '{kind}'")
        self.keep(features, _SETS.index(kind), None, None)

    def compute(self) -> dict[str, Tensor]:
        """Return the scores of :class:`Memory`, () float64 each, ``closest`` and ``twins``, (P, 3) float64.

        Rows count in the order of the updates, of several processes those of rank 0 first.

        Raises:
            DataError: A set has fewer than two images, or features are no finite numbers.
        """
        sets = (self.kept(which)[0] for which in range(len(_SETS)))
        found = memorisation(*sets, pairs=self._pairs, frechet=self._frechet, seed=self._seed)
        values = {name: torch.tensor(value, dtype=torch.float64) for name, value in found.scores().items()}
        for name, rows in (("closest", found.closest), ("twins", found.twins)):
            values[name] = torch.tensor(rows, dtype=torch.float64).view(-1, 3)
        return values


def mann_whitney(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Test whether values of the first set tend to be smaller, by ranks alone.

    The p-value is that of the normal approximation with corrections for ties and continuity; with fewer than
    about 8 values in a set it is rough.

    Args:
        first: (N,).
        second: (M,).

    Returns:
        The probability that a value of the first set is smaller (ties count half), and the one-sided p-value;
        1 where all values are equal.
    """
    few, many = len(first), len(second)
    _, positions, counts = torch.unique(
        torch.cat([first, second]).cpu().double(), return_inverse=True, return_counts=True
    )
    counts = counts.double()
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[positions]
    larger = float(ranks[:few].sum()) - few * (few + 1) / 2  # pairs in which the first value is larger
    total = few + many
    ties = float((counts**3 - counts).sum()) / (total * (total - 1))
    variance = few * many / 12 * (total + 1 - ties)
    smaller = 1 - larger / (few * many)
    if variance <= 0:
        return smaller, 1.0
    z = (larger - few * many / 2 + 0.5) / variance**0.5
    return smaller, float(0.5 * torch.special.erfc(torch.tensor(-z / 2**0.5, dtype=torch.float64)))


def _close_shares(mine: Tensor, real: Tensor) -> tuple[float, float]:
    """Return the shares of two sets of distances that are at most the 1 % quantile of the second."""
    if len(real) < _LEAST:
        return float("nan"), float("nan")
    limit = real.sort().values[int(_CLOSE * len(real)) - 1]  # the largest of the smallest 1 %
    return float((mine <= limit).double().mean()), float((real <= limit).double().mean())


def _drawn(features: Tensor, count: int, seed: int) -> Tensor:
    if count == len(features):
        return features
    return features[drawn(len(features), count, seed).to(features.device)]


def _closest(distances: Tensor, rows: Tensor, pairs: int) -> Pairs:
    order = distances.argsort(stable=True)[:pairs].tolist()
    return [(row, int(rows[row]), float(distances[row])) for row in order]


def _twins(distances: Tensor, rows: Tensor, pairs: int) -> Pairs:
    """Return the closest pairs within one set, each once."""
    found: dict[tuple[int, int], float] = {}
    for row, other, distance in _closest(distances, rows, 2 * pairs):
        found.setdefault((min(row, other), max(row, other)), distance)
    return [(row, other, distance) for (row, other), distance in found.items()][:pairs]
