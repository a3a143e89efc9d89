"""A real SLURM for the tests of a session, on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.data.landscapes import write_tiny_landscapes

ROOT = Path(__file__).parents[2]
_SCRIPT = Path(__file__).with_name("slurm.sh")
_ENDS = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")


@dataclass
class Slurm:
    """The cluster, and what tests ask of it.

    Attributes:
        environment: Environment of commands that use it, and of jobs.
        tiny: A tiny data set, prepared already.
    """

    environment: dict[str, str]
    tiny: Path

    def run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command; it need not succeed."""
        return subprocess.run(
            command, capture_output=True, text=True, timeout=600, env=self.environment, cwd=cwd, check=False
        )

    def ask(self, *command: str) -> str:
        """Return what a command prints."""
        done = self.run(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def state(self, job: str) -> str:
        """Return the state of a job or an array's task."""
        shown = self.ask("scontrol", "show", "job", "--oneliner", job)
        return shown.partition("JobState=")[2].split()[0]

    def ended(self, job: str, seconds: float = 600) -> str:
        """Wait for the end of a job, and return its state."""
        wait_for(lambda: self.state(job) in _ENDS, seconds, lambda: self.ask("squeue", "--long"))
        return self.state(job)


def wait_for(true: object, seconds: float, say: object = lambda: "") -> None:
    """Wait until a function returns something true."""
    assert callable(true) and callable(say)
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds} s; {say()}"
        time.sleep(0.2)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Iterator[Slurm]:
    """Start a SLURM of our own, or skip where there can be none."""
    folder = Path(tempfile.mkdtemp(prefix="vs-"))  # short: a socket's path has at most 108 characters
    try:
        started = subprocess.run(
            [str(_SCRIPT), "start", str(folder)], capture_output=True, text=True, check=False
        )
        if started.returncode == 3:
            pytest.skip(started.stderr.strip().splitlines()[-1])
        assert started.returncode == 0, started.stderr
        environment = {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "VEDUTE_CACHE": str(session_cache),
        }
        yield Slurm(environment, write_tiny_landscapes(tmp_path_factory.mktemp("tiny")))
        subprocess.run(["scancel", "--user", str(os.getuid())], env=environment, check=False)
    finally:
        subprocess.run([str(_SCRIPT), "stop", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)
