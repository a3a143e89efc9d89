"""Discriminators: shapes, conditions of any kind, and what is refused."""

from __future__ import annotations

import pytest
import torch

from vedute.errors import ConfigurationError
from vedute.losses.adversarial import gradient_penalty
from vedute.networks.discriminators import ProjectionDiscriminator, choose_levels

WIDTHS = (8, 12, 16)


SHAPES = [((32, 32), 3, 5), ((16, 24), 1, 0), ((8, 40), 4, 2)]


@pytest.mark.parametrize(("size", "channels", "entries"), SHAPES)
def test_one_logit_an_image_and_a_feature_map_a_level(
    size: tuple[int, int], channels: int, entries: int
) -> None:
    network = ProjectionDiscriminator(size, channels, entries, WIDTHS, hidden_size=10)
    logits, features = network(torch.rand(2, channels, *size), torch.rand(2, entries))
    assert logits.shape == (2, 1) and network.feature_count == len(features)
    shapes = [(width, size[0] >> level, size[1] >> level) for level, width in enumerate(WIDTHS, start=1)]
    assert [tuple(feature.shape[1:]) for feature in features] == shapes


def test_an_image_is_judged_by_itself() -> None:
    network = ProjectionDiscriminator((16, 16), 3, 2, WIDTHS)
    image, condition = torch.rand(5, 3, 16, 16), torch.rand(5, 2)
    together = network(image, condition).logits
    assert torch.allclose(network(image[3:4], condition[3:4]).logits, together[3:4], atol=1e-6)


def test_a_fuzzy_label_is_judged_between_its_classes() -> None:
    network = ProjectionDiscriminator((16, 16), 3, 2, WIDTHS)
    image = torch.rand(1, 3, 16, 16).expand(3, -1, -1, -1)
    first, second, between = network(image, torch.tensor([[1.0, 0], [0, 1], [0.25, 0.75]])).logits[:, 0]
    assert first != second
    assert between.item() == pytest.approx((0.25 * first + 0.75 * second).item(), abs=1e-6)


def test_features_do_not_depend_on_the_condition() -> None:
    network = ProjectionDiscriminator((16, 16), 3, 2, WIDTHS)
    image = torch.rand(1, 3, 16, 16)
    first, second = (network(image, torch.tensor([label])).features for label in ([1.0, 0.0], [0.0, 1.0]))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_spectral_normalisation_bounds_every_layer() -> None:
    network = ProjectionDiscriminator((16, 16), 3, 2, WIDTHS, spectral=True)
    image, condition = torch.rand(2, 3, 16, 16), torch.rand(2, 2)
    with torch.no_grad():
        for convolution in network.convolutions:
            convolution.parametrizations["weight"].original.mul_(20)
        for _ in range(30):  # power iterations
            network(image, condition)
    network.eval()
    for layer in (*network.convolutions, network.dense, network.judge, network.project):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2) < 1.05


def test_a_penalty_can_be_learned_from() -> None:
    network = ProjectionDiscriminator((16, 16), 3, 2, WIDTHS)
    image = torch.rand(2, 3, 16, 16, requires_grad=True)
    gradient_penalty(network(image, torch.rand(2, 2)).logits, image).sum().backward()
    convolution = network.convolutions[0]
    assert isinstance(convolution, torch.nn.Conv2d) and convolution.weight.grad is not None
    assert convolution.weight.grad.abs().sum() > 0


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="multiple of 8"):
        ProjectionDiscriminator((20, 20), 3, 2, WIDTHS)
    with pytest.raises(ConfigurationError, match="at least one level"):
        ProjectionDiscriminator((16, 16), 3, 2, ())


def test_feature_levels_must_exist() -> None:
    network = ProjectionDiscriminator((16, 16), 3, 2, WIDTHS)
    assert choose_levels(network, None) == [0, 1, 2] and choose_levels(network, [2]) == [2]
    for wrong in ([3], [], [-1]):
        with pytest.raises(ConfigurationError, match=r"\[0, 1, 2\]"):
            choose_levels(network, wrong)
