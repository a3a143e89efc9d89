"""Verbs say what Vedute has to say, without what Lightning says beside it."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest

from vedute.cli import main

CHECKPOINT = "runs/tiny/0/checkpoints/last.ckpt"
CONDITION = ("--condition", "Coast", "--count", "2")


@pytest.fixture(scope="module")
def balanced(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a model with an option that is a module, of which Lightning warns."""
    folder = tmp_path_factory.mktemp("balanced")
    balance = "{class_path: vedute.losses.balance.OnPlateau, init_args: {order: [kl]}}"
    options = ["--model.loss_balance", balance, "--trainer.default_root_dir", str(folder)]
    assert main(["fit", "--config", str(tiny_config), "--trainer.max_epochs", "1", *options]) == 0
    return folder / "runs"


@pytest.mark.parametrize(
    "arguments",
    [
        ("sample", "--checkpoint", CHECKPOINT, *CONDITION),
        ("interpolate", "--checkpoint", CHECKPOINT, *CONDITION, "--to-seed", "1", "--steps", "2"),
        ("reconstruct", "--checkpoint", CHECKPOINT, "--count", "2"),
        ("embed", "--checkpoint", CHECKPOINT, "--map", "none"),
        ("evaluate", "--checkpoint", CHECKPOINT, "--count", "4"),
        ("compare", "runs/tiny/0", "--table", "landscapes"),
        ("describe", "--checkpoint", CHECKPOINT),
    ],
)
def test_verbs_do_not_repeat_warnings_about_how_models_are_saved(
    balanced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    shutil.copytree(balanced, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert main(list(arguments)) == 0
    assert not [str(one.message) for one in heard if "nn.Module" in str(one.message)]
