"""How long a checkpoint takes and how large it is, against writing as many bytes.

    python benchmarks/checkpoint.py                        four of the shipped models
    python benchmarks/checkpoint.py --models wide_plus_128 --folder /scratch

A checkpoint holds weights, the optimisers' two moments and the averaged weights: four float32 numbers a
weight. 'fit' writes it as the program does (whole or not at all, through to the disk); 'bytes' writes as
many zeros to the same folder and flushes them too. In turns, after one training step on random images.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from interleaved import Images
from lightning.pytorch import Trainer
from shipped_models import ADVERSARIAL, MODELS, build
from torch.utils.data import DataLoader

from vedute.callbacks.checkpoint import WholeFileIO
from vedute.callbacks.ema import EMA

_CHUNK = bytes(1 << 24)


def write_bytes(path: Path, size: int) -> None:
    """Write zeros, through to the disk."""
    with path.open("wb") as file:
        for begin in range(0, size, len(_CHUNK)):
            file.write(_CHUNK[: min(len(_CHUNK), size - begin)])
        file.flush()
        os.fsync(file.fileno())


def seconds(action: Callable[[], object]) -> float:
    """Return how long something takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def measure(name: str, folder: Path, rounds: int) -> str:
    """Return a line of the table."""
    module = build({**MODELS, **ADVERSARIAL}[name])
    trainer = Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[EMA()], plugins=[WholeFileIO()],
    )  # fmt: skip
    images = Images(1, 2, module)
    trainer.fit(module, DataLoader(images, batch_size=None, shuffle=False))  # type: ignore[arg-type]
    path, other = folder / "last.ckpt", folder / "bytes"
    trainer.save_checkpoint(path)
    size = path.stat().st_size
    pairs = [
        (seconds(lambda: trainer.save_checkpoint(path)), seconds(lambda: write_bytes(other, size)))
        for _ in range(rounds)
    ]
    own, plain = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median([ours / theirs for ours, theirs in pairs])
    weights = sum(parameter.numel() for parameter in module.parameters())
    return f"{name:<16}{weights:>14,}{size / 1e6:>10,.0f} MB{own:>9.2f} s{plain:>9.2f} s{ratio:>8.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*MODELS, *ADVERSARIAL]
    chosen = ["residual", "street_view", "gan", "wide_plus"]
    parser.add_argument(
        "--models", nargs="+", choices=names, default=chosen, metavar="MODEL", help=", ".join(names)
    )
    parser.add_argument("--rounds", type=int, default=5, help="writings of each (default: 5)")
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    options = parser.parse_args()
    print(f"{'model':<16}{'weights':>14}{'size':>13}{'fit':>11}{'bytes':>11}{'ratio':>8}")
    for name in options.models:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print(measure(name, Path(folder), options.rounds), flush=True)


if __name__ == "__main__":
    main()
