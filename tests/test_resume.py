"""A run that was killed and resumed equals one that was never stopped."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vedute.checkpoints import load_checkpoint
from vedute.cli import main

ROOT = Path(__file__).parents[1]


def arguments(root: Path, folder: Path) -> list[str]:
    small = "--data.image_size 32 --data.batch_size 8 --trainer.max_epochs 4 --trainer.log_every_n_steps 1"
    places = ["--data.root", str(root), "--trainer.default_root_dir", str(folder)]
    config = str(ROOT / "configs" / "cvae_landscapes.yaml")
    return ["fit", "--config", config, *small.split(), *places, "--trainer.enable_progress_bar", "false"]


def losses(folder: Path) -> list[tuple[str, ...]]:
    """Return step, epoch and losses of every row that has one, as they were written."""
    with (folder / "runs" / "cvae_landscapes" / "0" / "metrics.csv").open() as file:
        names = ("step", "epoch", "train/loss", "val/loss")
        rows = [tuple(row.get(name) or "" for name in names) for row in csv.DictReader(file)]
    return sorted((row for row in rows if row[2] or row[3]), key=lambda row: (int(row[0]), row[3]))


@pytest.fixture(scope="module")
def uninterrupted(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert main(arguments(tiny, folder)) == 0
    return folder


@pytest.mark.parametrize("callback", ["SaveAndDie", pytest.param("Die", marks=pytest.mark.slow)])
def test_a_killed_run_resumes_to_the_same_losses_and_weights(
    tiny: Path, uninterrupted: Path, tmp_path: Path, callback: str
) -> None:
    place = ["--trainer.callbacks.init_args.epoch", "2", "--trainer.callbacks.init_args.batch", "2"]
    kill = [f"--trainer.callbacks+=tests.data.interrupt.{callback}", *place]
    killed = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *arguments(tiny, tmp_path), *kill],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == 137, killed.stderr
    assert main([*arguments(tiny, tmp_path), "--ckpt_path", "last"]) == 0

    assert [p.name for p in (tmp_path / "runs" / "cvae_landscapes").iterdir()] == ["0"], "its own folder"
    assert losses(tmp_path) == losses(uninterrupted)
    first, second = (
        load_checkpoint(folder / "runs" / "cvae_landscapes" / "0" / "checkpoints" / "last.ckpt")
        for folder in (uninterrupted, tmp_path)
    )
    for key in ("state_dict", "ema_state_dict"):
        for name, value in first[key].items():  # type: ignore[attr-defined]
            assert torch.equal(value, second[key][name]), name  # type: ignore[index]


def test_there_must_be_a_run_to_continue(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(tiny, tmp_path), "--ckpt_path", "last"]) == 2
    assert "last" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "cvae_landscapes" / "0").exists()


def test_a_new_run_begins_with_the_averaged_weights_of_another(
    uninterrupted: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = uninterrupted / "runs" / "cvae_landscapes" / "0" / "checkpoints" / "last.ckpt"
    still = ["--model.optimizer.lr", "0", "--model.optimizer.weight_decay", "0", "--trainer.max_epochs", "1"]
    assert main([*arguments(tiny, tmp_path), *still, "--initial_weights", str(begun)]) == 0
    given = load_checkpoint(begun)["ema_state_dict"]
    kept = load_checkpoint(tmp_path / "runs" / "cvae_landscapes" / "0" / "checkpoints" / "last.ckpt")
    assert kept["epoch"] == 0
    for name, value in given.items():  # type: ignore[attr-defined]
        assert torch.equal(value, kept["state_dict"][name]), name  # type: ignore[index]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--initial_weights", "nowhere.ckpt"], "nowhere.ckpt"),
        (["--initial_weights", "{begun}", "--model.network.init_args.latent_size", "7"], "do not fit"),
        (["--initial_weights", "{begun}", "--config", "configs/classifier_landscapes.yaml"], "holds a CVAE"),
    ],
)
def test_weights_that_cannot_be_begun_with_leave_no_run(
    options: list[str],
    said: str,
    uninterrupted: Path,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = uninterrupted / "runs" / "cvae_landscapes" / "0" / "checkpoints" / "last.ckpt"
    given = [option.format(begun=begun).replace("configs/", f"{ROOT}/configs/") for option in options]
    # The second configuration would bring its painted sample back.
    assert main([*arguments(tiny, tmp_path), *given, "--data.root", str(tiny)]) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told
    assert not list(tmp_path.rglob("*.ckpt"))
