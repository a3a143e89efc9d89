"""Intervals contain what they should, as often as they say."""

from __future__ import annotations

import math

import pytest
import torch

from tests.test_neighbours import noise
from vedute.errors import DataError
from vedute.metrics.bootstrap import bootstrap, bootstrap_mean, frechet_interval
from vedute.metrics.frechet import frechet_distance, frechet_influence


def test_the_interval_of_a_mean_is_two_standard_errors_wide() -> None:
    values = 3 + 2 * noise(2000, 1)[:, 0]
    error = float(values.std()) / math.sqrt(2000)
    for interval in (bootstrap_mean(values), bootstrap(torch.mean, values)):
        assert interval.value == pytest.approx(float(values.mean()), rel=1e-5)
        assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.15)
        assert interval.low < interval.value < interval.high


def test_the_interval_contains_the_truth_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(300):
        interval = bootstrap_mean(noise(80, 1, seed)[:, 0] > 0.2, repeats=300, level=0.9)
        hits += interval.low <= 0.5 * math.erfc(0.2 / math.sqrt(2)) <= interval.high
    assert hits / 300 == pytest.approx(0.9, abs=0.06)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = noise(50, 1)[:, 0]
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)
    assert bootstrap(torch.mean, values, seed=3, repeats=50) == bootstrap(
        torch.mean, values, seed=3, repeats=50
    )


def test_of_classes_the_mean_of_their_means_is_resampled_inside_each() -> None:
    values = torch.cat([torch.ones(90), torch.zeros(10)])
    labels = torch.cat([torch.zeros(90), torch.ones(10)]).long()
    assert bootstrap_mean(values, labels) == (0.5, 0.5, 0.5), "inside a class nothing differs"
    assert bootstrap_mean(values).value == pytest.approx(0.9)
    mixed = torch.arange(100) % 2
    assert bootstrap_mean(mixed, labels).value == pytest.approx(0.5)


def test_pairs_are_drawn_together() -> None:
    first = noise(200, 1)[:, 0]
    second = first + 0.1
    together = bootstrap(lambda a, b: (b - a).mean(), first, second, together=True, repeats=200)
    apart = bootstrap(lambda a, b: b.mean() - a.mean(), first, second, repeats=200)
    assert together.high - together.low < 1e-5 < 0.1 < apart.high - apart.low
    with pytest.raises(DataError, match="200, 100"):
        bootstrap(lambda a, b: 0.0, first, second[:100], together=True)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_parts_of_a_set_give_the_interval_of_the_whole(share: float) -> None:
    values = noise(500, 1)[:, 0]
    whole, part = bootstrap_mean(values), bootstrap(torch.mean, values, share=share)
    assert part.high - part.low == pytest.approx(whole.high - whole.low, rel=0.15)

    def nearest_other(rows: torch.Tensor) -> torch.Tensor:
        return (torch.cdist(rows, rows) + 1e9 * torch.eye(len(rows))).amin(dim=1).mean()

    rows = noise(300, 3)
    interval = bootstrap(nearest_other, rows, share=share, repeats=200)
    assert interval.low < interval.value < interval.high
    drawn_twice = bootstrap(nearest_other, rows, repeats=50)
    assert drawn_twice.high < interval.value, "rows that are drawn twice are no distance apart"


def test_the_influence_is_the_change_by_one_image() -> None:
    first, second = noise(400, 5).double() @ noise(5, 5, 3).double(), noise(300, 5, 1).double() + 0.5
    whole = float(frechet_distance(first, second))
    others = [torch.cat([first[:n], first[n + 1 :]]) for n in range(40)]
    without = torch.stack([frechet_distance(rest, second) for rest in others])
    expected = (whole - without) * 399  # less a constant, which the unbiased covariance adds
    found = frechet_influence(first, second)[:40]
    assert float(torch.corrcoef(torch.stack([expected, found]))[0, 1]) > 0.999
    assert float(found.std() / expected.std()) == pytest.approx(1, abs=0.05)


def test_the_interval_of_a_frechet_distance_is_that_of_parts_of_the_sets() -> None:
    first, second = noise(600, 10) @ (noise(10, 10, 3) * 0.5), noise(500, 10, 1) + 0.5
    quick = frechet_interval(first, second)
    slow = bootstrap(frechet_distance, first, second, share=0.5, repeats=300)
    assert quick.value == slow.value and quick.low < quick.value < quick.high
    assert quick.high - quick.low == pytest.approx(slow.high - slow.low, rel=0.2)


def test_a_frechet_distance_of_few_images_has_no_interval() -> None:
    interval = frechet_interval(noise(39, 20), noise(500, 20, 1))
    assert interval.value > 0 and math.isnan(interval.low) and math.isnan(interval.high)
    useless = noise(300, 4)
    useless[:, 2] = 7  # a feature that is the same in all images
    interval = frechet_interval(useless, noise(300, 4, 1))
    assert 0 <= interval.low < interval.value < interval.high
    constant = frechet_interval(torch.ones(100, 4), noise(300, 4, 1))
    assert constant.low < constant.value < constant.high


def test_what_has_no_interval_is_refused() -> None:
    with pytest.raises(DataError, match="two images in each set, got 1"):
        bootstrap_mean(torch.ones(1))
    with pytest.raises(DataError, match="1 of 3 values"):
        bootstrap_mean(torch.tensor([1.0, float("nan"), 2.0]))
    with pytest.raises(ValueError, match="level between 0 and 1"):
        bootstrap_mean(torch.ones(5), level=95)
    with pytest.raises(ValueError, match="share"):
        bootstrap(torch.mean, torch.ones(5), share=1.0)
