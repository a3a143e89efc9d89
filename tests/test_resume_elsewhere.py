"""A run goes on with another batch size or number of processes: the images and the schedule that are left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.interrupt import Stop
from vedute.callbacks.budget import STATE
from vedute.checkpoints import load_checkpoint
from vedute.cli import main
from vedute.cli.training import TrainingCLI

ROOT = Path(__file__).parents[1]
LAST = Path("runs/tiny/0/checkpoints/last.ckpt")
IMAGES, EPOCHS = 20, 4


def stopped(config: Path, batch_size: int, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train to the middle of the second epoch."""
    own = TrainingCLI._callbacks
    with monkeypatch.context() as patch:
        patch.setattr(TrainingCLI, "_callbacks", lambda *args: [*own(*args), Stop(1, batch)])
        options = ["--trainer.max_epochs", str(EPOCHS), "--data.batch_size", str(batch_size)]
        assert main(["fit", "--config", str(config), *options]) == 130


def check_end(steps: int) -> None:
    state = load_checkpoint(LAST)
    assert state["callbacks"][STATE]["images"] == EPOCHS * IMAGES, "every image once an epoch"  # type: ignore[index]
    assert state["global_step"] == steps
    rate = state["lr_schedulers"][0]["_last_lr"][0]  # type: ignore[index]
    assert rate < 2e-5, "1e-3 has come down to the end of the cosine"


@pytest.mark.parametrize(("before", "batch", "after"), [(4, 3, 2), (2, 4, 4)])
def test_with_another_batch_size(
    tiny_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: int,
    batch: int,
    after: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    stopped(tiny_config, before, batch, monkeypatch)
    assert main(["fit", "--ckpt_path", str(LAST), "--data.batch_size", str(after)]) == 0
    left = (IMAGES - batch * before) // after + (EPOCHS - 2) * IMAGES // after
    check_end(IMAGES // before + batch + left)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_with_another_number_of_processes(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, after: int
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    stop = "--trainer.callbacks+=tests.data.interrupt.Stop"
    at = ["--trainer.callbacks.epoch", "1", "--trainer.callbacks.batch", "2"]

    def fit(processes: int, *options: str) -> subprocess.CompletedProcess[str]:
        many = ["--trainer.accelerator", "cpu", "--trainer.devices", str(processes)]
        command = [sys.executable, str(ROOT / "cli.py"), "fit", *options, *many, "--trainer.strategy", "ddp"]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    own = ["--trainer.max_epochs", str(EPOCHS), "--data.batch_size", "2"]
    first = fit(before, "--config", str(tiny_config), *own, stop, *at)
    assert LAST.is_file(), first.stderr
    again = fit(after, "--config", str(tiny_config), "--ckpt_path", "last", *own)
    assert again.returncode == 0, again.stderr
    seen = IMAGES + 2 * 2 * before
    check_end(seen // (2 * before) + (EPOCHS * IMAGES - seen) // (2 * after))
