"""What flows are trained on and drawn with: paths, times, pairs, guidance, the sampler, likelihood."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from tests.data.gaussian_flow import GaussianFlow
from vedute.errors import ConfigurationError
from vedute.sampling.coupling import optimal_pairs
from vedute.sampling.flow_sampler import FlowSampler
from vedute.sampling.guidance import guided, guided_batched
from vedute.sampling.likelihood import bits_per_dimension, log_density
from vedute.sampling.paths import LinearPath
from vedute.sampling.seeds import seeded_normal
from vedute.sampling.solvers import SOLVERS, Velocity, rk4
from vedute.sampling.times import (
    SCHEDULES,
    LogitNormalTimes,
    SkewedTimes,
    TrainingTimes,
    UniformTimes,
    time_grid,
)

SEEDS = torch.tensor([3, 14, 15, 92])
NOISE = seeded_normal(SEEDS, (3, 4, 4))
DATA = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
TIMES = torch.tensor([0.0, 0.3, 0.8, 1.0])
STRONG, WEAK = GaussianFlow(0.7, 0.3), GaussianFlow(0.0, 0.6)


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


def doubled(x: Tensor, t: Tensor) -> Tensor:
    first, second = x.chunk(2)
    return torch.cat([STRONG(first, t[: len(first)]), WEAK(second, t[len(first) :])])


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


# The sampler


ALL_SAMPLERS = [
    *(FlowSampler(12, solver) for solver in SOLVERS),
    FlowSampler(solver="adaptive"),
    FlowSampler(12, schedule="cosine", guidance=2.0),
    FlowSampler(solver="adaptive", guidance=2.0, guidance_interval=(0.2, 0.7)),
    FlowSampler(12, noise_scale=1.0, guidance=1.5),
    FlowSampler(12, direct_ending=True, guidance=1.5, guidance_interval=(0.1, 1.0)),
]


def run(sampler: FlowSampler, noise: Tensor = NOISE, seeds: Tensor = SEEDS) -> Tensor:
    return sampler.run(STRONG, WEAK, noise, seeds)


@pytest.mark.parametrize("sampler", ALL_SAMPLERS, ids=str)
def test_an_image_depends_on_its_seed_only(sampler: FlowSampler) -> None:
    together = run(sampler)
    assert together.shape == NOISE.shape and torch.isfinite(together).all()
    for row in range(4):
        alone = run(sampler, NOISE[row : row + 1], SEEDS[row : row + 1])
        assert torch.allclose(alone, together[row : row + 1], atol=1e-4)
    assert torch.equal(run(sampler), together)
    assert run(sampler, NOISE[:0], SEEDS[:0]).shape == (0, 3, 4, 4)


@pytest.mark.parametrize("solver", [*SOLVERS, "adaptive"])
def test_samplers_find_the_data(solver: str) -> None:
    steps = 400 if solver == "euler" else 40
    for schedule in ("uniform", "shifted"):
        found = run(FlowSampler(steps, solver, schedule))
        assert torch.allclose(found, STRONG.at(NOISE, 1), atol=0.02)


def test_samplers_without_and_with_the_condition() -> None:
    assert torch.equal(run(FlowSampler(guidance=0.0)), FlowSampler().run(WEAK, None, NOISE, SEEDS))
    assert torch.equal(run(FlowSampler(guidance=1.0)), FlowSampler().run(STRONG, None, NOISE, SEEDS))
    means = [float(run(FlowSampler(guidance=scale)).mean()) for scale in (0.0, 1.0, 2.0)]
    assert means == sorted(means)


def test_one_evaluation_of_doubled_rows_gives_the_same_images() -> None:
    for sampler in (FlowSampler(guidance=2.0), FlowSampler(guidance=2.0, guidance_interval=(0.3, 0.6))):
        found = sampler.run(STRONG, None, NOISE, SEEDS, doubled)
        assert torch.allclose(found, run(sampler), atol=1e-5)
        assert torch.allclose(
            sampler.invert(STRONG, None, found, doubled), sampler.invert(STRONG, WEAK, found), atol=1e-5
        )


@pytest.mark.parametrize(
    "sampler",
    [
        FlowSampler(60),
        FlowSampler(60, "midpoint", "shifted", guidance=1.5),
        FlowSampler(30, "rk4", guidance=2.0, guidance_interval=(0.3, 0.7)),
        FlowSampler(solver="adaptive", tolerance=1e-5, guidance=1.5),
        FlowSampler(1000, "euler"),
        FlowSampler(200, noise_scale=0.0, direct_ending=True),
    ],
    ids=str,
)
def test_noise_is_found_again(sampler: FlowSampler) -> None:
    data = run(sampler)
    assert torch.allclose(sampler.invert(STRONG, WEAK, data), NOISE, atol=0.03)
    for stop in (0.25, 1 / 3):
        half_way = sampler.invert(STRONG, WEAK, data, end=stop)
        again = sampler.run(STRONG, WEAK, half_way, SEEDS, start=stop)
        assert torch.allclose(again, data, atol=0.01)
        assert (half_way - NOISE).abs().max() > 0.1


def test_a_direct_ending_never_asks_at_the_end() -> None:
    def velocity(x: Tensor, t: Tensor) -> Tensor:
        assert (t < 1).all()
        return STRONG(x, t)

    for solver, steps in itertools.product(SOLVERS, (1, 2, 5)):
        sampler = FlowSampler(steps, solver, direct_ending=True)
        data = sampler.run(velocity, None, NOISE, SEEDS)
        sampler.invert(velocity, None, data)
    with pytest.raises(AssertionError):
        FlowSampler(5).run(velocity, None, NOISE, SEEDS)


def test_a_direct_ending_at_predicted_data_is_the_prediction() -> None:
    path = LinearPath(smallest=1e-3)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return path.velocity_of_data(x, DATA, t)

    found = FlowSampler(6, direct_ending=True).run(velocity, None, NOISE, SEEDS)
    assert torch.allclose(found, DATA, atol=1e-5)


@pytest.mark.parametrize(
    ("sampler", "evaluations"),
    [
        (FlowSampler(16), 32),
        (FlowSampler(16, "euler"), 16),
        (FlowSampler(5, "rk4", guidance=2.0), 40),
        (FlowSampler(16, "midpoint", guidance=0.0), 32),
        (FlowSampler(10, "euler", guidance=2.0, guidance_interval=(0.25, 0.75)), 15),
        (FlowSampler(16, direct_ending=True), 31),
        (FlowSampler(16, noise_scale=1.0), 32),
        (FlowSampler(solver="adaptive"), None),
    ],
    ids=str,
)
def test_evaluations_are_counted(sampler: FlowSampler, evaluations: int | None) -> None:
    assert sampler.evaluations() == evaluations
    strong, weak = GaussianFlow(), GaussianFlow()
    sampler.run(strong, weak, NOISE, SEEDS)
    if evaluations is not None:
        assert strong.rows + weak.rows == 4 * evaluations


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "at least 1 step, got steps 0"),
        ({"solver": "huen"}, "No solver 'huen'; there are euler.*adaptive. Did you mean heun"),
        ({"solver": "xyz"}, r"adaptive\.$"),
        ({"schedule": "unifrom"}, "Did you mean uniform"),
        ({"guidance": -1.0}, "guidance must be at least 0"),
        ({"guidance": math.nan}, "guidance must be at least 0"),
        ({"guidance_interval": (0.7, 0.2)}, r"the earlier one first; got \[0.7, 0.2\]"),
        ({"guidance_interval": (0.5,)}, "two times"),
        ({"guidance_interval": (0.0, 1.5)}, "from 0"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"noise_scale": -0.5}, "noise_scale"),
        ({"noise_scale": 1.0, "solver": "adaptive"}, "cannot be used with noise_scale"),
        ({"direct_ending": True, "solver": "adaptive"}, "cannot be used with direct_ending"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FlowSampler(**options)  # type: ignore[arg-type]  # of all kinds


def test_guidance_needs_something_to_guide_it() -> None:
    for scale in (0.0, 2.0):
        with pytest.raises(ConfigurationError, match="set guidance to 1"):
            FlowSampler(guidance=scale).run(STRONG, None, NOISE, SEEDS)
    for start in (-0.1, 1.0):
        with pytest.raises(ConfigurationError, match=r"times in \[0, 1\)"):
            FlowSampler().run(STRONG, None, NOISE, SEEDS, start=start)
        with pytest.raises(ConfigurationError, match=r"times in \[0, 1\)"):
            FlowSampler(solver="adaptive").invert(STRONG, None, DATA, end=start)


class Owner:
    """Stands for a module that is built from YAML."""

    def __init__(self, sampler: FlowSampler | None = None, times: TrainingTimes | None = None) -> None:
        self.sampler, self.times = sampler, times


@pytest.mark.parametrize("short", [True, False])
def test_sampler_and_times_come_from_yaml(tmp_path: Path, short: bool) -> None:
    options = "{steps: 8, guidance: 1.5, guidance_interval: [0.1, 0.9]}"
    if not short:
        options = "{class_path: vedute.sampling.flow_sampler.FlowSampler, init_args: " + options + "}"
    text = (
        f"owner:\n  sampler: {options}\n  times: "
        "{class_path: vedute.sampling.times.LogitNormalTimes, init_args: {mean: -0.4}}\n"
    )
    path = tmp_path / "owner.yaml"
    path.write_text(text)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Owner, "owner")
    parser.add_argument("--config", action="config")
    parsed = parser.parse_args(["--config", str(path)])
    path.write_text(parser.dump(parsed))
    again = parser.parse_args(["--config", str(path)])
    owner = parser.instantiate_classes(again).owner
    assert owner.sampler == FlowSampler(8, guidance=1.5, guidance_interval=(0.1, 0.9))
    assert owner.times == LogitNormalTimes(-0.4)


def test_a_sampler_cannot_be_changed() -> None:
    sampler = FlowSampler()
    with pytest.raises(dataclasses.FrozenInstanceError):
        sampler.steps = 3  # type: ignore[misc]  # what is tested
    assert FlowSampler(guidance_interval=[0.1, 0.5]) == FlowSampler(guidance_interval=(0.1, 0.5))  # type: ignore[arg-type]  # as YAML gives it


# Likelihood


def test_the_density_of_a_gaussian_is_found() -> None:
    flow, seeds = GaussianFlow(0.1, 0.4), torch.arange(8)
    x = flow.at(seeded_normal(seeds, (3, 4, 4)), 1)
    found = log_density(flow, x, time_grid(32), seeds)
    assert torch.allclose(found, flow.log_density(x), rtol=0.01)
    assert torch.allclose(
        log_density(flow, x, time_grid(32), seeds, solver=rk4), flow.log_density(x), rtol=1e-3
    )


def test_bits_per_dimension_are_those_of_the_discrete_distribution() -> None:
    flow, seeds = GaussianFlow(0.1, 0.25), torch.arange(16)
    x = flow.at(seeded_normal(seeds, (3, 8, 8)), 1)
    levels = (x + 1).mul(127.5).round()
    found = bits_per_dimension(flow, levels / 255, time_grid(32), seeds)
    edges = [(levels + side) / 127.5 - 1 for side in (-0.5, 0.5)]
    low, high = (torch.special.ndtr((edge.double() - flow.mean) / flow.deviation) for edge in edges)
    wanted = -(high - low).log2().flatten(1).mean(dim=1)
    assert torch.allclose(found.double(), wanted, rtol=0.01)


def test_a_flow_that_does_nothing_needs_the_bits_of_noise() -> None:
    middle = torch.full((2, 1, 4, 4), 127.5 / 255)  # rounds to level 128
    found = bits_per_dimension(
        lambda x, t: 0 * x, middle, time_grid(2), torch.arange(2), dequantisation=torch.zeros(2, 1, 4, 4)
    )
    wanted = 0.5 * math.log2(2 * math.pi) + math.log2(127.5)  # of the density at 0
    assert found.tolist() == pytest.approx([wanted] * 2, abs=1e-3)


def test_more_probes_come_closer_where_entries_depend_on_each_other() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = 0.3 * torch.randn(12, 12, generator=generator)
    seeds = torch.arange(20)
    x = seeded_normal(seeds, (12,))
    noise = x @ torch.matrix_exp(-matrix).T
    wanted = -0.5 * (noise.square() + math.log(2 * math.pi)).sum(dim=1) - matrix.trace()

    def error(probes: int) -> float:
        found = log_density(lambda x, t: x @ matrix.T, x, time_grid(8), seeds, probes, rk4)
        return float((found - wanted).square().mean().sqrt())

    assert error(64) < 0.25 * error(1)


def test_likelihood_depends_on_a_row_s_seed_only_and_runs_where_gradients_are_forbidden() -> None:
    flow = GaussianFlow()
    image = DATA / 2 + 0.5
    together = bits_per_dimension(flow, image, time_grid(4), SEEDS)
    with torch.inference_mode():
        alone = bits_per_dimension(flow, image[1:2], time_grid(4), SEEDS[1:2])
    assert torch.allclose(alone, together[1:2], atol=1e-4)
    assert together.shape == (4,) and not together.requires_grad
    with pytest.raises(ValueError, match="probe"):
        bits_per_dimension(flow, image, time_grid(4), SEEDS, probes=0)
