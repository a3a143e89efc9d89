"""Run folders: ``runs/<name of the configuration>/<n>/``.

A run folder holds ``config.yaml``, ``checkpoints/{last,best}.ckpt``, ``metrics.csv``, event
files of TensorBoard, ``log.txt`` and ``samples/*.png``. Nothing here deletes a run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

RUNS = "runs"
CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
METRICS = "metrics.csv"
"""What a run logs."""

ENVIRONMENT = "VEDUTE_RUN_FOLDER"
"""Tells the processes that the first rank launches which folder it chose."""


def run_name(config: Path) -> str:
    """Return the name of a configuration's runs: its stem.

    The ``config.yaml`` that a run folder holds has the name of that run's configuration.
    """
    folder = config.absolute().parent
    if config.name == CONFIG and folder.name.isdigit() and folder.parent.parent.name == RUNS:
        return folder.parent.name
    return config.stem


def run_folders(root: Path, name: str) -> list[Path]:
    """Return the run folders of one configuration, oldest first."""
    parent = root / RUNS / name
    if not parent.is_dir():
        return []
    return sorted((path for path in parent.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


def next_run_folder(root: Path, name: str) -> Path:
    """Create and return the next run folder; two processes never get the same one."""
    existing = run_folders(root, name)
    number = int(existing[-1].name) + 1 if existing else 0
    while True:
        folder = root / RUNS / name / str(number)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def newest_checkpoint(root: Path, name: str, which: str) -> Path | None:
    """Return ``last`` or ``best`` of the newest run that has one; None when there is none."""
    for folder in reversed(run_folders(root, name)):
        checkpoint = folder / CHECKPOINTS / f"{which}.ckpt"
        if checkpoint.is_file():
            return checkpoint
    return None


def folder_of_checkpoint(checkpoint: Path) -> Path:
    """Return the run folder a checkpoint lies in; its own folder when it was taken elsewhere."""
    parent = checkpoint.absolute().parent
    return parent.parent if parent.name == CHECKPOINTS else parent


def shown(path: Path) -> str:
    """Return a path as a person in the current folder would type it."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


class RunFolder(Callback):
    """Knows the run's folder, on every rank; writes the run's configuration there and to the loggers."""

    def __init__(self, path: Path | None, config: str | None = None) -> None:
        """Keep the folder.

        Args:
            path: The folder; None on ranks that are told by the first one.
            config: Text of the run's configuration, written when training starts; None: not
                written.
        """
        self.path = path
        self._config = config

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Agree on the folder and write the configuration."""
        path = trainer.strategy.broadcast(self.path)
        assert path is not None, "the first rank knows the folder"
        self.path = path
        if self._config is not None and trainer.is_global_zero:
            write_config(self.path / CONFIG, self._config)
            for logger in trainer.loggers:
                logger.log_hyperparams(yaml.safe_load(self._config))


def write_config(path: Path, text: str) -> None:
    """Write a run's configuration; one that differs is kept beside it, numbered."""
    if path.is_file():
        old = path.read_text(encoding="utf-8")
        if old == text:
            return
        number = len(list(path.parent.glob(f"{path.stem}-before-*{path.suffix}")))
        path.rename(path.with_name(f"{path.stem}-before-{number}{path.suffix}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def is_trial(trainer: Trainer) -> bool:
    """Whether this is a ``fast_dev_run``, which leaves nothing behind."""
    return bool(getattr(trainer, "fast_dev_run", False))


def run_folder(trainer: Trainer) -> Path:
    """Return the folder that this run writes to.

    A trainer that was not made by the command line has its first logger's folder, else its
    ``default_root_dir``.
    """
    for callback in getattr(trainer, "callbacks", ()):
        if isinstance(callback, RunFolder) and callback.path is not None:
            return callback.path
    return Path(trainer.log_dir or trainer.default_root_dir)


@contextmanager
def announced(folder: Path | None) -> Iterator[None]:
    """Tell processes launched inside the block which folder was chosen."""
    if folder is None:
        yield
        return
    before = os.environ.get(ENVIRONMENT)
    os.environ[ENVIRONMENT] = str(folder)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(ENVIRONMENT, None)
        else:
            os.environ[ENVIRONMENT] = before
