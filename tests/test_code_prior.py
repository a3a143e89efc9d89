"""The prior over codes: causal, conditional, cached sampling equal to the whole pass, guidance."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vedute.errors import ConfigurationError
from vedute.networks.code_prior import CodePrior, CodeSampler
from vedute.networks.conditioning import EntryAttention


def prior(condition_size: int = 3, seed: int = 0, **options: float) -> CodePrior:
    """Return a small prior over 11 codes on a 2x3 map with random weights, in eval mode."""
    torch.manual_seed(seed)
    network = CodePrior(11, (2, 3), condition_size, width=16, depth=2, heads=2, **options)  # type: ignore[arg-type]
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def inputs(count: int = 4, condition_size: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(11, (count, 6), generator=generator)
    return codes, torch.randn(count, condition_size, generator=generator)


def test_it_starts_as_the_uniform_distribution() -> None:
    codes, condition = inputs()
    loss = CodePrior(11, (2, 3), 3).eval().loss(codes, condition)
    assert torch.allclose(loss, torch.full((4,), math.log(11)))


@torch.no_grad()
def test_a_code_is_told_from_those_before_it_only() -> None:
    network, (codes, condition) = prior(), inputs()
    logits = network(codes, condition)
    assert logits.shape == (4, 6, 11)
    for position in range(6):
        other = codes.clone()
        other[:, position] = (other[:, position] + 1) % 11
        changed = (network(other, condition) - logits).abs().amax(dim=(0, 2)) > 1e-6
        assert changed.tolist() == [later > position for later in range(6)]
    assert not torch.allclose(network(codes, condition + 1)[:, 0], logits[:, 0])


@torch.no_grad()
@pytest.mark.parametrize("condition_size", [0, 3])
def test_drawing_one_by_one_equals_the_whole_pass(condition_size: int) -> None:
    network, (_, condition) = prior(condition_size), inputs(5, condition_size)
    greedy = network.generate(condition, torch.zeros(5, 6), CodeSampler())
    assert torch.equal(network(greedy, condition).argmax(dim=2), greedy)
    guided = network.generate(condition, torch.zeros(5, 6), CodeSampler(guidance=2.5))
    if condition_size:
        with_, without = (
            network(guided, condition, torch.full((5,), keep)).log_softmax(dim=2) for keep in (True, False)
        )
        assert torch.equal((without + 2.5 * (with_ - without)).argmax(dim=2), guided)
    else:
        assert torch.equal(guided, greedy)


@torch.no_grad()
def test_an_image_does_not_depend_on_its_batch() -> None:
    network, (_, condition) = prior(), inputs(8)
    noise = torch.randn(8, 6)
    for sampler in (CodeSampler(), CodeSampler(0.8, top_k=5, top_p=0.9, guidance=1.5)):
        together = network.generate(condition, noise, sampler)
        alone = torch.cat(
            [network.generate(condition[n : n + 1], noise[n : n + 1], sampler) for n in range(8)]
        )
        assert torch.equal(together, alone)


@torch.no_grad()
def test_guidance_zero_is_unconditional_and_one_conditional() -> None:
    network, (_, condition) = prior(), inputs(8)
    noise = torch.randn(8, 6)
    unconditional = network.generate(condition, noise, CodeSampler(guidance=0))
    assert torch.equal(unconditional, network.generate(condition + 1, noise, CodeSampler(guidance=0)))
    plain = network.generate(condition, noise, CodeSampler())
    assert torch.equal(plain, network.generate(condition, noise, CodeSampler(guidance=1.0)))
    assert not torch.equal(plain, unconditional)


@torch.no_grad()
def test_each_image_keeps_or_loses_its_own_condition() -> None:
    network, (codes, condition) = prior(), inputs()
    keep = torch.tensor([True, False, True, False])
    mixed = network(codes, condition, keep)
    assert torch.allclose(mixed[keep], network(codes, condition)[keep], atol=1e-6)
    other = network(codes, condition + 1, keep)
    assert torch.allclose(mixed[~keep], other[~keep], atol=1e-6)
    # A condition of zeros is a condition: the mean score.
    zeros = network(codes, torch.zeros_like(condition))
    assert (zeros - mixed)[~keep].abs().max() > 1e-3


def test_conditions_are_dropped_while_training_only() -> None:
    codes, condition = inputs(64)
    network = prior(condition_dropout=0.5, dropout=0.0)
    with torch.no_grad():
        assert torch.equal(network.loss(codes, condition), network.loss(codes, condition))
        lost = network.train().loss(codes, condition) != network.eval().loss(codes, condition)
    assert 16 < int(lost.sum()) < 48


def test_every_weight_gets_a_gradient() -> None:
    for condition_size in (0, 3):
        network = prior(condition_size).train()
        network.loss(*inputs(4, condition_size)).mean().backward()
        idle = [name for name, weight in network.named_parameters() if weight.grad is None]
        assert not idle


def test_noise_draws_codes_by_their_probability() -> None:
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log().expand(20000, -1)
    noise = torch.randn(20000, generator=torch.Generator().manual_seed(0))
    share = torch.bincount(CodeSampler().choose(logits, noise), minlength=4) / 20000
    assert torch.allclose(share, logits[0].exp(), atol=0.015)
    cold = torch.bincount(CodeSampler(temperature=0.5).choose(logits, noise), minlength=4) / 20000
    squared = logits[0].exp().square()
    assert torch.allclose(cold, squared / squared.sum(), atol=0.015)


def test_the_smaller_the_noise_the_likelier_the_code() -> None:
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(0))
    noise = torch.linspace(0, 4, 40)
    for sign in (1, -1):
        chosen = CodeSampler().choose(logits.expand(40, -1), sign * noise)
        likelihood = logits[0, chosen]
        assert chosen[0] == logits.argmax() and (likelihood.diff() <= 0).all()


def test_top_k_and_top_p_leave_the_tail_out() -> None:
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log().expand(5000, -1)
    noise = 3 * torch.randn(5000, generator=torch.Generator().manual_seed(0))

    def drawn(sampler: CodeSampler) -> set[int]:
        return set(sampler.choose(logits, noise).tolist())

    assert drawn(CodeSampler()) == {0, 1, 2, 3}
    assert drawn(CodeSampler(top_k=1)) == {1}
    assert drawn(CodeSampler(top_k=2)) == {1, 3}
    assert drawn(CodeSampler(top_k=100)) == {0, 1, 2, 3}
    assert drawn(CodeSampler(top_p=0.5)) == {1}
    assert drawn(CodeSampler(top_p=0.6)) == {1, 3}
    assert drawn(CodeSampler(top_p=1.0)) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"guidance": -1.0}, "guidance"),
    ],
)
def test_bad_ways_to_draw_are_refused(options: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        CodeSampler(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "says"),
    [({"width": 10, "heads": 4}, "width"), ({"depth": 0}, "depth"), ({"dropout": 1.0}, "dropout")],
)
def test_bad_sizes_are_refused(options: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        CodePrior(8, (2, 2), 0, **options)  # type: ignore[arg-type]


def test_conditions_can_be_attended_to() -> None:
    network = CodePrior(11, (2, 3), 4, width=16, depth=1, heads=2, conditioning=EntryAttention)
    assert network.loss(inputs()[0], torch.randn(4, 4)).shape == (4,)
