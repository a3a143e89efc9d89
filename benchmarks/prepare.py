"""How long preparing images takes, against nothing but decoding them.

    python benchmarks/prepare.py --root DATASET    the TFRecord files in and below a folder of yours
    python benchmarks/prepare.py                   the painted landscapes

The records are repeated into shards of a temporary folder until there are enough. 'prepare' is all
that ``fit`` does before the first step: list, read, verify, decode, resize, write. 'bare' is
libjpeg-turbo decoding the same payloads, which already are in memory, in one process for each core:
through simplejpeg, its thinnest wrapper, or Pillow where that is not installed and for other formats.
The two take turns; a first round is not counted, so files are in the system's cache for both.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path

from PIL import Image

from vedute.data.cache import Preparation, prepare
from vedute.data.painted.landscapes import write_painted_landscapes
from vedute.data.source import natural_order
from vedute.data.tfrecord import TFRecordSource, write_records

SHARD = 1000  # records in a file
CHUNK = 128  # payloads that a decoding process takes at a time

simplejpeg = importlib.import_module("simplejpeg") if importlib.util.find_spec("simplejpeg") else None
payloads: list[bytes] = []  # a global, so that forked processes have it without a copy


def decode_chunk(start: int) -> int:
    """Decode some payloads and drop the pixels; return how many."""
    chunk = payloads[start : start + CHUNK]
    for payload in chunk:
        if simplejpeg is not None and payload.startswith(b"\xff\xd8\xff"):
            simplejpeg.decode_jpeg(payload, "RGB")
        else:
            Image.open(io.BytesIO(payload)).load()
    return len(chunk)


def time_bare(cores: int) -> float:
    """Return the seconds that decoding alone takes, without those for starting processes."""
    starts = range(0, len(payloads), CHUNK)
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        pool.map(decode_chunk, [0] * cores, chunksize=1)
        begin = time.perf_counter()
        pool.map(decode_chunk, starts, chunksize=1)
        return time.perf_counter() - begin


def time_prepare(files: list[Path], size: int, cores: int) -> float:
    """Return the seconds that preparing takes, from opening the files to the finished cache."""
    with tempfile.TemporaryDirectory(dir=files[0].parent.parent) as cache:
        begin = time.perf_counter()
        source = TFRecordSource(files)
        prepare(source, Preparation((size, size)), name="b", cache=Path(cache), workers=cores, progress=False)
        return time.perf_counter() - begin


def write_shards(root: Path | None, folder: Path, count: int) -> list[Path]:
    """Repeat the records of a data set until there are ``count``, and keep their payloads."""
    if root is None:
        root = write_painted_landscapes(folder / "painted")
    found = [path for path in root.rglob("*") if ".tfrec" in path.name]
    source = TFRecordSource(sorted(found, key=natural_order))
    records = itertools.cycle([record for part in source.parts() for record in part.records()])
    files = []
    for start in range(0, count, SHARD):
        shard = list(itertools.islice(records, min(SHARD, count - start)))
        files.append(folder / "records" / f"{start // SHARD}.tfrecord")
        write_records(files[-1], [{"image": record.payload, "label": record.label or 0} for record in shard])
        payloads.extend(record.payload for record in shard)
    return files


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="folder with TFRecord files (default: painted landscapes)")
    parser.add_argument("--records", type=int, default=50_000, help="records to prepare (default: 50000)")
    parser.add_argument("--image-size", type=int, default=64, help="pixels a side (default: 64)")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds (default: 3)")
    parser.add_argument("--table", type=Path, help="markdown file to which a row is added")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    bare, whole = [], []
    with tempfile.TemporaryDirectory() as folder:
        files = write_shards(options.root, Path(folder), options.records)
        for number in range(options.rounds + 1):
            bare.append(time_bare(cores))
            whole.append(time_prepare(files, options.image_size, cores))
            kind = "measured" if number else "not counted"
            print(f"bare {bare[-1]:.2f} s, prepare {whole[-1]:.2f} s ({kind})", flush=True)
    speeds = [options.records / statistics.median(times[1:]) for times in (bare, whole)]
    ratios = [total / only for only, total in zip(bare[1:], whole[1:], strict=True)]
    row = (
        f"| {options.records:,} | {options.image_size} x {options.image_size} | {cores} | {speeds[0]:,.0f} "
        f"| {speeds[1]:,.0f} | {statistics.median(ratios):.2f} |"
    )
    print(f"\nBare decoding: {'simplejpeg' if simplejpeg else 'Pillow'}.\n")
    print("| records | size | cores | bare decoding, images/s | prepare, images/s | ratio (goal 1.5) |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(row)
    if options.table is not None:
        with options.table.open("a") as file:
            file.write(row + "\n")


if __name__ == "__main__":
    main()
