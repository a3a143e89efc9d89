"""Adversarial losses: their values at known logits, their directions, the penalty and the balance."""

from __future__ import annotations

import math

import pytest
import torch

from vedute.errors import ConfigurationError
from vedute.losses.adversarial import (
    AdversarialBalance,
    AdversarialLoss,
    Hinge,
    LeastSquares,
    NonSaturating,
    RelativisticAverage,
    RelativisticPaired,
    feature_distance,
    gradient_penalty,
    zero_centred_penalty,
)
from vedute.losses.gradients import gradient_norms
from vedute.losses.objective import Objective
from vedute.schedules import Progress

ABSOLUTE: list[AdversarialLoss] = [NonSaturating(), Hinge(), LeastSquares()]
PAIRED: list[AdversarialLoss] = [*ABSOLUTE, RelativisticPaired()]
LOSSES = [*PAIRED, RelativisticAverage()]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_better_fake_costs_the_generator_less_and_the_discriminator_more(loss: AdversarialLoss) -> None:
    real = torch.tensor([[0.3], [0.3]])
    fake = torch.tensor([[-0.2], [0.5]])
    generator, discriminator = loss.generator(real, fake), loss.discriminator(real, fake)
    assert generator.shape == discriminator.shape == (2,)
    assert generator[1] < generator[0] and discriminator[1] > discriminator[0]


@pytest.mark.parametrize("loss", PAIRED)
def test_patches_of_an_image_are_averaged_and_low_precision_is_left(loss: AdversarialLoss) -> None:
    real, fake = torch.randn(3, 6).bfloat16(), torch.randn(3, 6).bfloat16()
    value = loss.discriminator(real, fake)
    assert value.shape == (3,) and value.dtype == torch.float32
    single = [loss.discriminator(real[:, [k]], fake[:, [k]]) for k in range(6)]
    assert torch.allclose(value, torch.stack(single).mean(dim=0))


