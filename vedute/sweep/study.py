"""The study of a sweep: which trials there are, which comes next, what became of them.

Several workers, on one machine or many, share a study and nothing else. Every trial names its worker and
says now and then that it is alive; one whose worker has gone is marked as failed and run again. What is
counted towards the number of trials are those that ended by themselves, well or not.
"""

from __future__ import annotations

import json
import logging
import socket
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from filelock import FileLock, Timeout

from vedute.errors import ConfigurationError
from vedute.files import whole
from vedute.sweep.choosing import make_pruner, make_sampler
from vedute.sweep.plan import Plan, check_plan
from vedute.sweep.space import Stored
from vedute.sweep.storage import Patience

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

_log = logging.getLogger("vedute.sweep")

PLAN, TEXT = "vedute", "vedute_configuration"
"""Where a study keeps what it is about, and its whole configuration."""

REASON, LOST, SURPLUS, RUN, SECONDS, WORKER, HOST = (
    *("reason", "lost", "surplus", "run", "seconds", "worker", "host"),
)
"""What a trial tells about itself."""

_SEEN, _ATTEMPT = "seen", "attempt"
_MOST_ATTEMPTS = 3
_BEATS = 3  # without a sign of life, a trial's worker has gone
_CREATOR_SECONDS = 15.0

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Told:
    """What became of a trial.

    Attributes:
        state: How it ended.
        value: Of the objective, of complete ones.
        reason: Why it failed or was pruned.
        run: Its run folder.
        seconds: How long it took.
    """

    state: State
    value: float | None = None
    reason: str = ""
    run: str | None = None
    seconds: float = 0.0


class Abandoned(Exception):
    """Another worker has taken a trial for dead and given it up."""


@dataclass(frozen=True)
class Assigned:
    """A trial that this worker runs: its number and its values."""

    number: int
    chosen: dict[str, Stored]
    trial: Trial


def counted(trial: FrozenTrial) -> bool:
    """Whether a trial is one of those that were asked for: it runs, or has ended by itself."""
    state = trial.state.name
    if state == "FAIL":
        return REASON in trial.user_attrs and not (LOST in trial.user_attrs or SURPLUS in trial.user_attrs)
    return state in ("COMPLETE", "PRUNED", "RUNNING")


