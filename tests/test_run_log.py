"""``log.txt`` of a run: what happened when, of bounded size, of every process its own."""

from __future__ import annotations

import logging
import re
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest
from lightning.pytorch import Callback

from vedute.callbacks import progress, run_log
from vedute.cli import main
from vedute.cli.training import TrainingCLI

RUN = Path("runs/tiny/0")


def text(name: str = "log.txt") -> str:
    return (RUN / name).read_text(encoding="utf-8")


def open_files() -> list[logging.Handler]:
    return [one for one in logging.getLogger("vedute").handlers if isinstance(one, RotatingFileHandler)]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Fails(Callback):
    def on_train_epoch_end(self, *_: object) -> None:
        raise ZeroDivisionError("on purpose")


def test_a_training_writes_its_log_and_a_continued_one_goes_on_with_it(tiny_config: Path) -> None:
    assert main(["fit", "--config", str(tiny_config), "--trainer.max_epochs", "1"]) == 0
    lines = text().splitlines()
    assert any("epoch 1/1" in line and "val/loss" in line for line in lines)
    assert any("The data set has no image of" in line for line in lines) or "rank 0 of 1" in text()
    assert "after 1 epochs, 5 steps" in lines[-1]
    assert all(re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d", line) for line in (lines[0], lines[-1]))
    assert (
        main(["fit", "--ckpt_path", str(RUN / "checkpoints" / "last.ckpt"), "--trainer.max_epochs", "2"]) == 0
    )
    assert text().splitlines()[: len(lines)] == lines
    assert "epoch 2/2" in text() and text().count("epoch 1/1") == 1


def test_what_ended_a_training_is_in_its_log(tiny_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = TrainingCLI._callbacks
    monkeypatch.setattr(TrainingCLI, "_callbacks", lambda *args: [*own(*args), Fails()])
    with pytest.raises(ZeroDivisionError):
        main(["fit", "--config", str(tiny_config)])
    assert "ZeroDivisionError: on purpose" in text() and "test_run_log.py" in text()


def test_a_log_does_not_grow_without_end(
    tiny_config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_log, "_BYTES", 400)
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)  # a line a batch
    assert main(["fit", "--config", str(tiny_config), "--trainer.max_epochs", "4"]) == 0
    files = sorted(path.name for path in RUN.glob("log.txt*"))
    assert files == ["log.txt", "log.txt.1", "log.txt.2", "log.txt.3"]
    assert sum(path.stat().st_size for path in RUN.glob("log.txt*")) < 5 * 1000
    assert "batch 2/5" in capsys.readouterr().out, "the sign of life without a terminal"


def test_a_trial_leaves_no_log(tiny_config: Path) -> None:
    assert main(["fit", "--config", str(tiny_config), "--trainer.fast_dev_run", "true"]) == 0
    assert not list(Path().rglob("log*.txt"))
    assert not open_files()


def test_handlers_are_removed(tiny_config: Path) -> None:
    for _ in range(2):
        assert main(["fit", "--config", str(tiny_config), "--trainer.max_epochs", "1"]) == 0
    assert not open_files()
