"""Callbacks that watch a training: collapse, losses that are no numbers, gradient norms."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.optim import Optimizer

from tests.data.gan import TinyGAN, train_gan
from vedute.callbacks.collapse import CollapseAlarm
from vedute.callbacks.finite import DivergedError, FiniteLosses
from vedute.callbacks.gradients import GradientNorms
from vedute.cli import main
from vedute.errors import ConfigurationError

SURE = {"train/discriminator_accuracy": 1.0, "train/real_logits": 9.0, "train/fake_logits": -9.0}


def test_a_discriminator_that_is_always_right_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alarm = CollapseAlarm(batches=4, every_n_batches=2)
    with caplog.at_level(logging.WARNING, "vedute"):
        train_gan(TinyGAN(SURE), tmp_path, alarm, batches=8)
    (text,) = [record.getMessage() for record in caplog.records if record.name == "vedute.collapse"]
    assert "100.0%" in text and "4 batches" in text
    for option in ("model.augment", "model.penalty_weight", "model.discriminator_optimizer"):
        assert option in text


def test_exploding_logits_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logged = {"train/discriminator_accuracy": 0.6, "train/real_logits": 3.0, "train/fake_logits": -500.0}
    train_gan(TinyGAN(logged), tmp_path, CollapseAlarm(batches=2, every_n_batches=1))
    assert "explode" in caplog.text and "500" in caplog.text and "right about" not in caplog.text


def test_a_healthy_or_a_young_training_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    healthy = {**SURE, "train/discriminator_accuracy": 0.8}
    train_gan(TinyGAN(healthy), tmp_path / "a", CollapseAlarm(batches=2, every_n_batches=1))
    train_gan(TinyGAN(SURE), tmp_path / "b", CollapseAlarm(batches=500))
    assert "vedute.collapse" not in [record.name for record in caplog.records]


def test_the_alarm_goes_on_from_a_checkpoint() -> None:
    alarm, other = CollapseAlarm(batches=20), CollapseAlarm(batches=20)
    alarm._read({name: torch.tensor(value) for name, value in SURE.items()})
    alarm._said.add("logits")
    other.load_state_dict(alarm.state_dict())
    assert other.state_dict() == alarm.state_dict() != CollapseAlarm().state_dict()


@pytest.mark.parametrize(
    "wrong", [{"accuracy": 0.5}, {"logits": 0.0}, {"batches": 5}, {"every_n_batches": 0}]
)
def test_wrong_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        CollapseAlarm(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="every_n_batches"):
        FiniteLosses(0)


def test_a_model_without_a_discriminator_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="none: leave it out"):
        CollapseAlarm().setup(None, LightningModule(), "fit")  # type: ignore[arg-type]


@pytest.mark.parametrize("broken_at", [5, 7])
def test_a_loss_that_is_nan_stops_and_the_last_good_checkpoint_stays(tmp_path: Path, broken_at: int) -> None:
    module = TinyGAN(broken_at=broken_at)
    with pytest.raises(DivergedError) as stopped:
        train_gan(module, tmp_path, FiniteLosses(every_n_batches=2), batches=4, epochs=4)
    text = str(stopped.value)
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert "train/generator_loss is nan" in text and "epoch 2" in text and "last.ckpt" in text
    state = torch.load(last, weights_only=True)
    assert state["epoch"] == 0 and all(value.isfinite().all() for value in state["state_dict"].values())
    assert not list(last.parent.glob(".*")), "nothing is left half-written"


def test_broken_weights_are_never_saved(tmp_path: Path) -> None:
    class Poison(FiniteLosses):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
            if trainer.current_epoch == 1:
                next(pl_module.parameters()).data.fill_(float("inf"))

    with pytest.raises(DivergedError, match=r"generator\.weight"):
        train_gan(TinyGAN(), tmp_path, Poison(), epochs=3)
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 0


def test_it_stops_before_the_first_checkpoint_too_and_ignores_other_values(tmp_path: Path) -> None:
    fine = {"train/rank_correlation": float("nan")}
    assert train_gan(TinyGAN(fine), tmp_path / "a", FiniteLosses(1)).current_epoch == 2
    with pytest.raises(DivergedError, match="no checkpoint yet"):
        train_gan(TinyGAN(broken_at=0), tmp_path / "b", FiniteLosses(1))


def test_the_command_line_says_it_in_one_message(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "watched.yaml"
    callback = "  callbacks:\n    - class_path: vedute.callbacks.finite.FiniteLosses\n"
    text = tiny_config.read_text(encoding="utf-8")
    config.write_text(text.replace("  callbacks:\n", callback), encoding="utf-8")
    wild = ["--model.optimizer.init_args.lr", "1e30", "--trainer.enable_progress_bar", "false"]
    assert main(["fit", "--config", str(config), *wild, "--trainer.default_root_dir", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "The training is stopped" in message and "learning rate" in message
    assert "Traceback" not in message


def test_gradient_norms_of_each_optimiser_are_logged(tmp_path: Path) -> None:
    expected: dict[str, float] = {}

    class Watched(TinyGAN):
        def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
            parts = [w.grad.flatten() for group in optimizer.param_groups for w in group["params"]]
            name = ("generator", "discriminator")[self.trainer.optimizers.index(optimizer)]
            expected[f"train/gradient_norm/{name}"] = float(torch.cat(parts).norm())

    trainer = train_gan(Watched(), tmp_path, GradientNorms(), batches=1, epochs=1)
    found = {name: float(value) for name, value in trainer.callback_metrics.items() if "norm" in name}
    assert found == pytest.approx(expected, rel=1e-5) and len(found) == 2
    assert "train/generator_loss" in trainer.callback_metrics, "of an epoch's first batch nothing gets lost"
