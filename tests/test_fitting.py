"""A latent sampler is fitted to whole epochs, whatever breaks one off."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lightning_modules.cvae import CVAE
from tests.data.training import fit_cvae
from vedute.checkpoints import load_module
from vedute.cli import main
from vedute.sampling.fitting import SamplerFitting
from vedute.sampling.latents import ClassGaussian, StandardNormal

LINEAR = "{kl: {class_path: vedute.schedules.LinearWarmup, init_args: {epochs: null}}}"


def collected(fitting: SamplerFitting, images: int, centre: float) -> None:
    fitting.restart()
    fitting.collect(centre + 0.1 * torch.randn(images, 3), torch.ones(images, 1))


def test_a_broken_epoch_keeps_the_fit_before() -> None:
    sampler = ClassGaussian(0, 3)
    fitting = SamplerFitting(sampler, train_size=100)
    collected(fitting, 100, centre=5.0)
    fitting.fit(sampler)
    assert sampler.mean.mean() == pytest.approx(5, abs=0.1)
    collected(fitting, 30, centre=-5.0)
    fitting.fit(sampler)
    assert sampler.mean.mean() == pytest.approx(5, abs=0.1)
    fitting.collect(-5 + 0.1 * torch.randn(30, 3), torch.ones(30, 1))
    fitting.fit(sampler)
    assert sampler.mean.mean() == pytest.approx(-5, abs=0.1), "60 of 100 are enough"


def test_the_first_fit_takes_what_there_is_and_limited_epochs_are_whole_ones() -> None:
    sampler = ClassGaussian(0, 3)
    fitting = SamplerFitting(sampler, train_size=1000)
    for centre in (1.0, 2.0):
        collected(fitting, 20, centre)
        fitting.fit(sampler)
        assert sampler.mean.mean() == pytest.approx(centre, abs=0.1)


def test_a_sampler_without_a_fit_collects_nothing() -> None:
    fitting = SamplerFitting(StandardNormal(0, 3), train_size=10)
    collected(fitting, 5, 1.0)
    fitting.fit(StandardNormal(0, 3))
    assert not fitting.state_dict()


def test_going_on_with_a_spent_budget_changes_nothing(
    tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = fit_cvae(tiny, tmp_path, "--trainer.max_epochs", "-1", "--budget.minutes", "0.02")
    last = run / "checkpoints" / "last.ckpt"
    before = load_module(last, CVAE).state_dict()
    assert main(["fit", "--ckpt_path", str(last), "--trainer.enable_progress_bar", "false"]) == 0
    after = load_module(last, CVAE).state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert "is spent" in caplog.text


def test_the_sampler_is_fitted_without_a_validation_too(tiny: Path, tmp_path: Path) -> None:
    options = [
        "--trainer.max_epochs",
        "1",
        "--trainer.limit_val_batches",
        "0",
        "--checkpoint.monitor",
        "null",
    ]
    run = fit_cvae(tiny, tmp_path, *options)
    sampler = load_module(run / "checkpoints" / "last.ckpt", CVAE).latent_sampler
    assert isinstance(sampler, ClassGaussian) and sampler.mean.abs().max() > 0


def test_a_warmup_without_a_planned_end_is_refused(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError):
        fit_cvae(
            tiny,
            tmp_path,
            *("--trainer.max_epochs", "-1", "--model.learning_rate_schedule", "null"),
            # null: the whole run, where the configuration has three epochs
            *("--model.loss_schedules", LINEAR),
        )
    assert "loss_schedules (kl) follows the share" in capsys.readouterr().err


def test_vectors_are_fitted_to_once() -> None:
    sampler = ClassGaussian(0, 3)
    fitting = SamplerFitting(sampler, train_size=10)
    collected(fitting, 10, centre=5.0)
    fitting.fit(sampler)
    sampler.mean.zero_()
    fitting.fit(sampler)
    assert not sampler.mean.any(), "a validation has done it: the end of the epoch has nothing to add"
    fitting.collect(torch.full((10, 3), 5.0), torch.ones(10, 1))
    fitting.fit(sampler)
    assert sampler.mean.mean() == pytest.approx(5, abs=0.1)
