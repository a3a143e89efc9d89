"""The sampler of flows: its solvers and options, forwards and backwards."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from tests.data.gaussian_flow import DATA, NOISE, SEEDS, STRONG, WEAK, GaussianFlow, doubled
from vedute.errors import ConfigurationError
from vedute.sampling.flow_sampler import FlowSampler
from vedute.sampling.paths import LinearPath
from vedute.sampling.solvers import SOLVERS
from vedute.sampling.times import (
    LogitNormalTimes,
    TrainingTimes,
)

TIMES = torch.tensor([0.0, 0.3, 0.8, 1.0])


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
