"""How fast batches reach the device from where prepared images reside: disk, memory, or the device itself.

    python benchmarks/residence.py                 on the GPU where there is one, else on this processor

Writes records of small JPEGs, prepares them, and runs epochs of the data module's own training loader as
Lightning does: gather, one-hot conditions, transfer, conversion to float in [0, 1] on the device. The clock
stops when the device is done. The residences take turns; the first epoch of each is not counted.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer
from PIL import Image

from datamodules.landscapes import LandscapesDataModule
from vedute.data.tfrecord import write_records

SHARD = 2000  # records in a file
CLASSES = 5
GOAL = 100_000  # images/s, residence device on a GPU


def write_set(root: Path, count: int, size: int) -> None:
    """Write records of JPEGs, one training part."""
    random = np.random.default_rng(0)
    (root / "Train").mkdir(parents=True)
    for start in range(0, count, SHARD):
        records: list[dict[str, bytes | int]] = []
        for number in range(start, min(start + SHARD, count)):
            buffer = io.BytesIO()
            rough = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            rough.resize((size, size), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
            records.append({"image": buffer.getvalue(), "label": number % CLASSES})
        write_records(root / "Train" / f"{start // SHARD}.tfrecord", records)


def make_data(root: Path, size: int, batch_size: int, residence: str, gpu: bool) -> LandscapesDataModule:
    """Return the data under a trainer, which says which device there is."""
    data = LandscapesDataModule(root=root, image_size=size, batch_size=batch_size, residence=residence)
    accelerator = "gpu" if gpu else "cpu"
    data.trainer = Trainer(accelerator=accelerator, devices=1, logger=False, enable_checkpointing=False)
    return data


def time_epoch(data: LandscapesDataModule, device: torch.device) -> tuple[float, int]:
    """Return the seconds of one epoch, and how many images it has."""
    count = 0
    begin = time.perf_counter()
    for batch in data.train_dataloader():
        moved = data.transfer_batch_to_device(batch, device, 0)
        count += len(data.on_after_batch_transfer(moved, 0))
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin, count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=20_000, help="images in the set (default: 20000)")
    parser.add_argument("--image-size", type=int, default=64, help="pixels a side (default: 64)")
    parser.add_argument("--epochs", type=int, default=5, help="measured epochs (default: 5)")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # its advice
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    residences = ["disk", "memory", "device"] if gpu else ["disk", "memory"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VEDUTE_CACHE"] = str(Path(folder) / "cache")
        root = Path(folder) / "set"
        write_set(root, options.images, options.image_size)
        for batch_size in (64, 256):
            sets = {name: make_data(root, options.image_size, batch_size, name, gpu) for name in residences}
            speeds: dict[str, list[float]] = {name: [] for name in residences}
            for _ in range(options.epochs + 1):
                for name, data in sets.items():
                    seconds, count = time_epoch(data, device)
                    speeds[name].append(count / seconds)
            rows += [(batch_size, name, values[1:]) for name, values in speeds.items()]
    if gpu:
        print(f"\n{torch.cuda.get_device_name()}; goal for residence device: {GOAL:,} images/s\n")
    else:
        print(
            "\nThere is no GPU here: residence device is left out, and all figures are of this processor.\n"
        )
    print(
        f"| batch | residence | images/s of {options.image_size} x {options.image_size}: median | fastest |"
    )
    print("| --- | --- | --- | --- |")
    for batch_size, name, values in rows:
        print(f"| {batch_size} | {name} | {statistics.median(values):,.0f} | {max(values):,.0f} |")


if __name__ == "__main__":
    main()
