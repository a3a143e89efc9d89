"""``inspect``: what is in a data set, as one page with pictures, as JSON, and as warnings."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vedute.cli.data_arguments import data_parser, split_arguments
from vedute.cli.inference import positive, progress
from vedute.cli.inspect_sources import Found, find_records
from vedute.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from datamodules.base import ImageDataModule
    from vedute.report.findings import Inspected, Scores
    from vedute.report.html import Notice


def main(args: Sequence[str]) -> int:
    """Inspect a data set.

    Args:
        args: The verb's options.

    Returns:
        0, also where records cannot be used.

    Raises:
        VeduteError: The options cannot be used, or there are no data at all.
    """
    from vedute.data.duplicates import LARGEST_DISTANCE

    about_data, others = split_arguments(args)
    given = _options(LARGEST_DISTANCE).parse_args(others)
    if not 0 <= given.near <= LARGEST_DISTANCE:
        raise ConfigurationError(f"--near must lie in 0 to {LARGEST_DISTANCE}, got {given.near}.")
    if given.output.exists() and not given.output.is_dir():
        raise ConfigurationError(f"--output {given.output} is a file; give a folder.")
    # What is broken is listed, so it must not stop the work. Part of the records: none are prepared.
    streamed = [] if given.limit is None else ["--data.residence=stream"]
    start = time.monotonic()
    records = find_records([*about_data, "--data.on_error=skip", *streamed])
    found, problems = _inspected(records, given)
    data = records.data

    from vedute.report.advice import notices
    from vedute.report.findings import find_duplicates
    from vedute.report.inspection_files import write_inspection

    equal, near = find_duplicates(found)
    warnings = [*problems, *notices(found, equal, near, data.preparation().resize)]
    about = {"data": type(data).__name__, "root": str(data.hparams.get("root") or "the painted sample")}
    write_inspection(given.output, about, found, (equal, near), warnings, records.sources, given.seed)
    _show(found, warnings, given.output, time.monotonic() - start)
    return 0


def _options(largest: int) -> argparse.ArgumentParser:
    parser = data_parser(
        "inspect",
        "[--output FOLDER] [--limit N] [--near BITS] [--seed S]",
        "Look at every record of a data set: sizes, formats, balance of classes, scores, masks, unreadable "
        "records, and equal or nearly equal images, above all those in two splits. Writes a page with "
        "pictures, the same as JSON, and a contact sheet for each class.",
        "The first time the data are prepared too, as fit would do: which images a split has depends on "
        "which can be read. With --limit nothing is prepared. The keys of inspection.json are described in "
        "vedute/report/findings.py.",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("inspection"), metavar="FOLDER",
        help="where to write index.html, inspection.json and sheets/ (default: inspection)",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=positive, metavar="N",
        help="look at N records of each shipped part at most, drawn at random (default: at all)",
    )  # fmt: skip
    parser.add_argument(
        "--near", type=int, default=4, metavar="BITS",
        help=f"bits of 64, 0 to {largest}, in which the looks of near duplicates may differ (default: 4)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of everything that is drawn (default: 0)"
    )
    return parser


def _inspected(records: Found, given: argparse.Namespace) -> tuple[Inspected, list[Notice]]:
    """Read everything; where the splits cannot be made, say why and take the parts as shipped."""
    from vedute.data.splits import SPLITS
    from vedute.data.survey import Unreadable, seen_size, survey
    from vedute.report.findings import Inspected
    from vedute.report.html import Notice

    data, sources = records.data, records.sources
    surveys = {}
    with progress("Looking", sum(seen_size(source, given.limit) for source in sources.values())) as advance:
        for part, source in sources.items():
            surveys[part] = survey(source, given.limit, given.seed, advance=advance)
    unreadable = {part: list(one.unreadable) for part, one in surveys.items()}
    problems = [*records.problems]
    splits: dict[str, tuple[str, NDArray[np.int64]]] = {}
    names: list[str] | None = None
    classes: dict[str, NDArray[np.int64]] = {}
    scores: Scores | None = None
    try:
        if records.labelled:
            splits.update({split: data.records(split) for split in SPLITS})
            if data.condition_kind == "class":
                names = data.condition_names
                classes.update({split: data.labels(split) for split in SPLITS})
            elif data.condition_kind == "score":
                scores = _scores(data)
    except DataError as error:
        splits, names, classes = {}, None, {}
        problems.append(
            Notice(
                "error", f"Training cannot use these data as they are: {error} Below, parts are as shipped."
            )
        )
    else:
        for part, prepared in data.prepared().items() if records.labelled else ():
            # In the order of the records, as the lines are.
            left_out = sorted(set(range(surveys[part].total)) - set(prepared.records.tolist()))
            known = {record.number for record in unreadable[part]}
            lines = zip(left_out, prepared.skipped, strict=False)
            unreadable[part] += [Unreadable(number, line) for number, line in lines if number not in known]
            unreadable[part].sort()
    found = Inspected(
        surveys, splits, names, classes, scores, data.image_size, given.near, given.limit, unreadable
    )
    if not len(found.facts):
        first = next((record.message for records in unreadable.values() for record in records), "no records")
        raise DataError(f"None of the records that were looked at can be used. {first}")
    return found, problems


def _scores(data: ImageDataModule) -> Scores:
    """Return the scores of all splits, in the raters' own units; NaN where one is missing."""
    from vedute.data.splits import SPLITS
    from vedute.report.findings import Scores

    values: dict[str, NDArray[np.float64]] = {}
    once: list[NDArray[np.float64]] = []
    seen: dict[str, NDArray[np.int64]] = {}
    for split in SPLITS:
        vectors, missing = data.vectors(split), data.missing(split)
        assert vectors is not None, "scores are vectors"
        scores = vectors.double().numpy() * data.condition_scale + data.condition_mean
        # Undo the rounding of float32 vectors: scores are written with few digits.
        scores = scores.round(4) + 0.0  # no -0
        if missing is not None:
            scores[missing.numpy()] = np.nan
        values[split] = scores
        part, numbers = data.records(split)
        # Where no test split is shipped, val and test are the same images.
        before = seen.get(part, np.zeros(0, dtype=np.int64))
        once.append(scores[~np.isin(numbers, before)])
        seen[part] = np.concatenate([before, numbers])
    return Scores(data.condition_names, values, data.condition_range, np.concatenate(once))


