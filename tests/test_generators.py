"""Generators of the GAN family: sizes, conditions of any kind, weight counts, what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from vedute.errors import ConfigurationError
from vedute.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from vedute.networks.generators import GeneratorNetwork
from vedute.networks.residual_gan import ResidualDiscriminator, ResidualGenerator

Sizes = tuple[int, int]


def dcgan(size: Sizes, channels: int, entries: int) -> GeneratorNetwork:
    return DCGANGenerator(size, channels, entries, noise_size=6, width=4)


def residual(size: Sizes, channels: int, entries: int) -> GeneratorNetwork:
    return ResidualGenerator(size, channels, entries, noise_size=6, widths=(4, 8, 16), embedding_size=8)


both = pytest.mark.parametrize("make", [dcgan, residual])
Make = Callable[[Sizes, int, int], GeneratorNetwork]


def stir(network: nn.Module) -> nn.Module:
    """Give all weights random values: some start at 0, and what they do would not be seen."""
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(0.2 * torch.randn_like(weights))
    return network


def count(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


@pytest.mark.parametrize(
    ("side", "generator", "discriminator"), [(64, 3_576_704, 2_765_568), (128, 12_786_560, 11_164_416)]
)
def test_dcgan_has_the_published_number_of_weights(side: int, generator: int, discriminator: int) -> None:
    with torch.device("meta"):
        assert count(DCGANGenerator((side, side), 3, 0)) == generator
        assert count(DCGANDiscriminator((side, side), 3, 0)) == discriminator


@both
@pytest.mark.parametrize(
    ("size", "channels", "entries"), [((32, 32), 3, 5), ((24, 32), 1, 0), ((40, 8), 4, 2), ((48, 64), 2, 1)]
)
def test_images_have_their_size_and_range(make: Make, size: Sizes, channels: int, entries: int) -> None:
    if make is dcgan and size == (40, 8):
        size = (40, 16)  # three halvings
    network = stir(make(size, channels, entries))
    image = network(3 * torch.randn(3, 6), torch.randn(3, entries))
    assert image.shape == (3, channels, *size) and image.dtype == torch.float32
    assert image.min() >= 0 and image.max() <= 1


@both
def test_noise_and_condition_both_change_the_image(make: Make) -> None:
    network = stir(make((16, 16), 3, 2)).eval()
    noise, condition = torch.randn(1, 6), torch.tensor([[1.0, 0.0]])
    image = network(noise, condition)
    assert (network(torch.randn(1, 6), condition) - image).abs().max() > 1e-3
    assert (network(noise, 1 - condition) - image).abs().max() > 1e-3
    fuzzy = network(noise, torch.tensor([[0.6, 0.4]]))
    assert (fuzzy - image).abs().max() > 1e-3


@both
def test_in_eval_mode_an_image_does_not_depend_on_its_batch(make: Make) -> None:
    network = stir(make((16, 16), 3, 2)).eval()
    noise, condition = torch.randn(5, 6), torch.rand(5, 2)
    together = network(noise, condition)
    assert torch.allclose(network(noise[3:4], condition[3:4]), together[3:4], atol=1e-5)


@both
def test_all_weights_learn_under_autocast(make: Make) -> None:
    network = stir(make((16, 16), 3, 2)).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        image = network(torch.randn(4, 6), torch.rand(4, 2))
    assert image.dtype == torch.float32
    (image * torch.rand_like(image)).sum().backward()
    for name, weights in network.named_parameters():
        assert weights.grad is not None and weights.grad.abs().sum() > 0, name


def test_residual_networks_start_with_signals_of_ordinary_size() -> None:
    generator = ResidualGenerator((64, 64), 3, 0)
    image = generator(torch.randn(16, 64), torch.zeros(16, 0))
    assert 0.1 < image.std() < 0.45  # neither grey nor black and white
    smooth = nn.functional.interpolate(torch.rand(16, 3, 4, 4), size=(64, 64), mode="bilinear")
    logits, features = ResidualDiscriminator((64, 64), 3, 0)(smooth, torch.zeros(16, 0))
    assert logits.abs().max() < 10 and all(0.1 < feature.std() < 10 for feature in features)


def test_conditional_normalisation_of_a_fuzzy_label_lies_between_its_classes() -> None:
    norm = DCGANGenerator((16, 16), 3, 2, noise_size=4, width=4).norms[0].eval()
    x = torch.randn(1, 8, 4, 4).expand(3, -1, -1, -1)
    first, second, between = norm(x, torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.25, 0.75]]))
    assert not torch.allclose(first, second)
    assert torch.allclose(between, 0.25 * first + 0.75 * second, atol=1e-5)


def test_sizes_and_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="multiple of 16"):
        DCGANGenerator((64, 72), 3, 0)
    with pytest.raises(ConfigurationError, match="multiple of 16"):
        DCGANDiscriminator((72, 72), 3, 0)
    with pytest.raises(ConfigurationError, match="multiple of 2"):
        DCGANGenerator((3, 3), 3, 0)
    with pytest.raises(ConfigurationError, match="width of at least 1"):
        DCGANGenerator((64, 64), 3, 0, width=0)
    with pytest.raises(ConfigurationError, match="noise_size of at least 1"):
        DCGANGenerator((64, 64), 3, 0, noise_size=0)
    with pytest.raises(ConfigurationError, match="multiple of 16"):
        ResidualGenerator((40, 40), 3, 0)
    with pytest.raises(ConfigurationError, match="at least one level"):
        ResidualGenerator((40, 40), 3, 0, widths=())
    with pytest.raises(ConfigurationError, match="blocks 0"):
        ResidualDiscriminator((64, 64), 3, 0, blocks=0)
