"""How much faster several GPUs train than one: 1, 2, 4, ... processes in turns (data parallel).

    python benchmarks/ddp.py                            all GPUs of this machine, configs/cvae_landscapes.yaml
    python benchmarks/ddp.py --strong                   the same images a step, however many processes
    python benchmarks/ddp.py --config configs/cvae_street_view.yaml --data.root DATASET --data.batch_size 256
    python benchmarks/ddp.py --devices 2 --trainer.accelerator cpu --data.image_size 32 --steps 10
                                                        a trial on a machine without a GPU

Runs ``fit`` with configs/with/ddp.yaml; options that are not listed below are those of ``fit``. Each process
has a batch of its own (weak scaling: with N processes a step sees N times as many images), with ``--strong``
its share of one batch. The ratio is that of images/s to those of one process, which trains without any
strategy for several; the efficiency is the ratio for each process. Whole periods are measured, from one batch
to the next; validation, and what happens between epochs, are left out. A process has the same share of the
cores, however many there are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENDLESS = 100_000
"""Epochs: the training is ended from within."""


@dataclass(frozen=True)
class Speed:
    """How fast some processes train together.

    Attributes:
        images: Images/s of all.
        waiting: Share of the time in which the first process waits for data.
        batch_size: Images in a batch of each process.
    """

    images: float
    waiting: float
    batch_size: int


def counts(most: int) -> list[int]:
    """Return 1, 2, 4, ... and ``most``."""
    return [*(2**power for power in range(most.bit_length()) if 2**power < most), most]


def measure(processes: int, options: argparse.Namespace, fit: Sequence[str], cores: int) -> Speed:
    """Train with some processes.

    Args:
        processes: How many.
        options: The configuration and how many steps.
        fit: Further options of ``fit``.
        cores: Threads of each process.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "speed.json"
        command = [sys.executable, "cli.py", "fit", "--config", options.config]
        command += ["--config", "configs/with/ddp.yaml", "--trainer.devices", str(processes)]
        command += ["--trainer.strategy", "auto"] if processes == 1 else []
        command += ["--trainer.default_root_dir", folder, "--trainer.max_epochs", str(ENDLESS)]
        command += ["--trainer.limit_val_batches", "0", "--trainer.callbacks+=steady_speed.SteadySpeed"]
        command += [f"--trainer.callbacks.path={found}", f"--trainer.callbacks.warm_up={options.warm_up}"]
        command += [f"--trainer.callbacks.steps={options.steps}", *fit]
        paths = [str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")]
        environment = {"OMP_NUM_THREADS": str(cores), **os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if not found.is_file():
            raise SystemExit(f"fit ended before {options.steps} steps:\n{done.stdout}\n{done.stderr}")
        known = json.loads(found.read_text())
    seconds = known["seconds"]
    return Speed(known["images"] / seconds, known["waited"] / seconds, known["batch_size"])


def report(speeds: dict[int, list[Speed]]) -> None:
    """Print a line for each number of processes: medians over rounds."""
    print("| processes | batch of each | images/s | ratio | efficiency | waiting for data |")
    print("| --- | --- | --- | --- | --- | --- |")
    for processes, found in speeds.items():
        images = statistics.median(one.images for one in found)
        pairs = zip(found, speeds[1], strict=True)
        ratio = statistics.median(one.images / alone.images for one, alone in pairs)
        waiting = statistics.median(one.waiting for one in found)
        print(
            f"| {processes} | {found[0].batch_size} | {images:,.1f} | {ratio:.2f} "
            f"| {100 * ratio / processes:.0f} % | {100 * waiting:.1f} % |"
        )


def gpus() -> int:
    """Return the number of GPUs here."""
    import torch

    return torch.cuda.device_count()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", default="configs/cvae_landscapes.yaml", help="default: %(default)s")
    parser.add_argument("--devices", type=int, help="most processes (default: all GPUs)")
    parser.add_argument("--strong", action="store_true", help="divide one batch among the processes")
    parser.add_argument("--warm-up", type=int, default=20, help="steps before the measured (default: 20)")
    parser.add_argument("--steps", type=int, default=200, help="measured steps (default: 200)")
    parser.add_argument("--rounds", type=int, default=3, help="how often all is measured (default: 3)")
    options, fit = parser.parse_known_args()
    most = options.devices or gpus()
    if most < 1:
        raise SystemExit("There is no GPU here; on CPUs: --devices 2 --trainer.accelerator cpu")
    cores = max(1, len(os.sched_getaffinity(0)) // most)
    speeds: dict[int, list[Speed]] = {processes: [] for processes in counts(most)}
    whole = 0
    for _ in range(options.rounds):
        for processes, found in speeds.items():
            if options.strong and whole % processes:
                raise SystemExit(f"A batch of {whole} images cannot be divided among {processes} processes.")
            share = ["--data.batch_size", str(whole // processes)] if options.strong and whole else []
            found.append(measure(processes, options, [*fit, *share], cores))
            whole = whole or found[-1].batch_size
            print(f"{processes} processes: {found[-1].images:,.1f} images/s", flush=True)
    kind = "one batch divided among the processes" if options.strong else "a batch for each process"
    print(f"{options.config}, {kind}, {cores} cores for each, medians of {options.rounds} rounds of ", end="")
    print(f"{options.steps} steps:")
    report(speeds)


if __name__ == "__main__":
    main()
