"""How long large aerial images take to become small tiles, against nothing but decoding them.

    python benchmarks/tiles.py                  deflate, and without compression (as Inria's are)
    python benchmarks/tiles.py --pairs 8        more pairs of 5000 x 5000 pixels

'bare' is ``tifffile.imread`` of image and mask, in as many threads as 'prepare' has; 'prepare' is all that
``fit`` does before the first step: list, read the headers, decode, cut 5 x 5, resize to 286 x 286, write.
The two take turns, each in a process of its own; a first round is not counted, so files are in the
system's cache for both. The peak is the resident memory of the whole process, of which the libraries
(PyTorch above all, several hundred MB where it is built for GPUs) are there before the work begins.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile

SIDE = 5000
SPLIT = 5
SIZE = 286


def write_pairs(folder: Path, count: int, compression: str | None) -> None:
    """Write pairs in Inria's layout: a painted city repeated, with noise that no codec can foresee."""
    from vedute.data.painted.aerial import CITY_NAMES, paint

    for number in range(count):
        image, mask = paint((CITY_NAMES[number % len(CITY_NAMES)], 1, SIDE // SPLIT, number))
        noise = np.random.default_rng(number).integers(0, 6, (SIDE, SIDE, 1), dtype=np.uint8)
        large = np.tile(np.minimum(image, 250), (SPLIT, SPLIT, 1)) + noise
        for kind, pixels in (("images", large), ("gt", np.tile(mask, (SPLIT, SPLIT)))):
            path = folder / "train" / kind / f"city{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, pixels, compression=compression, rowsperstrip=16, metadata=None)


def run_bare(folder: Path, threads: int) -> None:
    """Decode every file and drop the pixels."""
    files = sorted((folder / "train").rglob("*.tif"))
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda path: tifffile.imread(path).shape, files):
            pass


def run_prepare(folder: Path, threads: int) -> None:
    """Prepare the pairs in a fresh cache."""
    from vedute.data.aerial_layout import find_areas, pictures
    from vedute.data.cache import prepare
    from vedute.data.decoding import Preparation
    from vedute.data.tiles import TileSource, Windows

    found = pictures(find_areas(folder)["train"], True, "raise")
    masks = [picture.mask for picture in found if picture.mask is not None]
    source = TileSource([picture.image for picture in found], masks, Windows(SPLIT, 3, None, (SIZE, SIZE)))
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        wanted = Preparation((SIZE, SIZE), mask=True)
        prepare(source, wanted, name="b", cache=Path(cache), workers=threads, progress=False)


class Run(NamedTuple):
    """Seconds without imports; peak memory in MB, and what of it was there before the run."""

    seconds: float
    peak: float
    libraries: float


def measure(what: str, folder: Path, threads: int) -> Run:
    """Measure a run in a process of its own."""
    command = [sys.executable, __file__, "--run", what, "--folder", str(folder), "--threads", str(threads)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return Run(*json.loads(result.stdout.splitlines()[-1]))


def run_one(what: str, folder: Path, threads: int) -> None:
    """Run in this process and print what a ``Run`` holds."""
    import torch  # both have what every start of Vedute has in memory

    import vedute.data.cache
    import vedute.data.tiles  # noqa: F401

    torch.set_num_threads(1)
    libraries = peak_memory()
    begin = time.perf_counter()
    (run_bare if what == "bare" else run_prepare)(folder, threads)
    seconds = time.perf_counter() - begin
    print(json.dumps([seconds, peak_memory(), libraries]))


def peak_memory() -> float:
    """Return the most that this process has had in memory, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=4, help="images with masks (default: 4)")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds (default: 3)")
    parser.add_argument("--table", type=Path, help="markdown file to which rows are added")
    parser.add_argument("--run", choices=["bare", "prepare"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        run_one(options.run, options.folder, options.threads)
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    rows = []
    for compression in ("zlib", None):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_pairs(folder, options.pairs, compression)
            bare: list[Run] = []
            whole: list[Run] = []
            for number in range(options.rounds + 1):
                bare.append(measure("bare", folder, cores))
                whole.append(measure("prepare", folder, cores))
                kind = "measured" if number else "not counted"
                print(
                    f"bare {bare[-1].seconds:.2f} s, prepare {whole[-1].seconds:.2f} s ({kind})", flush=True
                )
        seconds = [statistics.median(run.seconds for run in runs[1:]) for runs in (bare, whole)]
        ratio = statistics.median(b.seconds / a.seconds for a, b in zip(bare[1:], whole[1:], strict=True))
        rows.append(
            f"| {compression or 'none'} | {options.pairs} | {cores} | {seconds[0]:.2f} | {seconds[1]:.2f} | "
            f"{ratio:.2f} | {max(run.peak for run in whole):,.0f} | {whole[-1].libraries:,.0f} |"
        )
    print(
        "\n| compression | pairs | cores | bare, s | prepare, s | ratio (goal 1.5) | MB | of it libraries |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(rows))
    if options.table is not None:
        with options.table.open("a") as file:
            file.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
