"""``compare``: several runs beside each other."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vedute.cli import program
from vedute.cli.inference import VerbParser

TABLES = ("landscapes",)
"""Tables that can be asked for by name."""


def main(args: Sequence[str]) -> int:
    """Compare runs.

    Args:
        args: The verb's options.

    Returns:
        0.

    Raises:
        ConfigurationError: A folder is no run, or the runs cannot be compared.
        CheckpointError: A run's checkpoint cannot be used.
        DataError: A file of a run is damaged.
    """
    given = _options().parse_args(list(args))

    from vedute.report.table_files import as_text, check_ending, rich_table

    check_ending(given.output)

    from rich.console import Console

    from vedute.files import check_place, whole
    from vedute.report.landscape_table import landscape_table
    from vedute.report.run_record import read_run
    from vedute.run_folder import shown

    check_place(given.output)
    folders = dict.fromkeys(folder.absolute() for folder in given.runs)  # each once, in order
    table = landscape_table([read_run(Path(shown(folder))) for folder in folders], given.separate, program())
    with whole(given.output) as temporary:
        temporary.write_text(as_text(table, given.output.suffix), encoding="utf-8")
    console = Console(highlight=False)
    # Wide enough for every column: rich would cut numbers off at the terminal's edge.
    console.width = max(console.width, 260)
    console.print(rich_table(table))
    for note in table.notes:
        print(note)
    print(f"Written to {shown(given.output)}")
    return 0


def _options() -> argparse.ArgumentParser:
    options = VerbParser(
        prog=f"{program()} compare",
        description="Put several runs beside each other, from what their folders hold: configuration, "
        "checkpoints, metrics.csv and the evaluation.json that 'evaluate' writes. Nothing is computed anew.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, e.g. runs/cvae_landscapes/0"
    )
    options.add_argument(
        "--table",
        required=True,
        choices=TABLES,
        default=argparse.SUPPRESS,
        help="landscapes: size, cost, losses and quality of each variant, in the reference system's columns",
    )
    options.add_argument(
        "--separate",
        action="store_true",
        help="a row for each run; else runs that differ in the seed only share one: mean, half the range",
    )
    options.add_argument(
        "--output",
        type=Path,
        default=Path("landscapes.md"),
        metavar="FILE",
        help="where to write the table: .md (best values bold), .csv or .json",
    )
    return options
