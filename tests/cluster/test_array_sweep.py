"""Workers of one sweep as tasks of an array, by slurm/array_sweep.sbatch on a real SLURM."""

from __future__ import annotations

import csv
import os
import re
import sys
from itertools import chain
from pathlib import Path

import pytest
import yaml

pytest.importorskip("optuna")

from tests.cluster.conftest import ROOT, Slurm
from vedute.cli import main

pytestmark = pytest.mark.cluster
RESOURCES = "--array=0-1 --gpus-per-node=0 --cpus-per-task=1 --mem=1G --time=0:30:00"
SLOW = ["--trainer.callbacks+=tests.cluster.slow.Slow", "--trainer.callbacks.init_args.seconds=1"]


def test_the_tasks_of_an_array_share_one_sweep(
    slurm: Slurm, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, sweep = tmp_path / "space.yaml", tmp_path / "sweep"
    space.write_text("model.optimizer.lr: {low: 1.0e-4, high: 1.0e-2, log: true}\n")
    path = [str(Path(sys.executable).parent), os.environ["PATH"]]  # whose 'python' is the one of these tests
    monkeypatch.setitem(slurm.environment, "PATH", os.pathsep.join(path))
    script = ["slurm/array_sweep.sbatch", "--config", str(tiny_config), "--space", str(space)]
    script += ["--trials", "3", "--objective", "val/loss:minimize", "--study", "shared"]
    script += ["--storage", f"journal:{tmp_path}/study.journal", "--output", str(sweep)]
    script += ["--trainer.callbacks", "null", *SLOW]
    done = slurm.run(
        *("sbatch", "--parsable", *RESOURCES.split(), f"--output={tmp_path}/%a.log", *script), cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    logs = []
    for task in range(2):
        state = slurm.ended(f"{done.stdout.strip()}_{task}")
        logs.append((tmp_path / f"{task}.log").read_text())
        assert state == "COMPLETED", logs[-1]
    started = [re.findall(r"Trial (\d+): started", log) for log in logs]
    assert all(started) and sorted(chain(*started)) == ["0", "1", "2"], "each has worked, none twice"

    with (sweep / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["complete"] * 3
    best = min(rows, key=lambda row: float(row["val/loss"]))
    content = yaml.safe_load((sweep / "best.yaml").read_text())
    assert content["model"]["init_args"]["optimizer"]["init_args"]["lr"] == float(best["model.optimizer.lr"])
    assert main(["fit", "--config", str(sweep / "best.yaml"), "--print_config"]) == 0
    assert not (sweep / "workers").exists(), "both have said goodbye"
