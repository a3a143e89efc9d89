"""Trainings as jobs of a real SLURM: they finish, are requeued and go on, fail readably."""

from __future__ import annotations

import io
import os
import re
import signal
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pytest

from tests.cluster.conftest import ROOT, Slurm, wait_for
from tests.data.adversarial import assert_same_end
from tests.data.commands import failed
from tests.test_resume import losses
from vedute.cli import main

pytestmark = pytest.mark.cluster
PATIENCE = 600
"""How long something may take on a busy machine, seconds; mostly a tenth of it."""
CONFIG = str(ROOT / "configs" / "cvae_landscapes.yaml")
SMALL = (
    "--data.image_size 32 --data.batch_size 4 --trainer.precision 32-true --trainer.log_every_n_steps 1 "
    "--trainer.max_epochs 3 --trainer.callbacks+=tests.cluster.slow.Slow"
)


def submit(slurm: Slurm, folder: Path, *options: str, slow: float = 0.0) -> str:
    """Submit a tiny training by the command line; return the job's number."""
    fit = [*SMALL.split(), "--trainer.callbacks.init_args.seconds", str(slow), "--data.root", str(slurm.tiny)]
    fit = ["submit", "--config", CONFIG, *fit, "--gpus", "0", "--time", "0:30:00", *options]
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.chdir(folder)
        for name, value in slurm.environment.items():
            patch.setenv(name, value)
        assert main(fit) == 0
    found = re.search(r"Submitted job (\d+)", said.getvalue())
    assert found, said.getvalue()
    assert (folder / "runs" / "cvae_landscapes" / "jobs" / f"{found[1]}.sbatch").is_file()
    return found[1]


def log_of(folder: Path, job: str) -> str:
    path = folder / "runs" / "cvae_landscapes" / "jobs" / f"{job}.log"
    return path.read_text() if path.is_file() else ""


def run_of(folder: Path, number: int = 0) -> Path:
    return folder / "runs" / "cvae_landscapes" / str(number)


def processes(job: str) -> list[int]:
    """Return the training processes of a job."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone, or another user's
            command = (folder / "cmdline").read_bytes().split(b"\0")
            mine = f"SLURM_JOB_ID={job}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if mine and b"fit" in command and b"srun" not in command[0]:
                found.append(int(folder.name))
    return found


@pytest.fixture(scope="module")
def uninterrupted(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    job = submit(slurm, folder, "--tasks", "2", "--no-requeue")
    assert slurm.ended(job) == "COMPLETED", log_of(folder, job)
    return folder


def test_a_job_of_two_tasks_trains_and_finishes(uninterrupted: Path) -> None:
    assert (run_of(uninterrupted) / "checkpoints" / "best.ckpt").is_file()
    assert not run_of(uninterrupted, 1).exists(), "one run folder for both processes"
    log = next((uninterrupted / "runs" / "cvae_landscapes" / "jobs").glob("*.log")).read_text()
    assert log.count("epoch 3/3") == 1 and "Traceback" not in log


def test_a_requeued_job_ends_as_one_that_was_not(slurm: Slurm, uninterrupted: Path, tmp_path: Path) -> None:
    job = submit(slurm, tmp_path, "--tasks", "2", slow=0.7)
    metrics = run_of(tmp_path) / "metrics.csv"
    wait_for(
        lambda: len(losses(tmp_path)) > 7 if metrics.is_file() else False,
        PATIENCE,
        lambda: log_of(tmp_path, job),
    )
    slurm.ask("scancel", "--signal=USR1", job)
    # Another run of the configuration is newer by now, and is not the job's.
    (run_of(tmp_path, 1) / "checkpoints").mkdir(parents=True)
    assert slurm.ended(job) == "COMPLETED", log_of(tmp_path, job)

    log = log_of(tmp_path, job)
    assert log.count("Ended by SIGUSR1 after a checkpoint") == 1
    assert log.count("This job was started again: it goes on with its run") == 1
    assert "Traceback" not in log
    assert "Restarts=1" in slurm.ask("scontrol", "show", "job", "--oneliner", job)
    assert not run_of(tmp_path, 2).exists()
    assert losses(tmp_path) == losses(uninterrupted)
    assert_same_end(run_of(uninterrupted), run_of(tmp_path))


def test_a_job_requeued_before_its_first_checkpoint_begins_anew_and_a_cancelled_one_stays_away(
    slurm: Slurm, tmp_path: Path
) -> None:
    job = submit(slurm, tmp_path, slow=2)
    wait_for((run_of(tmp_path) / "metrics.csv").is_file, PATIENCE, lambda: log_of(tmp_path, job))
    for pid in processes(job):  # without time for a checkpoint, as when a machine is lost
        os.kill(pid, signal.SIGKILL)
    assert slurm.ended(job) == "FAILED"
    assert not (run_of(tmp_path) / "checkpoints" / "last.ckpt").exists()
    slurm.ask("scontrol", "requeue", job)
    again = "its run .*cvae_landscapes/0 had no checkpoint, and begins anew"
    wait_for(lambda: re.search(again, log_of(tmp_path, job)), PATIENCE, lambda: log_of(tmp_path, job))
    wait_for(lambda: log_of(tmp_path, job).count("Run folder:") == 2, PATIENCE)
    assert not run_of(tmp_path, 1).exists()
    metrics = run_of(tmp_path) / "metrics.csv"
    wait_for(lambda: metrics.is_file() and len(metrics.read_text().splitlines()) > 1, PATIENCE)

    slurm.ask("scancel", job)
    assert slurm.ended(job) == "CANCELLED"
    assert slurm.state(job) == "CANCELLED", "not back in the queue"
    assert (run_of(tmp_path) / "checkpoints" / "last.ckpt").is_file(), "what was learned is kept"


def test_an_array_has_a_run_folder_for_each_task(slurm: Slurm, tmp_path: Path) -> None:
    short = ["--trainer.max_epochs", "1", "--seed_everything", "{task}"]
    job = submit(slurm, tmp_path, "--array", "0-2", *short)
    for task in range(3):
        assert slurm.ended(f"{job}_{task}") == "COMPLETED", log_of(tmp_path, f"{job}_{task}")
        assert "epoch 1/1" in log_of(tmp_path, f"{job}_{task}")
    runs = [run_of(tmp_path, number) for number in range(3)]
    seeds = {re.findall(r"seed_everything: (\d+)", (run / "config.yaml").read_text())[0] for run in runs}
    assert seeds == {"0", "1", "2"}
    owners = {(run / "jobs.txt").read_text() for run in runs}
    assert owners == {f"slurm vedute {job}_{task} step 0\n" for task in range(3)}
    assert not run_of(tmp_path, 3).exists()


def test_a_failing_job_leaves_a_readable_log(slurm: Slurm, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    job = submit(slurm, tmp_path, "--data.root", str(empty))
    assert slurm.ended(job) == "FAILED"
    log = log_of(tmp_path, job)
    assert "error: " in log and str(empty) in log and "Traceback" not in log
    assert "ExitCode=2:0" in slurm.ask("scontrol", "show", "job", "--oneliner", job)


def test_what_slurm_refuses_is_said_in_its_words(
    slurm: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    submitted = ["submit", "--config", CONFIG, "--time", "1:00:00", "--gpus", "0", "--partition", "nowhere"]
    said = failed(capsys, *submitted)
    assert "invalid partition specified: nowhere" in said
    assert "kept: runs/cvae_landscapes/jobs/submit.sbatch" in said