class SweepStudy:
    """A worker's view of the study."""

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        plan: Plan,
        patience: Patience,
        folder: Path,
        sampler: str = "tpe",
        pruner: str = "none",
        seed: int = 0,
        heartbeat: float = 60.0,
        text: str = "",
    ) -> None:
        """Create the study, or join it.

        Args:
            storage: Where it is kept.
            name: Its name there.
            plan: What it is about.
            patience: What asks a storage that does not answer again.
            folder: The sweep's folder.
            sampler: How values are chosen: one of :data:`SAMPLERS`.
            pruner: How hopeless trials are found: one of :data:`PRUNERS`.
            seed: Of the choice of values.
            heartbeat: Seconds between two signs of life.
            text: The whole configuration without what varies, kept in the study for reports.

        Raises:
            ConfigurationError: The study is about something else.
            StorageLost: The storage does not answer.
        """
        self.name = name
        self.plan = plan
        self.heartbeat = heartbeat
        self._storage = storage
        self._patience = patience
        self._folder = folder
        self._sampler, self._seed = sampler, seed
        self._worker = f"{socket.gethostname()}-{uuid.uuid4().hex[:12]}"
        self._lock = FileLock(self._lock_file(self._worker))
        self._beaten = 0.0
        self._text = text
        self._study = self._open(pruner)

    def _open(self, pruner: str) -> Study:
        import optuna

        def create() -> bool:
            try:
                optuna.create_study(
                    storage=self._storage, study_name=self.name, direction=self.plan.objective.direction
                )
            except optuna.exceptions.DuplicatedStudyError:
                return False
            return True

        created = self._patience(create)
        study = self._patience(
            lambda: optuna.load_study(
                study_name=self.name,
                storage=self._storage,
                sampler=make_sampler(self._sampler, self._seed, 0),
                pruner=make_pruner(pruner),
            )
        )
        if not created:
            created = self._join(study)
        if created:
            if self._sampler == "grid":
                for point in self.plan.space.points():
                    self._patience(lambda point=point: study.enqueue_trial(point, skip_if_exists=True))  # type: ignore[misc]  # a lambda's default
            self._patience(lambda: study.set_user_attr(TEXT, self._text))
            self._patience(lambda: study.set_user_attr(PLAN, self.plan.describe()))
        return study

    def _join(self, study: Study) -> bool:
        """Compare the study with the plan; whether it has none and was left by who created it."""
        until = time.monotonic() + _CREATOR_SECONDS
        while True:
            known = self._patience(lambda: study.user_attrs).get(PLAN)
            if known is not None:
                break
            if time.monotonic() > until:  # killed between two steps
                others = [trial for trial in self.trials(study) if trial.state.name != "WAITING"]
                if others:
                    raise ConfigurationError(
                        f"The study '{self.name}' in {self._patience.where} was not made by 'sweep': give "
                        "another --study."
                    )
                return True
            time.sleep(0.2)
        check_plan(self.name, known, self.plan)
        return False

    def _lock_file(self, worker: str) -> Path:
        return self._folder / "workers" / f"{worker}.lock"

    def trials(self, study: Study | None = None) -> list[FrozenTrial]:
        """Return all trials, as the storage has them now."""
        asked = study or self._study
        return self._patience(lambda: asked.get_trials(deepcopy=False))

    def finished(self) -> int:
        """Return how many of the trials that count are over."""
        return sum(counted(trial) and trial.state.is_finished() for trial in self.trials())

    @property
    def study(self) -> Study:
        """Optuna's study."""
        return self._study

    def __enter__(self) -> SweepStudy:
        """Let others see that this worker lives."""
        self._lock_file(self._worker).parent.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(timeout=10)
        self._settle()
        return self

    def __exit__(self, kind: type[BaseException] | None, *args: object) -> None:
        """Say goodbye; after an error the free file tells others that trials may have been left."""
        self._lock.release()
        if kind is None:
            self._lock_file(self._worker).unlink(missing_ok=True)
            with suppress(OSError):
                self._lock_file(self._worker).parent.rmdir()

    def next(self, total: int | None) -> Assigned | None:
        """Take the next trial.

        Args:
            total: How many trials the study shall have; None: as many as the grid has.

        Returns:
            The trial; None when there are enough.
        """
        known = self.trials()
        if total is not None and sum(map(counted, known)) >= total:
            return None
        if self._sampler == "grid" and not any(trial.state.name == "WAITING" for trial in known):
            return None
        trial = self._patience(self._study.ask)
        self._mark(trial._trial_id, {WORKER: self._worker, HOST: socket.gethostname(), _SEEN: time.time()})
        own = self._patience(lambda: self._storage.get_trial(trial._trial_id))
        queued = "fixed_params" in own.system_attrs
        # Two workers may have seen room for one more: the later number gives way.
        before = sum(counted(other) and other.number < trial.number for other in self.trials())
        if (total is not None and before >= total) or (self._sampler == "grid" and not queued):
            if self._end(trial._trial_id, {REASON: "not needed", SURPLUS: True}) and queued:
                self._queue(own.system_attrs["fixed_params"], own.user_attrs.get(_ATTEMPT, 1))
            return None
        self._study.sampler = make_sampler(self._sampler, self._seed, trial.number)
        chosen = self._patience(lambda: self.plan.space.suggest(trial))
        return Assigned(trial.number, chosen, trial)

    def report(self, assigned: Assigned, step: int, value: float) -> bool:
        """Note a value of a running trial; return whether it shall end because it is hopeless.

        Raises:
            Abandoned: It is not this worker's any more.
        """
        try:
            self._patience(lambda: assigned.trial.report(value, step))
        except RuntimeError as error:  # Optuna's error for trials that are finished is one
            raise Abandoned from error
        return self._patience(assigned.trial.should_prune)

    def finish(self, number: int, told: Told, tell: bool = True) -> bool:
        """Note how a trial ended; kept in a file until the storage has it.

        Args:
            number: The trial's number.
            told: How it ended.
            tell: Whether the storage is told now, or by the next command (when it is lost).

        Returns:
            Whether it was still this worker's.
        """
        file = self._folder / "untold" / f"{self.name}-{number}.json"
        with whole(file) as temporary:
            temporary.write_text(json.dumps({"study": self.name, "number": number, **asdict(told)}))
        if not tell:
            return True
        noted = self._patience(lambda: self._tell(number, told))
        file.unlink(missing_ok=True)
        with suppress(OSError):
            file.parent.rmdir()
        return noted

    def _tell(self, number: int, told: Told) -> bool:
        """Tell the storage; False: the trial is over already."""
        import optuna

        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
        if self._storage.get_trial(trial_id).state.is_finished():
            return False
        marks = {RUN: told.run, SECONDS: told.seconds}
        if told.state != "complete":
            marks[REASON] = told.reason
        states = optuna.trial.TrialState
        state = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[told.state]
        try:
            self._set(trial_id, marks)
            self._study.tell(number, told.value if told.state == "complete" else None, state=state)
        except (RuntimeError, ValueError):
            if not self._storage.get_trial(trial_id).state.is_finished():
                raise
        return True

    def _settle(self) -> None:
        """Tell what a worker in this folder could not tell any more."""
        for file in sorted((self._folder / "untold").glob("*.json")):
            try:
                content = json.loads(file.read_text(encoding="utf-8"))
                if content.pop("study") != self.name:
                    continue
                number, told = content.pop("number"), Told(**content)
            except (ValueError, KeyError, TypeError):
                _log.warning("%s cannot be read and is left out.", file)
                continue
            if self._patience(lambda number=number, told=told: self._tell(number, told)):  # type: ignore[misc]  # a lambda's default
                _log.info("Trial %d: %s, noted from %s.", number, told.state, file)
            file.unlink(missing_ok=True)

    def withdraw(self, assigned: Assigned, reason: str) -> None:
        """Give up a running trial of this worker; it is run again later."""
        trial = self._patience(lambda: self._storage.get_trial(assigned.trial._trial_id))
        self._give_up(trial, reason)

    def beat(self, running: Iterable[Assigned]) -> None:
        """Give a sign of life of the trials that run here, and look after those of others; now and then."""
        now = time.monotonic()
        if now - self._beaten < self.heartbeat:
            return
        self._beaten = now
        for one in running:
            with suppress(RuntimeError):  # given up by another worker: the next report tells
                self._mark(one.trial._trial_id, {_SEEN: time.time()})
        self.bury()

    def bury(self) -> None:
        """Give up the running trials of workers that have gone."""
        recovered = self._patience.recovered_at
        if recovered is not None and time.monotonic() - recovered < _BEATS * self.heartbeat:
            return  # while the storage was away nobody could give a sign of life
        files = self._lock_file(self._worker).parent.glob("*.lock")
        gone = {file.stem for file in files if file.stem != self._worker and self._gone(file)}
        for trial in self.trials():
            worker = trial.user_attrs.get(WORKER, "")
            if trial.state.name != "RUNNING" or worker == self._worker:
                continue
            if worker in gone or self._silent(trial):
                host = trial.user_attrs.get(HOST, "an unknown machine")
                if self._give_up(trial, f"its worker on {host} has gone"):
                    _log.info("Trial %d: its worker on %s has gone; it is run again.", trial.number, host)
        for worker in gone:
            self._lock_file(worker).unlink(missing_ok=True)

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
        seen = trial.user_attrs.get(_SEEN)
        if seen is None:
            start = trial.datetime_start
            silent = 0.0 if start is None else (datetime.now() - start).total_seconds()
        else:
            silent = time.time() - seen
        return silent > _BEATS * self.heartbeat

    def _give_up(self, trial: FrozenTrial, reason: str) -> bool:
        """Mark a trial as failed and queue its values again; False: somebody else did."""
        attempt = trial.user_attrs.get(_ATTEMPT, 1)
        again = attempt < _MOST_ATTEMPTS
        marks: dict[str, object] = {REASON: reason if again else f"{reason}, {attempt} times"}
        if again:
            marks[LOST] = True
        if not self._end(trial._trial_id, marks):
            return False
        values = trial.params or trial.system_attrs.get("fixed_params", {})
        if again and values:
            self._queue(values, attempt + 1)
        return True

    def _queue(self, values: Mapping[str, Stored], attempt: int) -> None:
        self._patience(lambda: self._study.enqueue_trial(dict(values), user_attrs={_ATTEMPT: attempt}))

    def _end(self, trial_id: int, marks: Mapping[str, object]) -> bool:
        """Mark a trial as failed; False: it is over already."""
        from optuna.trial import TrialState

        try:
            self._mark(trial_id, marks)
            return self._patience(lambda: self._storage.set_trial_state_values(trial_id, TrialState.FAIL))
        except RuntimeError:  # Optuna's error for trials that are finished is one
            return False

    def _mark(self, trial_id: int, marks: Mapping[str, object]) -> None:
        self._patience(lambda: self._set(trial_id, marks))

    def _set(self, trial_id: int, marks: Mapping[str, object]) -> None:
        for name, value in marks.items():
            self._storage.set_trial_user_attr(trial_id, name, value)
