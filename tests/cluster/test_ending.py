"""A signal ends a training at a checkpoint from which it goes on as if never stopped; without a cluster."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.data.adversarial import assert_same_end, callback
from tests.data.commands import failed
from tests.test_resume import arguments, losses
from vedute.cli import main
from vedute.cluster.hardware import check_hardware
from vedute.cluster.lost import lost_process
from vedute.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert main([*arguments(tiny, folder), "--trainer.max_epochs", "2"]) == 0
    return folder


@pytest.fixture(autouse=True)
def own_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the test's process as it was: a job that was given back to SLURM ignores SIGTERM."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def fit(tiny: Path, folder: Path, *place: int) -> int:
    options = [*arguments(tiny, folder), "--trainer.max_epochs", "2"]
    epoch, batch, number = place
    sent = callback("tests.cluster.slow.Signal", epoch=epoch, batch=batch, number=number)
    return main([*options, *sent])


def run_of(folder: Path) -> Path:
    return folder / "runs" / "cvae_landscapes" / "0"


@pytest.mark.parametrize(
    ("epoch", "batch", "number"), [(1, 2, signal.SIGTERM), (0, 4, signal.SIGUSR1)], ids=["amid", "at the end"]
)
def test_a_signal_ends_at_a_point_that_resumes_exactly(
    epoch: int,
    batch: int,
    number: int,
    tiny: Path,
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(number)
    assert fit(tiny, tmp_path, epoch, batch, number) == 128 + number
    assert signal.getsignal(number) is before
    said = capsys.readouterr().err
    assert "after a checkpoint" in said and "--ckpt_path" in said and "Traceback" not in said
    assert len(losses(tmp_path)) < len(losses(whole))
    assert main([*arguments(tiny, tmp_path), "--trainer.max_epochs", "2", "--ckpt_path", "last"]) == 0
    assert losses(tmp_path) == losses(whole)
    assert_same_end(run_of(whole), run_of(tmp_path))


def test_a_signal_in_the_last_batch_lets_the_training_end(tiny: Path, tmp_path: Path) -> None:
    assert fit(tiny, tmp_path, 1, 4, signal.SIGUSR1) == 0


@pytest.mark.parametrize(
    ("refused", "state", "number"),
    [
        (False, "RUNNING", signal.SIGUSR1),
        (True, "RUNNING", signal.SIGUSR1),
        (False, "COMPLETING", signal.SIGTERM),
    ],
)
def test_a_job_is_put_back_unless_slurm_or_a_person_says_no(
    refused: bool,
    state: str,
    number: int,
    tiny: Path,
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    scontrol = folder / "scontrol"
    calls = tmp_path / "calls"
    answer = "echo 'requeue is disabled' >&2; exit 1" if refused else "exit 0"
    shown = f'echo "JobId=17 JobState={state} x"'
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {calls}\ncase "$1" in show) {shown};; *) {answer};; esac\n')
    scontrol.chmod(scontrol.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for name, value in {"JOB_ID": "17", "CLUSTER_NAME": "north", "JOB_NAME": "x"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    code = fit(tiny, tmp_path, 1, 2, number)
    said = capsys.readouterr().err
    if refused or number == signal.SIGTERM:
        assert code == 128 + number and "does not go on by itself" in said and "--ckpt_path" in said
        assert ("requeue is disabled" in said) == refused
        assert ("requeue 17" in calls.read_text()) == refused
        return
    assert code == 0 and "SLURM job 17 is in the queue again" in said
    assert calls.read_text().splitlines()[-1] == "requeue 17"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    # The same command, with a configuration that somebody has edited since.
    assert main([*arguments(tiny, tmp_path), "--trainer.max_epochs", "7"]) == 0
    assert [path.name for path in (tmp_path / "runs" / "cvae_landscapes").iterdir()] == ["0"]
    assert losses(tmp_path) == losses(whole)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("overlay", ["ddp", "slurm"])
def test_a_missing_gpu_is_said_before_data_are_prepared(
    overlay: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [f"--config={ROOT / 'configs' / name}.yaml" for name in ("cvae_landscapes", f"with/{overlay}")]
    # The data do not exist either: that would be said if they were looked at first.
    said = failed(
        capsys, "fit", *files, "--data.root", tmp_path / "none", "--trainer.default_root_dir", tmp_path
    )
    assert "finds no GPU here" in said and "--trainer.accelerator cpu" in said
    assert not (tmp_path / "runs").exists()


def test_gpus_that_are_not_there_or_cannot_talk_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    check_hardware("cpu", 8, 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for devices in (3, "3", [0, 2], "0,5"):
        with pytest.raises(ConfigurationError, match="2 are here"):
            check_hardware("cuda", devices)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    check_hardware("cuda", 1)
    check_hardware("cuda", 2, backend="gloo")
    for devices, nodes in ((2, 1), ("auto", 1), (1, 2)):
        with pytest.raises(ConfigurationError, match="NCCL"):
            check_hardware("cuda", devices, nodes)


def test_only_errors_of_communication_are_about_lost_processes() -> None:
    gone = "[pair.cc:561] Connection closed by peer [10.0.0.2]:725. This is typically caused by a crash"
    assert "10.0.0.2" in str(lost_process(RuntimeError(gone)))
    assert lost_process(torch.distributed.DistNetworkError("no answer")) is not None
    assert lost_process(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert lost_process(ValueError(gone)) is None
