"""``submit``: what it writes and what it refuses, without a cluster; the job's memory of its run."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.data.commands import failed
from vedute.cli import main
from vedute.cluster.environment import SlurmEnvironment, cluster_environment
from vedute.cluster.jobs import remember, restarted_run, slurm_job
from vedute.cluster.script import Resources, batch_script, in_words, seconds_of
from vedute.cluster.templates import templates
from vedute.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
HOUR = ["--time", "1:00:00"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC_"))]:
        monkeypatch.delenv(name)


def sbatch(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a stand-in for sbatch on the path, before a real one."""
    folder.mkdir()
    path = folder / "sbatch"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_dry_run_writes_and_shows_a_script_that_a_shell_understands(
    tiny_config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    resources = (
        "--nodes 2 --gpus a100:4 --cpus 8 --memory 64G --partition gpu --account us --signal-seconds 300"
    )
    fit = ["--config", str(tiny_config), "--data.classes", "[Coast, Forest]"]
    assert main(["submit", *fit, *HOUR, *resources.split(), "--setup", "module load cuda", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    script = Path("runs/tiny/jobs/submit.sbatch")
    text = script.read_text()
    assert text in shown and "Not submitted" in shown and "1 hour" in shown
    for line in (
        *("--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=a100:4", "--cpus-per-task=8", "--mem=64G"),
        *("--partition=gpu", "--account=us", "--time=1:00:00", "--signal=USR1@300", "--requeue"),
        *("--job-name=tiny", "--output=runs/tiny/jobs/%j.log", "--open-mode=append"),
    ):
        assert f"\n#SBATCH {line}\n" in text, line
    assert text.index("module load cuda") < text.index("srun ")
    assert "--data.classes '[Coast, Forest]'" in text
    assert '--trainer.num_nodes "$SLURM_NNODES"' in text and "--trainer.accelerator cuda" in text
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


def test_an_array_fills_in_the_task(tiny_config: Path) -> None:
    array = [
        "--array",
        "3-5",
        "--seed_everything",
        "{task}",
        "--gpus",
        "0",
        "--no-requeue",
        "--name",
        "seeds",
    ]
    assert main(["submit", "--config", str(tiny_config), *HOUR, *array, "--dry-run"]) == 0
    text = Path("runs/tiny/jobs/submit.sbatch").read_text()
    assert "#SBATCH --array=3-5\n" in text and "jobs/%A_%a.log" in text and "#SBATCH --no-requeue\n" in text
    assert '--seed_everything "$SLURM_ARRAY_TASK_ID"' in text and "--trainer.accelerator cpu" in text
    assert "gpus-per-node" not in text and "#SBATCH --job-name=seeds\n" in text


def test_a_submitted_job_is_named_with_its_log(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch(tmp_path / "bin", 'test "$1" = --parsable && test -f "$2" && echo "417;north"', monkeypatch)
    assert main(["submit", "--config", str(tiny_config), *HOUR]) == 0
    said = capsys.readouterr().out
    assert "Submitted job 417" in said and "tail -F runs/tiny/jobs/417.log" in said and "scancel 417" in said
    assert Path("runs/tiny/jobs/417.sbatch").is_file() and not Path("runs/tiny/jobs/submit.sbatch").exists()


def test_slurms_own_words_are_shown(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = "echo 'sbatch: error: invalid partition specified: nope' >&2; exit 1"
    sbatch(tmp_path / "bin", refusal, monkeypatch)
    said = failed(capsys, "submit", "--config", tiny_config, *HOUR)
    assert "invalid partition specified: nope" in said and "submit.sbatch" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--time", "2h"], "hours:minutes:seconds"),
        (["--time", "0:00"], "no time"),
        ([], "--time"),
        ([*HOUR, "--gpus", "many"], "--gpus many"),
        ([*HOUR, "--nodes", "0"], "at least 1"),
        ([*HOUR, "--memory", "lots"], "64G"),
        ([*HOUR, "--array", "first"], "by the task's number"),
        ([*HOUR, "--array", "a-b", "--seed_everything", "{task}"], "--array a-b"),
        ([*HOUR, "--seed_everything", "{task}"], "give --array"),
        ([*HOUR, "--signal-seconds", "4000"], "1 hour"),
        ([*HOUR, "--trainer.devices", "2"], "Leave out --trainer.devices"),
        ([*HOUR, "--tasks", "2"], "--gpus 0"),
        ([*HOUR, "--gpus", "0", "--trainer.accelerator", "cuda"], "--gpus 0"),
        ([*HOUR, "--name", "two words"], "--name two words"),
        ([*HOUR, "--setup", "nowhere.sh"], "no such file"),
        ([*HOUR, "--trainer.max_epoch", "2"], "max_epoch"),
        ([*HOUR, "--model.network.init_args.latent_sise", "2"], "latent_sise"),
        ([*HOUR, "--data.batch_size", "many"], "batch_size"),
        ([*HOUR, "--ckpt_path", "last"], "nothing to start from"),
    ],
)
def test_bad_options_are_said_before_anything_is_submitted(
    options: list[str], said: str, tiny_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in failed(capsys, "submit", "--config", tiny_config, "--dry-run", *options)
    assert not list(Path.cwd().rglob("*.sbatch"))


def test_without_slurm_it_says_so(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "--dry-run" in failed(capsys, "submit", "--config", tiny_config, *HOUR)


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("90", 5400),
        ("2:30", 150),
        ("1:00:00", 3600),
        ("1-2", 93600),
        ("0-0:30", 1800),
        ("2-01:00:05", 176405),
    ],
)
def test_times_are_read_as_slurm_reads_them(time: str, seconds: int) -> None:
    assert seconds_of(time) == seconds
    assert in_words(150) == "2 minutes 30 seconds"


def test_the_shipped_scripts_are_those_that_submit_writes() -> None:
    for name, text in templates().items():
        assert (ROOT / "slurm" / name).read_text() == text, "python -m vedute.cluster.templates writes them"
        assert subprocess.run(["bash", "-n", str(ROOT / "slurm" / name)], check=False).returncode == 0
    assert {path.name for path in (ROOT / "slurm").iterdir()} == templates().keys()


def test_words_reach_the_command_as_they_were_given(tmp_path: Path) -> None:
    words = ["a b", "$HOME", "it's", "x{task}y", "", "*", "$SLURM_NNODES"]
    script = batch_script(Resources("name", "10", "out"), ["printf", "%s|", *words])
    runnable = script.replace("srun --kill-on-bad-exit=1", "")
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "7", "SLURM_NNODES": "2"}
    done = subprocess.run(
        ["bash", "-c", runnable], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == "a b|$HOME|it's|x7y||*|2|"


def job(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))


def test_a_restarted_job_finds_its_own_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [tmp_path / "runs" / "x" / str(number) for number in range(4)]
    for run in runs:
        run.mkdir(parents=True)
    remember(runs[0])
    assert not (runs[0] / "jobs.txt").exists(), "no job"
    job(monkeypatch, JOB_ID=17, STEP_ID=0, CLUSTER_NAME="north")
    remember(runs[1])
    remember(runs[1])
    assert (runs[1] / "jobs.txt").read_text() == "slurm north 17 step 0\n"
    job(monkeypatch, STEP_ID=1)
    remember(runs[2])
    job(monkeypatch, JOB_ID=18)
    remember(runs[3])

    job(monkeypatch, JOB_ID=17, STEP_ID=0)
    assert restarted_run(tmp_path, "x") is None, "its first start"
    job(monkeypatch, RESTART_COUNT=1)
    assert restarted_run(tmp_path, "x") == runs[1]
    job(monkeypatch, STEP_ID=1)
    assert restarted_run(tmp_path, "x") == runs[2]
    assert restarted_run(tmp_path, "another") is None
    job(monkeypatch, CLUSTER_NAME="south")
    assert restarted_run(tmp_path, "x") is None
    job(monkeypatch, ARRAY_JOB_ID=12, ARRAY_TASK_ID=3)
    found = slurm_job()
    assert found is not None and found.number == "12_3"


def test_torchruns_id_names_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "runs" / "x" / "0"
    run.mkdir(parents=True)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "mine")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    assert restarted_run(tmp_path, "x") is None
    remember(run)
    assert restarted_run(tmp_path, "x") == run
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert restarted_run(tmp_path, "x") is None


def test_how_processes_of_a_job_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster_environment() is None
    job(monkeypatch, JOB_ID=17, NTASKS=2, NNODES=1, JOB_NAME="x")
    assert type(cluster_environment()).__name__ == "LightningEnvironment", "the batch script itself"
    job(monkeypatch, NNODES=2)
    with pytest.raises(ConfigurationError, match="srun"):
        cluster_environment()
    job(monkeypatch, STEP_ID=0)
    with pytest.raises(ConfigurationError, match="ntasks-per-node"):
        cluster_environment()
    job(monkeypatch, NTASKS_PER_NODE=1)
    found = cluster_environment()
    assert isinstance(found, SlurmEnvironment) and not found.auto_requeue
    with pytest.raises(ConfigurationError, match=r"SLURM_NTASKS_PER_NODE"):
        found.validate_settings(num_devices=4, num_nodes=2)
