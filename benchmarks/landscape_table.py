"""The table of docs/landscapes.md: every variant trained for equal time, judged and put beside each other.

    python benchmarks/landscape_table.py --root FOLDER --classifier CHECKPOINT
    python benchmarks/landscape_table.py --minutes 1 --variants cvae_landscapes vae_landscapes

The first takes twenty processor minutes for each of fifteen variants and two seeds, on real landscapes; the
second has a first look at two of them on the painted sample.

Call it again after an interruption: finished runs stay, the broken one goes on from its last
checkpoint. Each training has one thread, and its time is processor time: what else runs on the machine
makes the table come later, not worse.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vedute.callbacks.budget import TimeBudget
from vedute.checkpoints import load_checkpoint
from vedute.run_folder import newest_checkpoint

PROJECT = Path(__file__).parents[1]
REFERENCE = (
    "cvae_narrow",
    "cvae_alexnet",
    "cvae_wide_d2",
    "cvae_wide_d10",
    "cvae_wide_d100",
    "cvae_wide_plus_256",
    "cvae_wide_plus_128_d1024",
    "cvae_wide_plus_128_d64",
    "ae",
    "vae",
)
"""The reference system's variants, in its order."""

OURS = ("cvae", "cvae_ladder", "vq_vae", "vae_gan", "cvae_best")


class Job:
    """One variant with one seed."""

    def __init__(self, variant: str, seed: int, given: argparse.Namespace) -> None:
        """Say where it lies below ``given.output``."""
        self.config = PROJECT / "configs" / f"{variant}.yaml"
        self.root = given.output / f"seed{seed}"
        self.seed = seed
        self.given = given

    @property
    def last(self) -> Path | None:
        """The newest state of the run; None before it has one."""
        return newest_checkpoint(self.root, self.config.stem, "last")

    @property
    def run(self) -> Path:
        """The run's folder."""
        assert self.last is not None
        return self.last.parents[1]

    def minutes(self) -> float:
        """Return the processor minutes that it has trained."""
        if self.last is None:
            return 0.0
        callbacks = load_checkpoint(self.last).get("callbacks")
        spent = callbacks.get(TimeBudget.__name__, {}) if isinstance(callbacks, dict) else {}
        return float(spent.get("processor_seconds", 0.0)) / 60

    def train(self) -> None:
        """Train until the budget is spent."""
        if self.minutes() < self.given.minutes:
            again = [] if self.last is None else ["--ckpt_path", "last"]
            data = [] if self.given.root is None else ["--data.root", str(self.given.root)]
            size = str(self.given.image_size)
            budget = ["--budget.minutes", str(self.given.minutes), "--budget.processor", "true"]
            where = ["--trainer.default_root_dir", str(self.root), "--trainer.enable_progress_bar", "false"]
            endless = ["--trainer.max_epochs", "-1", "--seed_everything", str(self.seed)]
            options = [*again, *data, "--data.image_size", size, *endless, *budget, *where]
            self._call("fit", "--config", str(self.config), *options)

    def evaluate(self) -> None:
        """Judge the best state, unless that has been done."""
        if (self.run / "evaluation.json").is_file():
            return
        judge = [] if self.given.classifier is None else ["--classifier", str(self.given.classifier)]
        best = str(self.run / "checkpoints" / "best.ckpt")
        self._call("evaluate", "--checkpoint", best, "--count", str(self.given.count), *judge)

    def _call(self, *arguments: str) -> None:
        log = self.root / f"{self.config.stem}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(PROJECT / "cli.py"), *arguments]
        with log.open("a", encoding="utf-8") as file:
            code = subprocess.run(command, stdout=file, stderr=file, env=environment, check=False).returncode
        if code:
            raise RuntimeError(f"{arguments[0]} of {self.config.stem} failed: see {log}")


def work(job: Job) -> str:
    """Train and judge; return a line about it."""
    try:
        job.train()
        job.evaluate()
    except RuntimeError as error:
        return str(error)
    return f"{job.config.stem}, seed {job.seed}: {job.minutes():.1f} processor minutes"


def main(args: Sequence[str] | None = None) -> None:
    """Fill the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--root", type=Path, help="folder of real landscapes; none: the painted sample")
    options.add_argument("--classifier", type=Path, help="checkpoint of the judge; none: no Q")
    options.add_argument("--variants", nargs="+", help="names of configurations; none: all of the table")
    options.add_argument("--minutes", type=float, default=20, help="processor minutes of each training")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trainings at a time")
    options.add_argument("--image-size", type=int, default=64)
    options.add_argument("--count", type=int, default=128, help="generated images of each class")
    options.add_argument("--output", type=Path, default=Path("landscape_table"))
    given = options.parse_args(args)
    variants = given.variants or [f"{name}_landscapes" for name in (*REFERENCE, *OURS)]
    jobs = [Job(variant, seed, given) for seed in given.seeds for variant in variants]
    missing = [str(job.config) for job in jobs if not job.config.is_file()]
    if missing:
        options.error(f"there is no {', '.join(dict.fromkeys(missing))}")
    with ThreadPoolExecutor(given.jobs) as pool:
        for line in pool.map(work, jobs):
            print(line, flush=True)
    runs = [str(job.run) for job in jobs if job.last is not None]
    output = given.output / "table.md"
    compare = ["compare", "--table", "landscapes", *runs, "--output", str(output)]
    subprocess.run([sys.executable, str(PROJECT / "cli.py"), *compare], check=True)


if __name__ == "__main__":
    main()
