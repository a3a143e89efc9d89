"""Discriminators: shapes, conditions of any kind, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from vedute.errors import ConfigurationError
from vedute.losses.adversarial import gradient_penalty
from vedute.networks.dcgan import DCGANDiscriminator
from vedute.networks.discriminators import (
    Discriminator,
    PatchDiscriminator,
    ProjectionDiscriminator,
    choose_levels,
)
from vedute.networks.residual_gan import ResidualDiscriminator
from vedute.networks.unet_discriminator import UNetDiscriminator

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


Make = Callable[[tuple[int, int], int, int], Discriminator]


def dcgan(size: tuple[int, int], channels: int, entries: int) -> Discriminator:
    return DCGANDiscriminator(size, channels, entries, width=4)


def dcgan_spectral(size: tuple[int, int], channels: int, entries: int) -> Discriminator:
    return DCGANDiscriminator(size, channels, entries, width=4, spectral=True)


def residual(size: tuple[int, int], channels: int, entries: int) -> Discriminator:
    return ResidualDiscriminator(size, channels, entries, widths=(8, 16), hidden_size=8)


def patch(size: tuple[int, int], channels: int, entries: int) -> Discriminator:
    return PatchDiscriminator(size, channels, entries, width=4)


def patch_instance(size: tuple[int, int], channels: int, entries: int) -> Discriminator:
    return PatchDiscriminator(size, channels, entries, width=4, norm="instance")


def patch_spectral(size: tuple[int, int], channels: int, entries: int) -> Discriminator:
    return PatchDiscriminator(size, channels, entries, width=4, norm="none", spectral=True)


def unet(size: tuple[int, int], channels: int, entries: int) -> Discriminator:
    return UNetDiscriminator(size, channels, entries, width=4)


FAMILY = [dcgan, dcgan_spectral, residual, patch, patch_instance, patch_spectral, unet]
family = pytest.mark.parametrize("make", FAMILY)


@family
@pytest.mark.parametrize(("size", "channels", "entries"), [((32, 32), 3, 5), ((24, 32), 1, 0)])
def test_the_family_judges_as_promised(
    make: Make, size: tuple[int, int], channels: int, entries: int
) -> None:
    network = make(size, channels, entries)
    logits, features = network(torch.rand(2, channels, *size), torch.rand(2, entries))
    assert logits.ndim == 2 and len(logits) == 2 and logits.dtype == torch.float32
    assert len(features) == network.feature_count
    areas = [feature.shape[2] * feature.shape[3] for feature in features]
    assert areas == sorted(areas, reverse=True)  # finest first


@family
def test_the_family_compares_images_with_conditions_of_any_kind(make: Make) -> None:
    network = make((32, 32), 3, 2).eval()
    image = torch.rand(1, 3, 32, 32).expand(3, -1, -1, -1)
    conditions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.25, 0.75]])
    first, second, between = network(image, conditions).logits
    assert not torch.allclose(first, second, atol=1e-7)
    assert torch.allclose(between, 0.25 * first + 0.75 * second, atol=1e-5)
    features = network(image, conditions).features
    assert all(torch.allclose(feature[0], feature[1], atol=1e-6) for feature in features)


@family
def test_the_family_learns_under_autocast_and_from_penalties(make: Make) -> None:
    network = make((32, 32), 3, 2).to(memory_format=torch.channels_last)
    image, condition = torch.rand(2, 3, 32, 32), torch.rand(2, 2)
    if make is residual:
        for weights in network.parameters():  # some start at 0
            nn.init.normal_(weights, std=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        real, fake = network(image, condition).logits, network(1 - image, condition).logits
    penalised = image.clone().requires_grad_()
    penalty = gradient_penalty(network(penalised, condition).logits, penalised).mean()
    (torch.nn.functional.softplus(fake - real).mean() + penalty).backward()
    for name, weights in network.named_parameters():
        assert weights.grad is not None and torch.isfinite(weights.grad).all(), name
    assert sum(weights.grad.abs().sum() > 0 for weights in network.parameters()) > 2  # type: ignore[union-attr]


def test_the_patch_and_the_pixel_discriminator_have_the_published_numbers_of_weights() -> None:
    with torch.device("meta"):
        networks = [PatchDiscriminator((256, 256), 6, 0), UNetDiscriminator((256, 256), 3, 0)]
    assert [sum(w.numel() for w in network.parameters()) for network in networks] == [2_768_705, 4_376_897]


@pytest.mark.parametrize(("layers", "side"), [(3, 70), (2, 34), (1, 16)])
def test_a_patch_has_its_pixels(layers: int, side: int) -> None:
    network = PatchDiscriminator((96, 96), 1, 1, width=2, layers=layers, norm="none")
    image = torch.rand(1, 1, 96, 96, requires_grad=True)
    logits = network(image, torch.ones(1, 1)).logits
    across = int(logits.shape[1] ** 0.5)
    middle = across // 2 * across + across // 2
    (gradient,) = torch.autograd.grad(logits[0, middle], image)
    assert [int((gradient[0, 0].abs().sum(dim=axis) > 0).sum()) for axis in (0, 1)] == [side, side]


def test_each_pixel_gets_a_judgement() -> None:
    network = unet((16, 24), 3, 0)
    assert network(torch.rand(2, 3, 16, 24), torch.zeros(2, 0)).logits.shape == (2, 16 * 24)


def test_patches_that_do_not_fit_are_refused() -> None:
    assert PatchDiscriminator((24, 24), 3, 0, width=2)(
        torch.rand(2, 3, 24, 24), torch.zeros(2, 0)
    ).logits.numel()
    with pytest.raises(ConfigurationError, match="at least 24x24 pixels, got 16x32"):
        PatchDiscriminator((16, 32), 3, 0)
    with pytest.raises(ConfigurationError, match="width and layers"):
        PatchDiscriminator((64, 64), 3, 0, layers=0)
    with pytest.raises(ConfigurationError, match="batch, instance, none"):
        PatchDiscriminator((64, 64), 3, 0, norm="group")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="multiple of 8"):
        UNetDiscriminator((36, 36), 3, 0)
