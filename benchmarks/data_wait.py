"""Which share of training is spent waiting for data, in a configuration as it is shipped.

    python benchmarks/data_wait.py
    python benchmarks/data_wait.py --data.root DATASET    on a folder of yours; other options of fit too

Runs ``fit`` for a few epochs in a temporary folder and reads what it logs as ``train/data_wait``:
loading, transfer and augmentation of a batch, everything between the end of a step and the next.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
from pathlib import Path

from vedute.cli import main as vedute


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/cvae_landscapes.yaml", help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=3, help="epochs to train (default: 3)")
    options, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        command = ["fit", "--config", options.config, *others, "--trainer.default_root_dir", folder]
        if vedute([*command, "--trainer.max_epochs", str(options.epochs)]):
            raise SystemExit(1)
        with next(Path(folder).rglob("metrics.csv")).open() as file:
            rows = [row for row in csv.DictReader(file) if row.get("train/data_wait")]
    waits = [100 * float(row["train/data_wait"]) for row in rows]
    speeds = [float(row["train/images_per_second"]) for row in rows]
    print(
        f"waiting for data: mean {statistics.mean(waits):.2f} %, worst {max(waits):.2f} % of the time "
        f"({len(waits)} intervals); {statistics.median(speeds):,.0f} images/s"
    )


if __name__ == "__main__":
    main()
