"""The trials of a study as plain records, for reports."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from vedute.errors import ConfigurationError
from vedute.sweep.plan import Objective
from vedute.sweep.space import Space, Stored
from vedute.sweep.space_file import described
from vedute.sweep.study import PLAN, TEXT
from vedute.sweep.trials import HOST, LOST, REASON, RUN, SECONDS, SURPLUS

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

State = Literal["complete", "pruned", "failed", "lost", "running", "waiting"]
STATES: tuple[State, ...] = ("complete", "pruned", "failed", "lost", "running", "waiting")


@dataclass(frozen=True)
class Record:
    """A trial.

    Attributes:
        number: Its number.
        state: How it ended or where it is; ``lost``: its worker has gone, its values were queued again.
        value: Of the objective; of pruned trials that of its validations so far.
        chosen: Its values.
        values: The objective at each validation.
        seconds: How long it took.
        started: When it began.
        host: The machine that it ran on.
        run: Its run folder.
        reason: Why it failed or was pruned.
    """

    number: int
    state: State
    value: float | None
    chosen: dict[str, Stored]
    values: dict[int, float]
    seconds: float | None
    started: datetime | None
    host: str
    run: str | None
    reason: str


@dataclass(frozen=True)
class Sweep:
    """A study, read.

    Attributes:
        name: Its name.
        objective: What it looks for.
        space: What varies.
        text: The configuration that does not, YAML.
        records: Its trials by number, without those that were not needed.
    """

    name: str
    objective: Objective
    space: Space
    text: str
    records: list[Record]

    def of(self, state: State) -> list[Record]:
        """Return the trials of a state."""
        return [record for record in self.records if record.state == state]

    @property
    def best(self) -> Record | None:
        """The best complete trial."""
        best: Record | None = None
        for record in self.of("complete"):
            assert record.value is not None
            if best is None or self.objective.better(record.value, best.value or 0.0):
                best = record
        return best


def read_sweep(study: Study) -> Sweep:
    """Read a study.

    Raises:
        ConfigurationError: It was not made by ``sweep``.
    """
    plan = study.user_attrs.get(PLAN)
    if plan is None:
        raise ConfigurationError(f"The study '{study.study_name}' was not made by 'sweep'.")
    objective = Objective(**plan["objective"])
    records = [
        _record(trial, objective)
        for trial in study.get_trials(deepcopy=False)
        if SURPLUS not in trial.user_attrs
    ]
    text = study.user_attrs.get(TEXT, "")
    return Sweep(study.study_name, objective, described(plan["space"]), text, records)


def _record(trial: FrozenTrial, objective: Objective) -> Record:
    known = trial.user_attrs
    states: dict[str, State] = {
        **{"COMPLETE": "complete", "PRUNED": "pruned", "RUNNING": "running", "WAITING": "waiting"},
        "FAIL": "lost" if LOST in known or REASON not in known else "failed",
    }
    state = states[trial.state.name]
    values = dict(sorted(trial.intermediate_values.items()))
    finite = [value for value in values.values() if abs(value) < float("inf")]
    value = (
        trial.value if state == "complete" else objective.of(finite) if state == "pruned" and finite else None
    )
    chosen = trial.params or trial.system_attrs.get("fixed_params", {})
    return Record(
        *(trial.number, state, value, dict(chosen), values),
        known.get(SECONDS),
        trial.datetime_start,
        known.get(HOST, ""),
        known.get(RUN),
        known.get(REASON, "") if state != "complete" else "",
    )
