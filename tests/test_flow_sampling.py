"""What flows are trained on and guided with: paths, times, pairs, guidance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.data.gaussian_flow import DATA, NOISE, STRONG, WEAK, GaussianFlow, doubled
from vedute.errors import ConfigurationError
from vedute.sampling.coupling import optimal_pairs
from vedute.sampling.guidance import guided, guided_batched
from vedute.sampling.paths import LinearPath
from vedute.sampling.solvers import Velocity
from vedute.sampling.times import (
    SCHEDULES,
    LogitNormalTimes,
    SkewedTimes,
    TrainingTimes,
    UniformTimes,
    time_grid,
)

TIMES = torch.tensor([0.0, 0.3, 0.8, 1.0])


# Paths


def test_a_path_leads_from_noise_to_data() -> None:
    path = LinearPath()
    assert torch.equal(path.at(NOISE, DATA, torch.zeros(4)), NOISE)
    assert torch.equal(path.at(NOISE, DATA, torch.ones(4)), DATA)
    step = 1e-3
    early, late = (path.at(NOISE, DATA, torch.full((4,), 0.5 + side * step)) for side in (-1, 1))
    assert torch.allclose((late - early) / (2 * step), path.velocity(NOISE, DATA), atol=1e-3)


def test_a_velocity_says_data_and_noise_and_back() -> None:
    path = LinearPath()
    x, velocity = path.at(NOISE, DATA, TIMES), path.velocity(NOISE, DATA)
    assert torch.allclose(path.data_of(x, velocity, TIMES), DATA, atol=1e-6)
    assert torch.allclose(path.noise_of(x, velocity, TIMES), NOISE, atol=1e-6)
    assert torch.allclose(path.velocity_of_data(x, DATA, TIMES)[:3], velocity[:3], atol=1e-5)


def test_a_velocity_of_data_is_bounded_near_the_end() -> None:
    path = LinearPath(smallest=0.1)
    late = torch.full((4,), 0.99)
    x = path.at(NOISE, DATA, late)
    assert torch.allclose(path.velocity_of_data(x, DATA, late), (DATA - x) / 0.1)
    assert torch.isfinite(path.velocity_of_data(x, DATA, torch.ones(4))).all()


def test_a_path_is_float32_where_images_are_not() -> None:
    path, half = LinearPath(), DATA.bfloat16()
    assert path.at(NOISE, half, TIMES).dtype == path.velocity(NOISE, half).dtype == torch.float32
    assert path.velocity_of_data(NOISE, half, TIMES).dtype == torch.float32
    assert path.at(NOISE.double(), DATA.double(), TIMES).dtype == torch.float64


@pytest.mark.parametrize("smallest", [0.0, -1.0, 1.5, math.nan])
def test_a_path_refuses_a_bound_out_of_range(smallest: float) -> None:
    with pytest.raises(ConfigurationError, match="smallest"):
        LinearPath(smallest)


# Times


@pytest.mark.parametrize(
    "times",
    [
        UniformTimes(),
        LogitNormalTimes(),
        LogitNormalTimes(-0.8, 0.6),
        LogitNormalTimes(0.5, 1.5),
        SkewedTimes(),
        SkewedTimes(0.5),
    ],
    ids=str,
)
def test_training_times_have_their_density(times: TrainingTimes) -> None:
    count, bins = 200_000, 20
    drawn = times(count, generator=torch.Generator().manual_seed(1))
    assert drawn.shape == (count,) and drawn.dtype == torch.float32
    assert drawn.min() >= 0 and drawn.max() <= 1
    found = torch.histc(drawn, bins, 0, 1) / count
    middles = (torch.arange(bins * 200) + 0.5) / (bins * 200)
    wanted = times.density(middles.double()).reshape(bins, 200).mean(dim=1) / bins
    assert abs(float(wanted.sum()) - 1) < 1e-3
    assert (found - wanted).abs().max() < 5 * math.sqrt(0.1 / count) + 1e-4


def test_training_times_come_from_their_generator() -> None:
    for times in (UniformTimes(), LogitNormalTimes(), SkewedTimes()):
        first, second = (times(5, "cpu", torch.Generator().manual_seed(2)) for _ in range(2))
        assert torch.equal(first, second)
        torch.manual_seed(3)
        assert not torch.equal(times(5), times(5))
        assert times(0).shape == (0,)


def test_skewed_times_are_noisier_and_logit_normal_ones_avoid_the_ends() -> None:
    generator = torch.Generator().manual_seed(0)
    assert SkewedTimes(3.0)(10_000, generator=generator).mean() < 0.4
    assert LogitNormalTimes(-1.0)(10_000, generator=generator).mean() < 0.4
    middle = LogitNormalTimes()(10_000, generator=generator)
    assert ((middle < 0.05) | (middle > 0.95)).float().mean() < 0.02


@pytest.mark.parametrize(
    "build",
    [
        lambda: LogitNormalTimes(deviation=0.0),
        lambda: LogitNormalTimes(mean=math.inf),
        lambda: SkewedTimes(0.0),
        lambda: SkewedTimes(math.nan),
        lambda: time_grid(4, "shifted", -1.0),
    ],
)
def test_times_refuse_options_out_of_range(build: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError, match="above 0"):
        build()


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_grid_rises_from_0_to_1(schedule: str, steps: int) -> None:
    times = time_grid(steps, schedule)
    assert times.shape == (steps + 1,)
    assert times[0] == 0 and times[-1] == 1
    assert (times.float().diff() > 0).all()


def test_schedules_put_their_short_steps_where_they_say() -> None:
    uniform = time_grid(8).diff()
    assert torch.allclose(uniform, torch.full_like(uniform, 1 / 8))
    noisy, cosine = time_grid(8, "shifted").diff(), time_grid(8, "cosine").diff()
    assert (noisy.diff() > 0).all()
    assert torch.allclose(time_grid(8, "shifted", 1.0).diff(), uniform)
    assert torch.allclose(cosine, cosine.flip(0)) and cosine[0] < uniform[0] < cosine[4]


def test_a_grid_refuses_what_does_not_exist() -> None:
    with pytest.raises(ConfigurationError, match="at least 1 step"):
        time_grid(0)
    with pytest.raises(
        ConfigurationError, match=r"No schedule 'cosin'; there are .*uniform.*Did you mean cosine"
    ):
        time_grid(4, "cosin")


# Pairs


def cost(noise: Tensor, data: Tensor, pairs: Tensor) -> float:
    return float((noise[pairs] - data).square().sum())


def test_pairs_are_a_permutation_of_least_cost() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        noise, data = torch.randn(6, 2, generator=generator), torch.randn(6, 2, generator=generator)
        pairs = optimal_pairs(noise, data)
        assert sorted(pairs.tolist()) == list(range(6)) and pairs.dtype == torch.int64
        best = min(cost(noise, data, torch.tensor(other)) for other in itertools.permutations(range(6)))
        assert cost(noise, data, pairs) == pytest.approx(best, rel=1e-5)


def test_pairs_stay_within_their_group_and_never_cost_more() -> None:
    generator = torch.Generator().manual_seed(0)
    noise, data = (torch.randn(64, 3, 8, 8, generator=generator) for _ in range(2))
    classes = torch.randint(3, (64,), generator=generator)
    groups = torch.nn.functional.one_hot(classes).float()
    within = optimal_pairs(noise, data, groups)
    assert torch.equal(classes[within], classes)
    assert sorted(within.tolist()) == list(range(64))
    identity = torch.arange(64)
    free = optimal_pairs(noise, data)
    assert cost(noise, data, free) < cost(noise, data, within) < cost(noise, data, identity)
    assert torch.equal(optimal_pairs(noise, data, classes), within)
    for group in range(3):  # alone as in the batch
        rows = torch.nonzero(classes == group)[:, 0]
        assert torch.equal(rows[optimal_pairs(noise[rows], data[rows])], within[rows])


def test_rows_with_a_condition_of_their_own_keep_their_noise() -> None:
    scores = torch.arange(4.0)[:, None]
    assert optimal_pairs(NOISE, DATA, scores).tolist() == [0, 1, 2, 3]
    assert optimal_pairs(NOISE[:0], DATA[:0]).shape == (0,)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(optimal_pairs(NOISE, DATA), optimal_pairs(NOISE, DATA))


def test_the_noise_of_paired_data_is_still_normal() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(16) % 2
    centers = torch.where(classes == 0, -2.0, 2.0)[:, None]
    seen = []
    for _ in range(300):
        noise = torch.randn(16, 1, generator=generator)
        data = centers + 0.3 * torch.randn(16, 1, generator=generator)
        seen.append(noise[optimal_pairs(noise, data, classes)][classes == 0])
    assert abs(float(torch.cat(seen).mean())) < 0.06, "pairs across classes would give about -0.8"
    assert abs(float(torch.cat(seen).std()) - 1) < 0.05


def test_pairs_refuse_other_shapes() -> None:
    with pytest.raises(ValueError, match="equal shapes"):
        optimal_pairs(NOISE, DATA[:2])
    with pytest.raises(ValueError, match="equal shapes"):
        optimal_pairs(NOISE, DATA, torch.zeros(2))


# Guidance


Wrap = Callable[..., Velocity]
WRAPS: dict[str, Wrap] = {
    "two calls": lambda *options: guided(STRONG, WEAK, *options),
    "one batch": lambda *options: guided_batched(STRONG, doubled, *options),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_guidance_runs_from_weak_over_strong_and_beyond(wrap: Wrap) -> None:
    strong, weak = STRONG(NOISE, TIMES), WEAK(NOISE, TIMES)
    assert torch.equal(wrap(1.0)(NOISE, TIMES), strong)
    assert torch.equal(wrap(0.0)(NOISE, TIMES), weak)
    for scale in (0.5, 1.5, 4.0):
        assert torch.allclose(wrap(scale)(NOISE, TIMES), weak + scale * (strong - weak))


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_guidance_ends_outside_of_its_interval_row_by_row(wrap: Wrap) -> None:
    strong, weak = STRONG(NOISE, TIMES), WEAK(NOISE, TIMES)
    found = wrap(3.0, (0.3, 0.9))(NOISE, TIMES)  # times 0, 0.3, 0.8, 1
    assert torch.equal(found[[0, 3]], strong[[0, 3]])
    assert torch.allclose(found[1:3], (weak + 3 * (strong - weak))[1:3])
    assert torch.allclose(wrap(0.0, (0.3, 0.9))(NOISE, TIMES)[1:3], weak[1:3])


def test_the_weak_velocity_is_computed_only_where_it_is_needed() -> None:
    strong, weak = GaussianFlow(), GaussianFlow()
    guided(strong, weak, 1.0)(NOISE, TIMES)
    guided(strong, weak, 2.0, (0.4, 0.6))(NOISE, TIMES)
    assert (strong.rows, weak.rows) == (8, 0)
    guided(strong, weak, 0.0)(NOISE, TIMES)
    assert (strong.rows, weak.rows) == (8, 4)
    guided(strong, weak, 2.0, (0.4, 0.8))(NOISE, TIMES)
    assert (strong.rows, weak.rows) == (12, 8)


def test_guidance_is_computed_in_float32() -> None:
    def half(value: float) -> Velocity:
        return lambda x, t: torch.full_like(x, value, dtype=torch.bfloat16)

    found = guided(half(1.0), half(1.0 - 2.0**-8), 1.5)(NOISE, TIMES)
    assert torch.equal(found, torch.full_like(NOISE, 1 + 2.0**-9)), "bf16 has no such number"
