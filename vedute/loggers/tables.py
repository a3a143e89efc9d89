"""``metrics.csv``: scalars as a table that a person, a spreadsheet and ``compare`` can read."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from lightning.pytorch.loggers.logger import Logger
from lightning_utilities.core.rank_zero import rank_zero_only

from vedute.files import whole
from vedute.run_folder import METRICS


class RunCSVLogger(Logger):
    """Writes ``metrics.csv``, a row per logging step, each row at once.

    Lightning's own CSV logger deletes the file of a run that is resumed.
    """

    def __init__(self, folder: Path, kept_step: int | None = None) -> None:
        """Open the run's table.

        Args:
            folder: The run folder.
            kept_step: When resuming: rows after this step are dropped, since they will be
                computed again. None: all rows stay.
        """
        super().__init__()
        self.folder = folder
        self.path = folder / METRICS
        self._kept_step = kept_step
        self._columns: list[str] | None = None

    @property
    def name(self) -> str:
        """Lightning's name of the logger: none, the run folder says it all."""
        return ""

    @property
    def version(self) -> str:
        """Lightning's version of the run: none, the run folder says it all."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.folder)

    @property
    def log_dir(self) -> str:
        """The run folder."""
        return str(self.folder)

    @rank_zero_only
    def log_hyperparams(self, *args: object, **kwargs: object) -> None:
        """Do nothing: ``config.yaml`` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a row."""
        row: dict[str, object] = {"step": step, **metrics}
        columns = self._columns if self._columns is not None else self._open()
        new = [name for name in row if name not in columns]
        if new:
            rows = read_metrics(self.path) if self.path.is_file() else []
            columns = ["step", "epoch", *sorted({*columns, *new} - {"step", "epoch"})]
            self._write(columns, rows)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, columns).writerow(row)

    def _open(self) -> list[str]:
        """Return the columns of a table that is continued, without the rows to be repeated."""
        self._columns = []
        if self.path.is_file():
            rows = read_metrics(self.path)
            if self._kept_step is not None:
                rows = [row for row in rows if int(row["step"]) <= self._kept_step]
            if rows:
                self._write(list(rows[0]), rows)
        return self._columns

    def _write(self, columns: list[str], rows: list[dict[str, str]]) -> None:
        self._columns = columns
        with whole(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Read a ``metrics.csv``: one dict of texts per row, empty where a value is not given.

    A last line that a kill cut short is left out.
    """
    with path.open(newline="", encoding="utf-8") as file:
        text = file.read()
    lines = text[: text.rfind("\n") + 1].splitlines()
    rows = list(csv.DictReader(lines))
    return [cast(dict[str, str], row) for row in rows if None not in row and None not in row.values()]