def _show(found: Inspected, warnings: Sequence[Notice], folder: Path, seconds: float) -> None:
    """Print the table, the warnings, and where the page is."""
    from rich.console import Console
    from rich.table import Table

    from vedute.report.html import megabytes
    from vedute.report.inspection_files import PAGE
    from vedute.run_folder import shown

    table = Table(title="Inspected", title_justify="left")
    for name in ("part", "records", "looked at", "cannot be used", "size", "median w x h", "splits"):
        table.add_column(name, justify="left" if name in ("part", "splits") else "right", no_wrap=True)
    for part, survey in found.surveys.items():
        facts = survey.facts
        splits = [f"{split} {len(rows):,}" for split, (own, rows) in found.splits.items() if own == part]
        table.add_row(
            part,
            f"{survey.total:,}",
            f"{survey.seen:,}",
            f"{len(found.unreadable[part]):,}",
            megabytes(float(facts["bytes"].sum())),
            f"{np.median(facts['width']):g} x {np.median(facts['height']):g}" if len(facts) else "-",
            ", ".join(splits) or "-",
        )
    console = Console(highlight=False)
    console.width = max(console.width, 120)  # rich would cut numbers off at the terminal's edge
    console.print(table)
    for notice in sorted(warnings, key=lambda notice: ("error", "warning", "note").index(notice.level)):
        print(f"{notice.level}: {notice.text}")
    broken = sum(map(len, found.unreadable.values()))
    total = sum(survey.seen for survey in found.surveys.values())
    print(
        f"{total:,} records in {seconds:.1f} s; {broken:,} cannot be used. The page is {shown(folder / PAGE)}"
    )
