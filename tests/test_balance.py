"""Balances of losses: when terms come in, equal pulls, and states that survive a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vedute.errors import ConfigurationError
from vedute.losses.balance import GradientNorm, OnPlateau, Uncertainty
from vedute.losses.gradients import gradient_norms
from vedute.losses.likelihood import GaussianLikelihood
from vedute.losses.objective import Objective
from vedute.losses.terms import LossBalance
from vedute.schedules import FromEpoch, Progress

NAMES = ["reconstruction", "perceptual", "histogram", "kl"]
WEIGHTS = {"reconstruction": 1.0, "perceptual": 1.0, "histogram": 2.0, "kl": 0.5}
START = Progress(0.0, 0.0)


def losses_of(image: Tensor, kl: Tensor) -> dict[str, Tensor]:
    return {
        "reconstruction": 100 * image.square().mean(),
        "perceptual": 0.01 * (image - 1).square().mean(),
        "histogram": 3e-4 * image.abs().mean(),
        "kl": kl.square().mean(),
    }


def given() -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(0)
    leaf, kl = torch.rand(2, 3, 4, 4, requires_grad=True), torch.rand(2, requires_grad=True)
    image = leaf * 1.0
    return image, losses_of(image, kl)


def test_terms_come_in_one_at_a_time() -> None:
    balance = OnPlateau(["perceptual", "kl"], patience=2, min_delta=0.1)
    balance.prepare(WEIGHTS)
    _, losses = given()

    def on() -> list[str]:
        return [name for name, value in balance(losses, WEIGHTS)[0].items() if value]

    def validate(reconstruction: float, others: float = 1.0) -> list[str]:
        values = dict.fromkeys(NAMES, others) | {"reconstruction": reconstruction, "histogram": 0.0}
        balance.after_validation(values, WEIGHTS)
        return on()

    first = ["reconstruction", "histogram"]
    assert on() == first
    assert validate(9.0) == first and validate(8.0) == first and validate(7.95) == first
    assert validate(7.0) == first, "it fell again: waiting starts anew"
    assert validate(7.0) == first and validate(7.0, others=-9.0) == [
        "reconstruction",
        "perceptual",
        "histogram",
    ]
    assert len(validate(20.0)) == 3, "the sum with the new term is compared with itself only"
    assert len(validate(20.0)) == 3 and validate(float("nan")) == NAMES
    assert validate(0.0) == NAMES, "and nothing is switched off again"


def test_equal_weights_pull_equally_and_kl_is_left_alone() -> None:
    balance = GradientNorm(every_n_steps=1)
    objective = Objective(WEIGHTS, balance=balance)
    image, losses = given()
    _, active = objective(losses, START, image)
    norms = {}
    for name in NAMES[:3]:
        (gradient,) = torch.autograd.grad(active[name] * losses[name], image, retain_graph=True)
        norms[name] = float(gradient.norm())
    assert norms["perceptual"] == pytest.approx(norms["reconstruction"], rel=1e-4)
    assert norms["histogram"] == pytest.approx(2 * norms["reconstruction"], rel=1e-4), "as its weight says"
    assert active["kl"] == 0.5 and active["reconstruction"] == 1.0


def test_the_reference_can_be_chosen_and_multipliers_are_limited() -> None:
    image, losses = given()
    balance = GradientNorm(reference="histogram", limit=10.0)
    balance.prepare(WEIGHTS)
    multipliers, added = balance(losses, WEIGHTS, image)
    assert multipliers["histogram"] == 1.0 and added == 0.0
    assert float(multipliers["reconstruction"]) == pytest.approx(0.1)


def test_norms_are_measured_every_few_steps_and_smoothed() -> None:
    balance = GradientNorm(every_n_steps=3, smoothing=0.5)
    balance.prepare(WEIGHTS)
    image, losses = given()
    balance(losses, WEIGHTS, image)
    first = balance.norms.clone()
    doubled = {name: 2 * loss for name, loss in losses.items()}
    balance(doubled, WEIGHTS, image)
    balance(doubled, WEIGHTS, image)
    assert torch.equal(balance.norms, first)
    balance(doubled, WEIGHTS, image)
    assert torch.allclose(balance.norms, 1.5 * first)
    with torch.no_grad():  # a validation neither counts nor measures
        balance(doubled, WEIGHTS, image)
    assert int(balance.steps) == 4
    broken = losses | {"perceptual": losses["perceptual"] * float("nan")}
    for _ in range(3):
        balance(broken, WEIGHTS, image)
    assert balance.norms.isfinite().all()


def test_without_the_image_nothing_changes() -> None:
    balance = GradientNorm()
    balance.prepare(WEIGHTS)
    multipliers, _ = balance(given()[1], WEIGHTS, None)
    assert multipliers == dict.fromkeys(NAMES, 1.0)


def test_processes_average_their_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    other = torch.tensor([6.0, 4.0, 2.0])
    alone, together = GradientNorm(), GradientNorm()
    for balance in (alone, together):
        balance.prepare(WEIGHTS)
    image, losses = given()
    alone(losses, WEIGHTS, image)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda norms: norms.add_(other))
    together(losses, WEIGHTS, image)
    assert torch.allclose(together.norms[:3], 0.5 * (alone.norms[:3] + other))


def test_a_term_without_weight_is_no_reference() -> None:
    weights = WEIGHTS | {"reconstruction": 0.0}
    image, losses = given()
    active = Objective(weights, balance=GradientNorm())(losses, START, image)[1]
    assert active["reconstruction"] == 0.0 and active["perceptual"] == 1.0
    norms = gradient_norms(losses, image)
    quotient = float(norms["perceptual"] / norms["histogram"])
    assert float(active["histogram"]) == pytest.approx(2 * quotient, rel=1e-4)
    with pytest.raises(ConfigurationError, match=r"'reconstruction' has weight 0.*perceptual, histogram, kl"):
        Objective(weights, balance=GradientNorm("reconstruction"))
    with pytest.raises(ConfigurationError, match=r"all terms off \(perceptual, histogram, kl\)"):
        Objective(weights, balance=OnPlateau(["perceptual", "histogram", "kl"]))


@pytest.mark.parametrize("build", [GradientNorm, Uncertainty])
def test_a_term_that_a_schedule_keeps_off_is_left_out(build: Callable[[], LossBalance]) -> None:
    objective = Objective(WEIGHTS, {"reconstruction": FromEpoch(1)}, build())
    image, losses = given()
    losses["reconstruction"] = losses["reconstruction"] * float("inf")
    total, active = objective(losses, START, image)
    assert active["reconstruction"] == 0.0 and total.isfinite()
    image, losses = given()
    active = objective(losses, Progress(2.0, 0.2), image)[1]
    assert torch.as_tensor(active["reconstruction"]).item() == 1.0


def test_a_loss_without_a_gradient_in_the_image_has_no_norm() -> None:
    image, losses = given()
    norms = gradient_norms(losses | {"fixed": torch.ones(())}, image)
    assert list(norms) == NAMES[:3] and not any(norm.requires_grad for norm in norms.values())
    assert gradient_norms({"kl": losses["kl"]}, image) == gradient_norms(losses, None) == {}
    with torch.no_grad():
        assert gradient_norms(losses, image) == {}


def test_uncertainty_of_the_reconstruction_with_a_small_kl_weight_is_the_calibrated_bound() -> None:
    """As its docstring says: 2 / (C H W) makes the optimum that of GaussianLikelihood."""
    torch.manual_seed(0)
    image, target = torch.rand(4, 3, 8, 8, requires_grad=True), torch.rand(4, 3, 8, 8)
    values = target[0].numel()
    (wanted,) = torch.autograd.grad(GaussianLikelihood()(image, target).mean(), image)

    objective = Objective(
        {"reconstruction": 1000.0, "kl": 2 / values}, balance=Uncertainty(["reconstruction"])
    )
    kl = torch.tensor(100.0, requires_grad=True)
    losses = {"reconstruction": (image - target).square().mean(), "kl": kl}
    balance = objective.balance
    assert isinstance(balance, Uncertainty)
    bound, optimum = math.log(1e6), float(losses["reconstruction"].detach().mul(1000).log())
    with torch.no_grad():  # where it ends
        balance.log_variances.fill_(bound * math.atanh(optimum / bound))
    total, _ = objective(losses, START)
    (still,) = torch.autograd.grad(total, balance.log_variances, retain_graph=True)
    assert still.abs() < 1e-4
    pull, of_kl = torch.autograd.grad(total, [image, kl])
    assert torch.allclose(pull / of_kl, wanted, rtol=0.02, atol=1e-4), "as against a kl of weight 1"


def test_uncertainty_learns_that_each_term_counts_one() -> None:
    balance = Uncertainty(terms=["reconstruction", "perceptual"])
    objective = Objective(WEIGHTS, balance=balance)
    _, losses = given()
    fixed = {name: loss.detach() for name, loss in losses.items()}
    total, active = objective(fixed, START)
    assert total.item() == pytest.approx(objective.plain(fixed).item()), "it starts with the plain weights"
    optimiser = torch.optim.Adam(objective.parameters(), lr=0.1)
    for _ in range(400):
        optimiser.zero_grad()
        total, active = objective(fixed, START)
        total.backward()
        optimiser.step()
    for name in ("reconstruction", "perceptual"):
        counted = torch.as_tensor(active[name]).detach() * fixed[name]
        assert float(counted) == pytest.approx(1.0, rel=0.05)
    assert active["kl"] == 0.5 and active["histogram"] == 2.0


def test_the_variance_of_a_term_that_is_off_rests() -> None:
    balance = Uncertainty()
    balance.prepare(WEIGHTS)
    _, losses = given()
    multipliers, added = balance(losses, WEIGHTS | {"perceptual": 0.0})
    assert isinstance(added, Tensor)
    total = added + sum(WEIGHTS[name] * multipliers[name] * losses[name] for name in ("reconstruction", "kl"))
    total.backward()
    assert balance.log_variances.grad is not None and balance.log_variances.grad[1] == 0


@pytest.mark.parametrize(
    "build",
    [lambda: OnPlateau(["kl", "histogram"], patience=1), lambda: GradientNorm(every_n_steps=2), Uncertainty],
)
def test_a_state_goes_on_where_it_was(build: Callable[[], LossBalance]) -> None:
    def step(objective: Objective, optimiser: torch.optim.Optimizer | None) -> float:
        image, losses = given()
        total, _ = objective(
            {name: loss * (1 + n) for n, (name, loss) in enumerate(losses.items())}, START, image
        )
        if optimiser is not None:
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
        objective.after_validation(dict.fromkeys(NAMES, 1.0))
        return float(total.detach())

    def trained(objective: Objective) -> torch.optim.Optimizer | None:
        return torch.optim.SGD(objective.parameters(), lr=0.1) if list(objective.parameters()) else None

    whole = Objective(WEIGHTS, balance=build())
    optimiser = trained(whole)
    for _ in range(3):
        step(whole, optimiser)
    resumed = Objective(WEIGHTS, balance=build())
    resumed.load_state_dict(whole.state_dict())
    again = trained(resumed)
    assert [step(whole, optimiser) for _ in range(3)] == [step(resumed, again) for _ in range(3)]


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: Objective(WEIGHTS, balance=OnPlateau(["perceptul"])), "'perceptul'.*It has: reconstruction"),
        (lambda: Objective(WEIGHTS, balance=OnPlateau(NAMES)), "switches all terms off"),
        (lambda: Objective(WEIGHTS, balance=GradientNorm(reference="mse")), "'mse'"),
        (lambda: Objective(WEIGHTS, balance=Uncertainty(["ssim"])), "'ssim'"),
        (lambda: OnPlateau([]), "names of terms"),
        (lambda: OnPlateau(["kl", "kl"]), "each once"),
        (lambda: OnPlateau(["kl"], patience=0), "patience >= 1"),
        (lambda: GradientNorm(every_n_steps=0), "every_n_steps >= 1"),
        (lambda: Uncertainty([]), "names of terms"),
    ],
)
def test_bad_options_are_told(build: Callable[[], object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        build()
