"""``compare``: several runs beside each other, as a page or as a table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vedute.cli import program
from vedute.cli.inference import VerbParser
from vedute.errors import ConfigurationError

TABLES = ("landscapes",)
"""Tables that can be asked for by name."""

_PAGE = Path("comparison.html")
_ENDINGS = (".html", ".htm")


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

    from vedute.run_folder import shown

    # each once, in order
    folders = [Path(shown(one)) for one in dict.fromkeys(folder.absolute() for folder in given.runs)]
    if given.table is None:
        if given.separate:
            raise ConfigurationError(
                "--separate is about the rows of --table landscapes; the page shows each run on its own. "
                "Leave it out."
            )
        _write_page(folders, given.output or _PAGE)
    else:
        _write_table(folders, given.output or Path(f"{given.table}.md"), given.separate)
    return 0


def _write_page(folders: Sequence[Path], output: Path) -> None:
    if output.suffix.lower() not in _ENDINGS or output.is_dir():
        raise ConfigurationError(
            f"--output {output}: the page is written to a file that ends in .html; tables are for --table."
        )

    from vedute.files import check_place
    from vedute.report.comparison import read_runs
    from vedute.report.comparison_columns import score_columns
    from vedute.report.comparison_page import comparison_page
    from vedute.report.comparison_scores import verdicts
    from vedute.report.html import megabytes
    from vedute.run_folder import shown

    check_place(output)
    comparison = read_runs(folders, program())
    page = comparison_page(comparison)
    command = f"{program()} compare {' '.join(map(str, folders))} --output {output}"
    page.write(output, f"Written by: {command}")
    for line in verdicts(comparison, score_columns(comparison.runs)[0]):
        print(line)
    for notice in comparison.notices:
        print(f"{notice.level}: {notice.text}")
    print(f"Written to {shown(output)} ({megabytes(output.stat().st_size)})")


def _write_table(folders: Sequence[Path], output: Path, separate: bool) -> None:
    from vedute.report.table_files import as_text, check_ending, rich_table

    check_ending(output)

    from rich.console import Console

    from vedute.files import check_place, whole
    from vedute.report.landscape_table import landscape_table
    from vedute.report.run_record import read_run
    from vedute.run_folder import shown

    check_place(output)
    table = landscape_table([read_run(folder) for folder in folders], separate, program())
    with whole(output) as temporary:
        temporary.write_text(as_text(table, output.suffix), encoding="utf-8")
    console = Console(highlight=False)
    # Wide enough for every column: rich would cut numbers off at the terminal's edge.
    console.width = max(console.width, 260)
    console.print(rich_table(table))
    for note in table.notes:
        print(note)
    print(f"Written to {shown(output)}")


def _options() -> argparse.ArgumentParser:
    options = VerbParser(
        prog=f"{program()} compare",
        description="Put several runs beside each other, from what their folders hold: configuration, "
        "checkpoints, metrics.csv, and the evaluation.json and pictures that 'evaluate' writes. Nothing is "
        "computed anew. Writes one page that needs no network: scores with the best of each marked, quality "
        "against training time and size, curves, the same samples of each model, confusion matrices, "
        "differences of configuration. Runs that cannot be used are left out, and named.",
    )
    options.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, e.g. runs/cvae_landscapes/0"
    )
    options.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where to write (default: comparison.html); a table: .md (best values bold), .csv or .json "
        "(default: landscapes.md)",
    )
    options.add_argument(
        "--table",
        choices=TABLES,
        help="a table instead of the page; landscapes: size, cost, losses and quality of each variant, in "
        "the reference system's columns",
    )
    options.add_argument(
        "--separate",
        action="store_true",
        help="in the table, a row for each run; else runs that differ in the seed only share one: mean, "
        "half the range",
    )
    return options
