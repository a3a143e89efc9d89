"""Copies of training images, and of generated ones, are found; and nothing else finds the former."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from tests.test_neighbours import kinds, noise, scores
from vedute.errors import DataError
from vedute.metrics.distances import FrechetDistance, KernelDistance
from vedute.metrics.diversity import mean_pairwise_distance
from vedute.metrics.frechet import frechet_distance
from vedute.metrics.memorisation import Memorisation, Memory, mann_whitney, memorisation

TRAIN, HELD_OUT, NEW = kinds(1500, 0), kinds(500, 1), kinds(500, 2)
COPIES = TRAIN[:500]


def found(generated: Tensor, train: Tensor = TRAIN, held_out: Tensor = HELD_OUT) -> Memory:
    return memorisation(train, held_out, generated)


def test_new_images_are_as_far_from_training_images_as_held_out_ones() -> None:
    memory = found(NEW)
    assert memory.distance_ratio == pytest.approx(1, abs=0.05)
    assert memory.close_share < 0.04 and memory.close_share_real == 0.01
    assert memory.nearer == pytest.approx(0.5, abs=0.05) and memory.p_value > 0.01
    assert memory.train_share == pytest.approx(0.75, abs=0.05) and memory.train_share_expected == 0.75
    assert memory.duplicate_share < 0.04 and memory.duplicate_share_real == pytest.approx(0.01, abs=0.005)
    assert abs(memory.frechet_gap) < 0.5 * memory.frechet_train


@pytest.mark.parametrize("spread", [0, 0.1])
def test_copies_and_nearly_copies_of_training_images_are_caught(spread: float) -> None:
    memory = found(COPIES + spread * noise(500, 8, 7))
    assert memory.distance_ratio < 0.3 and memory.close_share > 0.95 and memory.nearer > 0.99
    assert memory.p_value < 1e-50 and memory.train_share > 0.98
    assert memory.duplicate_share < 0.04, "different training images are no copies of each other"


def test_copies_are_caught_by_nothing_else() -> None:
    """All other scores, against held-out images, are those of new images or better."""
    copies, new = scores(HELD_OUT, COPIES), scores(HELD_OUT, NEW)
    assert copies == pytest.approx(new, abs=0.06)
    assert mean_pairwise_distance(COPIES) == pytest.approx(float(mean_pairwise_distance(NEW)), rel=0.05)
    missing = kinds(500, 2, kinds_of=2)
    frechet = [float(frechet_distance(generated, HELD_OUT)) for generated in (COPIES, NEW, missing)]
    assert abs(frechet[0] - frechet[1]) < 0.1 * frechet[2]
    kernel = []
    for generated in (COPIES, NEW, missing):
        distance = KernelDistance()
        distance.update(HELD_OUT, real=True)
        distance.update(generated, real=False)
        kernel.append(float(distance.compute()))
    assert abs(kernel[0] - kernel[1]) < 0.1 * kernel[2]


def test_a_few_copies_are_in_the_closest_pairs() -> None:
    memory = found(torch.cat([NEW[:300], TRAIN[[700, 3]], NEW[300:]]))
    assert sorted(memory.closest[:2]) == [(300, 700, 0.0), (301, 3, 0.0)] and memory.closest[2][2] > 0
    assert len(memory.closest) == 16 and memory.distance_ratio == pytest.approx(1, abs=0.05)
    distances = [distance for *_, distance in memory.closest]
    assert distances == sorted(distances)


def test_blur_is_nearer_but_not_to_training_images() -> None:
    memory = found(kinds(500, 2, spread=0.5))
    assert memory.distance_ratio < 0.9 and memory.p_value < 1e-6
    assert memory.train_share == pytest.approx(memory.train_share_expected, abs=0.05)


def test_fitting_the_training_sample_widens_the_frechet_gap() -> None:
    train, held_out = noise(200, 16), noise(200, 16, 1)
    assert found(train.clone(), train, held_out).frechet_gap > 0.3
    memory = memorisation(train, held_out, noise(200, 16, 2), frechet=False)
    assert math.isnan(memory.frechet_gap) and memory.distance_ratio == pytest.approx(1, abs=0.1)


def test_a_generator_that_repeats_itself_is_caught() -> None:
    memory = found(kinds(50, 2).repeat(10, 1))
    assert memory.duplicate_share == 1 and memory.duplicate_share_real == pytest.approx(0.01, abs=0.005)
    assert all(distance == 0 and (row - other) % 50 == 0 for row, other, distance in memory.twins)
    assert len(set(memory.twins)) == len(memory.twins)
    constant = found(HELD_OUT[:1].repeat(200, 1))
    assert constant.duplicate_share == 1 and math.isfinite(constant.frechet_train)


def test_copies_among_the_real_images_are_allowed_for() -> None:
    """Frames of a film: held-out images have copies among the training images, too."""
    train = torch.cat([TRAIN, HELD_OUT])
    memory = found(COPIES, train)
    assert memory.close_share == memory.close_share_real == 1 and memory.distance_ratio == 1
    assert memory.p_value == 1 and memory.nearer == 0.5


def test_a_quantile_of_few_images_is_none() -> None:
    memory = found(NEW[:50], held_out=HELD_OUT[:99])
    assert math.isnan(memory.close_share) and math.isnan(memory.duplicate_share)
    with pytest.raises(DataError, match=r"at least 2 images .* 1 held_out"):
        found(NEW, held_out=HELD_OUT[:1])
    with pytest.raises(DataError, match="500 of 500 generated"):
        found(NEW * float("nan"))


def test_the_test_is_that_of_mann_and_whitney() -> None:
    first, second = torch.tensor([1.0, 2.0, 2.0, 5.0]), torch.tensor([2.0, 3.0, 6.0, 7.0, 7.0])
    pairs = [float(a < b) + 0.5 * float(a == b) for a, b in product(first, second)]
    smaller, p_value = mann_whitney(first, second)
    assert smaller == pytest.approx(sum(pairs) / len(pairs))
    # U = 3 against a mean of 10; ties of 3 and 2: variance 20/12 (10 - 30/72)
    z = (3 - 10 + 0.5) / math.sqrt(20 / 12 * (10 - 30 / 72))
    assert p_value == pytest.approx(0.5 * math.erfc(-z / math.sqrt(2)))
    assert mann_whitney(torch.ones(3), torch.ones(4)) == (0.5, 1.0)
    stats = pytest.importorskip("scipy.stats")
    expected = stats.mannwhitneyu(first.numpy(), second.numpy(), alternative="less", method="asymptotic")
    assert p_value == pytest.approx(float(expected.pvalue))


def test_the_test_is_right_as_often_as_it_says() -> None:
    values = [mann_whitney(noise(40, 1, n)[:, 0], noise(60, 1, n + 5000)[:, 0])[1] for n in range(600)]
    assert sum(value < 0.05 for value in values) / 600 == pytest.approx(0.05, abs=0.03)


def test_the_metric_is_the_function_in_batches() -> None:
    metric = Memorisation(pairs=5)
    for kind, features in (("train", TRAIN), ("generated", COPIES), ("held_out", HELD_OUT)):
        for part in torch.split(features, 170):
            metric.update(part, kind)
    values, expected = metric.compute(), memorisation(TRAIN, HELD_OUT, COPIES, pairs=5)
    assert {name: float(values[name]) for name in expected.scores()} == expected.scores()
    assert values["closest"].tolist() == [list(pair) for pair in expected.closest]
    assert values["twins"].shape == (5, 3) and not metric.state_dict()
    with pytest.raises(ValueError, match="no 'test'"):
        metric.update(TRAIN, "test")


@pytest.mark.parametrize(("count", "width"), [(300, 20), (15, 20)])
def test_the_frechet_distance_is_that_of_running_sums(count: int, width: int) -> None:
    first, second = noise(count, width) @ noise(width, width, 5), noise(count + 7, width, 1) + 0.3
    running = FrechetDistance(width)
    running.update(first, real=True)
    running.update(second, real=False)
    assert float(frechet_distance(first, second)) == pytest.approx(float(running.compute()), rel=1e-5)
    assert float(frechet_distance(first, first)) < 1e-10 * float(frechet_distance(first, second))
