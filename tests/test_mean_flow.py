"""MeanFlow: mean velocities, their schedule, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from lightning_modules.mean_flow import MeanFlow
from tests.data.flows import batch, flow
from vedute.batch import Condition
from vedute.errors import ConfigurationError
from vedute.sampling.flow_sampler import FlowSampler
from vedute.schedules import Progress, SigmoidFall, WarmupDecay

# Mean velocities


def test_a_straight_flow_has_its_mean_velocity_everywhere() -> None:
    """Where the velocity is the same all along, both rules of training are met by that velocity."""
    model = flow(module=MeanFlow)
    assert isinstance(model, MeanFlow)
    x, t, span = torch.randn(5, 3, 8, 16), torch.rand(5) / 2, torch.rand(5) / 2
    velocity = torch.randn(5, 3, 8, 16)

    def constant(x: Tensor, t: Tensor, span: Tensor) -> Tensor:
        return velocity + 0 * x * span[:, None, None, None]

    for ratio in (None, lambda progress: 0.5, lambda progress: 1.0):
        model.ratio = ratio
        model.progress = lambda ahead=0: Progress(0.0, 0.0)  # type: ignore[method-assign]
        difference, losses = model._span_error(constant, x, t, span, velocity)
        assert difference.abs().max() < 1e-5 and losses.max() < 1e-5


def test_both_rules_of_mean_velocities_agree_in_the_limit() -> None:
    model = flow(module=MeanFlow, weight_power=0.0)
    assert isinstance(model, MeanFlow)
    model.progress = lambda ahead=0: Progress(0.0, 0.0)  # type: ignore[method-assign]
    x, t, span = torch.randn(5, 3, 8, 16), torch.rand(5) / 2, torch.rand(5) / 2
    velocity = torch.randn(5, 3, 8, 16)
    average = model._average(model._condition(batch(5).condition, 5))
    model.ratio = None
    exact = model._span_error(average, x, t, span, velocity)[0].detach()
    errors = []
    for ratio in (0.2, 0.008):
        model.ratio = lambda progress, ratio=ratio: ratio
        errors.append(float((model._span_error(average, x, t, span, velocity)[0] - exact).abs().max()))
    assert errors[1] < 0.25 * errors[0] < 0.25 * float(exact.abs().max())


def test_one_step_of_a_mean_flow_takes_the_whole_span() -> None:
    model = flow(module=MeanFlow, sampler=FlowSampler(steps=1, solver="euler"))
    assert isinstance(model, MeanFlow)
    condition, noise = Condition(torch.eye(3)), torch.randn(3, 3, 8, 16)
    with torch.no_grad():
        average = model._average(model._condition(condition, 3))
        expected = noise + average(noise, torch.zeros(3), torch.ones(3))
        assert torch.allclose(model.generate(condition, noise), model._image(expected), atol=1e-6)


# Schedules


def test_the_ratio_falls_and_the_rate_is_a_trapezoid() -> None:
    fall = SigmoidFall(0.2, 0.8)
    values = [fall(Progress(0.0, share / 100)) for share in range(101)]
    assert values[0] == 1 and values[100] == 0 and values[50] == pytest.approx(0.5)
    assert all(first >= second for first, second in pairwise(values))
    rate = WarmupDecay(0.1, 0.4)
    assert rate(Progress(0.0, 0.05)) == pytest.approx(0.5) and rate(Progress(0.0, 0.5)) == 1
    assert rate(Progress(0.0, 0.8)) == pytest.approx(0.5) and rate(Progress(0.0, 1.0)) == 0
    for wrong in (lambda: WarmupDecay(0.5, 0.6), lambda: WarmupDecay(-0.1), lambda: SigmoidFall(0.5, 0.5)):
        with pytest.raises(ConfigurationError):
            wrong()


# Mistakes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"span_share": 0.0}, "span_share"),
        ({"prediction": "data"}, "mean velocities"),
        ({"guidance": 2.0, "condition_dropout": 0.0}, "condition_dropout"),
    ],
)
def test_mean_flows_that_cannot_work_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        flow(module=MeanFlow, **options)  # type: ignore[arg-type]
