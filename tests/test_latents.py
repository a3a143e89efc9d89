"""Fitted latent samplers: they recover the densities of classes and scores, and are the prior until then."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vedute.errors import ConfigurationError
from vedute.metrics.latent import LatentMoments, LatentRows
from vedute.sampling.latent_flow import LatentFlow
from vedute.sampling.latents import (
    ClassGaussian,
    LatentSampler,
    StandardNormal,
    build_sampler,
    class_weights,
)
from vedute.sampling.mixture import GaussianMixture, clusters, pick_component


def correlated(count: int, shift: float, mix: torch.Tensor) -> torch.Tensor:
    return shift + torch.randn(count, 3) @ mix.T


@pytest.fixture
def fitted() -> tuple[ClassGaussian, list[torch.Tensor]]:
    torch.manual_seed(0)
    sampler = ClassGaussian(2, 3)
    moments = sampler.collector()
    mixes = [torch.tensor([[2.0, 0, 0], [1.0, 1, 0], [0, 0, 0.1]]), torch.eye(3) * 0.5]
    for label, (shift, mix) in enumerate(zip((1.0, -2.0), mixes, strict=True)):
        weights = torch.eye(2)[torch.full((4000,), label)]
        z = correlated(4000, shift, mix)
        moments.update(z[:1000], weights[:1000])
        moments.update(z[1000:], weights[1000:])
    sampler.fit(moments)
    return sampler, mixes


def test_it_is_the_standard_normal_until_it_is_fitted() -> None:
    noise, condition = torch.randn(4, 3), torch.eye(2)[torch.tensor([0, 1, 1, 0])]
    assert torch.allclose(ClassGaussian(2, 3)(noise, condition), noise)
    assert torch.equal(StandardNormal(2, 3)(noise, condition), noise)


def test_samples_have_the_moments_of_their_class(fitted: tuple[ClassGaussian, list[torch.Tensor]]) -> None:
    sampler, mixes = fitted
    for label, (shift, mix) in enumerate(zip((1.0, -2.0), mixes, strict=True)):
        z = sampler(torch.randn(20000, 3), torch.eye(2)[torch.full((20000,), label)])
        assert torch.allclose(z.mean(dim=0), torch.full((3,), shift), atol=0.1)
        assert torch.allclose(torch.cov(z.T), mix @ mix.T, atol=0.2)


def test_a_row_depends_on_its_own_noise_and_class(fitted: tuple[ClassGaussian, list[torch.Tensor]]) -> None:
    sampler, _ = fitted
    noise, condition = torch.randn(5, 3), torch.eye(2)[torch.tensor([0, 1, 0, 1, 1])]
    together = sampler(noise, condition)
    assert torch.allclose(together[3:4], sampler(noise[3:4], condition[3:4]), atol=1e-6)


def test_a_fuzzy_label_lies_between(fitted: tuple[ClassGaussian, list[torch.Tensor]]) -> None:
    sampler, _ = fitted
    noise = torch.randn(1, 3).expand(3, 3)
    first, between, second = sampler(noise, torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]))
    assert torch.allclose(between, (first + second) / 2, atol=1e-5)


def test_a_lower_temperature_draws_nearer_the_mean(fitted: tuple[ClassGaussian, list[torch.Tensor]]) -> None:
    sampler, _ = fitted
    condition = torch.eye(2)[torch.zeros(500, dtype=torch.long)]
    noise = torch.randn(500, 3)
    wide = sampler(noise, condition).std()
    sampler.temperature = 0.5
    assert sampler(noise, condition).std() < 0.6 * wide
    with pytest.raises(ConfigurationError, match="temperature"):
        ClassGaussian(2, 3, temperature=0)


def test_few_images_or_none_leave_a_usable_density() -> None:
    sampler = ClassGaussian(3, 8)
    moments = sampler.collector()
    moments.update(torch.randn(2, 8), torch.eye(3)[torch.tensor([0, 0])])
    sampler.fit(moments)
    z = sampler(torch.randn(6, 8), torch.eye(3).repeat(2, 1))
    assert torch.isfinite(z).all()
    assert torch.equal(sampler.factor[2], torch.eye(8)), "a class that was not seen keeps the prior"


def test_moments_of_parts_add_up_to_those_of_the_whole() -> None:
    torch.manual_seed(0)
    z, weights = torch.randn(30, 4), torch.rand(30, 2)
    whole, parts = LatentMoments(2, 4), LatentMoments(2, 4)
    whole.update(z, weights)
    for rows in (slice(0, 11), slice(11, 30)):
        parts.update(z[rows], weights[rows])
    for expected, value in zip(whole.compute(), parts.compute(), strict=True):
        assert torch.allclose(expected, value)


def test_weights_of_unconditional_and_fuzzy_conditions() -> None:
    assert class_weights(torch.zeros(2, 0)).tolist() == [[1.0], [1.0]]
    assert class_weights(torch.tensor([[0.4, 0.0]])).tolist() == [[1.0, 0.0]]


SAMPLERS: list[LatentSampler] = [ClassGaussian(2, 4), GaussianMixture(2, 4), LatentFlow(2, 4, hidden=16)]


def classes(count: int) -> Tensor:
    return torch.eye(2)[torch.arange(count) % 2]


def two_rings(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return vectors (N, 4) of two classes; the first entry of class 0 is -3 or 3, never between."""
    labels = classes(count)
    z = 0.3 * torch.randn(count, 4, generator=generator)
    side = torch.randint(2, (count,), generator=generator) * 2.0 - 1
    z[:, 0] += torch.where(labels[:, 0] > 0, 3 * side, 1)
    return z, labels


