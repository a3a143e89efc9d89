"""The YAMLs of the reference have its numbers of weights: counted on the meta device, without memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from vedute.networks.vae import VAENetwork

CONFIGS = Path(__file__).parents[1] / "configs"

COUNTS = [
    ("cvae_narrow_landscapes", 256, 5, 14e6, 0.05),
    ("cvae_alexnet_landscapes", 227, 5, 166e6, 0.03),
    ("cvae_wide_d2_landscapes", 256, 5, 13.15e6, 0.03),
    ("cvae_wide_d10_landscapes", 256, 5, 38.32e6, 0.03),
    ("cvae_wide_d100_landscapes", 256, 5, 321.4e6, 0.03),
    ("cvae_wide_plus_256_landscapes", 256, 5, 635.9e6, 0.001),
    ("cvae_wide_plus_128_d64_landscapes", 128, 5, 208.3e6, 0.001),
    ("cvae_wide_plus_128_d1024_landscapes", 128, 5, 201.99e6, 0.001),
    ("cvae_street_view", 128, 84, 14_186_531, 0),
]


def network_of(config: str, side: int, condition_size: int) -> VAENetwork:
    """Build a configuration's network on the meta device: without memory for its weights."""
    described = yaml.safe_load((CONFIGS / f"{config}.yaml").read_text())["model"]["init_args"]["network"]
    sizes = {"image_size": [side, side], "image_channels": 3, "condition_size": condition_size}
    described["init_args"] |= sizes
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(VAENetwork, "network")
    with torch.device("meta"):
        network = parser.instantiate_classes(parser.parse_object({"network": described})).network
    assert isinstance(network, VAENetwork)
    return network


@pytest.mark.parametrize(("config", "side", "condition_size", "expected", "tolerance"), COUNTS)
def test_a_configuration_has_the_reference_number_of_weights(
    config: str, side: int, condition_size: int, expected: float, tolerance: float
) -> None:
    network = network_of(config, side, condition_size)
    assert all(weights.is_meta for weights in network.parameters())
    count = sum(weights.numel() for weights in network.parameters())
    assert count == pytest.approx(expected, rel=tolerance, abs=0)


@pytest.mark.parametrize("config", [name for name, side, *_ in COUNTS if side == 256 and "wide" in name])
def test_the_features_at_256_pixels_are_the_reference_number(config: str) -> None:
    network = network_of(config, 256, 5)
    assert network.expand.out_features == 1_048_576  # type: ignore[union-attr]
