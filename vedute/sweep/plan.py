"""What a study is about: equal for all its workers, and for every command that goes on with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from vedute.errors import ConfigurationError
from vedute.sweep.space import Space


@dataclass(frozen=True)
class Objective:
    """What a sweep looks for.

    Attributes:
        name: A value that validation logs.
        direction: Whether it shall become small or large.
        value: Which of a trial's validations counts: the ``best`` (whose state ``best.ckpt`` can hold) or the
            ``last``.
    """

    name: str
    direction: Literal["minimize", "maximize"]
    value: Literal["best", "last"] = "best"

    def better(self, first: float, second: float) -> bool:
        """Whether ``first`` is better."""
        return first < second if self.direction == "minimize" else first > second

    def of(self, values: Iterable[float]) -> float:
        """Return the value of a trial from those of its validations, at least one."""
        found = list(values)
        if self.value == "last":
            return found[-1]
        return min(found) if self.direction == "minimize" else max(found)


@dataclass(frozen=True)
class Plan:
    """What a study is about, equal for all its workers.

    Attributes:
        objective: What is looked for.
        space: What varies.
        configuration: What does not: plain values of the configuration that decide about results.
    """

    objective: Objective
    space: Space
    configuration: Mapping[str, object]

    def describe(self) -> dict[str, object]:
        """Return it as plain values."""
        plain: dict[str, object] = json.loads(
            json.dumps(
                {
                    "objective": asdict(self.objective),
                    "space": self.space.describe(),
                    "configuration": self.configuration,
                }
            )
        )
        return plain


def check_plan(name: str, known: Mapping[str, object], plan: Plan) -> None:
    """Make sure that a study is about what is asked for.

    Args:
        name: The study's name.
        known: What it is about, as :meth:`Plan.describe` wrote it.
        plan: What is asked for.

    Raises:
        ConfigurationError: It is about something else; the message shows the differences.
    """
    now = plan.describe()
    for part, joint in (("space", " "), ("objective", " "), ("configuration", ".")):
        found = differences(known.get(part), now[part], joint=joint)
        if found:
            more = f"; and {len(found) - 6} more" if len(found) > 6 else ""
            raise ConfigurationError(
                f"The study '{name}' was begun with another {part}: {'; '.join(found[:6])}{more}. Its trials "
                f"cannot be compared with new ones: give the same {part}, or another --study for a new study."
            )


def differences(before: object, now: object, name: str = "", joint: str = " ") -> list[str]:
    """Return how two plain structures differ, a line for each value.

    Args:
        before: Mappings, lists and scalars.
        now: The same, later.
        name: What both are.
        joint: What stands between a name and that of a part of it.
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys: Iterable[str] = dict.fromkeys([*before, *now])
        return [
            line
            for key in keys
            for line in differences(
                before.get(key, _ABSENT),
                now.get(key, _ABSENT),
                f"{name}{joint}{key}" if name else str(key),
                joint,
            )
        ]
    if before == now:
        return []
    if now is _ABSENT:
        return [f"{name} (it was {json.dumps(before)}) is gone"]
    return [
        f"{name} (it is {json.dumps(now)}) is new"
        if before is _ABSENT
        else f"{name} was {json.dumps(before)}, is {json.dumps(now)}"
    ]


_ABSENT = object()
