"""Faults of a generator and the scores that are meant to catch them: real images, damaged, on a quality card.

Copies, repeated images and swapped classes are in ``test_card``.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import ClassVar
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.data.stubs import StubJudge
from vedute.batch import Batch, Condition
from vedute.metrics import fidelity
from vedute.metrics.card import Card, Settings
from vedute.metrics.details import plain_features
from vedute.metrics.learners import SmallPerceptron
from vedute.metrics.make_card import make_card
from vedute.metrics.sets import Instruments


def benchmark(name: str) -> ModuleType:
    """Import a script of ``benchmarks``, which is no package."""
    file = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    found = importlib.util.spec_from_file_location(f"benchmarks_{name}", file)
    assert found is not None and found.loader is not None
    module = sys.modules[found.name] = importlib.util.module_from_spec(found)  # dataclasses look there
    found.loader.exec_module(module)
    return module


damages, degradation_table = benchmark("damages"), benchmark("degradation_table")

_SIDE, _COUNT = 32, 60


class Scenes:
    """A broad layout and fine stripes of one of four kinds; the class is the brightest channel."""

    image_size, image_channels, condition_kind = (_SIDE, _SIDE), 3, "class"
    condition_names: ClassVar = ["red", "green", "blue"]
    train_size = 480

    def __init__(self) -> None:
        self.images = {"train": scenes(480, 1), "test": scenes(240, 2)}

    def size(self, split: str) -> int:
        return len(self.images[split])

    def labels(self, split: str) -> np.ndarray:
        return np.arange(self.size(split)) % 3

    def batch(self, split: str, rows: Sequence[int] | Tensor) -> Batch:
        rows = torch.as_tensor(rows)
        return Batch(self.images[split][rows], Condition(torch.eye(3)[rows % 3]), rows)


def scenes(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    layout = F.interpolate(draw(3, 4, 4), size=(_SIDE, _SIDE), mode="bilinear")
    down, right = torch.meshgrid(torch.arange(_SIDE), torch.arange(_SIDE), indexing="ij")
    kinds = torch.stack([down % 2, right % 2, (down + right) % 2, (down // 2 + right // 2) % 2]) - 0.5
    kind = torch.randint(4, (count,), generator=generator)
    stripes = (0.1 + 0.2 * draw(1, 1, 1)) * kinds[kind][:, None]
    colour = torch.eye(3)[torch.arange(count) % 3][:, :, None, None]
    return (0.2 + 0.3 * colour + 0.3 * layout + stripes).clamp(0, 1)


@cache
def data() -> Scenes:
    return Scenes()


def pools() -> tuple[list[Tensor], list[Tensor]]:
    rows = damages.by_class(data().labels("train"), 0)
    return [one[0::2] for one in rows], [one[1::2] for one in rows]


def card_of(taken: list[Tensor], change: Callable[[Tensor, Tensor], Tensor] = damages.unchanged) -> Card:
    half = damages.Half(data(), torch.cat(pools()[0]).sort().values)
    instruments = Instruments(
        Scenes.condition_names,
        3,
        StubJudge(Scenes.condition_names),  # type: ignore[arg-type]
        plain_features(3, Scenes.image_size),
    )
    settings = Settings(_COUNT, batch_size=90, cas_images=0)
    generator = damages.StandIn(data(), taken, change)
    quick = partial(SmallPerceptron, epochs=8)  # a card of 180 images takes a second, not three
    with mock.patch.object(fidelity, "SmallPerceptron", quick):
        return make_card(generator, half, instruments, settings, no_bar)


@contextmanager
def no_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    yield lambda count: None


@cache
def undamaged() -> Card:
    return card_of(pools()[1])


@cache
def damaged(name: str) -> Card:
    known, new = pools()
    return {
        "blur": lambda: card_of(new, damages.blurred(1.0)),
        "noise": lambda: card_of(new, damages.noisy(0.05)),
        "one kind": lambda: card_of(damages.one_kind(data(), new, 0.25, 1)),
        "copies, mirrored": lambda: card_of(known, damages.mirrored),
        "copies, moved": lambda: card_of(known, damages.shifted(2)),
        "copies, cropped": lambda: card_of(known, damages.cropped(0.05)),
    }[name]()


def told_apart(card: Card, name: str) -> float:
    return card.two_sample[name]["generated"]["accuracy"]


def test_undamaged_images_score_as_real_ones_do() -> None:
    card = undamaged()
    assert card.quality is not None and float(card.quality.mean) > 0.95
    for name in ("fd_details", "fd_pixels", "fd_classifier"):
        assert card.distances[name] < 2 * card.floor[name], name
    for name in ("details", "pixels", "classifier"):
        assert told_apart(card, name) < 0.65, name
        assert card.memory[name].close_share < 0.05 and 0.9 < card.memory[name].distance_ratio < 1.1, name
        ratio = card.diversity[name]["ratio"]
        assert ratio is not None and 0.95 < ratio < 1.05, name


@pytest.mark.parametrize("name", ["blur", "noise"])
def test_details_catch_blur_and_noise_which_shrunken_pixels_do_not_see(name: str) -> None:
    clean, card = undamaged(), damaged(name)
    assert card.distances["fd_details"] > 2 * clean.distances["fd_details"]
    assert card.manifold["precision_details"] < 0.6 * clean.manifold["precision_details"]
    assert card.manifold["coverage_details"] < 0.6 * clean.manifold["coverage_details"]
    assert told_apart(card, "details") > 0.8
    assert card.distances["fd_pixels"] < 1.3 * clean.distances["fd_pixels"]
    assert abs(card.manifold["precision_pixels"] - clean.manifold["precision_pixels"]) < 0.1
    assert card.quality is not None and float(card.quality.mean) > 0.95, "a judge of colours is blind to it"


def test_dropped_modes_lower_what_counts_variety_and_nothing_else() -> None:
    clean, card = undamaged(), damaged("one kind")
    for score in ("recall_details", "coverage_details"):
        assert card.manifold[score] < 0.8 * clean.manifold[score], score
    diversity, before = card.diversity["details"]["ratio"], clean.diversity["details"]["ratio"]
    assert diversity is not None and before is not None and diversity < 0.9 * before
    assert card.intervals["diversity_ratio/details"][1] < before
    assert told_apart(card, "details") > told_apart(clean, "details") + 0.05
    assert card.manifold["precision_details"] > clean.manifold["precision_details"] - 0.1
    assert card.quality is not None and float(card.quality.mean) > 0.95
    assert card.memory["details"].distance_ratio > 0.8, "no copies"


@pytest.mark.parametrize("name", ["copies, moved", "copies, cropped"])
def test_slightly_changed_copies_stay_near_their_originals(name: str) -> None:
    clean, card = undamaged(), damaged(name)
    memory = card.memory["pixels"]
    assert memory.close_share > 0.9 and memory.distance_ratio < 0.7 and memory.p_value < 1e-6
    right = sum(
        torch.equal(theirs, original(mine_row, card)) for mine_row, theirs in closest_pairs(card, "pixels")
    )
    assert right == len(memory.closest), "each beside its original"
    for score in ("precision_pixels", "coverage_pixels"):
        assert card.manifold[score] > clean.manifold[score] - 0.1, score
    assert card.quality is not None and float(card.quality.mean) > 0.95
    assert card.distances["fd_pixels"] < 1.5 * clean.distances["fd_pixels"]


def test_mirrored_copies_are_caught_in_features_that_mirroring_does_not_change() -> None:
    card = damaged("copies, mirrored")
    assert card.memory["classifier"].close_share == 1 and card.memory["classifier"].distance_ratio < 0.1
    assert card.memory["pixels"].close_share < 0.05 and card.memory["pixels"].distance_ratio > 0.9
    assert card.distances["fd_pixels"] < 1.5 * undamaged().distances["fd_pixels"]
    assert told_apart(card, "pixels") < 0.65


def closest_pairs(card: Card, name: str) -> list[tuple[int, Tensor]]:
    """Return generated rows with the training images that were found."""
    kept = torch.cat(pools()[0]).sort().values
    return [(row, data().images["train"][kept[other]]) for row, other, _ in card.memory[name].closest]


def original(row: int, card: Card) -> Tensor:
    """Return the training image that a generated row is a copy of."""
    rows = pools()[0][row // _COUNT]
    return data().images["train"][rows[row % len(rows)]]


def test_a_score_has_moved_when_neither_its_interval_nor_the_spread_explains_it() -> None:
    nothing = float("nan")
    clean = [(0.50, nothing, nothing), (0.52, nothing, nothing), (0.51, nothing, nothing)]
    moved = degradation_table.moved
    assert moved((0.60, nothing, nothing), clean) and moved((0.60, 0.55, 0.65), clean)
    assert not moved((0.54, nothing, nothing), clean), "within twice the range"
    assert not moved((0.60, 0.50, 0.70), clean), "the interval holds what undamaged images get"
    assert not moved((nothing, nothing, nothing), clean)
