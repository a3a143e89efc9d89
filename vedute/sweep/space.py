"""The space of a sweep: which values of a configuration vary, and between what.

Here: what a space is. Not here: how it is written down (``vedute.sweep.space_file``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Protocol

from vedute.errors import ConfigurationError

Stored = str | int | float
"""A value as the study keeps it: a number of a range, or the label of a choice."""

MOST_GRID = 10_000


class Suggests(Protocol):
    """What draws values: a trial of Optuna."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a number."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return a whole number."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Return one of some labels."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole numbers if both are."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return all(isinstance(end, int) for end in (self.low, self.high, self.step or 1))

    def suggest(self, trial: Suggests, name: str) -> Stored:
        """Draw a number."""
        if self.whole:
            return trial.suggest_int(
                name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log
            )
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def value(self, stored: Stored) -> object:
        """Return the number itself."""
        return stored

    def samples(self) -> list[Stored]:
        """Return the ends, which are what a parser may refuse."""
        return [self.low, self.high]

    def grid(self, name: str) -> list[Stored]:
        """Return all numbers.

        Raises:
            ConfigurationError: There is no step between them.
        """
        if self.log or (self.step is None and not self.whole):
            raise ConfigurationError(
                f"{name}: a grid needs points: give 'values', or 'low', 'high' and 'step' without 'log'."
            )
        step = self.step or 1
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return [self.low + step * number for number in range(count)]

    def describe(self) -> dict[str, object]:
        """Return what the study remembers."""
        return {"low": self.low, "high": self.high, "step": self.step, "log": self.log}


@dataclass(frozen=True)
class Choice:
    """Some values, each with a label."""

    labels: tuple[str, ...]
    values: tuple[object, ...]

    def suggest(self, trial: Suggests, name: str) -> Stored:
        """Draw a label."""
        return trial.suggest_categorical(name, self.labels)

    def value(self, stored: Stored) -> object:
        """Return the value of a label."""
        return self.values[self.labels.index(str(stored))]

    def samples(self) -> list[Stored]:
        """Return all labels."""
        return list(self.labels)

    def grid(self, name: str) -> list[Stored]:
        """Return all labels."""
        return list(self.labels)

    def describe(self) -> dict[str, object]:
        """Return what the study remembers."""
        return {"values": dict(zip(self.labels, self.values, strict=True))}


@dataclass(frozen=True)
class Parameter:
    """One name of a space.

    Attributes:
        name: The option of ``fit``, without its dashes.
        domain: What it may be.
        when: Names of other parameters, each with the labels that it must have; else this one keeps the
            configuration's value.
    """

    name: str
    domain: Range | Choice
    when: Mapping[str, tuple[Stored, ...]] = field(default_factory=dict)

    def applies(self, chosen: Mapping[str, Stored]) -> bool:
        """Whether it varies beside these values."""
        return all(other in chosen and chosen[other] in allowed for other, allowed in self.when.items())


class Space:
    """The parameters of a sweep, those first that others depend on."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        """Keep them."""
        self.parameters = tuple(parameters)

    @property
    def names(self) -> list[str]:
        """The dotted names."""
        return [parameter.name for parameter in self.parameters]

    def suggest(self, trial: Suggests) -> dict[str, Stored]:
        """Draw a value for each parameter that applies."""
        chosen: dict[str, Stored] = {}
        for parameter in self.parameters:
            if parameter.applies(chosen):
                chosen[parameter.name] = parameter.domain.suggest(trial, parameter.name)
        return chosen

    def options(self, chosen: Mapping[str, Stored]) -> list[str]:
        """Return values as options of ``fit``."""
        return [
            f"--{parameter.name}={as_option(parameter.domain.value(chosen[parameter.name]))}"
            for parameter in self.parameters
            if parameter.name in chosen
        ]

    def points(self) -> list[dict[str, Stored]]:
        """Return all points of the grid.

        Raises:
            ConfigurationError: A range has no step, or there are too many.
        """
        sides = [(parameter, parameter.domain.grid(parameter.name)) for parameter in self.parameters]
        if math.prod(len(side) for _, side in sides) > MOST_GRID:
            raise ConfigurationError(
                f"The grid has {math.prod(len(side) for _, side in sides):,} points, at most {MOST_GRID:,} "
                "are possible: take values out, or use --sampler tpe."
            )
        found: dict[str, dict[str, Stored]] = {}
        for values in product(*(side for _, side in sides)):
            chosen: dict[str, Stored] = {}
            for (parameter, _), value in zip(sides, values, strict=True):
                if parameter.applies(chosen):
                    chosen[parameter.name] = value
            # what does not apply makes points equal
            found.setdefault(json.dumps(chosen), chosen)
        return list(found.values())

    def probes(self) -> Iterator[tuple[str, dict[str, Stored]]]:
        """Yield values that show whether a parser takes the space: each end and each choice once.

        Yields:
            The name that is tried, and values: its own, and what it depends on.
        """
        by_name = {parameter.name: parameter for parameter in self.parameters}
        for parameter in self.parameters:
            for sample in parameter.domain.samples():
                needed: dict[str, Stored] = {}
                waiting = [parameter]
                while waiting:
                    for other, allowed in waiting.pop().when.items():
                        needed[other] = allowed[0]
                        waiting.append(by_name[other])
                yield parameter.name, {**needed, parameter.name: sample}

    def describe(self) -> dict[str, object]:
        """Return what the study remembers: plain values."""
        return {
            parameter.name: {
                **parameter.domain.describe(),
                **({"when": {k: list(v) for k, v in parameter.when.items()}} if parameter.when else {}),
            }
            for parameter in self.parameters
        }


def as_option(value: object) -> str:
    """Return a value as a person types it on the command line."""
    if isinstance(value, str):
        return value
    text = json.dumps(value)
    # 1e-05 is a text in YAML 1.1, which knows exponents behind a point only
    return (
        text.replace("e", ".0e", 1) if isinstance(value, float) and "e" in text and "." not in text else text
    )
