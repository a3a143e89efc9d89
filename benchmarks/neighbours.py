"""How fast the nearest of 100,000 images are found for 10,000 others, and how much memory that takes.

    python benchmarks/neighbours.py                                       100,000 x 10,000 features of width
    2048 python benchmarks/neighbours.py --references 20000 --queries 5000     smaller
    python benchmarks/neighbours.py --compare 5000                        precision and recall of 5,000 x
                                                                          5,000 images beside those of
                                                                          torch-fidelity as well

'product' is a bare float32 matrix product of the same size, in the same blocks and in turns with the search:
below it no search by products can go. Times are processor time, as other work on the machine stretches all
others. Features lie in files that are mapped into memory, as 100,000 of them are 820 MB alone. The memory of
the search is what the process has of its own (anonymous pages; libraries included), sampled every 20 ms;
pages of mapped files, which the system can drop at any time, do not count. Features are drawn.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vedute.metrics.manifold import neighbourhoods
from vedute.metrics.neighbours import nearest

_BLOCK = 1000  # rows that are drawn and multiplied at a time


def mapped(path: Path, count: int, width: int, seed: int) -> Tensor:
    """Write features of 20 kinds of images and return them as a view of the file."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((20, width), dtype=np.float32)
    array = np.lib.format.open_memmap(path, "w+", np.float32, (count, width))
    for start in range(0, count, _BLOCK):
        rows = min(_BLOCK, count - start)
        noise = generator.standard_normal((rows, width), dtype=np.float32)
        array[start : start + rows] = centres[generator.integers(20, size=rows)] + noise
    array.flush()
    return torch.from_numpy(array)


def own_memory() -> float:
    """Return the anonymous resident memory of this process in MB; NaN where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024 or float("nan")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return seconds and the peak of memory in MB."""
    peaks = [own_memory()]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peaks.append(own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    work()
    seconds = time.process_time() - start
    done.set()
    watcher.join()
    return seconds, max(peaks)


def product(queries: Tensor, references: Tensor) -> None:
    """Multiply everything with everything, and keep nothing."""
    for there in torch.split(references, 4 * _BLOCK):
        for here in torch.split(queries, _BLOCK):
            here @ there.T


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--references", type=int, default=100_000)
    options.add_argument("--queries", type=int, default=10_000)
    options.add_argument("--width", type=int, default=2048)
    options.add_argument("--repeats", type=int, default=1)
    options.add_argument("--compare", type=int, default=0, help="images a side for torch-fidelity; 0: none")
    given = options.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        references = mapped(Path(folder) / "references.npy", given.references, given.width, 1)
        queries = mapped(Path(folder) / "queries.npy", given.queries, given.width, 2)
        libraries = own_memory()
        results = {"product": [], "nearest": []}  # type: dict[str, list[tuple[float, float]]]
        for _ in range(given.repeats):
            results["product"].append(timed(lambda: product(queries, references)))
            results["nearest"].append(timed(lambda: nearest(queries, references, 5)))
        bare = statistics.median(seconds for seconds, _ in results["product"])
        print(f"{given.queries:,} queries, {given.references:,} references, width {given.width}, k = 5")
        print(f"memory before: {libraries:.0f} MB")
        for name, runs in results.items():
            seconds, peak = statistics.median(one for one, _ in runs), max(one for _, one in runs)
            print(f"{name:10}{seconds:8.1f} s{seconds / bare:7.2f} x product{peak:8.0f} MB")
        if given.compare:
            compare(queries[: given.compare], references[: given.compare], given.repeats)


def compare(generated: Tensor, real: Tensor, repeats: int) -> None:
    """Print times and scores of this package and of torch-fidelity on the same features, in turns."""
    from torch_fidelity.metric_prc import prc_features_to_metric

    times: dict[str, list[float]] = {"package": [], "torch-fidelity": []}
    for _ in range(repeats):
        start = time.process_time()
        ours = neighbourhoods(real, generated).scores()
        times["package"].append(time.process_time() - start)
        start = time.process_time()
        theirs = prc_features_to_metric(
            generated, real, prc_neighborhood=3, prc_batch_size=10_000, save_cpu_ram=False, verbose=False
        )
        times["torch-fidelity"].append(time.process_time() - start)
    print(f"{len(generated):,} generated, {len(real):,} real images")
    for name, scores in (("package", ours), ("torch-fidelity", theirs)):
        said = ", ".join(f"{key} {float(value):.4f}" for key, value in scores.items() if key != "f_score")
        print(f"{name:15}{statistics.median(times[name]):8.1f} s  {said}")


if __name__ == "__main__":
    main()
