"""Losses against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vedute.losses.pixel import mean_squared_error, peak_signal_to_noise_ratio
from vedute.losses.variational import kl_per_dimension
from vedute.metrics.latent import LatentStatistics


def test_kl_equals_the_analytic_one() -> None:
    torch.manual_seed(0)
    mu, logvar = torch.randn(5, 3), torch.randn(5, 3)
    expected = kl_divergence(Normal(mu, torch.exp(0.5 * logvar)), Normal(0.0, 1.0))
    assert torch.allclose(kl_per_dimension(mu, logvar), expected, atol=1e-5)


def test_kl_of_the_prior_is_zero() -> None:
    assert kl_per_dimension(torch.zeros(2, 4), torch.zeros(2, 4)).abs().max() == 0


def test_mse_is_per_sample_and_psnr_follows() -> None:
    image = torch.zeros(2, 3, 4, 4)
    target = torch.stack([torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), 1.0)])
    mse = mean_squared_error(image, target)
    assert mse.tolist() == pytest.approx([0.01, 1.0])
    assert peak_signal_to_noise_ratio(mse).tolist() == pytest.approx([20.0, 0.0], abs=1e-4)


def test_latent_statistics_add_up_over_batches_and_count_active_units() -> None:
    torch.manual_seed(0)
    mu = torch.randn(40, 3) * torch.tensor([1.0, 0.5, 0.01])
    logvar = torch.zeros(40, 3)
    whole, parts = LatentStatistics(3), LatentStatistics(3)
    whole.update(mu, logvar)
    parts.update(mu[:7], logvar[:7])
    parts.update(mu[7:], logvar[7:])
    assert torch.allclose(whole.compute()[0], parts.compute()[0])
    assert torch.allclose(whole.compute()[1], mu.double().var(dim=0, unbiased=False), atol=1e-6)
    assert whole.active_units() == 2
