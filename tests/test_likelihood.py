"""Likelihood: of flows that are known in closed form, in the quality card, and where it is refused."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import Tensor

from lightning_modules.flow_matching import FlowMatching
from lightning_modules.mean_flow import MeanFlow
from tests.data.gaussian_flow import DATA, SEEDS, GaussianFlow, GaussianNetwork
from tests.data.stubs import StubData, StubGenerator
from vedute.batch import Batch, Condition
from vedute.errors import ConfigurationError
from vedute.metrics.card import Card, Settings
from vedute.metrics.chosen import drawn
from vedute.metrics.features import pixel_features
from vedute.metrics.likelihood import LikelihoodSettings
from vedute.metrics.make_card import make_card
from vedute.metrics.sets import Instruments
from vedute.promises import as_likelihood
from vedute.report.card import card_table
from vedute.sampling.flow_sampler import FlowSampler
from vedute.sampling.likelihood import Integration, bits_per_dimension, log_density
from vedute.sampling.seeds import seeded_normal
from vedute.sampling.solvers import rk4
from vedute.sampling.times import time_grid

MEAN, DEVIATION = 0.1, 0.25
SHIFT = 0.2  # of training images: nearer to the flow's mean than the test images


class NormalData(StubData):
    """8-bit images of independent normal pixels: those of training as the flow has them, others shifted."""

    condition_kind, condition_names = "none", ()

    def labels(self, split: str) -> None:  # type: ignore[override]
        raise AssertionError("there are no classes")

    def batch(self, split: str, rows: object) -> Batch:  # type: ignore[override]
        generator = torch.Generator().manual_seed(len(split))
        mean = MEAN if split == "train" else MEAN + SHIFT
        x = mean + DEVIATION * torch.randn(self.size(split), 3, 8, 8, generator=generator)
        levels = (127.5 * (x + 1)).round().clamp(0, 255)
        rows = torch.as_tensor(rows)
        return Batch(levels[rows] / 255, Condition(), rows)


def normal_flow(module: type[FlowMatching] = FlowMatching, **options: object) -> FlowMatching:
    facts = {"image_size": (8, 8), "image_channels": 3, "condition_kind": "none", "condition_names": []}
    return module(
        network=partial(GaussianNetwork, flow=GaussianFlow(MEAN, DEVIATION)),
        train_size=90,
        optimizer=partial(torch.optim.SGD, lr=0.1),
        **{**facts, **options},  # type: ignore[arg-type]
    ).eval()


def card_of(model: object, data: StubData, **changed: object) -> Card:
    settings = Settings(count=12, cas_images=0, likelihood=LikelihoodSettings(40), **changed)  # type: ignore[arg-type]
    instruments = Instruments([], 3, None, [pixel_features(3, (8, 8))])
    return make_card(model, data, instruments, settings, lambda *_: nullcontext(lambda count: None))  # type: ignore[arg-type]


def bits(image: Tensor) -> float:
    """Return the bits per pixel that the levels of images (N, ...) have under the normal distribution."""
    levels = (255 * image.double()).round()
    low, high = (torch.special.ndtr(((levels + side) / 127.5 - 1 - MEAN) / DEVIATION) for side in (-0.5, 0.5))
    return float(-(high - low).log2().mean())


def test_the_card_has_the_bits_of_a_known_flow_and_shows_a_gap_to_training_images() -> None:
    data = NormalData()
    card = card_of(normal_flow(), data)
    found = card.likelihood
    assert found is not None and found.images == (40, 40)
    # 7,680 values of each kind, so the noise that fills the levels is hardly seen.
    for part, value in (("test", found.held_out), ("train", found.training)):
        chosen = data.batch(part, drawn(data.size(part), 40, 0))
        assert value.value == pytest.approx(bits(chosen.image), abs=0.01)
        assert value.low < value.value < value.high
    gap = 0.5 * (SHIFT / DEVIATION) ** 2 / math.log(2)
    assert found.held_out.value - found.training.value == pytest.approx(gap, abs=0.08)


def test_the_card_tells_how_the_likelihood_was_computed() -> None:
    card = card_of(normal_flow(), NormalData())
    content = json.loads(json.dumps(card.scores(), allow_nan=False))["likelihood"]
    assert card.likelihood is not None
    assert content["bits_per_dimension"] == card.likelihood.held_out.value
    assert content["interval"] == list(card.intervals["likelihood"])
    assert content["training"]["images"] == content["images"] == 40 and content["guidance"] == 1
    assert (content["steps"], content["solver"], content["probes"]) == (64, "heun", 1)
    titles = [str(cell) for cell in card_table(card).columns[0]._cells]
    assert any(f"of training images {card.likelihood.training.value:.4g}" in title for title in titles)


def test_the_likelihood_does_not_depend_on_how_images_are_drawn_or_batched() -> None:
    model, data = normal_flow(sampler=FlowSampler(steps=1, solver="euler")), NormalData()
    rough, fine = card_of(model, data, batch_size=7), card_of(normal_flow(), data)
    assert rough.likelihood is not None and fine.likelihood is not None
    assert rough.likelihood.held_out.value == pytest.approx(fine.likelihood.held_out.value, abs=1e-4)


def test_a_mean_flow_has_the_likelihood_of_its_velocities() -> None:
    batch, seeds = NormalData().batch("test", torch.arange(4)), torch.arange(4)
    plain, mean = (
        normal_flow(module).bits_per_dimension(batch, seeds) for module in (FlowMatching, MeanFlow)
    )
    assert torch.equal(plain, mean)


def test_models_without_a_likelihood_are_refused_before_anything_is_generated() -> None:
    class Never(StubGenerator):
        def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
            raise AssertionError("nothing is generated")

    with pytest.raises(ConfigurationError, match="Never does not tell how likely"):
        card_of(Never(StubData(), "none"), NormalData())
    with pytest.raises(ConfigurationError, match="predicts data"):
        as_likelihood(normal_flow(prediction="data"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "at least 1 step"),
        ({"probes": 0}, "1 probe"),
        ({"solver": "adaptive"}, "fixed steps.*'adaptive'"),
        ({"schedule": "cosin"}, "Did you mean cosine"),
    ],
)
def test_integrations_that_cannot_be_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Integration(**options)  # type: ignore[arg-type]


# The functions


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
