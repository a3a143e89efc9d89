"""Which workers of a study live, and what becomes of the trials of those that have gone."""

from __future__ import annotations

import logging
import socket
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from vedute.sweep.storage import Patience
from vedute.sweep.trials import HOST, SEEN, WORKER, Assigned, Trials

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_log = logging.getLogger("vedute.sweep")
_BEATS = 3  # without a sign of life, a trial's worker has gone


class SignsOfLife:
    """Gives those of one worker, and looks after those of others.

    A worker holds a locked file, which others with the same folder see become free when its process ends; for
    all others its trials say in the study when they were seen last.
    """

    def __init__(self, trials: Trials, patience: Patience, folder: Path, heartbeat: float) -> None:
        """Give this worker a name.

        Args:
            trials: Those of the study.
            patience: What knows whether the storage has been away.
            folder: Of the workers' files.
            heartbeat: Seconds between two signs of life.
        """
        self.worker = f"{socket.gethostname()}-{uuid.uuid4().hex[:12]}"
        self._trials = trials
        self._patience = patience
        self._folder = folder
        self._heartbeat = heartbeat
        self._lock = FileLock(self._file(self.worker))
        self._beaten = 0.0

    def _file(self, worker: str) -> Path:
        return self._folder / f"{worker}.lock"

    def begin(self) -> None:
        """Let others see that this worker lives."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(timeout=10)

    def end(self, well: bool) -> None:
        """Say goodbye; after an error the free file tells others that trials may have been left."""
        self._lock.release()
        if well:
            self._file(self.worker).unlink(missing_ok=True)
            with suppress(OSError):
                self._folder.rmdir()

    def now(self) -> dict[str, object]:
        """Return what a trial of this worker says when it begins."""
        return {WORKER: self.worker, HOST: socket.gethostname(), SEEN: time.time()}

    def beat(self, running: Iterable[Assigned]) -> None:
        """Give a sign of life of the trials that run here, and look after those of others; now and then."""
        now = time.monotonic()
        if now - self._beaten < self._heartbeat:
            return
        self._beaten = now
        for one in running:
            with suppress(RuntimeError):  # given up by another worker: the next report tells
                self._trials.mark(one.trial._trial_id, {SEEN: time.time()})
        self.bury()

    def bury(self) -> None:
        """Give up the running trials of workers that have gone."""
        recovered = self._patience.recovered_at
        if recovered is not None and time.monotonic() - recovered < _BEATS * self._heartbeat:
            return  # while the storage was away nobody could give a sign of life
        files = self._folder.glob("*.lock")
        gone = {file.stem for file in files if file.stem != self.worker and self._gone(file)}
        for trial in self._trials.all():
            worker = trial.user_attrs.get(WORKER, "")
            if trial.state.name != "RUNNING" or worker == self.worker:
                continue
            if worker in gone or self._silent(trial):
                host = trial.user_attrs.get(HOST, "an unknown machine")
                if self._trials.give_up(trial, f"its worker on {host} has gone"):
                    _log.info("Trial %d: its worker on %s has gone; it is run again.", trial.number, host)
        for worker in gone:
            self._file(worker).unlink(missing_ok=True)

    @staticmethod
    def _gone(file: Path) -> bool:
        """Whether a worker in this folder has ended: the file that it held is free."""
        try:
            with FileLock(file, timeout=0):
                return True
        except (Timeout, OSError):
            return False

    def _silent(self, trial: FrozenTrial) -> bool:
        """Whether there was no sign of life for too long."""
        seen = trial.user_attrs.get(SEEN)
        if seen is None:
            start = trial.datetime_start
            silent = 0.0 if start is None else (datetime.now() - start).total_seconds()
        else:
            silent = time.time() - seen
        return silent > _BEATS * self._heartbeat
