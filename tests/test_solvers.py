"""Solvers of a flow's differential equation, on a flow that is known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.data.gaussian_flow import GaussianFlow
from vedute.errors import VeduteError
from vedute.sampling.seeds import seeded_normal
from vedute.sampling.solvers import SOLVERS, Velocity, adaptive, euler, heun, stochastic
from vedute.sampling.times import time_grid

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}
STAGES = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}
SEEDS = torch.arange(6)
NOISE = seeded_normal(SEEDS, (3, 4, 4)).double()


def test_every_solver_is_tested() -> None:
    assert set(ORDERS) == set(SOLVERS) == set(STAGES)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", ORDERS)
def test_a_solver_finds_the_end_of_a_gaussian_flow_at_its_order(name: str, backwards: bool) -> None:
    flow = GaussianFlow()
    start, end = flow.at(NOISE, 0), flow.at(NOISE, 1)
    if backwards:
        start, end = end, start
    errors = []
    for steps in (80, 160):
        times = time_grid(steps)
        found = SOLVERS[name](flow, start, times.flip(0) if backwards else times)
        errors.append(float((found - end).abs().max()))
    order = math.log2(errors[0] / errors[1])
    if name == "midpoint":
        assert order > 1.7, "on this flow it is better than its order"
    else:
        assert abs(order - ORDERS[name]) < 0.3
    assert flow.evaluations == 240 * STAGES[name]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", ORDERS)
def test_a_solver_has_its_order_of_convergence(name: str, backwards: bool) -> None:
    def velocity(x: Tensor, t: Tensor) -> Tensor:  # growth with a limit, faster and faster
        return 2 * (1 + t)[:, None, None, None] * x * (1 - x)

    start, end = torch.sigmoid(NOISE), torch.sigmoid(NOISE + 3)
    if backwards:
        start, end = end, start
    errors = []
    for steps in (80, 160):
        times = time_grid(steps)
        found = SOLVERS[name](velocity, start, times.flip(0) if backwards else times)
        errors.append(float((found - end).abs().max()))
    assert abs(math.log2(errors[0] / errors[1]) - ORDERS[name]) < 0.3


@pytest.mark.parametrize("schedule", ["shifted", "cosine", "karras"])
@pytest.mark.parametrize("name", ["heun", "rk4"])
def test_solvers_take_any_times(name: str, schedule: str) -> None:
    flow = GaussianFlow()
    found = SOLVERS[name](flow, NOISE, time_grid(64, schedule))
    assert torch.allclose(found, flow.at(NOISE, 1), atol=0.01)


@pytest.mark.parametrize("name", ORDERS)
def test_a_constant_velocity_is_followed_exactly(name: str) -> None:
    found = SOLVERS[name](lambda x, t: torch.full_like(x, 2.0), NOISE, time_grid(1))
    assert torch.allclose(found, NOISE + 2, atol=1e-12)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_state_stays_float32_whatever_the_network_computes_in(kind: torch.dtype) -> None:
    def velocity(x: Tensor, t: Tensor) -> Tensor:
        assert x.dtype == t.dtype == torch.float32
        return torch.full_like(x, 2.0**-9, dtype=kind)  # lost where it is added to 1 in bf16

    start = torch.ones(2, 3, dtype=kind)
    assert torch.equal(euler(velocity, start, time_grid(4)), torch.full((2, 3), 1 + 2.0**-9))
    assert torch.allclose(adaptive(velocity, start, 0, 1, 1e-3), torch.full((2, 3), 1 + 2.0**-9))


@pytest.mark.parametrize("times", [torch.zeros(()), torch.zeros(1), torch.zeros(2, 2)])
def test_times_of_another_shape_are_refused(times: Tensor) -> None:
    with pytest.raises(ValueError, match="S \\+ 1"):
        heun(GaussianFlow(), NOISE, times)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_adaptive_solver_keeps_its_tolerance(tolerance: float, backwards: bool) -> None:
    flow = GaussianFlow()
    start, end = flow.at(NOISE, 0), flow.at(NOISE, 1)
    if backwards:
        found = adaptive(flow, end, 1, 0, tolerance)
        assert (found - start).square().mean().sqrt() < 10 * tolerance, "it is three times wider there"
    else:
        found = adaptive(flow, start, 0, 1, tolerance)
        assert (found - end).square().mean().sqrt() < 2 * tolerance


def test_the_adaptive_solver_works_harder_for_a_smaller_tolerance() -> None:
    evaluations = []
    for tolerance in (1e-2, 1e-3, 1e-4):
        flow = GaussianFlow()
        adaptive(flow, NOISE, 0, 1, tolerance)
        evaluations.append(flow.evaluations)
    assert evaluations == sorted(evaluations)
    assert evaluations[0] < 30 and 30 < evaluations[2] < 200


def test_the_adaptive_solver_chooses_steps_for_each_row() -> None:
    steepness = torch.tensor([0.0, 1.0, 30.0], dtype=torch.float64)

    def decay(rows: Tensor) -> Velocity:
        def velocity(x: Tensor, t: Tensor) -> Tensor:
            seen.append(t.clone())
            return -rows[:, None] * x

        return velocity

    seen: list[Tensor] = []
    start = torch.ones(3, 2, dtype=torch.float64)
    together = adaptive(decay(steepness), start, 0, 1, 1e-4)
    assert torch.allclose(together, torch.exp(-steepness)[:, None].expand(3, 2), atol=1e-3)
    assert any(len(set(t.tolist())) == 3 for t in seen), "times differ between rows"
    for row in range(3):
        alone = adaptive(decay(steepness[row : row + 1]), start[row : row + 1], 0, 1, 1e-4)
        assert torch.allclose(alone, together[row : row + 1], atol=1e-12)


def test_the_adaptive_solver_gives_up_after_most_steps() -> None:
    with pytest.raises(VeduteError, match=r"more than 3 steps for 6 of 6 images.*0\.0001.*heun"):
        adaptive(GaussianFlow(), NOISE, 0, 1, 1e-4, most_steps=3)


def test_the_adaptive_solver_says_that_values_are_not_finite() -> None:
    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return torch.where(torch.arange(len(x))[:, None, None, None] == 2, torch.nan, -x)

    with pytest.raises(VeduteError, match=r"1 of 6 images.*not finite"):
        adaptive(velocity, NOISE, 0, 1, 1e-3)


def test_the_adaptive_solver_takes_no_rows_and_no_way() -> None:
    assert adaptive(GaussianFlow(), NOISE[:0], 0, 1, 1e-3).shape == (0, 3, 4, 4)
    assert torch.equal(adaptive(GaussianFlow(), NOISE, 0.5, 0.5, 1e-3), NOISE)


@pytest.mark.parametrize("noise_scale", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_stochastic_solver_keeps_the_distribution(noise_scale: float, backwards: bool) -> None:
    flow, seeds = GaussianFlow(), torch.arange(500)
    noise = seeded_normal(seeds, (200,))
    times = time_grid(48)
    start = flow.at(noise, 1) if backwards else noise
    found = stochastic(flow, start, times.flip(0) if backwards else times, noise_scale, seeds)
    mean, deviation = (0, 1) if backwards else (flow.mean, flow.deviation)
    expected = noise if backwards else flow.at(noise, 1)
    assert abs(float(found.mean()) - mean) < 0.02 * deviation
    assert abs(float(found.std()) / deviation - 1) < 0.01
    correlation = float(torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1])
    assert correlation < (0.97 if noise_scale < 1 else 0.9), "other images than without new noise"


def test_the_stochastic_solver_keeps_the_distribution_on_the_way() -> None:
    flow, seeds = GaussianFlow(), torch.arange(500)
    for end in (0.3, 0.6, 0.9):
        times = torch.linspace(0, end, 49)
        found = stochastic(flow, seeded_normal(seeds, (200,)), times, 2.0, seeds)
        wanted = math.sqrt((1 - end) ** 2 + (end * flow.deviation) ** 2)
        assert abs(float(found.mean()) - end * flow.mean) < 0.02 * wanted
        assert abs(float(found.std()) / wanted - 1) < 0.01


def test_the_stochastic_solver_without_noise_is_its_solver() -> None:
    times = time_grid(5)
    found = stochastic(GaussianFlow(), NOISE, times, 0.0, SEEDS, euler)
    assert torch.equal(found, euler(GaussianFlow(), NOISE, times))


def test_new_noise_depends_on_the_row_s_seed_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    together = stochastic(GaussianFlow(), NOISE, time_grid(4), 1.0, SEEDS)
    alone = stochastic(GaussianFlow(), NOISE[2:3], time_grid(4), 1.0, SEEDS[2:3])
    other = stochastic(GaussianFlow(), NOISE[2:3], time_grid(4), 1.0, SEEDS[3:4])
    assert torch.allclose(together[2:3], alone, atol=1e-12)
    assert not torch.allclose(alone, other, atol=0.01)
    assert torch.equal(torch.get_rng_state(), before)
