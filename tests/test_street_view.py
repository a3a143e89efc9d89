"""The street-view network of systems S2: weights, shapes, and what the condition does."""

from __future__ import annotations

import pytest
import torch

from vedute.errors import ConfigurationError
from vedute.networks.street_view import StreetViewVAE


def test_weight_count_of_the_reference() -> None:
    with torch.device("meta"):
        network = StreetViewVAE((128, 128), 3, 84)
    assert sum(weights.numel() for weights in network.parameters()) == 14_186_531


@pytest.mark.parametrize(
    ("image_size", "channels", "condition_size"), [((32, 32), 3, 4), ((32, 48), 1, 2), ((16, 16), 4, 0)]
)
def test_shapes_follow_image_size_channels_and_condition(
    image_size: tuple[int, int], channels: int, condition_size: int
) -> None:
    network = StreetViewVAE(image_size, channels, condition_size, latent_size=6, widths=(4, 8, 8, 16))
    image = torch.rand(2, channels, *image_size)
    reconstruction, _, mu, logvar = network(image, torch.rand(2, condition_size))
    assert reconstruction.shape == image.shape
    assert mu.shape == logvar.shape == (2, network.latent_size)
    assert reconstruction.min() >= 0 and reconstruction.max() <= 1


def test_condition_enters_encoder_and_decoder() -> None:
    torch.manual_seed(0)
    network = StreetViewVAE((16, 16), 3, 2, latent_size=6, widths=(4, 8, 8, 16)).eval()
    image, z = torch.rand(1, 3, 16, 16), torch.randn(1, 6)
    one, other = torch.eye(2).split(1)
    assert not torch.equal(network.encode(image, one)[0], network.encode(image, other)[0])
    assert not torch.equal(network.decode(z, one), network.decode(z, other))


def test_an_image_size_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="multiple of 16"):
        StreetViewVAE((40, 32), 3, 2)
