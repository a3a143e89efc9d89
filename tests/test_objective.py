"""The objective: weights, schedules, balances, and what cannot be named."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from vedute.errors import ConfigurationError
from vedute.losses.objective import Objective
from vedute.losses.terms import LossBalance
from vedute.schedules import FromEpoch, LinearWarmup, Progress

START, LATER = Progress(0.0, 0.0), Progress(5.0, 0.5)


class Doubling(LossBalance):
    """Doubles one term and remembers what it was told after a validation."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.told: dict[str, float] = {}

    def prepare(self, weights: Mapping[str, float]) -> None:
        self.names = list(weights)

    def forward(
        self, losses: Mapping[str, Tensor], weights: Mapping[str, float], image: Tensor | None = None
    ) -> tuple[dict[str, Tensor | float], Tensor | float]:
        return {"kl": 2.0}, 0.25

    def after_validation(self, losses: Mapping[str, float], weights: Mapping[str, float]) -> None:
        self.told = dict(losses)


def losses(**values: float) -> dict[str, Tensor]:
    return {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}


def number(total: Tensor) -> float:
    return float(total.detach())


def test_the_total_is_the_weighted_sum() -> None:
    total, weights = Objective({"mse": 2.0, "kl": 0.5})(losses(mse=3.0, kl=4.0), START)
    assert number(total) == pytest.approx(8.0) and weights == {"mse": 2.0, "kl": 0.5}


def test_schedules_act_while_training_and_not_in_validation() -> None:
    objective = Objective(
        {"mse": 1.0, "kl": 1.0, "extra": 10.0}, {"kl": LinearWarmup(), "extra": FromEpoch(5)}
    )
    terms = losses(mse=1.0, kl=2.0, extra=3.0)
    assert number(objective(terms, START)[0]) == pytest.approx(1.0)
    assert number(objective(terms, LATER)[0]) == pytest.approx(1.0 + 0.5 * 2.0 + 30.0)
    assert number(objective.plain(terms)) == pytest.approx(1.0 + 2.0 + 30.0)


def test_a_term_that_is_off_cannot_spoil_the_total() -> None:
    objective = Objective({"mse": 1.0, "extra": 1.0}, {"extra": FromEpoch(1)})
    total, _ = objective(losses(mse=1.0, extra=float("nan")), START)
    assert number(total) == 1.0


def test_gradients_follow_the_active_weights() -> None:
    terms = losses(mse=1.0, kl=1.0)
    Objective({"mse": 3.0, "kl": 1.0}, {"kl": FromEpoch(1)})(terms, START)[0].backward()
    assert terms["mse"].grad == 3.0 and terms["kl"].grad is None


def test_a_balance_multiplies_and_adds_and_hears_of_validations() -> None:
    balance = Doubling()
    objective = Objective({"mse": 1.0, "kl": 1.0}, balance=balance)
    total, weights = objective(losses(mse=1.0, kl=3.0), START)
    assert balance.names == ["mse", "kl"]
    assert number(total) == pytest.approx(1.0 + 6.0 + 0.25) and weights == {"mse": 1.0, "kl": 2.0}
    objective.after_validation({"mse": 0.5})
    assert balance.told == {"mse": 0.5}


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'perceptual'.*mse, kl"):
        Objective({"mse": 1.0, "kl": 1.0}, {"perceptual": FromEpoch(3)})
    with pytest.raises(ConfigurationError, match="'kl' is -1"):
        Objective({"mse": 1.0, "kl": -1.0})
    with pytest.raises(ConfigurationError, match="All weights"):
        Objective({"mse": 0.0, "kl": 0.0})
