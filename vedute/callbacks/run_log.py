"""``log.txt`` of a run folder: what happened when, for whoever looks after the terminal is gone."""

from __future__ import annotations

import logging
import platform
import shlex
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

import lightning
import torch
from lightning.pytorch import LightningModule, Trainer

from vedute import __version__
from vedute.callbacks.progress import Lines
from vedute.errors import VeduteError
from vedute.run_folder import is_trial, run_folder

_SOURCES = ("vedute", "lightning.pytorch", "lightning.fabric")
_BYTES, _OLDER = 2_000_000, 3

_only_file = logging.getLogger("vedute_run")
"""For lines that the terminal gets by another way or not at all."""
_only_file.propagate = False
_only_file.setLevel(logging.INFO)


class RunLog(Lines):
    """Writes messages, warnings, a line per epoch and what ended the training, each with its time.

    Every process has a file of its own: ``log.txt``, ``log-rank1.txt``, ... One of 2 MB becomes
    ``log.txt.1`` and so on; three such are kept.
    """

    def __init__(self) -> None:
        """Write nothing yet."""
        super().__init__()
        self._handler: RotatingFileHandler | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Open the file, and say what runs where."""
        if stage != "fit" or is_trial(trainer) or self._handler is not None:
            return
        rank = trainer.global_rank
        path = run_folder(trainer) / ("log.txt" if rank == 0 else f"log-rank{rank}.txt")
        self._open(path)
        versions = f"vedute {__version__}, torch {torch.__version__}, lightning {lightning.__version__}"
        place = f"{platform.node()}, Python {platform.python_version()}, rank {rank} of {trainer.world_size}"
        _only_file.info("%s\n%s; %s", shlex.join(sys.argv), versions, place)

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handler = RotatingFileHandler(path, maxBytes=_BYTES, backupCount=_OLDER, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        for name in (*_SOURCES, _only_file.name):
            logging.getLogger(name).addHandler(self._handler)

    def say(self, line: str) -> None:
        """Write a line of progress."""
        _only_file.info("%s", line)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write down what ended the training, with the place in the code where that is of use."""
        expected = isinstance(exception, (VeduteError, KeyboardInterrupt, SystemExit))
        text = str(exception) or "no message"
        _only_file.error("%s: %s", type(exception).__name__, text, exc_info=None if expected else exception)
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Say how far the training came, and close the file."""
        if stage == "fit":
            steps, epochs = trainer.global_step, trainer.current_epoch
            _only_file.info("The training has ended after %d epochs, %d steps.", epochs, steps)
            self._close()

    def _close(self) -> None:
        if self._handler is None:
            return
        for name in (*_SOURCES, _only_file.name):
            logging.getLogger(name).removeHandler(self._handler)
        self._handler.close()
        self._handler = None
