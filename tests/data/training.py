"""Small trainings by the shipped configurations, and what they logged."""

from __future__ import annotations

import csv
from pathlib import Path

from vedute.cli import main

CONFIG = str(Path(__file__).parents[2] / "configs" / "cvae_landscapes.yaml")


def fit_cvae(root: Path, folder: Path, *extra: str) -> Path:
    """Train the shipped CVAE on tiny pictures and return its run folder."""
    small = "--data.image_size 32 --data.batch_size 8 --trainer.precision 32-true"
    quiet = "--trainer.enable_progress_bar false --trainer.log_every_n_steps 1"
    places = ["--data.root", str(root), "--trainer.default_root_dir", str(folder)]
    assert main(["fit", "--config", CONFIG, *small.split(), *quiet.split(), *places, *extra]) == 0
    return max((folder / "runs" / "cvae_landscapes").iterdir())


def column(run: Path, name: str) -> list[float]:
    """Return the values that a run logged under a name, in order."""
    with (run / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]
