"""How long ``fit`` takes from the command to the end of the first training step.

    python benchmarks/startup.py

Each round starts two processes: one that only imports torch, torchvision and lightning, and
``fit`` on the painted sample, whose prepared cache exists (a round before the measured ones
sees to that). The difference is what this package adds. On a machine with other work, wall time
says nothing: set OMP_NUM_THREADS=1 and read the processor time.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINE = "imports {:.2f} s ({:.2f} processor), fit {:.2f} s ({:.2f}), difference {:.2f} s ({:.2f})"
IMPORTS = [sys.executable, "-c", "import torch, torchvision, lightning"]


def processor_seconds() -> float:
    """Return the processor time of all processes started and ended so far, seconds."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def time_imports() -> tuple[float, float]:
    """Return how long a process that only imports the libraries takes: wall and processor seconds."""
    before, started = processor_seconds(), time.time()
    subprocess.run(IMPORTS, check=True, cwd=ROOT)
    return time.time() - started, processor_seconds() - before


def time_fit(config: str, folder: Path) -> tuple[float, float]:
    """Return how long ``fit`` takes to the end of its first step: wall and processor seconds."""
    mark = folder / "first_step"
    mark.unlink(missing_ok=True)
    command = [sys.executable, "cli.py", "fit", "--config", config, "--trainer.default_root_dir", str(folder)]
    command += ["--trainer.callbacks+=first_step.FirstStep", f"--trainer.callbacks.path={mark}"]
    paths = [str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    before, started = processor_seconds(), time.time()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if not mark.is_file():
        raise SystemExit(f"fit ended without a training step:\n{done.stdout}\n{done.stderr}")
    return float(mark.read_text()) - started, processor_seconds() - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds (default: 7)")
    parser.add_argument(
        "--config",
        default="configs/cvae_landscapes.yaml",
        help="configuration to start (default: %(default)s)",
    )
    options = parser.parse_args()
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds + 1):
            imports, fit = time_imports(), time_fit(options.config, Path(folder))
            rounds.append([*imports, *fit, fit[0] - imports[0], fit[1] - imports[1]])
            print(LINE.format(*rounds[-1]) + ("" if number else " (not counted)"), flush=True)
    print("medians: " + LINE.format(*(statistics.median(column) for column in zip(*rounds[1:], strict=True))))


if __name__ == "__main__":
    main()
