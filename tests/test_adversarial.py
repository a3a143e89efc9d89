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
    NonSaturating,
    RelativisticPaired,
    feature_distance,
    gradient_penalty,
)
from vedute.losses.gradients import gradient_norms
from vedute.losses.objective import Objective
from vedute.schedules import Progress

LOSSES = [NonSaturating(), Hinge(), RelativisticPaired()]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_better_fake_costs_the_generator_less_and_the_discriminator_more(loss: AdversarialLoss) -> None:
    real = torch.tensor([[0.3], [0.3]])
    fake = torch.tensor([[-0.5], [0.5]])
    generator, discriminator = loss.generator(real, fake), loss.discriminator(real, fake)
    assert generator.shape == discriminator.shape == (2,)
    assert generator[1] < generator[0] and discriminator[1] > discriminator[0]


@pytest.mark.parametrize("loss", LOSSES)
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
