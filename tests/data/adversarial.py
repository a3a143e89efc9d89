"""Tiny trainings of models with a discriminator, and what happens in them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_modules.adversarial import AdversarialModule
from vedute.batch import Batch
from vedute.checkpoints import load_checkpoint
from vedute.cli import main

ROOT = Path(__file__).parents[2]
NETWORK, DISCRIMINATOR = (f"--model.init_args.{part}.init_args" for part in ("network", "discriminator"))
SMALL = {
    "dcgan_pictures": f"{NETWORK}.width 4 {NETWORK}.noise_size 8 {DISCRIMINATOR}.width 4",
    "dcgan_landscapes": f"{NETWORK}.width 4 {NETWORK}.noise_size 8 {DISCRIMINATOR}.width 4",
    "gan_landscapes": f"{NETWORK}.widths [8,8] {NETWORK}.noise_size 8 {DISCRIMINATOR}.widths [8,8]",
    "pix2pix_aerial": f"{NETWORK}.width 4 {NETWORK}.levels 3 {DISCRIMINATOR}.width 4 --data.split 2",
    "esrgan_pictures": f"{NETWORK}.width 4 {NETWORK}.blocks 1 {NETWORK}.growth 4 {DISCRIMINATOR}.width 4",
}
"""Options that make each configuration's networks tiny."""


def arguments(config: str, root: Path, folder: Path, *extra: str) -> list[str]:
    """Return the options of a tiny training at 32 pixels, one epoch without ``extra``."""
    quick = "--data.image_size 32 --data.batch_size 8 --trainer.precision 32-true --trainer.max_epochs 1"
    quiet = "--trainer.enable_progress_bar false --trainer.log_every_n_steps 1"
    places = ["--data.root", str(root), "--trainer.default_root_dir", str(folder)]
    path = ["--config", str(ROOT / "configs" / f"{config}.yaml")]
    return ["fit", *path, *f"{SMALL[config]} {quick} {quiet}".split(), *places, *extra]


def fit(config: str, root: Path, folder: Path, *extra: str) -> Path:
    """Train in this process and return the run folder."""
    assert main(arguments(config, root, folder, *extra)) == 0
    return run_of(config, folder)


def run_of(config: str, folder: Path) -> Path:
    """Return the folder of the only run."""
    return folder / "runs" / config / "0"


def callback(name: str, **options: object) -> list[str]:
    """Return the options that add a callback."""
    added = [f"--trainer.callbacks+={name}"]
    for key, value in options.items():
        added += [f"--trainer.callbacks.init_args.{key}", str(value)]
    return added


def killed_and_resumed(
    config: str, root: Path, folder: Path, epoch: int, batch: int, *extra: str
) -> tuple[Path, Path]:
    """Train once in one go, and once with a kill before a batch; return both run folders."""
    whole, killed = folder / "whole", folder / "killed"
    kill = callback("tests.data.interrupt.SaveAndDie", epoch=epoch, batch=batch)
    command = [sys.executable, str(ROOT / "cli.py"), *arguments(config, root, killed, *extra, *kill)]
    died = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    first = fit(config, root, whole, *extra)
    _, said = died.communicate(timeout=300)
    assert died.returncode == 137, said
    return first, fit(config, root, killed, *extra, "--ckpt_path", "last")


def assert_same_end(first: Path, second: Path) -> None:
    """Compare all that ``last.ckpt`` of two runs says of weights, averages and optimisers."""
    one, other = (load_checkpoint(run / "checkpoints" / "last.ckpt") for run in (first, second))
    for key in ("state_dict", "ema_state_dict", "ema_updates", "optimizer_states", "lr_schedulers"):
        assert_equal(one[key], other[key], key)


def assert_equal(one: object, other: object, where: str) -> None:
    """Compare two nested states exactly."""
    if isinstance(one, Tensor):
        assert isinstance(other, Tensor) and torch.equal(one, other), where
    elif isinstance(one, dict):
        assert isinstance(other, dict) and one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert isinstance(other, list | tuple) and len(one) == len(other), where
        for position, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            assert_equal(mine, theirs, f"{where}[{position}]")
    else:
        assert one == other, where


def in_two_processes(config: str, root: Path, folder: Path, *extra: str) -> list[dict[str, object]]:
    """Train in two gloo processes; return what :class:`SaveAtEnd` wrote in each."""
    many = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    keep = callback("tests.data.adversarial.SaveAtEnd", folder=folder)
    command = [sys.executable, str(ROOT / "cli.py"), *arguments(config, root, folder, *extra, *many, *keep)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, timeout=300, env=environment, cwd=ROOT)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


class SaveAtEnd(Callback):
    """Saves weights, steps and rates at the end, once per process."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        weights = {name: weight.detach() for name, weight in pl_module.named_parameters()}
        state = {"weights": weights, "step": trainer.global_step, "buffers": dict(pl_module.named_buffers())}
        torch.save(state, self.folder / f"{trainer.global_rank}.pt")


class Poison(Callback):
    """Makes the generator's images NaN from a batch of an epoch on."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.place = (epoch, batch)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == self.place:
            assert isinstance(pl_module, AdversarialModule)
            next(iter(pl_module.network.parameters())).data.fill_(float("nan"))


class Turns(Callback):
    """Notes for each step of an optimiser in which networks gradients are, and how large they are.

    Attributes:
        turns: For each batch the networks whose optimisers took a step, in order.
        moved: For each batch the networks whose weights changed in it.
    """

    def __init__(self) -> None:
        self.turns: list[list[str]] = []
        self.moved: list[set[str]] = []
        self._before: dict[str, Tensor] = {}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        self.turns.append([])
        self._before = {name: weight.detach().clone() for name, weight in pl_module.named_parameters()}

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        for weight in pl_module.parameters():
            weight.grad = None  # of the other network's last step

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        reached = {
            name.partition(".")[0] for name, weight in pl_module.named_parameters() if weight.grad is not None
        }
        own = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
        owners = {
            name.partition(".")[0] for name, weight in pl_module.named_parameters() if id(weight) in own
        }
        assert reached == owners, "gradients reach the network whose turn it is, and no other"
        self.turns[-1] += owners

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        changed = {
            name.partition(".")[0]
            for name, weight in pl_module.named_parameters()
            if not torch.equal(weight, self._before[name])
        }
        self.moved.append(changed)


def train(
    module: LightningModule, batches: Sequence[Batch], *callbacks: Callback, epochs: int = 1
) -> Trainer:
    """Train on given batches, without files."""
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    trainer.fit(module, DataLoader(list(batches), batch_size=None))  # type: ignore[arg-type]
    return trainer


def note_logged(module: LightningModule) -> list[dict[str, object]]:
    """Let a module keep what it logs in a list, which is returned, instead of sending it to a trainer."""
    kept: list[dict[str, object]] = []
    module.log_stage = lambda stage, values, count: kept.append(dict(values))  # type: ignore[assignment,method-assign]
    return kept