def test_values_at_indifference() -> None:
    zero = torch.zeros(1, 1)
    assert NonSaturating().discriminator(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert RelativisticPaired().generator(zero, zero).item() == pytest.approx(math.log(2))
    assert Hinge().discriminator(zero, zero).item() == 2
    assert Hinge().discriminator(zero + 1, zero - 1).item() == 0, "beyond the margin nothing is learned"


def test_relativistic_losses_and_accuracy_see_differences_only() -> None:
    real, fake = torch.randn(5, 1), torch.randn(5, 1)
    loss = RelativisticPaired()
    assert torch.allclose(loss.discriminator(real + 7, fake + 7), loss.discriminator(real, fake), atol=1e-5)
    assert torch.equal(loss.correct(real + 7, fake + 7), loss.correct(real, fake))
    assert NonSaturating().correct(torch.tensor([[2.0]]), torch.tensor([[1.0]])).item() == 0.5


def test_values_of_least_squares_and_averages() -> None:
    real, fake = torch.tensor([[1.0], [0.5]]), torch.tensor([[0.0], [0.5]])
    assert LeastSquares().discriminator(real, fake).tolist() == [0, 0.25]
    assert LeastSquares().generator(real, fake).tolist() == [1, 0.25]
    zero = torch.zeros(3, 2)
    loss = RelativisticAverage()
    assert torch.allclose(loss.generator(zero, zero), torch.full((3,), math.log(2)))
    real, fake = torch.randn(4, 1), torch.randn(4, 1)
    by_hand = [
        0.5 * (math.log1p(math.exp(fake.mean() - r)) + math.log1p(math.exp(f - real.mean())))
        for r, f in zip(real.flatten(), fake.flatten(), strict=True)
    ]
    assert loss.discriminator(real, fake).tolist() == pytest.approx(by_hand, rel=1e-5)
    assert torch.allclose(loss.generator(real, fake), loss.discriminator(-real, -fake), atol=1e-6)
    assert torch.allclose(loss.discriminator(real + 7, fake + 7), loss.discriminator(real, fake), atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_margins_are_positive_where_the_discriminator_is_right(loss: AdversarialLoss) -> None:
    real, fake = torch.full((4, 2), 3.0), torch.full((4, 2), -2.0)
    for margin in loss.margins(real, fake):
        assert margin.shape == (4, 2) and margin.min() > 0
    assert loss.correct(real, fake).tolist() == [1] * 4
    assert loss.correct(fake, real).tolist() == [0] * 4
    # A step against its loss moves the logits to where the margins are larger.
    logits = torch.zeros(2, 4, 2, requires_grad=True)
    loss.discriminator(logits[0], logits[1]).sum().backward()
    assert logits.grad is not None
    ahead, behind = loss.margins(*(-logits.grad).unbind())
    if isinstance(loss, LeastSquares):  # half of the way from 0 to its goals is indifference
        ahead, behind = -logits.grad.unbind()[0], logits.grad.unbind()[1] + 1
    assert ahead.min() > 0 and behind.min() > 0


def test_least_squares_is_indifferent_at_a_half() -> None:
    loss = LeastSquares()
    assert loss.correct(torch.tensor([[0.6], [0.4]]), torch.tensor([[0.4], [0.6]])).tolist() == [1, 0]


def test_a_zero_centred_penalty_is_computed_in_float32_and_reaches_the_discriminator_alone() -> None:
    weight = torch.randn(12, 1, requires_grad=True)
    source = torch.rand(4, 3, 2, 2, requires_grad=True)
    seen: list[torch.dtype] = []

    def judge(image: torch.Tensor) -> torch.Tensor:
        logits = image.flatten(1) @ weight
        seen.append(logits.dtype)
        return logits

    with torch.autocast("cpu", torch.bfloat16):
        penalty = zero_centred_penalty(judge, source.bfloat16())
        assert (source.flatten(1) @ weight).dtype == torch.bfloat16, "around it nothing changes"
    assert seen == [torch.float32] and penalty.shape == (4,)
    assert torch.allclose(penalty, weight.square().sum().expand(4))
    penalty.sum().backward()
    assert weight.grad is not None and source.grad is None


def test_the_penalty_of_a_linear_discriminator_is_its_squared_weight() -> None:
    weight = torch.randn(12, 3, requires_grad=True)
    image = torch.rand(4, 3, 2, 2, requires_grad=True)
    penalty = gradient_penalty(image.flatten(1) @ weight, image)
    assert torch.allclose(penalty, weight.mean(dim=1).square().sum().expand(4))
    penalty.sum().backward()
    assert weight.grad is not None and weight.grad.abs().sum() > 0


def test_feature_distance_is_zero_for_equal_and_blind_to_scale() -> None:
    features = [torch.randn(2, 8, 4, 4), torch.randn(2, 5, 2, 2)]
    assert feature_distance(features, features).abs().max() < 1e-6
    assert feature_distance(features, [3 * feature for feature in features]).abs().max() < 1e-6
    assert torch.allclose(feature_distance(features, [-feature for feature in features]), torch.tensor(4.0))
    zeros = [torch.zeros_like(feature, requires_grad=True) for feature in features]
    distance = feature_distance(zeros, features)
    distance.sum().backward()
    assert all(zero.grad is not None and zero.grad.isfinite().all() for zero in zeros)


def test_the_balanced_term_pulls_as_strongly_as_the_others() -> None:
    image = torch.rand(2, 3, 4, 4, requires_grad=True)
    losses = {"reconstruction": 50 * image.square().mean(), "adversarial": 1e-3 * image.sum()}
    objective = Objective({"reconstruction": 2.0, "adversarial": 0.5}, balance=AdversarialBalance())
    _, active = objective(losses, Progress(0, 0), image)
    gradients = [
        torch.autograd.grad(losses[name] * active[name], image, retain_graph=True)[0] for name in losses
    ]
    assert gradients[1].norm() == pytest.approx(0.5 * gradients[0].norm().item(), rel=1e-4)
    losses["adversarial"] = 0 * losses["adversarial"]
    assert objective(losses, Progress(0, 0), image)[1]["adversarial"] == 0.5 * 1e4, "the limit"


def test_a_term_beside_kl_alone_keeps_its_weight() -> None:
    image, kl = torch.rand(2, 3, 4, 4, requires_grad=True), torch.ones((), requires_grad=True)
    losses = {"reconstruction": image.square().mean(), "kl": 2 * kl, "adversarial": 1e-3 * image.sum()}
    weights = {"reconstruction": 0.0, "kl": 1.0, "adversarial": 0.5}
    objective = Objective(weights, balance=AdversarialBalance())
    for given in (image, None):
        total, active = objective(losses, Progress(0, 0), given)
        assert active == weights
    total.backward()
    with torch.no_grad():
        assert objective(losses, Progress(0, 0), image)[1] == weights


def test_processes_have_one_multiplier(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.rand(2, 3, 4, 4, requires_grad=True)
    losses = {"reconstruction": 50 * image.square().mean(), "adversarial": 1e-3 * image.sum()}
    norms = torch.stack(list(gradient_norms(losses, image).values()))
    other = torch.tensor([7.0, 0.3])  # of the other process
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda found: found.add_(other))
    weights = {"reconstruction": 1.0, "adversarial": 1.0}
    active = Objective(weights, balance=AdversarialBalance())(losses, Progress(0, 0), image)[1]
    reconstruction, adversarial = (norms + other).tolist()
    assert float(active["adversarial"]) == pytest.approx(reconstruction / adversarial, rel=1e-4)


def test_the_balance_needs_its_term() -> None:
    with pytest.raises(ConfigurationError, match=r"adversarial.*reconstruction, kl"):
        Objective({"reconstruction": 1.0, "kl": 1.0}, balance=AdversarialBalance())
