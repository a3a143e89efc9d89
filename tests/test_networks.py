"""VAE networks: shapes, ranges, conditions that matter, frozen variances, bad sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from vedute.errors import ConfigurationError
from vedute.networks.alexnet import AlexNetVAE
from vedute.networks.conditioning import Conditioning
from vedute.networks.ladder import LadderVAE
from vedute.networks.narrow import NarrowVAE
from vedute.networks.residual_vae import ResidualVAE
from vedute.networks.resnet_vae import ResNetVAE
from vedute.networks.street_view import StreetViewVAE
from vedute.networks.vae import LOGVAR_RANGE, VAENetwork, reparameterize, resize
from vedute.networks.wide_vae import WidePlusVAE

SMALL: dict[str, Callable[..., VAENetwork]] = {
    "residual": partial(ResidualVAE, latent_size=7, encoder_widths=(8, 16), decoder_widths=(8, 16)),
    "wide_plus": partial(WidePlusVAE, latent_size=7, encoder_widths=(4, 8, 8), decoder_widths=(8, 4)),
    "street_view": partial(StreetViewVAE, latent_size=7, widths=(4, 8, 8, 16)),
    "narrow": partial(NarrowVAE, latent_size=7, features=32, hidden_sizes=(16, 16)),
    "alexnet": partial(AlexNetVAE, latent_size=7, features=32),
    "resnet": partial(ResNetVAE, latent_size=7, decoder_widths=(8, 8, 16), weights="random"),
    "ladder": partial(LadderVAE, top_size=6, map_channels=(2, 1), widths=(8, 8, 16)),
}
"""Every network with few weights, from (image size, channels, condition size)."""


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(
    ("image_size", "channels", "condition_size"), [((32, 32), 3, 3), ((32, 64), 1, 0), ((64, 32), 4, 1)]
)
def test_shapes_and_ranges(
    name: str, image_size: tuple[int, int], channels: int, condition_size: int
) -> None:
    network = SMALL[name](image_size, channels, condition_size)
    image, condition = torch.rand(2, channels, *image_size), torch.rand(2, condition_size)
    output, z, mu, logvar = network(image, condition)
    assert output.shape == image.shape and output.min() >= 0 and output.max() <= 1
    assert z.shape == mu.shape == logvar.shape == (2, network.latent_size)
    (output.sum() + logvar.sum()).backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_latents_and_images_are_float32_under_autocast(name: str) -> None:
    network = SMALL[name]((32, 32), 3, 2)
    with torch.autocast("cpu", torch.bfloat16):
        values = network(torch.rand(2, 3, 32, 32), torch.rand(2, 2))
    assert [value.dtype for value in values] == [torch.float32] * 4


@pytest.mark.parametrize("name", SMALL)
def test_a_frozen_variance_leaves_every_other_weight_in_use(name: str) -> None:
    """A plain autoencoder decodes the means: what only log variances depend on would have no gradient."""
    network = SMALL[name]((32, 32), 3, 2)
    network.freeze_variance()
    image, condition = torch.rand(2, 3, 32, 32), torch.rand(2, 2)
    network.decode(network.posterior(image, condition)[0], condition).sum().backward()
    used = {name for name, p in network.named_parameters() if p.grad is not None}
    assert used == {name for name, p in network.named_parameters() if p.requires_grad}
    assert any(not p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("name", ["residual", "wide_plus", "resnet", "ladder"])
def test_the_condition_changes_what_is_decoded_after_some_steps(name: str) -> None:
    torch.manual_seed(0)
    network = SMALL[name]((32, 32), 3, 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    z, conditions = torch.randn(1, network.latent_size).expand(2, -1), torch.eye(2)
    target = torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)])
    for _ in range(30):
        loss = (network.decode(z, conditions) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    dark, bright = network.decode(z, conditions).mean(dim=(1, 2, 3))
    assert bright > dark + 0.1


@pytest.mark.parametrize("name", ["narrow", "alexnet"])
@torch.no_grad()
def test_deep_stacks_still_see_the_image(name: str) -> None:
    """With torch's own start of weights, ten layers leave less than a thousandth of the difference."""
    torch.manual_seed(0)
    network = SMALL[name]((64, 64), 3, 0)
    images = torch.stack([torch.zeros(3, 64, 64), torch.ones(3, 64, 64), torch.rand(3, 64, 64)])
    mu = network.encode(images, torch.zeros(3, 0))[0]
    assert (mu[0] - mu[1]).abs().max() > 0.05
    a, b = network.decode(torch.randn(2, network.latent_size), torch.zeros(2, 0))
    assert (a - b).abs().max() > 0.005


