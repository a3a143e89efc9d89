"""The study of a sweep: which trials there are, which comes next, what became of them.

Several workers, on one machine or many, share a study and nothing else. Every trial names its worker and
says now and then that it is alive; one whose worker has gone is marked as failed, and a new one goes on with
it. What is counted towards the number of trials are those that ended by themselves, well or not.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.errors import ConfigurationError
from vedute.files import whole
from vedute.sweep.choosing import make_pruner, make_sampler
from vedute.sweep.plan import Plan, check_plan
from vedute.sweep.signs_of_life import SignsOfLife
from vedute.sweep.storage import Patience
from vedute.sweep.trials import (
    ATTEMPT,
    CONTINUES,
    REASON,
    RUN,
    SECONDS,
    SURPLUS,
    Abandoned,
    Assigned,
    Told,
    Trials,
    counted,
)

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial


_log = logging.getLogger("vedute.sweep")

PLAN, TEXT = "vedute", "vedute_configuration"
"""Where a study keeps what it is about, and its whole configuration."""

_CREATOR_SECONDS = 15.0


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
        created, self._study = self._open(pruner)
        self._trials = Trials(self._study, storage, patience)
        self._signs = SignsOfLife(self._trials, patience, folder / "workers", heartbeat)
        if created or self._join():
            self._describe(text)

    def _open(self, pruner: str) -> tuple[bool, Study]:
        """Return Optuna's study, and whether it is new."""
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
        return created, study

    def _describe(self, text: str) -> None:
        """Note in a new study what it is about; this last, so that others wait for all of it."""
        if self._sampler == "grid":
            for point in self.plan.space.points():
                self._patience(lambda point=point: self._study.enqueue_trial(point, skip_if_exists=True))  # type: ignore[misc]  # a lambda's default
        self._patience(lambda: self._study.set_user_attr(TEXT, text))
        self._patience(lambda: self._study.set_user_attr(PLAN, self.plan.describe()))

    def _join(self) -> bool:
        """Compare the study with the plan; whether it has none and was left by who created it."""
        until = time.monotonic() + _CREATOR_SECONDS
        while True:
            known = self._patience(lambda: self._study.user_attrs).get(PLAN)
            if known is not None:
                break
            if time.monotonic() > until:  # killed between two steps
                others = [trial for trial in self.trials() if trial.state.name != "WAITING"]
                if others:
                    raise ConfigurationError(
                        f"The study '{self.name}' in {self._patience.where} was not made by 'sweep': give "
                        "another --study."
                    )
                return True
            time.sleep(0.2)
        check_plan(self.name, known, self.plan)
        return False

    def trials(self) -> list[FrozenTrial]:
        """Return all trials, as the storage has them now."""
        return self._trials.all()

    def finished(self) -> int:
        """Return how many of the trials that count are over."""
        return sum(counted(trial) and trial.state.is_finished() for trial in self.trials())

    @property
    def study(self) -> Study:
        """Optuna's study."""
        return self._study

    def __enter__(self) -> SweepStudy:
        """Let others see that this worker lives."""
        self._signs.begin()
        self._settle()
        return self

    def __exit__(self, kind: type[BaseException] | None, *args: object) -> None:
        """Say goodbye; after an error the free file tells others that trials may have been left."""
        self._signs.end(well=kind is None)

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
        self._trials.mark(trial._trial_id, self._signs.now())
        own = self._trials.one(trial._trial_id)
        queued = "fixed_params" in own.system_attrs
        # Two workers may have seen room for one more: the later number gives way.
        before = sum(counted(other) and other.number < trial.number for other in self.trials())
        if (total is not None and before >= total) or (self._sampler == "grid" and not queued):
            if self._trials.end(trial._trial_id, {REASON: "not needed", SURPLUS: True}) and queued:
                told = {name: own.user_attrs[name] for name in (ATTEMPT, CONTINUES) if name in own.user_attrs}
                self._trials.queue(own.system_attrs["fixed_params"], told)
            return None
        self._study.sampler = make_sampler(self._sampler, self._seed, trial.number)
        chosen = self._patience(lambda: self.plan.space.suggest(trial))
        return Assigned(trial.number, chosen, trial, own.user_attrs.get(CONTINUES))

    def begun(self, assigned: Assigned, run: str) -> None:
        """Note a running trial's folder, with which another goes on if this one is lost."""
        with suppress(RuntimeError):  # given up by another worker: the next report tells
            self._trials.mark(assigned.trial._trial_id, {RUN: run})

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
            self._trials.note(trial_id, marks)
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
        """Give up a running trial of this worker; another goes on with it later."""
        self._trials.give_up(self._trials.one(assigned.trial._trial_id), reason)

    def beat(self, running: Iterable[Assigned]) -> None:
        """Give a sign of life of the trials that run here, and look after those of others; now and then."""
        self._signs.beat(running)

    def bury(self) -> None:
        """Give up the running trials of workers that have gone."""
        self._signs.bury()
