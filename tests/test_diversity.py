"""How different images of one class are."""

from __future__ import annotations

import math

import pytest
import torch

from vedute.metrics.diversity import Diversity, mean_pairwise_distance


def test_it_is_the_mean_over_all_pairs() -> None:
    features = torch.randn(1500, 5)  # more rows than are compared at a time
    pairs = torch.pdist(features.double())
    torch.testing.assert_close(mean_pairwise_distance(features), pairs.mean())
    assert mean_pairwise_distance(torch.tensor([[0.0, 0.0], [3.0, 4.0]])) == 5


def test_equal_images_have_none_and_one_image_no_value() -> None:
    assert mean_pairwise_distance(torch.full((50, 7), 1e4)) < 1e-6
    assert math.isnan(mean_pairwise_distance(torch.ones(1, 7)))


def test_it_does_not_depend_on_the_number_of_images() -> None:
    torch.manual_seed(0)
    few = torch.stack([mean_pairwise_distance(torch.randn(4, 20)) for _ in range(300)]).mean()
    assert float(few) == pytest.approx(float(mean_pairwise_distance(torch.randn(2000, 20))), rel=0.02)


def test_classes_are_not_compared_with_each_other() -> None:
    labels = torch.tensor([0, 1, 0, 1, 2])
    features = torch.tensor([[0.0], [100.0], [2.0], [101.0], [7.0]])
    metric = Diversity(3)
    for rows in (slice(0, 2), slice(2, 5)):
        metric.update(features[rows], labels[rows])
    torch.testing.assert_close(
        metric.compute(), torch.tensor([2, 1, float("nan")], dtype=torch.float64), equal_nan=True
    )


def test_without_classes_all_images_are_one() -> None:
    metric = Diversity(features=lambda image: image.flatten(1))
    metric.update(torch.tensor([[[[0.0]]], [[[4.0]]]]))
    assert metric.compute().tolist() == 4
    with pytest.raises(ValueError, match="0 classes was given some"):
        metric.update(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64))
    assert not metric.state_dict()
