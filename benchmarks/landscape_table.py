"""The table of docs/landscapes.md: every variant trained for equal time, judged and put beside each other.

    python benchmarks/landscape_table.py --root FOLDER --classifier CHECKPOINT
    python benchmarks/landscape_table.py --minutes 1 --variants cvae_landscapes vae_landscapes

The first takes twenty processor minutes for each of fifteen variants and two seeds, on real landscapes; the
second has a first look at two of them on the painted sample.

Call it again after an interruption (see ``equal_time``).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from equal_time import PROJECT, Job, add_options, work_all

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


def main(args: Sequence[str] | None = None) -> None:
    """Fill the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--root", type=Path, help="folder of real landscapes; none: the painted sample")
    options.add_argument("--classifier", type=Path, help="checkpoint of the judge; none: no Q")
    options.add_argument("--variants", nargs="+", help="names of configurations; none: all of the table")
    add_options(options)
    options.add_argument("--image-size", type=int, default=64)
    options.add_argument("--count", type=int, default=128, help="generated images of each class")
    options.add_argument("--output", type=Path, default=Path("landscape_table"))
    given = options.parse_args(args)
    variants = given.variants or [f"{name}_landscapes" for name in (*REFERENCE, *OURS)]
    data = [] if given.root is None else ["--data.root", str(given.root)]
    trained = [*data, "--data.image_size", str(given.image_size)]
    judge = [] if given.classifier is None else ["--classifier", str(given.classifier)]
    judged = ["--count", str(given.count), *judge]
    jobs = [
        Job(variant, given.output / f"seed{seed}", seed, given.minutes, trained, judged)
        for seed in given.seeds
        for variant in variants
    ]
    missing = [str(job.file) for job in jobs if not job.file.is_file()]
    if missing:
        options.error(f"there is no {', '.join(dict.fromkeys(missing))}")
    work_all(jobs, given.jobs)
    runs = [str(job.run) for job in jobs if job.last is not None]
    output = given.output / "table.md"
    compare = ["compare", "--table", "landscapes", *runs, "--output", str(output)]
    subprocess.run([sys.executable, str(PROJECT / "cli.py"), *compare], check=True)


if __name__ == "__main__":
    main()
