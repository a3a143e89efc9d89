"""VAE networks: shapes, ranges, weight counts, conditions that matter, bad sizes."""

from __future__ import annotations

import pytest
import torch

from vedute.errors import ConfigurationError
from vedute.networks.residual_vae import ResidualVAE
from vedute.networks.vae import LOGVAR_RANGE, VAENetwork, reparameterize
from vedute.networks.wide_vae import WidePlusVAE


def weights(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("image_size", "latent_size", "encoder_widths", "decoder_widths", "decoder_stride_at", "expected"),
    [
        ((128, 128), 64, (16, 32, 64, 128, 256), (128, 64, 32, 16), 1, 208.3e6),
        ((128, 128), 1024, (16, 32, 64, 128, 16), (128, 64, 32, 16), 1, 201.99e6),
        ((256, 256), 200, (16, 32, 64), (32, 16), 0, 635.9e6),
    ],
)
def test_wide_plus_has_the_reference_number_of_weights(
    image_size: tuple[int, int],
    latent_size: int,
    encoder_widths: tuple[int, ...],
    decoder_widths: tuple[int, ...],
    decoder_stride_at: int,
    expected: float,
) -> None:
    with torch.device("meta"):
        network = WidePlusVAE(
            image_size, 3, 5, latent_size, encoder_widths, decoder_widths, decoder_stride_at=decoder_stride_at
        )
    assert weights(network) == pytest.approx(expected, rel=0.001)


@pytest.mark.parametrize("network_class", [ResidualVAE, WidePlusVAE])
@pytest.mark.parametrize("image_size", [(32, 32), (32, 48)])
@pytest.mark.parametrize("condition_size", [0, 3])
def test_shapes_and_ranges(
    network_class: type[VAENetwork], image_size: tuple[int, int], condition_size: int
) -> None:
    network = network_class(image_size, 1, condition_size, 7)
    image, condition = torch.rand(2, 1, *image_size), torch.rand(2, condition_size)
    output, z, mu, logvar = network(image, condition)
    assert output.shape == image.shape and output.min() >= 0 and output.max() <= 1
    assert z.shape == mu.shape == logvar.shape == (2, 7)
    output.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("network_class", [ResidualVAE, WidePlusVAE])
def test_the_condition_changes_what_is_decoded_after_a_step(network_class: type[VAENetwork]) -> None:
    torch.manual_seed(0)
    network = network_class((32, 32), 3, 2, 4)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    z = torch.randn(2, 4)
    conditions = torch.eye(2)
    target = torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)])
    for _ in range(10):
        loss = (network.decode(z[:1].expand(2, -1), conditions) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    dark, bright = network.decode(z[:1].expand(2, -1), conditions).mean(dim=(1, 2, 3))
    assert bright > dark + 0.1


def test_tanh_bounds_the_latents_and_logvar_stays_in_range() -> None:
    network = WidePlusVAE((32, 32), 3, 0, 4, latent_activation="tanh")
    network.mu.weight.data.mul_(1000)
    network.logvar.weight.data.mul_(1000)
    mu, logvar = network.posterior(torch.rand(3, 3, 32, 32), torch.zeros(3, 0))
    assert mu.abs().max() <= 1 and logvar.abs().max() <= 1
    linear = WidePlusVAE((32, 32), 3, 0, 4)
    linear.logvar.weight.data.mul_(1e6)
    _, logvar = linear.posterior(torch.rand(3, 3, 32, 32), torch.zeros(3, 0))
    assert logvar.min() >= LOGVAR_RANGE[0] and logvar.max() <= LOGVAR_RANGE[1]


def test_reparameterize_has_the_asked_moments() -> None:
    torch.manual_seed(0)
    z = reparameterize(
        torch.full((20000, 1), 2.0), torch.full((20000, 1), 2 * torch.log(torch.tensor(0.5)).item())
    )
    assert z.mean().item() == pytest.approx(2, abs=0.02)
    assert z.std().item() == pytest.approx(0.5, abs=0.02)


def test_a_size_that_does_not_divide_names_sizes_that_do() -> None:
    with pytest.raises(ConfigurationError, match="48 or 64"):
        ResidualVAE((50, 64), 3, 5)