def collect(sampler: LatentSampler, z: Tensor, condition: Tensor) -> None:
    collected = sampler.collector()
    assert collected is not None
    for rows in range(0, len(z), 64):
        collected.update(z[rows : rows + 64], sampler.weights(condition[rows : rows + 64]))
    sampler.fit(collected)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: type(sampler).__name__)
def test_every_sampler_is_the_prior_before_and_close_to_the_data_after_a_fit(sampler: LatentSampler) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4000, 4, generator=generator)
    prior = sampler(noise, classes(4000))
    assert prior.mean().abs() < 0.05 and (torch.cov(prior.T) - torch.eye(4)).abs().max() < 0.1
    z, condition = two_rings(2000, generator)
    for _ in range(8):  # epochs
        collect(sampler, z, condition)
    drawn = sampler(noise, classes(4000))
    for label in (0, 1):
        real, own = z[condition[:, label] > 0], drawn[label::2]
        assert torch.allclose(own.mean(dim=0), real.mean(dim=0), atol=0.25)
        assert torch.allclose(own.std(dim=0), real.std(dim=0), rtol=0.25, atol=0.05)
    assert not any(parameter.requires_grad for parameter in sampler.parameters())
    assert torch.allclose(sampler(noise[5:6], classes(6)[5:]), drawn[5:6], atol=1e-5), "a row is its own"
    assert sampler(noise, torch.full((4000, 2), 0.5)).isfinite().all(), "fuzzy labels"


@pytest.mark.parametrize("sampler", SAMPLERS[1:], ids=lambda sampler: type(sampler).__name__)
def test_a_fit_is_repeatable_and_survives_a_checkpoint(sampler: LatentSampler) -> None:
    z, condition = two_rings(500, torch.Generator().manual_seed(1))
    options = {"hidden": 16, "steps": 10} if isinstance(sampler, LatentFlow) else {}
    first, second, third = (type(sampler)(2, 4, **options) for _ in range(3))
    second.load_state_dict(first.state_dict())
    for each in (first, second):
        with torch.inference_mode():  # where Lightning validates
            collect(each, z, condition)
    torch.manual_seed(5)  # a fit leaves the global generator alone, and does not depend on it
    collect(first, z, condition)
    torch.manual_seed(6)
    collect(second, z, condition)
    third.load_state_dict(first.state_dict())
    noise = torch.randn(10, 4)
    for other in (second, third):
        assert torch.equal(first(noise, classes(10)), other(noise, classes(10)))


