"""``prepare``: decode a data set once into the cache, and say what that took."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.cli.data_arguments import build_data, data_parser, split_arguments
from vedute.errors import ConfigurationError
from vedute.files import cache_folder
from vedute.report.html import megabytes

if TYPE_CHECKING:
    from datamodules.base import ImageDataModule
    from vedute.data.prepared import PreparedImages

_LISTED = 5


def main(args: Sequence[str]) -> int:
    """Fill the cache.

    Args:
        args: The verb's options.

    Returns:
        0.

    Raises:
        VeduteError: The options or the data cannot be used.
    """
    about_data, others = split_arguments(args)
    parser = data_parser(
        "prepare",
        "",
        "Decode the images of a data set once, so that training reads them at the speed of memory. Training "
        "would do the same when it starts.",
    )
    parser.parse_args(others)
    data = build_data("prepare", about_data)
    before = _stamps()
    if data.hparams["root"] is None:
        data.paint_sample()  # not part of the speed that is told
    begin = time.monotonic()
    data.prepare_data()
    seconds = time.monotonic() - begin
    prepared = data.prepared()
    if not prepared:
        raise ConfigurationError(
            "These data are decoded while training (data.residence is 'stream'): there is nothing to prepare."
        )
    now = _stamps()
    fresh = {part for part, images in prepared.items() if before.get(images.folder) != now[images.folder]}
    _report(data, prepared, fresh, seconds)
    return 0


def _report(
    data: ImageDataModule, prepared: Mapping[str, PreparedImages], fresh: set[str], seconds: float
) -> None:
    from rich.console import Console
    from rich.table import Table

    from vedute.data.splits import SPLITS

    console = Console(highlight=False)
    console.width = max(console.width, 120)  # rich would cut numbers off at the terminal's edge
    table = Table(title="Prepared images", title_justify="left")
    for name in ("part", "images", "size", "on disk", "left out", "state"):
        table.add_column(name, justify="left" if name in ("part", "state") else "right", no_wrap=True)
    for part, images in prepared.items():
        height, width, channels = images.shape[1:]
        table.add_row(
            part,
            f"{len(images):,}",
            f"{height} x {width} x {channels}",
            megabytes(_folder_bytes(images.folder)),
            f"{len(images.skipped):,}",
            "prepared now" if part in fresh else "was there already",
        )
    console.print(table)
    for part, images in prepared.items():
        print(f"{part}: {images.folder}")
        for line in images.skipped[:_LISTED]:
            print(f"  left out: {line}")
        if len(images.skipped) > _LISTED:
            print(f"  and {len(images.skipped) - _LISTED:,} more: all are listed in manifest.json there")
        if images.unclear_masks:
            print(f"  {images.unclear_masks:,} masks have more than two values and were cut in the middle")
    splits = [f"{split} {data.size(split):,} (of {data.records(split)[0]})" for split in SPLITS]
    print(f"Splits: {', '.join(splits)}")
    if fresh:
        count = sum(len(prepared[part]) + len(prepared[part].skipped) for part in fresh)
        print(f"Prepared {count:,} images in {seconds:.1f} s: {count / max(seconds, 1e-6):,.0f} images/s")
    else:
        print("Everything was prepared already: nothing was done. It is done anew when the data change.")


def _stamps() -> dict[Path, int]:
    """Return when each prepared cache was written."""
    folders = (cache_folder() / "prepared").glob("[!.]*/")
    return {folder: folder.stat().st_mtime_ns for folder in folders}


def _folder_bytes(folder: Path) -> int:
    """Return the bytes of the files in a folder."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
