"""The VAE-GAN: who learns from what, two optimisers' schedules, exact resuming, several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_modules.base import GenerativeModule
from lightning_modules.vae_gan import VAEGAN
from tests.data.training import column
from vedute.batch import Batch, Condition
from vedute.callbacks.ema import EMA
from vedute.checkpoints import load_checkpoint, load_module
from vedute.cli import main
from vedute.errors import ConfigurationError
from vedute.losses.adversarial import Hinge
from vedute.networks.discriminators import ProjectionDiscriminator
from vedute.networks.residual_vae import ResidualVAE

ROOT = Path(__file__).parents[1]
CONFIG = str(ROOT / "configs" / "vae_gan_landscapes.yaml")
NETWORK = "--model.init_args.network.init_args"
SMALL = f"""
    --data.image_size 16 --data.batch_size 8 --trainer.precision 32-true
    --trainer.enable_progress_bar false --trainer.log_every_n_steps 1
    {NETWORK}.latent_size 8 {NETWORK}.encoder_widths [8,8,8] {NETWORK}.decoder_widths [8,8,8]
    --model.init_args.discriminator.init_args.widths [8,8,8]
""".split()


class Watch(Callback):
    """Notes the learning rates after every batch, and saves the weights at the end, once per process."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.rates: list[list[float]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        self.rates.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        state = {"state": pl_module.state_dict(), "rates": self.rates, "step": trainer.global_step}
        torch.save(state, self.folder / f"{trainer.global_rank}.pt")


def arguments(root: Path, folder: Path, *extra: str) -> list[str]:
    places = ["--data.root", str(root), "--trainer.default_root_dir", str(folder)]
    return ["fit", "--config", CONFIG, *SMALL, *places, *extra]


def run_of(folder: Path) -> Path:
    return folder / "runs" / "vae_gan_landscapes" / "0"


def watch(folder: Path) -> list[str]:
    return [
        "--trainer.callbacks+=tests.test_vae_gan.Watch",
        "--trainer.callbacks.init_args.folder",
        str(folder),
    ]


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert main(arguments(tiny, folder, "--trainer.max_epochs", "4", *watch(folder))) == 0
    return run_of(folder)


def build(**options: object) -> VAEGAN:
    facts = {"image_size": (16, 16), "image_channels": 3, "condition_kind": "class", "train_size": 40}
    torch.manual_seed(0)
    return VAEGAN(
        network=lambda *sizes: ResidualVAE(*sizes, 8, (8, 8), (8, 8)),
        discriminator=lambda *sizes: ProjectionDiscriminator(*sizes, (8, 8), hidden_size=8),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
        condition_names=["coast", "forest"],
        **{**facts, **options},  # type: ignore[arg-type]
    )


def a_batch() -> Batch:
    return Batch(torch.rand(6, 3, 16, 16), Condition(torch.eye(2)[torch.arange(6) % 2]))


def test_everything_promised_is_logged_and_reconstructions_improve(trained: Path) -> None:
    both = ["loss", "reconstruction", "mse", "psnr", "kl", "active_units", "feature", "adversarial"]
    both += ["real_logits", "fake_logits", "discriminator_accuracy"]
    for stage in ("train", "val"):
        for name in both:
            assert column(trained, f"{stage}/{name}"), f"{stage}/{name} is missing"
    for name in ("discriminator_loss", "generator_loss", "penalty", "weight/adversarial"):
        assert column(trained, f"train/{name}"), f"train/{name} is missing"
    errors = column(trained, "train/mse")
    assert sum(errors[-3:]) < sum(errors[:3])
    assert {path.name for path in (trained / "samples").glob("*.png")}


def test_the_monitored_value_is_no_adversarial_loss(trained: Path) -> None:
    checkpoint = load_checkpoint(trained / "checkpoints" / "best.ckpt")
    monitor = checkpoint["callbacks"]["BestAndLast"]["monitor"]  # type: ignore[index]
    assert monitor in ("val/fd_details", "val/feature")


def test_a_checkpoint_alone_samples_and_averages_the_generator_only(trained: Path) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    averages = load_checkpoint(path)["ema_state_dict"]
    module = load_module(path, GenerativeModule)
    networks = {name for name, _ in module.named_parameters() if name.startswith("network.")}
    assert averages.keys() == networks  # type: ignore[attr-defined]
    condition = Condition(torch.eye(module.condition_size)[torch.tensor([0, 1, 2])])
    with torch.no_grad():
        together = module.sample(condition, torch.tensor([3, 4, 5]))
        alone = module.sample(condition[1:2], torch.tensor([4]))
    assert torch.allclose(together[1:2], alone, atol=1 / 255)
    assert together.min() >= 0 and together.max() <= 1


def test_each_loss_reaches_its_own_network_only(monkeypatch: pytest.MonkeyPatch) -> None:
    module = build()
    terms = ["_discriminator_loss", "_generator_loss"]
    losses = losses_of(module, a_batch(), monkeypatch)
    for name, loss in zip(terms, losses, strict=True):
        own = module.discriminator if name == "_discriminator_loss" else module.network
        other = module.network if name == "_discriminator_loss" else module.discriminator
        other_parameters = list(other.parameters())
        gradients = torch.autograd.grad(loss, list(own.parameters()), retain_graph=True)
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert sum(gradient.abs().sum() for gradient in gradients) > 0
        if name == "_discriminator_loss":
            reached = torch.autograd.grad(loss, other_parameters, allow_unused=True, retain_graph=True)
            assert reached == (None,) * len(reached), "fakes are detached"