@pytest.mark.parametrize("name", ["narrow", "alexnet"])
def test_networks_of_one_size_have_as_many_weights_whatever_the_images(name: str) -> None:
    with torch.device("meta"):
        networks = [SMALL[name](size, 3, 5) for size in ((32, 32), (96, 64))]
    small, large = (sum(weights.numel() for weights in network.parameters()) for network in networks)
    assert small == large


def test_resizing_leaves_equal_sizes_alone_and_flat_images_flat() -> None:
    image = torch.rand(1, 3, 8, 8)
    assert resize(image, (8, 8)) is image
    assert torch.allclose(resize(torch.full((1, 1, 32, 32), 0.3), (7, 50)), torch.tensor(0.3))


def test_tanh_bounds_the_latents_and_logvar_stays_in_range() -> None:
    network = WidePlusVAE((32, 32), 3, 0, 4, latent_activation="tanh")
    for head in (network.mu, network.logvar):
        for weights in head.parameters():
            weights.data.mul_(1000)
    mu, logvar = network.posterior(torch.rand(3, 3, 32, 32), torch.zeros(3, 0))
    assert mu.abs().max() <= 1 and logvar.abs().max() <= 1
    linear = WidePlusVAE((32, 32), 3, 0, 4)
    for weights in linear.logvar.parameters():
        weights.data.mul_(1e6)
    _, logvar = linear.posterior(torch.rand(3, 3, 32, 32), torch.zeros(3, 0))
    assert logvar.min() >= LOGVAR_RANGE[0] and logvar.max() <= LOGVAR_RANGE[1]


def test_reparameterize_has_the_asked_moments() -> None:
    torch.manual_seed(0)
    z = reparameterize(
        torch.full((20000, 1), 2.0), torch.full((20000, 1), 2 * torch.log(torch.tensor(0.5)).item())
    )
    assert z.mean().item() == pytest.approx(2, abs=0.02)
    assert z.std().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("channels", [1, 3, 4])
@torch.no_grad()
def test_resnet_sees_any_channels_as_rgb_at_the_start(channels: int) -> None:
    """A grey picture gives what it gives as RGB; alpha and a condition's channel nothing yet."""
    torch.manual_seed(0)
    rgb = ResNetVAE((32, 32), 3, 0, 5, weights="random").eval()
    factory = partial(Conditioning, enters=["image", "latent"])
    other = ResNetVAE((32, 32), channels, 2, 5, weights="random", conditioning=factory).eval()
    shared = {k: v for k, v in rgb.state_dict().items() if k.startswith(("stem", "stages", "mu"))}
    other.load_state_dict(shared, strict=False)
    grey = torch.rand(2, 1, 32, 32)
    image = torch.cat([grey.expand(-1, min(channels, 3), -1, -1), *[grey] * (channels - 3)], dim=1)
    expected = rgb.encode(grey.expand(-1, 3, -1, -1), torch.zeros(2, 0))[0]
    assert torch.allclose(other.encode(image, torch.rand(2, 2))[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ResidualVAE((50, 64), 3, 5), "48 or 64"),
        (lambda: WidePlusVAE((31, 32), 3, 5), "30 or 32"),
        (lambda: ResNetVAE((48, 64), 3, 5, weights="random"), "32 or 64"),
        (lambda: LadderVAE((40, 64), 3, 5), "32 or 48"),
        (lambda: ResidualVAE((32, 32), 3, 5, latent_size=0), "latent_size of at least 1, got 0"),
        (lambda: ResidualVAE((32, 32), 3, 5, encoder_widths=(8,)), "the same length, got 1 and 4"),
        (lambda: WidePlusVAE((32, 32), 3, 5, encoder_stride_at=9), "encoder_stride_at"),
        (lambda: LadderVAE((32, 32), 3, 5, widths=(8, 8), map_channels=(1, 1)), "fewer latent maps"),
    ],
)
def test_sizes_that_do_not_fit_are_named_with_ones_that_do(
    build: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build()
