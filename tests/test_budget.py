"""A training that ends by time, counts it over resumes, and lets schedules follow it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.training import CONFIG, column, fit_cvae
from vedute.callbacks.budget import STATE, TrainingBudget
from vedute.checkpoints import load_checkpoint
from vedute.cli import main
from vedute.errors import ConfigurationError


def spent(run: Path) -> dict[str, float]:
    callbacks = load_checkpoint(run / "checkpoints" / "last.ckpt")["callbacks"]
    return callbacks[STATE]  # type: ignore[index,no-any-return]


@pytest.mark.parametrize("clock", ["true", "false"])
def test_a_training_ends_when_its_time_is_spent(tiny: Path, tmp_path: Path, clock: str) -> None:
    budget = ["--budget.minutes", "0.03", "--budget.processor", clock]
    run = fit_cvae(tiny, tmp_path, "--trainer.max_epochs", "-1", *budget)
    seconds = spent(run)["processor_seconds" if clock == "true" else "wall_seconds"]
    assert 1.8 <= seconds < 30
    state = load_checkpoint(run / "checkpoints" / "last.ckpt")
    assert state["lr_schedulers"][0]["_last_lr"][0] < 2e-4, "1e-3 has come down with the budget"  # type: ignore[index]
    assert column(run, "val/loss"), "validated at the end, though amid an epoch"


def test_time_adds_up_over_resumes(tiny: Path, tmp_path: Path) -> None:
    run = fit_cvae(tiny, tmp_path, "--trainer.max_epochs", "1")
    before = spent(run)
    again = ["--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--trainer.max_epochs", "2"]
    quiet = ["--trainer.enable_progress_bar", "false"]
    assert main(["fit", *again, *quiet]) == 0
    after = spent(run)
    assert all(after[name] > before[name] > 0 for name in before)


def test_no_limit_means_no_fraction() -> None:
    assert TrainingBudget().fraction == 0 and not TrainingBudget().limited
    with pytest.raises(ConfigurationError, match="above 0"):
        TrainingBudget(minutes=0)
    with pytest.raises(ConfigurationError, match="at least 1"):
        TrainingBudget(images=0)


def test_a_training_ends_when_its_images_are_seen(tiny: Path, tmp_path: Path) -> None:
    endless = ["--trainer.max_epochs", "-1", "--checkpoint.monitor", "null"]
    run = fit_cvae(tiny, tmp_path, *endless, "--budget.images", "20")
    assert spent(run)["images"] == 24, "three batches of 8"
    again = ["--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--budget.images", "40"]
    assert main(["fit", *again, "--trainer.enable_progress_bar", "false"]) == 0
    assert spent(run)["images"] == 40, "what was seen before counts"
    state = load_checkpoint(run / "checkpoints" / "last.ckpt")
    assert state["global_step"] == 5
    assert state["lr_schedulers"][0]["_last_lr"][0] < 2e-4, "the rate has come down with the budget"  # type: ignore[index]


def test_a_schedule_without_an_end_is_refused_but_a_budget_is_an_end(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--data.root", str(tiny), "--trainer.default_root_dir", str(tmp_path)]
    assert (
        main(["fit", "--config", CONFIG, *place, "--data.image_size", "32", "--trainer.max_epochs", "-1"])
        == 2
    )
    assert "budget.minutes" in capsys.readouterr().err


def test_lightnings_time_limit_ends_a_training_with_a_checkpoint(tiny: Path, tmp_path: Path) -> None:
    run = fit_cvae(tiny, tmp_path, "--trainer.max_epochs", "100000", "--trainer.max_time", "00:00:00:02")
    seconds = spent(run)["wall_seconds"]
    assert 1.5 <= seconds < 30
    assert load_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"] > 0