def losses_of(
    module: VAEGAN, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both losses of a module outside a trainer."""
    trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False, accelerator="cpu")
    module.trainer = trainer
    trainer.fit_loop.max_epochs = 1
    monkeypatch.setattr(type(trainer), "estimated_stepping_batches", property(lambda self: 10))
    monkeypatch.setattr(type(module), "log_stage", lambda *_: None)
    module.train()
    coded = module.code(batch)
    return module._discriminator_loss(coded, True), module._generator_loss(coded)


def test_the_step_changes_both_networks_by_their_own_optimisers(trained: Path) -> None:
    seen = torch.load(trained.parents[2] / "0.pt", weights_only=False)
    state = load_checkpoint(trained / "checkpoints" / "last.ckpt")
    assert len(state["optimizer_states"]) == 2  # type: ignore[arg-type]
    assert seen["step"] == 2 * len(seen["rates"]), "Lightning counts both"
    first, last = seen["rates"][0], seen["rates"][-1]
    assert first[0] == pytest.approx(2 * first[1]), "each with the rate of the YAML"
    assert max(last) < 1e-6, "the cosine ends with training"


@pytest.mark.parametrize("steps", [10, 6])
def test_max_steps_counts_both_optimisers_and_ends_the_schedules(
    tiny: Path, tmp_path: Path, steps: int
) -> None:
    options = ["--trainer.max_epochs", "9", "--trainer.max_steps", str(steps), *watch(tmp_path)]
    assert main(arguments(tiny, tmp_path, *options)) == 0
    rates = torch.load(tmp_path / "0.pt", weights_only=False)["rates"]
    assert len(rates) == steps // 2
    assert max(rates[-1]) < 1e-6 < min(rates[-2])


def test_a_killed_run_resumes_to_the_same_weights(tiny: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(arguments(tiny, whole, "--trainer.max_epochs", "3")) == 0
    place = ["--trainer.callbacks.init_args.epoch", "1", "--trainer.callbacks.init_args.batch", "2"]
    kill = ["--trainer.max_epochs", "3", "--trainer.callbacks+=tests.data.interrupt.SaveAndDie", *place]
    command = [sys.executable, str(ROOT / "cli.py"), *arguments(tiny, killed, *kill)]
    died = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert died.returncode == 137, died.stderr
    assert main(arguments(tiny, killed, "--trainer.max_epochs", "3", "--ckpt_path", "last")) == 0
    for name in ("train/discriminator_loss", "train/generator_loss", "train/penalty", "val/loss"):
        assert column(run_of(killed), name) == column(run_of(whole), name), name
    first, second = (
        load_checkpoint(run_of(folder) / "checkpoints" / "last.ckpt") for folder in (whole, killed)
    )
    for key in ("state_dict", "ema_state_dict"):
        for name, value in first[key].items():  # type: ignore[attr-defined]
            assert torch.equal(value, second[key][name]), name  # type: ignore[index]


@pytest.mark.slow
def test_two_processes_end_with_equal_weights(tiny: Path, tmp_path: Path) -> None:
    options = "--trainer.accelerator cpu --trainer.devices 2 --trainer.strategy ddp --trainer.max_epochs 2"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "cli.py"), *arguments(tiny, tmp_path, *options.split())]
    subprocess.run([*command, *watch(tmp_path)], check=True, timeout=300, env=environment, cwd=ROOT)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2))
    assert first["step"] == second["step"] > 0 and first["rates"] == second["rates"]
    for name, value in first["state"].items():
        if name.startswith(("network.", "discriminator.")):
            assert torch.equal(value, second["state"][name]), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feature_levels": [4]}, "feature_levels"),
        ({"penalty_every": 0}, "penalty_every"),
        ({"gradient_clip": 0.0}, "gradient_clip"),
        ({"loss_schedules": {"fooling": lambda _: 1.0}}, "fooling.*adversarial"),
    ],
)
def test_what_cannot_work_is_refused_before_training(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build(**options)


def test_other_losses_and_clipping_by_the_command_line(tiny: Path, tmp_path: Path) -> None:
    model = "--model.init_args"
    options = (
        f"{model}.adversarial {Hinge.__module__}.Hinge {model}.gradient_clip 0.1 {model}.penalty_weight 0"
    )
    options += f" {model}.loss_balance vedute.losses.adversarial.AdversarialBalance"
    options += f" {model}.adversarial_weight 0.5 {model}.augment+=vedute.augment.differentiable.Cutout"
    options += " --trainer.max_epochs 2"
    schedule = '{"adversarial": {"class_path": "vedute.schedules.FromEpoch", "init_args": {"epoch": 1.5}}}'
    assert main(arguments(tiny, tmp_path, *options.split(), f"{model}.loss_schedules", schedule)) == 0
    weights = column(run_of(tmp_path), "train/weight/adversarial")
    assert weights[0] == 0 < weights[-1], "the adversarial term enters late"
    assert not column(run_of(tmp_path), "train/penalty")
    module = load_module(run_of(tmp_path) / "checkpoints" / "last.ckpt", VAEGAN)
    assert isinstance(module._adversarial, Hinge)


def test_ema_ignores_the_discriminator() -> None:
    module = build()
    average = EMA()
    average.on_fit_start(Trainer(logger=False, enable_checkpointing=False, accelerator="cpu"), module)
    assert average._averages and all(name.startswith("network.") for name in average._averages)
