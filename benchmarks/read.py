"""How fast prepared images are read in random order, and whether memory grows with the epochs.

    python benchmarks/read.py

Writes prepared images of random pixels, maps them, and gathers batches of random rows as a data
module does; beside it, the same batches from an array in memory by plain numpy indexing. The two
take turns within each epoch. The resident set counts mapped pages, which the system may take back
at any time: it rises in the first epoch to the size of the set, and must stay there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vedute.data.prepared import FORMAT, LABELS, MANIFEST, RECORDS, PreparedImages, shard_name

EPOCHS = 5


def write_prepared(folder: Path, count: int, size: int) -> None:
    """Write a set of random images."""
    random = np.random.default_rng(0)
    images = np.lib.format.open_memmap(folder / shard_name(0), "w+", np.uint8, (count, size, size, 3))
    for start in range(0, count, 1000):
        images[start : start + 1000] = random.integers(0, 256, images[start : start + 1000].shape, np.uint8)
    images.flush()
    np.save(folder / LABELS, np.zeros(count, dtype=np.int64))
    np.save(folder / RECORDS, np.arange(count))
    manifest = {"format": FORMAT, "fingerprint": "", "skipped": [], "unclear_masks": 0, "shards": [count]}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def resident() -> int:
    """Return this process's resident set in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def speed(read: Callable[[NDArray[np.int64]], object], rows: NDArray[np.int64], batch_size: int) -> float:
    """Return images/s of one pass over ``rows``."""
    begin = time.perf_counter()
    for start in range(0, len(rows), batch_size):
        read(rows[start : start + batch_size])
    return len(rows) / (time.perf_counter() - begin)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=50_000, help="images in the set (default: 50000)")
    parser.add_argument("--image-size", type=int, default=64, help="pixels a side (default: 64)")
    options = parser.parse_args()
    random = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        write_prepared(Path(folder), options.images, options.image_size)
        array = np.load(Path(folder) / shard_name(0))
        prepared = PreparedImages(Path(folder))
        print(
            "| batch | gather, images/s | plain numpy, images/s | ratio | resident MB after epochs 1 to 5 |"
        )
        print("| --- | --- | --- | --- | --- |")
        for batch_size in (64, 256):
            ours, plain, memory = [], [], []
            for _ in range(EPOCHS):
                rows = random.permutation(options.images)
                ours.append(speed(prepared.gather, rows, batch_size))
                plain.append(speed(array.__getitem__, rows, batch_size))
                memory.append(resident() / 1e6)
            ratio = statistics.median(ours) / statistics.median(plain)
            print(
                f"| {batch_size} | {statistics.median(ours):,.0f} | {statistics.median(plain):,.0f} "
                f"| {ratio:.2f} | {', '.join(f'{megabytes:,.0f}' for megabytes in memory)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
