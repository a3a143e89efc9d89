"""Where scalars go: ``metrics.csv``, TensorBoard, and Weights & Biases when it is chosen.

All three write into the run folder and go on with it when a run is resumed: rows of steps
that will be computed again are dropped, nothing else is.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger
from lightning_utilities.core.rank_zero import rank_zero_only

from vedute.errors import ConfigurationError
from vedute.files import whole
from vedute.run_folder import METRICS


def first_rank() -> bool:
    """Whether this process is the one that writes; known before there is a trainer."""
    return getattr(rank_zero_only, "rank", 0) == 0


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


class RunTensorBoardLogger(TensorBoardLogger):
    """TensorBoard event files in the run folder itself."""

    def __init__(self, folder: Path, kept_step: int | None = None) -> None:
        """Log to ``folder``; TensorBoard hides what it has after ``kept_step``."""
        super().__init__(folder, name="", version="", default_hp_metric=False)
        if kept_step is not None:
            self._kwargs["purge_step"] = kept_step + 1

    @rank_zero_only
    def log_hyperparams(self, *args: object, **kwargs: object) -> None:
        """Do nothing: ``config.yaml`` holds them, and TensorBoard's table needs a final metric."""

    @rank_zero_only
    def save(self) -> None:
        """Write the events out, and not the ``hparams.yaml`` that Lightning's logger adds."""
        if self._experiment is not None:
            self._experiment.flush()


class WeightsAndBiases(WandbLogger):
    """Weights & Biases; ``WANDB_MODE=offline`` keeps everything in the run folder's ``wandb/``.

    Source: https://docs.wandb.ai
    """

    def __init__(
        self,
        project: str = "vedute",
        name: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        log_model: bool = False,
    ) -> None:
        """Choose where the run appears.

        Args:
            project: Project that the run belongs to.
            name: Name of the run; None: the run folder's, e.g. ``cvae_landscapes/0``.
            entity: User or team; None: your default one.
            group: Group of runs.
            tags: Tags of the run.
            log_model: Whether checkpoints are uploaded.
        """
        super().__init__(
            project=project, name=name, log_model=log_model, entity=entity, group=group, tags=tags
        )

    def attach(self, folder: Path, resumed: bool) -> None:
        """Write to a run folder, going on with its W&B run when it is resumed."""
        self._save_dir = self._wandb_init["dir"] = str(folder)
        if self._name is None:
            self._name = self._wandb_init["name"] = f"{folder.parent.name}/{folder.name}"
        self._id_file = folder / "wandb_id.txt"
        if resumed and self._id_file.is_file():
            self._id = self._wandb_init["id"] = self._id_file.read_text(encoding="utf-8").strip()

    @property
    def experiment(self) -> object:
        """The ``wandb`` run.

        Raises:
            ConfigurationError: It cannot start, mostly for want of a login.
        """
        if self._experiment is None and first_rank():
            import wandb

            try:
                run = super().experiment
            except (wandb.errors.Error, OSError) as error:
                raise ConfigurationError(
                    f"Weights & Biases could not start: {error} "
                    "Set WANDB_MODE=offline to log without an account, run 'wandb login' once, "
                    "or leave out configs/with/wandb.yaml."
                ) from error
            self._id_file.write_text(f"{run.id}\n", encoding="utf-8")
        return super().experiment

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the W&B run, so that a second training in this process gets one of its own."""
        if self._experiment is None:
            return
        super().finalize(status)
        self._experiment.finish(exit_code=0 if status == "success" else 1)
        self._experiment = None
