"""Epochs over JPEG files: decoded each time, as a plain PyTorch data set does, against the prepared cache.

    python benchmarks/epochs.py                  3,000 JPEGs of 256 to 384 pixels a side, written for this
    python benchmarks/epochs.py --side 128       of 128 to 192 pixels
    python benchmarks/epochs.py --root FOLDER    a folder of yours

'plain' is a ``Dataset`` with Pillow (decode, crop, resize, to a float tensor in [0, 1]) under PyTorch's
``DataLoader`` with persistent worker processes. 'cache' is the data module's own training loader without
worker processes, and after it what happens on the device (here: this processor): conversion to float in
[0, 1]. The two take turns; the first epoch of each, which starts the workers and fills the system's file
cache, is not counted. Both yield the same images in the same shape: checked before the first epoch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.pictures import PicturesDataModule
from vedute.data.image_files import image_files
from vedute.hardware import reuse_freed_memory

BATCH = 64


class PillowPictures(Dataset[Tensor]):
    """Files decoded whenever they are asked for."""

    def __init__(self, files: list[Path], size: int) -> None:
        """Keep the files and the side of the images in pixels."""
        self.files = files
        self.size = size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> Tensor:
        """Return (3, H, W) float32 in [0, 1]."""
        with Image.open(self.files[row]) as file:
            image = file.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)


def write_jpegs(folder: Path, count: int, shortest: int = 256) -> None:
    """Write JPEGs of ``shortest`` to 1.5 times as many pixels a side with the detail of photos."""
    random = np.random.default_rng(0)
    for number in range(count):
        height, width = (int(side) for side in random.integers(shortest, 3 * shortest // 2 + 1, 2))
        image = Image.fromarray(random.integers(60, 200, (6, 6, 3), dtype=np.uint8))
        coarse = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        fine = random.normal(0, 12, (height // 2 + 1, width // 2 + 1, 1)).repeat(2, 0).repeat(2, 1)
        pixels = (coarse + fine[:height, :width]).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:05d}.jpg", quality=90)


def cached(data: PicturesDataModule) -> Iterator[Tensor]:
    """Yield the images of one training epoch, (N, 3, H, W) float32 in [0, 1]."""
    for batch in data.train_dataloader():
        yield data.on_after_batch_transfer(batch, 0).image


def seconds(epoch: Iterable[Tensor]) -> tuple[float, int]:
    """Return how long an epoch takes, and how many images it has."""
    begin, count = time.perf_counter(), 0
    for images in epoch:
        count += len(images)
    return time.perf_counter() - begin, count


def check(data: PicturesDataModule, files: list[Path], size: int) -> None:
    """Make sure that both ways give the same pixels, up to two levels of 255."""
    rows = [0, data.size("train") // 2]
    _, records = data.records("train")
    for image, record in zip(data.batch("train", rows).image, records[rows], strict=True):
        difference = (image - PillowPictures(files, size)[int(record)]).abs().max()
        if difference > 2.01 / 255:
            raise SystemExit(
                f"the two differ by {255 * float(difference):.0f} levels in {files[int(record)]}"
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="folder of pictures (default: written for this)")
    parser.add_argument("--images", type=int, default=3000, help="pictures to write (default: 3000)")
    parser.add_argument("--side", type=int, default=256, help="shortest side of a written picture (256)")
    parser.add_argument("--image-size", type=int, default=128, help="pixels a side (default: 128)")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode (default: 2)")
    parser.add_argument("--epochs", type=int, default=5, help="measured epochs (default: 5)")
    options = parser.parse_args()
    reuse_freed_memory()  # as fit does
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VEDUTE_CACHE"] = str(Path(folder) / "cache")
        root = options.root or Path(folder) / "pictures"
        if options.root is None:
            root.mkdir()
            write_jpegs(root, options.images, options.side)
        files = image_files(root)
        size = options.image_size
        data = PicturesDataModule(root=root, image_size=size, batch_size=BATCH)
        check(data, files, size)
        _, records = data.records("train")
        plain = DataLoader(
            PillowPictures([files[record] for record in records], size),
            BATCH,
            shuffle=True,
            drop_last=True,
            num_workers=options.workers,
            persistent_workers=options.workers > 0,
        )
        times: dict[str, list[float]] = {"plain": [], "cache": []}
        count = 0
        for number in range(options.epochs + 1):
            for name, epoch in (("plain", plain), ("cache", cached(data))):
                taken, count = seconds(epoch)
                times[name].append(taken)
            kind = "measured" if number else "not counted"
            print(f"plain {times['plain'][-1]:.2f} s, cache {times['cache'][-1]:.3f} s ({kind})", flush=True)
    print_table(times, count, size, options.workers)


def print_table(times: dict[str, list[float]], count: int, size: int, workers: int) -> None:
    """Print the measured epochs; ratios are of neighbours in time."""
    ratios = [plain / cache for plain, cache in zip(times["plain"][1:], times["cache"][1:], strict=True)]
    print(f"\n{count:,} images of {size} x {size} in an epoch, {workers} workers, ", end="")
    print(f"{torch.get_num_threads()} threads\n")
    print(
        "| epoch from | fastest, s | median, s | images/s | times as fast: median (lowest) | of the fastest |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    best = min(times["plain"][1:]) / min(times["cache"][1:])  # the least disturbed by other work
    for name, title in (("plain", "files, decoded by Pillow"), ("cache", "the prepared cache")):
        measured = times[name][1:]
        middle = statistics.median(measured)
        gain = (
            f"{statistics.median(ratios):.1f} ({min(ratios):.1f}) | {best:.1f}"
            if name == "cache"
            else "1 | 1"
        )
        print(f"| {title} | {min(measured):.3f} | {middle:.3f} | {count / middle:,.0f} | {gain} |")


if __name__ == "__main__":
    main()
