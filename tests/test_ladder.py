"""The hierarchical network: noise in, images out; its KL; it learns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vedute.losses.variational import kl_per_dimension
from vedute.networks.ladder import LadderVAE


def ladder(condition_size: int = 2) -> LadderVAE:
    torch.manual_seed(0)
    return LadderVAE((32, 32), 3, condition_size, top_size=8, map_channels=(2, 1), widths=(8, 16, 16))


def stirred(network: LadderVAE) -> LadderVAE:
    """Set the weights that start as zero to others."""
    with torch.no_grad():
        for weight in network.parameters():
            if not weight.any():
                weight.normal_(std=0.1)
    return network


def pictures() -> tuple[Tensor, Tensor]:
    """Return four simple pictures with two conditions."""
    grid = torch.linspace(0, 1, 32)
    across, down = grid.expand(3, 32, 32), grid[:, None].expand(3, 32, 32)
    return torch.stack([across, 1 - across, down, 1 - down]), torch.eye(2)[torch.tensor([0, 0, 1, 1])]


@pytest.mark.parametrize(
    ("image_size", "channels", "maps", "expected"),
    [
        ((64, 64), 3, (4, 2), 64 + 4 * 8 * 8 + 2 * 16 * 16),
        ((64, 32), 1, (3,), 64 + 3 * 8 * 4),
        ((32, 32), 4, (), 64),
    ],
)
def test_the_latent_size_is_the_sum_of_all_levels(
    image_size: tuple[int, int], channels: int, maps: tuple[int, ...], expected: int
) -> None:
    network = LadderVAE(image_size, channels, 2, map_channels=maps)
    assert network.latent_size == expected
    image, condition = torch.rand(2, channels, *image_size), torch.rand(2, 2)
    output, noise, mu, logvar = network(image, condition)
    assert output.shape == image.shape and noise.shape == mu.shape == logvar.shape == (2, expected)


@torch.no_grad()
def test_forward_decodes_what_it_drew() -> None:
    network = stirred(ladder()).eval()
    image, condition = torch.rand(2, 3, 32, 32), torch.rand(2, 2)
    output, noise, _, _ = network(image, condition)
    assert torch.allclose(network.decode(noise, condition), output, atol=1e-5)


@torch.no_grad()
def test_the_posterior_of_lower_levels_depends_on_what_was_drawn_above() -> None:
    network = stirred(ladder()).eval()
    image, condition = torch.rand(1, 3, 32, 32), torch.rand(1, 2)
    mean, _ = network.posterior(image, condition)
    drawn = network(image, condition)[2]
    top = network.top_size
    assert torch.allclose(mean[:, :top], drawn[:, :top]) and not torch.allclose(mean[:, top:], drawn[:, top:])


@torch.no_grad()
def test_at_the_start_the_maps_cost_nothing() -> None:
    network = ladder()
    _, _, mu, logvar = network(*(part[:2] for part in pictures()))
    assert kl_per_dimension(mu, logvar)[:, network.top_size :].abs().max() == 0


def test_the_kl_of_the_noise_is_that_of_the_latent_maps() -> None:
    """Of z = m + s e, whatever m and s are."""
    mu, logvar, mean, std = torch.randn(4, 5), torch.randn(4, 5), torch.randn(4, 5), torch.rand(4, 5) + 0.1
    posterior = Normal(mean + std * mu, std * torch.exp(0.5 * logvar))
    expected = kl_divergence(posterior, Normal(mean, std))
    assert torch.allclose(kl_per_dimension(mu, logvar), expected, atol=1e-4)


def test_every_level_changes_the_image_and_so_does_the_condition() -> None:
    network = stirred(ladder()).eval()
    noise, condition = torch.zeros(1, network.latent_size, requires_grad=True), torch.tensor([[1.0, 0.0]])
    image = network.decode(noise, condition)
    image.sum().backward()
    assert noise.grad is not None and (noise.grad != 0).float().mean() > 0.99
    assert not torch.allclose(image, network.decode(noise, 1 - condition))


def test_it_learns_a_few_pictures() -> None:
    network = ladder()
    image, condition = pictures()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)

    def error() -> float:
        with torch.no_grad():
            decoded = network.decode(network.posterior(image, condition)[0], condition)
        return (decoded - image).square().mean().item()

    before = error()
    for _ in range(40):
        output, _, mu, logvar = network(image, condition)
        loss = 3000 * (output - image).square().mean() + kl_per_dimension(mu, logvar).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert error() < 0.3 * before
    kl = kl_per_dimension(*network.posterior(image, condition))
    assert kl[:, network.top_size :].sum() > 0, "the maps are used"
