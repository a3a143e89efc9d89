"""The fitted latent sampler: it recovers the classes' Gaussians, and is the prior until then."""

from __future__ import annotations

import pytest
import torch

from vedute.metrics.latent import LatentMoments
from vedute.sampling.latents import ClassGaussian, StandardNormal, class_weights


def correlated(count: int, shift: float, mix: torch.Tensor) -> torch.Tensor:
    return shift + torch.randn(count, 3) @ mix.T


@pytest.fixture
def fitted() -> tuple[ClassGaussian, list[torch.Tensor]]:
    torch.manual_seed(0)
    sampler = ClassGaussian(2, 3)
    moments = sampler.moments()
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
    with pytest.raises(ValueError, match="temperature"):
        ClassGaussian(2, 3, temperature=0)


def test_few_images_or_none_leave_a_usable_density() -> None:
    sampler = ClassGaussian(3, 8)
    moments = sampler.moments()
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
