"""Conditioning: each place lets the condition in, in every network; encoders keep their promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from tests.test_networks import SMALL
from vedute.errors import ConfigurationError
from vedute.networks.conditioning import (
    MLP,
    ConditionEncoder,
    Conditioning,
    Dense,
    EntryAttention,
    Place,
    Raw,
)
from vedute.networks.vae import VAENetwork

ENCODERS: dict[str, Callable[[int], ConditionEncoder]] = {
    "raw": Raw,
    "dense": partial(Dense, size=8),
    "mlp": partial(MLP, size=8),
    "attention": partial(EntryAttention, size=8, heads=2, layers=2),
}


def conditioned(name: str, enters: Sequence[Place], encoder: str = "mlp") -> VAENetwork:
    """Build a small network, and set weights that start as zero (FiLM, a ladder's maps) to others."""
    torch.manual_seed(0)
    factory = partial(Conditioning, embedding=ENCODERS[encoder], enters=enters)
    network = SMALL[name]((32, 32), 3, 2, conditioning=factory).eval()
    with torch.no_grad():
        for weight in network.parameters():
            if not weight.any():
                weight.normal_(std=0.05)
        if isinstance(to_rgb := getattr(network, "to_rgb", None), nn.Conv2d):
            to_rgb.weight.normal_(std=0.5)
    return network


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(
    ("enters", "reaches_encoder"),
    [(["image", "latent"], True), (["features", "latent"], True), (["latent"], False), (["film"], True)],
)
@torch.no_grad()
def test_each_place_lets_the_condition_in(name: str, enters: list[Place], reaches_encoder: bool) -> None:
    network = conditioned(name, enters)
    one, other = torch.split(torch.eye(2), 1)
    z, image = torch.randn(1, network.latent_size), torch.rand(1, 3, 32, 32)
    assert not torch.equal(network.decode(z, one), network.decode(z, other))
    if name == "ladder":  # its posterior is found on the way down, which latent and film change as well
        reaches_encoder = True
    mu, changed = network.encode(image, one)[0], network.encode(image, other)[0]
    assert torch.equal(mu, changed) is not reaches_encoder


@pytest.mark.parametrize("name", SMALL)
def test_all_places_at_once_are_all_trained(name: str) -> None:
    network = conditioned(name, ["image", "features", "latent", "film"], "attention").train()
    image, _, mu, logvar = network(torch.rand(4, 3, 32, 32), torch.rand(4, 2))
    (image.square().sum() + mu.square().sum() + logvar.square().sum()).backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [n for n in without if n.startswith("conditioning") or "film" in n]


def test_film_starts_as_the_identity_and_belongs_to_who_asks() -> None:
    conditioning = Conditioning(3, (8, 8), enters=["film"])
    films, x = conditioning.films([7, 5]), torch.randn(2, 5, 4, 4)
    embedding = conditioning(torch.randn(2, 3))
    assert len(films) == 2 and torch.equal(films.at(1, x, embedding), x)
    assert not any("film" in name for name, _ in conditioning.named_parameters())
    none = Conditioning(3, (8, 8), enters=["latent"]).films([7, 5])
    assert not len(none) and none.at(1, x, embedding) is x


def test_without_entries_nothing_enters() -> None:
    conditioning = Conditioning(0, (8, 8), EntryAttention, ["image", "features", "latent", "film"])
    sizes = (conditioning.extra_channels, conditioning.extra_features, conditioning.extra_latent)
    assert sizes == (0, 0, 0) and conditioning.film_size == 0
    assert not list(conditioning.parameters())
    embedding = conditioning(torch.zeros(2, 0))
    image, row = torch.rand(2, 3, 8, 8), torch.rand(2, 4)
    assert embedding.shape == (2, 0)
    assert conditioning.beside_image(image, embedding) is image
    assert conditioning.beside_features(row, embedding) is row
    assert conditioning.beside_latent(row, embedding) is row


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("condition_size", [0, 1, 5])
def test_encoders_have_the_size_that_they_say(encoder: str, condition_size: int) -> None:
    built = ENCODERS[encoder](condition_size)
    assert built(torch.randn(3, condition_size)).shape == (3, built.size)
    assert (built.size == 0) == (condition_size == 0)
    assert condition_size or not sum(weight.numel() for weight in built.parameters())


def test_attention_does_not_care_in_which_order_entries_stand() -> None:
    encoder, condition = EntryAttention(4, size=8, heads=2), torch.randn(3, 4)
    embedding = encoder(condition)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        encoder.names.copy_(encoder.names[order])
        encoder.directions.copy_(encoder.directions[order])
    assert torch.allclose(encoder(condition[:, order]), embedding, atol=1e-5)
    assert not torch.allclose(encoder(condition), embedding, atol=1e-2)


def test_attention_can_tell_that_two_entries_disagree() -> None:
    """What no sum over single entries can: their product."""
    torch.manual_seed(0)
    encoder, read = EntryAttention(2, size=16), nn.Linear(16, 1)
    optimizer = torch.optim.Adam([*encoder.parameters(), *read.parameters()], lr=1e-2)
    scores = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    target = scores.prod(dim=1, keepdim=True)
    loss = torch.tensor(1.0)
    for _ in range(100):
        loss = (read(encoder(scores)) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Conditioning(2, (8, 8), enters=["image"]), "never sees the condition"),
        (lambda: Conditioning(2, (8, 8), enters=[]), "never sees the condition"),
        (lambda: Conditioning(2, (8, 8), enters=["latent", "latent"]), "at most once"),
        (lambda: Conditioning(2, (8, 8), enters=["x"]), "image, features, latent, film"),  # type: ignore[list-item]
        (lambda: EntryAttention(2, size=10, heads=4), "heads divides"),
        (lambda: MLP(2, size=0), "at least 1"),
        (lambda: Dense(2, activation="sine"), "relu, leaky_relu, silu, linear"),  # type: ignore[arg-type]
    ],
)
def test_bad_options_are_named(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build()


def test_features_keep_their_type_under_autocast() -> None:
    conditioning = Conditioning(2, (8, 8), Raw, ["features", "latent"])
    features: Tensor = torch.zeros(1, 4, dtype=torch.bfloat16)
    assert conditioning.beside_features(features, torch.ones(1, 2)).dtype == torch.bfloat16