def test_a_mixture_leaves_the_gap_between_two_kinds_empty_and_a_gaussian_does_not() -> None:
    z, condition = two_rings(2000, torch.Generator().manual_seed(2))
    noise, first = torch.randn(2000, 4), torch.tensor([[1.0, 0.0]]).expand(2000, 2)
    gaussian, mixture = ClassGaussian(2, 4), GaussianMixture(2, 4, components=2)
    diagonal = GaussianMixture(2, 4, components=2, full_covariance=False)
    for sampler in (gaussian, mixture, diagonal):
        collect(sampler, z, condition)
    between = [
        float((s(noise, first)[:, 0].abs() < 1.5).float().mean()) for s in (gaussian, mixture, diagonal)
    ]
    assert between[0] > 0.2 and between[1] < 0.02 and between[2] < 0.02


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("components", [2, 4])
@pytest.mark.parametrize("count", [400, 2000])
def test_a_mixture_finds_clusters_among_many_entries(full: bool, components: int, count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    side = torch.randint(2, (count,), generator=generator) * 2.0 - 1
    z = 0.5 * torch.randn(count, 128, generator=generator)
    z[:, 0] += 3 * side  # 12 deviations apart
    sampler = GaussianMixture(0, 128, components, full_covariance=full)
    none = torch.zeros(4000, 0)
    for _ in range(2):
        collect(sampler, z, none[:count])
        assert (sampler.mean[0, :, 0].abs() - 3).abs().max() < 0.25
        drawn = sampler(torch.randn(4000, 128, generator=generator), none)
        assert (drawn[:, 0].abs() < 1.5).float().mean() < 0.01
        right = drawn[drawn[:, 0] > 0]
        assert abs(len(right) / 4000 - float((side > 0).float().mean())) < 0.03
        assert abs(right[:, 0].std() - 0.5) < 0.05 and abs(right[:, 1:].std() - 0.5) < 0.03
        assert (right[:, 1:].mean(dim=0)).abs().max() < 0.15
    if components == 2:
        assert torch.corrcoef(drawn[:, :4].T).fill_diagonal_(0).abs().max() < 0.1


def test_a_mixture_starts_anew_when_clusters_appear_and_otherwise_goes_on() -> None:
    generator = torch.Generator().manual_seed(0)
    none, z = torch.zeros(1000, 0), 0.5 * torch.randn(1000, 32, generator=generator)
    sampler = GaussianMixture(0, 32, components=2)
    collect(sampler, z, none)
    z[:, 0] += 3 * (torch.arange(1000) % 2 * 2.0 - 1)
    collect(sampler, z, none)
    place = sampler.mean[0, :, 0].clone()
    assert (place.abs() - 3).abs().max() < 0.2 and place.sum().abs() < 0.4
    for shift in (0.1, 0.2):  # the latent space drifts, and its clusters turn up in another order
        collect(sampler, (z + shift).flip(0), none)
        assert torch.equal(sampler.mean[0, :, 0].sign(), place.sign()), "components keep their numbers"


@pytest.mark.parametrize("count", [4, 6, 60])
def test_a_mixture_of_few_images_covers_all_directions(count: int) -> None:
    z = torch.randn(count, 64, generator=torch.Generator().manual_seed(0))
    sampler = GaussianMixture(0, 64)
    collect(sampler, z, torch.zeros(count, 0))
    drawn = sampler(torch.randn(2000, 64), torch.zeros(2000, 0))
    total, wanted = drawn.var(dim=0).sum(), z.var(dim=0, unbiased=False).sum()
    assert torch.allclose(total, wanted, rtol=0.1)
    if count == 60:
        assert torch.linalg.eigvalsh(torch.cov(drawn.T)).min() > 0.02


def test_clusters_count_their_weights_and_leave_none_out() -> None:
    z = torch.tensor([[0.0], [1.0], [10.0], [11.0], [30.0]]).double()
    assert clusters(z, torch.ones(5).double(), 2).tolist() in ([0, 0, 0, 0, 1], [1, 1, 1, 1, 0])
    light = torch.tensor([1.0, 1, 1, 1, 1e-3]).double()
    member = clusters(z, light, 2)
    assert member[0] == member[1] != member[2] == member[3] == member[4]
    assert clusters(z, torch.ones(5).double(), 5).unique().tolist() == [0, 1, 2, 3, 4]
    same = torch.ones(6, 2).double()
    assert clusters(same, torch.ones(6).double(), 3).shape == (6,)


@pytest.mark.parametrize(
    "build",
    [
        StandardNormal,
        ClassGaussian,
        GaussianMixture,
        lambda size, latent: LatentFlow(size, latent, hidden=16),
    ],
)
def test_autocast_changes_nothing(build: Callable[[int, int], LatentSampler]) -> None:
    z, condition = two_rings(500, torch.Generator().manual_seed(1))
    plain, cast = build(2, 4), build(2, 4)
    cast.load_state_dict(plain.state_dict())
    noise = torch.randn(100, 4, generator=torch.Generator().manual_seed(2))
    for _ in range(2):  # before and after a fit
        expected = plain(noise, classes(100))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            drawn = cast(noise, classes(100))
            if isinstance(cast, LatentFlow) and isinstance(plain, LatentFlow):
                density = cast.log_density(z, condition)
                assert density.dtype == torch.float32
        assert drawn.dtype == torch.float32 and torch.equal(drawn, expected)
        if plain.collector() is None:
            return
        collect(plain, z, condition)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            collect(cast, z, condition)
    assert not torch.equal(drawn, noise)


def test_the_flow_learns_what_is_not_gaussian() -> None:
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(2000, 4, generator=generator)
    z[:, 1] = z[:, 0].square() + 0.1 * z[:, 1]  # bent
    flow, linear = LatentFlow(0, 4, hidden=32, steps=300), LatentFlow(0, 4, layers=0)
    for sampler in (flow, linear):
        collect(sampler, z, torch.zeros(2000, 0))
    none = torch.zeros(2000, 0)
    assert flow.log_density(z, none).mean() > linear.log_density(z, none).mean() + 0.3
    noise = torch.randn(2000, 4, generator=generator)
    bent = flow(noise, none)
    assert torch.corrcoef(torch.stack([bent[:, 0].square(), bent[:, 1]]))[0, 1] > 0.7


def test_the_flow_alone_uses_scores() -> None:
    generator = torch.Generator().manual_seed(4)
    scores = torch.randn(2000, 3, generator=generator)
    z = torch.randn(2000, 4, generator=generator)
    z[:, 2] = 2 * scores[:, 1] + 0.2 * z[:, 2]
    flow = build_sampler(lambda size, latent: LatentFlow(size, latent, steps=20), "score", 3, 4)
    gaussian = build_sampler(ClassGaussian, "score", 3, 4)
    assert (flow.condition_size, gaussian.condition_size) == (3, 0)
    for sampler in (flow, gaussian):
        collect(sampler, z, scores)
    noise = torch.randn(500, 4, generator=generator)
    high = torch.tensor([[0.0, 1.5, 0.0]]).expand(500, 3)
    assert abs(flow(noise, high)[:, 2].mean() - 3) < 0.3
    assert abs(gaussian(noise, high)[:, 2].mean()) < 0.3


def test_noise_picks_components_by_their_share_and_stays_standard_normal() -> None:
    share = torch.tensor([0.1, 0.6, 0.3])
    for size in (1, 2, 5):
        noise = torch.randn(30_000, size, generator=torch.Generator().manual_seed(size))
        component, own = pick_component(noise, share)
        assert torch.allclose(component.bincount().float() / 30_000, share, atol=0.01)
        for number in range(3):
            part = own[component == number]
            assert part.mean(dim=0).abs().max() < 0.06 and (part.std(dim=0) - 1).abs().max() < 0.05
        if size > 1:
            assert torch.equal(pick_component(0.5 * noise, share)[0], component)


def test_a_mixture_of_a_large_epoch_is_fitted_in_a_moment() -> None:
    z, condition = torch.randn(5000, 128), torch.eye(5)[torch.arange(5000) % 5]
    sampler = GaussianMixture(5, 128)
    collected = sampler.collector()
    collected.update(z, condition)
    sampler.fit(collected)
    start = time.perf_counter()
    sampler.fit(collected)
    assert time.perf_counter() - start < 10, "1 s when nothing else runs"


def test_kept_rows_are_a_fair_sample_that_does_not_depend_on_batches() -> None:
    values = torch.arange(3000.0)[:, None]
    kept = []
    for size in (3000, 50, 7):
        rows = LatentRows(1, 1, capacity=300)
        for start in range(0, 3000, size):
            rows.update(values[start : start + size], values[start : start + size])
        z, weights = rows.compute()
        assert torch.equal(z, weights) and len(set(z[:, 0].tolist())) == 300
        assert abs(z.mean() - 1500) < 150 and abs((z < 1000).float().mean() - 1 / 3) < 0.1
        kept.append(z.sort(dim=0).values)
    assert torch.equal(kept[0], kept[1]) and torch.equal(kept[0], kept[2])


def test_rows_continue_from_a_checkpoint_and_start_again_with_an_epoch() -> None:
    whole, first, second = (LatentRows(2, 3, capacity=20) for _ in range(3))
    z, weights = torch.randn(50, 3), torch.rand(50, 2)
    whole.update(z, weights)
    first.update(z[:30], weights[:30])
    second.load_state_dict(first.state_dict())
    second.update(z[30:], weights[30:])
    for expected, value in zip(whole.compute(), second.compute(), strict=True):
        assert torch.equal(expected, value)
    whole.reset()
    whole.update(z[:5], weights[:5])
    assert len(whole.compute()[0]) == 5


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: GaussianMixture(2, 4, components=0), "at least 1 component"),
        (lambda: LatentFlow(2, 1), "layers to 0"),
        (lambda: LatentFlow(2, 4, learning_rate=0), "learning_rate above 0"),
        (lambda: StandardNormal(2, 4, temperature=-1), "temperature"),
    ],
)
def test_what_samplers_refuse(build: object, said: str) -> None:
    assert callable(build)
    with pytest.raises(ConfigurationError, match=said):
        build()
