"""Networks from image to image: any size that fits, masks and condition vectors, weight counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from vedute.errors import ConfigurationError
from vedute.networks.translators import ResidualUNet, ResnetGenerator, TranslatorNetwork, UNet

SMALL: list[tuple[type[TranslatorNetwork], dict[str, Any]]] = [
    (UNet, {"width": 4}),
    (ResidualUNet, {"width": 4}),
    (ResnetGenerator, {"width": 4, "blocks": 2}),
]
small = pytest.mark.parametrize(("kind", "options"), SMALL)
norms = pytest.mark.parametrize("norm", ["batch", "instance"])


def count(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


def test_published_layouts_have_their_numbers_of_weights() -> None:
    with torch.device("meta"):
        assert count(UNet((256, 256), 3, 3, 0)) == 54_413_955
        assert count(ResnetGenerator((256, 256), 3, 3, 0)) == 11_383_427
        assert count(ResnetGenerator((256, 256), 3, 3, 0, norm="instance")) == 11_378_179


@small
@norms
def test_any_size_that_fits_is_translated(kind: type, options: dict[str, Any], norm: str) -> None:
    network = kind((32, 32), 3, 1, 2, norm=norm, **options).eval()
    assert network.scale == 1 and 32 % network.multiple == 0
    step = max(network.multiple, 8)
    for height, width in ((step, step), (2 * step, 3 * step), (64, 32)):
        image = network(torch.rand(2, 1, height, width), torch.rand(2, 2))
        assert image.shape == (2, 3, height, width) and image.dtype == torch.float32
        assert image.min() >= 0 and image.max() <= 1


@small
@norms
def test_mask_and_condition_vector_change_the_image(kind: type, options: dict[str, Any], norm: str) -> None:
    network = kind((32, 32), 3, 1, 2, norm=norm, **options).eval()
    for weights in network.parameters():  # those of a condition vector start at 0
        nn.init.normal_(weights, std=0.3)
    mask, vector = (torch.rand(1, 1, 32, 32) > 0.5).float(), torch.tensor([[1.0, 0.0]])
    image = network(mask, vector)
    assert (network(1 - mask, vector) - image).abs().max() > 1e-4
    assert (network(mask, 1 - vector) - image).abs().max() > 1e-4


@small
def test_dropout_is_noise_in_training_only(kind: type, options: dict[str, Any]) -> None:
    network = kind((32, 32), 3, 1, 0, norm="instance", **options)
    mask, vector = torch.rand(1, 1, 32, 32), torch.zeros(1, 0)
    with torch.no_grad():
        assert not torch.equal(network(mask, vector), network(mask, vector))
        network.eval()
        assert torch.equal(network(mask, vector), network(mask, vector))
    still = kind((32, 32), 3, 1, 0, norm="instance", dropout=0.0, **options)
    assert torch.equal(still(mask, vector), still(mask, vector))


@small
@norms
def test_all_weights_learn_under_autocast(kind: type, options: dict[str, Any], norm: str) -> None:
    network = kind((32, 32), 3, 1, 2, norm=norm, dropout=0.0, **options).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        image = network(torch.rand(2, 1, 64, 64), torch.rand(2, 2))
    assert image.dtype == torch.float32
    (image * torch.rand_like(image)).sum().backward()
    for name, weights in network.named_parameters():
        assert weights.grad is not None and torch.isfinite(weights.grad).all(), name


@small
def test_with_instance_norm_an_image_does_not_depend_on_its_batch(
    kind: type, options: dict[str, Any]
) -> None:
    network = kind((32, 32), 3, 1, 0, norm="instance", dropout=0.0, **options)
    mask = torch.rand(3, 1, 32, 32)
    together = network(mask, torch.zeros(3, 0))
    assert torch.allclose(network(mask[1:2], torch.zeros(1, 0)), together[1:2], atol=1e-5)


@pytest.mark.parametrize(
    ("size", "multiple", "residual_multiple"),
    [
        ((256, 256), 256, 64),
        ((64, 64), 64, 64),
        ((48, 64), 16, 16),
        ((512, 512), 256, 64),
        ((250, 250), 2, 2),
    ],
)
def test_levels_fit_the_image_size(size: tuple[int, int], multiple: int, residual_multiple: int) -> None:
    with torch.device("meta"):
        assert UNet(size, 3, 1, 0, width=4).multiple == multiple
        assert ResidualUNet(size, 3, 1, 0, width=4).multiple == residual_multiple


def test_the_interpolating_network_draws_no_checkerboard() -> None:
    network = ResidualUNet((32, 32), 1, 1, 0, width=8, dropout=0.0).eval()
    image = network(torch.ones(1, 1, 64, 64), torch.zeros(1, 0))[..., 24:40, 24:40]
    assert (image[..., ::2] - image[..., 1::2]).abs().max() < 1e-3


@small
def test_what_does_not_fit_is_refused(kind: type, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="change data"):
        kind((33, 33), 3, 1, 0, **options)
    with pytest.raises(ConfigurationError, match="condition images"):
        kind((32, 32), 3, 0, 0, **options)
    with pytest.raises(ConfigurationError, match="batch or instance"):
        kind((32, 32), 3, 1, 0, norm="layer", **options)
    with pytest.raises(ConfigurationError, match="dropout"):
        kind((32, 32), 3, 1, 0, dropout=1.0, **options)
    network = kind((32, 32), 3, 1, 0, **options)
    with pytest.raises(ConfigurationError, match="33x32"):
        network(torch.rand(1, 1, 33, 32), torch.zeros(1, 0))


def test_levels_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="multiples of 64"):
        UNet((32, 32), 3, 1, 0, levels=6)
    with pytest.raises(ConfigurationError, match="levels of at least 1"):
        ResidualUNet((32, 32), 3, 1, 0, levels=0)
    with pytest.raises(ConfigurationError, match="at least 8x8"):
        ResnetGenerator((32, 32), 3, 1, 0, width=4)(torch.rand(1, 1, 4, 8), torch.zeros(1, 0))
