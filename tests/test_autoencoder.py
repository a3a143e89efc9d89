"""The deterministic autoencoder: no noise, no divergence, and samples from what is fitted to its codes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lightning_modules.autoencoder import Autoencoder
from lightning_modules.base import GenerativeModule
from tests.data.landscapes import write_tiny_landscapes
from tests.data.training import column, fit_cvae
from vedute.batch import Batch, Condition
from vedute.checkpoints import load_module

GAUSSIAN = ["--model.latent_sampler", "vedute.sampling.latents.ClassGaussian"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_tiny_landscapes(tmp_path_factory.mktemp("tiny"))
    model = ["--model", "lightning_modules.autoencoder.Autoencoder", "--model.latent_norm_weight", "0.01"]
    return fit_cvae(
        root,
        tmp_path_factory.mktemp("run"),
        *model,
        *GAUSSIAN,
        "--model.loss_schedules",
        "null",
        "--trainer.max_epochs",
        "6",
    )


def test_it_learns_and_logs_its_terms(trained: Path) -> None:
    losses = column(trained, "train/loss")
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    for name in ("train/reconstruction", "train/latent_norm", "val/psnr", "train/weight/latent_norm"):
        assert column(trained, name), f"{name} is missing"
    assert not column(trained, "val/kl")


@torch.no_grad()
def test_reconstruction_is_the_decoded_code_and_training_has_no_noise(trained: Path) -> None:
    module = load_module(trained / "checkpoints" / "last.ckpt", GenerativeModule)
    assert isinstance(module, Autoencoder)
    batch = Batch(torch.rand(3, 3, 32, 32), Condition(torch.eye(5)[:3]))
    first, second = module.code(batch), module.code(batch)
    assert torch.equal(first.image, second.image) and torch.equal(first.z, first.mu)
    assert torch.allclose(module.reconstruct(batch), first.image, atol=1 / 255)
    assert torch.allclose(module.decode(module.embed(batch), batch.condition), first.image, atol=1 / 255)


def test_nothing_trains_the_variances(trained: Path) -> None:
    module = load_module(trained / "checkpoints" / "last.ckpt", Autoencoder)
    frozen = [name for name, weight in module.named_parameters() if not weight.requires_grad]
    assert frozen, (
        "the head of the variances is left out of training (and of DDP's search for unused weights)"
    )


@torch.no_grad()
def test_samples_come_from_the_fitted_sampler(trained: Path) -> None:
    module = load_module(trained / "checkpoints" / "last.ckpt", Autoencoder)
    assert module.latent_shape == (128,)
    condition = Condition(torch.eye(5)[:2])
    noise = torch.zeros(2, 128)
    codes = module.latent_sampler(noise, condition.vector)
    assert codes.abs().max() > 0, "the means of the classes' codes"
    assert torch.allclose(module.generate(condition, noise), module.decode(codes, condition), atol=1 / 255)
