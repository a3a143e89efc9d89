"""The trials of a study as its storage keeps them: what they tell about themselves, how they are given up.

Not here: which trial comes next (``vedute.sweep.study``), which workers have gone
(``vedute.sweep.signs_of_life``), and records for reports (``vedute.sweep.records``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vedute.sweep.space import Stored
from vedute.sweep.storage import Patience

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

REASON, LOST, SURPLUS, RUN, SECONDS, WORKER, HOST, SEEN, ATTEMPT, CONTINUES = (
    *("reason", "lost", "surplus", "run", "seconds", "worker", "host", "seen", "attempt", "continues"),
)
"""What a trial tells about itself."""

_MOST_ATTEMPTS = 3

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
    """A trial that this worker runs.

    Attributes:
        number: Its number.
        chosen: Its values.
        trial: Optuna's trial.
        continues: Run folder of the lost trial that had these values before; None: nobody had.
    """

    number: int
    chosen: dict[str, Stored]
    trial: Trial
    continues: str | None = None


def counted(trial: FrozenTrial) -> bool:
    """Whether a trial is one of those that were asked for: it runs, or has ended by itself."""
    state = trial.state.name
    if state == "FAIL":
        return REASON in trial.user_attrs and not (LOST in trial.user_attrs or SURPLUS in trial.user_attrs)
    return state in ("COMPLETE", "PRUNED", "RUNNING")


class Trials:
    """Reads and marks the trials of a study."""

    def __init__(self, study: Study, storage: BaseStorage, patience: Patience) -> None:
        """Keep what is asked.

        Args:
            study: Optuna's study.
            storage: Where it is kept.
            patience: What asks a storage that does not answer again.
        """
        self._study = study
        self._storage = storage
        self._patience = patience

    def all(self) -> list[FrozenTrial]:
        """Return all trials, as the storage has them now."""
        return self._patience(lambda: self._study.get_trials(deepcopy=False))

    def one(self, trial_id: int) -> FrozenTrial:
        """Return a trial as the storage has it now."""
        return self._patience(lambda: self._storage.get_trial(trial_id))

    def mark(self, trial_id: int, marks: Mapping[str, object]) -> None:
        """Note something about a running trial.

        Raises:
            RuntimeError: It is over already.
        """
        self._patience(lambda: self.note(trial_id, marks))

    def note(self, trial_id: int, marks: Mapping[str, object]) -> None:
        """Do what :meth:`mark` does once, for those who are patient themselves."""
        for name, value in marks.items():
            self._storage.set_trial_user_attr(trial_id, name, value)

    def end(self, trial_id: int, marks: Mapping[str, object]) -> bool:
        """Mark a trial as failed; False: it is over already."""
        from optuna.trial import TrialState

        try:
            self.mark(trial_id, marks)
            return self._patience(lambda: self._storage.set_trial_state_values(trial_id, TrialState.FAIL))
        except RuntimeError:  # Optuna's error for trials that are finished is one
            return False

    def queue(self, values: Mapping[str, Stored], known: Mapping[str, object]) -> None:
        """Queue values, with what the trial that gets them shall know about itself."""
        self._patience(lambda: self._study.enqueue_trial(dict(values), user_attrs=dict(known)))

    def give_up(self, trial: FrozenTrial, reason: str) -> bool:
        """Mark a trial as failed and queue its values again; False: somebody else did."""
        known = trial.user_attrs
        attempt = known.get(ATTEMPT, 1)
        again = attempt < _MOST_ATTEMPTS
        marks: dict[str, object] = {REASON: reason if again else f"{reason}, {attempt} times"}
        if again:
            marks[LOST] = True
        if not self.end(trial._trial_id, marks):
            return False
        values = trial.params or trial.system_attrs.get("fixed_params", {})
        if again and values:
            # One that was lost before it had a folder leaves what it would have gone on with.
            self.queue(values, {ATTEMPT: attempt + 1, CONTINUES: known.get(RUN) or known.get(CONTINUES)})
        return True
