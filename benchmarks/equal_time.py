"""Trainings of equal processor time, each judged: what the tables in docs/ are made of.

Call again after an interruption: finished runs stay, a broken one goes on from its last checkpoint. Each
training has one thread, and its time is processor time: what else runs on the machine makes a table come
later, not worse.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from vedute.callbacks.budget import STATE
from vedute.checkpoints import load_checkpoint
from vedute.run_folder import newest_checkpoint

PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Job:
    """One row of a table with one seed.

    Attributes:
        config: Name of a configuration.
        folder: Where its run lies, below ``runs``.
        seed: Of the training.
        minutes: Processor minutes of the training.
        options: Further options of ``fit``.
        judges: Further options of ``evaluate``.
    """

    config: str
    folder: Path
    seed: int
    minutes: float
    options: Sequence[str] = field(default_factory=list)
    judges: Sequence[str] = field(default_factory=list)

    @property
    def file(self) -> Path:
        """The configuration's file."""
        return PROJECT / "configs" / f"{self.config}.yaml"

    @property
    def last(self) -> Path | None:
        """The newest state of the run; None before it has one."""
        return newest_checkpoint(self.folder, self.config, "last")

    @property
    def run(self) -> Path:
        """The run's folder."""
        assert self.last is not None
        return self.last.parents[1]

    def spent(self) -> float:
        """Return the processor minutes that it has trained."""
        if self.last is None:
            return 0.0
        callbacks = load_checkpoint(self.last).get("callbacks")
        state = callbacks.get(STATE, {}) if isinstance(callbacks, dict) else {}
        return float(state.get("processor_seconds", 0.0)) / 60

    def train(self) -> None:
        """Train until the time is spent."""
        if self.spent() < self.minutes:
            again = [] if self.last is None else ["--ckpt_path", "last"]
            budget = ["--budget.minutes", str(self.minutes), "--budget.processor", "true"]
            where = ["--trainer.default_root_dir", str(self.folder), "--trainer.enable_progress_bar", "false"]
            endless = ["--trainer.max_epochs", "-1", "--seed_everything", str(self.seed)]
            self._call("fit", "--config", str(self.file), *again, *endless, *budget, *where, *self.options)

    def evaluate(self) -> None:
        """Judge the best state, unless that has been done."""
        if (self.run / "evaluation.json").is_file():
            return
        best = str(self.run / "checkpoints" / "best.ckpt")
        self._call("evaluate", "--checkpoint", best, *self.judges)

    def _call(self, *arguments: str) -> None:
        log = self.folder / f"{self.config}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(PROJECT / "cli.py"), *arguments]
        with log.open("a", encoding="utf-8") as file:
            code = subprocess.run(command, stdout=file, stderr=file, env=environment, check=False).returncode
        if code:
            raise RuntimeError(f"{arguments[0]} of {self.config} failed: see {log}")


def work(job: Job) -> str:
    """Train and judge; return a line about it."""
    try:
        job.train()
        job.evaluate()
    except RuntimeError as error:
        return str(error)
    return f"{job.folder.name}, {job.config}, seed {job.seed}: {job.spent():.1f} processor minutes"


def work_all(jobs: Iterable[Job], at_a_time: int) -> None:
    """Train and judge several at a time, with a line about each."""
    with ThreadPoolExecutor(at_a_time) as pool:
        for line in pool.map(work, jobs):
            print(line, flush=True)


def add_options(options: argparse.ArgumentParser) -> None:
    """Add the options that all tables have."""
    options.add_argument("--minutes", type=float, default=20, help="processor minutes of each training")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trainings at a time")
