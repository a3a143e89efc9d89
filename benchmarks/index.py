"""How long the index of OpenStreetView-5M takes, and how much memory.

    python benchmarks/index.py

Writes metadata of 5,000,000 rows with the archive's kind of columns, and folders of empty files (fewer, for
making them takes far longer than listing them: the time of listing is extrapolated). Each pass runs in a
process of its own, whose peak resident set is printed; beside ours the barest pass that Python offers.
The pass 'match' gets all files of all rows, as if they had been listed: it has the peak of the whole.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vedute.countries import country_names
from vedute.data.street_view_csv import read_rows
from vedute.data.street_view_index import Files, list_files, match

COLUMNS = (
    "id,latitude,longitude,thumb_original_url,country,sequence,captured_at,region,sub-region,city,land_cover"
)
FOLDERS = 100
"""Numbered folders that the archive has."""


def identifiers(rows: int) -> np.ndarray:
    """Return the ids of the photos, (rows,) int64, each once, in no order."""
    random = np.random.default_rng(0)
    return random.permutation(rows) * 1_000_003 + 100_000_000_000_000


def write_metadata(path: Path, rows: int) -> None:
    """Write the CSV file: some coordinates are missing, some cells are quoted."""
    random = np.random.default_rng(1)
    codes = list(country_names())
    countries = random.integers(0, len(codes), rows)
    with path.open("w", encoding="utf-8") as file:
        file.write(COLUMNS + "\n")
        for start in range(0, rows, 100_000):
            piece = slice(start, start + 100_000)
            for photo, country in zip(identifiers_of(piece, rows), countries[piece].tolist(), strict=True):
                place = "46.72422117879277,15.500399119012702" if photo % 3 == 0 else ","
                file.write(
                    f"{photo},{place},,{codes[country]},s{photo % 9973},1541010624{photo % 1000:03d},"
                    f'"Region, {country}",,City,4\n'
                )


_IDS: dict[int, np.ndarray] = {}


def identifiers_of(piece: slice, rows: int) -> list[int]:
    """Return some of the ids."""
    if rows not in _IDS:
        _IDS[rows] = identifiers(rows)
    numbers: list[int] = _IDS[rows][piece].tolist()
    return numbers


def write_files(folder: Path, rows: int, files: int) -> None:
    """Write empty photos of the first rows into folders as full as the archive's."""
    full = max(1, rows // FOLDERS)
    for number, photo in enumerate(identifiers_of(slice(0, files), rows)):
        place = folder / f"{number // full:02d}"
        if number % full == 0:
            place.mkdir(parents=True)
        os.close(os.open(place / f"{photo}.jpg", os.O_CREAT | os.O_WRONLY))


def bare_csv(metadata: Path, _: Path, __: int) -> None:
    """Read all rows, and do nothing with them."""
    with metadata.open(encoding="utf-8", newline="") as file:
        for _row in csv.reader(file):
            pass


def bare_list(_: Path, folder: Path, __: int) -> None:
    """Visit all folders, and do nothing with the files."""
    for place in os.scandir(folder):
        for _entry in os.scandir(place):
            pass


def our_match(metadata: Path, folder: Path, rows: int) -> None:
    """Read the metadata and match them with files that are all there."""
    read = read_rows(metadata)
    ids = np.random.default_rng(2).permutation(identifiers(rows))
    places = np.zeros(rows, dtype=np.uint16)
    (index,) = match([read], Files(folder, ids, places, [(str(folder), ".jpg")], [], 0))
    assert len(index) == rows


PASSES: dict[str, Callable[[Path, Path, int], object]] = {
    "bare csv": bare_csv,
    "read": lambda metadata, _, __: read_rows(metadata),
    "bare scandir": bare_list,
    "list": lambda _, folder, __: list_files(folder),
    "match": our_match,
}


def measure(name: str, metadata: Path, folder: Path, rows: int) -> tuple[float, float]:
    """Return the seconds and the peak resident set, in MB, of a pass in a process of its own."""
    call = [sys.executable, __file__, "--run", name, str(metadata), str(folder), "--rows", str(rows)]
    seconds, peak = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
    return seconds, peak


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000_000, help="photos (default: 5000000)")
    parser.add_argument("--files", type=int, default=200_000, help="files really made (default: 200000)")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        begin = time.perf_counter()
        PASSES[options.run[0]](Path(options.run[1]), Path(options.run[2]), options.rows)
        seconds = time.perf_counter() - begin
        print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        metadata, folder = Path(temporary) / "train.csv", Path(temporary) / "images"
        begin = time.perf_counter()
        write_metadata(metadata, options.rows)
        write_files(folder, options.rows, options.files)
        print(
            f"{options.rows:,} rows, {metadata.stat().st_size / 1e6:,.0f} MB; {options.files:,} files; "
            f"written in {time.perf_counter() - begin:.0f} s\n",
            flush=True,
        )
        print("| pass | things | s | things/s | s for all rows | peak MB |")
        print("| --- | --- | --- | --- | --- | --- |")
        total = 0.0
        for name in PASSES:
            seconds, peak = measure(name, metadata, folder, options.rows)
            things = options.files if name in ("bare scandir", "list") else options.rows
            whole = seconds * options.rows / things
            total += whole if name in ("list", "match") else 0.0
            rate = things / seconds
            print(
                f"| {name} | {things:,} | {seconds:.1f} | {rate:,.0f} | {whole:.1f} | {peak:,.0f} |",
                flush=True,
            )
        print(f"\nThe whole index (list, then read and match): {total:.1f} s for {options.rows:,} photos.")


if __name__ == "__main__":
    main()
