"""The space of a sweep: which values of a configuration vary, and between what.

A space is a YAML file of dotted names, as options of ``fit`` have them, each with ``low`` and ``high`` (and
``log: true`` or ``step``) or with ``values``; ``when`` makes one depend on another::

    model.optimizer.lr: {low: 1.0e-4, high: 1.0e-2, log: true}
    model.network.latent_size: {values: [32, 64, 128]}
    model.network.encoder_widths:
      values: {narrow: [16, 32, 64], wide: [32, 64, 128]}
      when: {model.network.latent_size: [64, 128]}
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Protocol

import yaml

from vedute.errors import ConfigurationError

Stored = str | int | float
"""A value as the study keeps it: a number of a range, or the label of a choice."""

MOST_GRID = 10_000
_KEYS = ("low", "high", "step", "log", "values", "when")


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


def described(content: Mapping[str, object]) -> Space:
    """Return the space that :meth:`Space.describe` has written down."""
    return parse_space(content, "the study")


def read_space(path: Path) -> Space:
    """Read a space from a YAML file.

    Raises:
        ConfigurationError: There is no such file, or it is no space; the message names the entry.
    """
    if not path.is_file():
        folder = path.parent
        names = [entry.name for entry in folder.glob("*.yaml")] if folder.is_dir() else []
        near = difflib.get_close_matches(path.name, names, n=1)
        raise ConfigurationError(
            f"There is no space {path}." + (f" Did you mean {folder / near[0]}?" if near else "")
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping) or not content:
        raise ConfigurationError(
            f"{path}: a space needs names with what they may be, e.g. "
            "model.optimizer.lr: {low: 1.0e-4, high: 1.0e-2, log: true}"
        )
    return parse_space(content, str(path))


def parse_space(content: Mapping[str, object], source: str) -> Space:
    """Return a space from its plain form.

    Args:
        content: Dotted names with mappings.
        source: What errors name.

    Raises:
        ConfigurationError: An entry is wrong.
    """
    parameters: dict[str, Parameter] = {}
    for name, entry in content.items():
        place = f"{source}: {name}"
        if not isinstance(name, str) or not isinstance(entry, Mapping):
            raise ConfigurationError(f"{place}: expected 'low' and 'high', or 'values', got {entry!r}.")
        unknown = [key for key in entry if key not in _KEYS]
        if unknown:
            near = difflib.get_close_matches(str(unknown[0]), _KEYS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(_KEYS)}."
            raise ConfigurationError(f"{place}: there is no '{unknown[0]}'.{hint}")
        name = name.removeprefix("--")
        domain = _choice(entry, place) if "values" in entry else _range(entry, place)
        parameters[name] = Parameter(name, domain, _conditions(entry.get("when"), parameters, place))
    return Space(list(parameters.values()))


def _choice(entry: Mapping[str, object], place: str) -> Choice:
    extra = [key for key in entry if key not in ("values", "when")]
    if extra:
        raise ConfigurationError(f"{place}: 'values' and '{extra[0]}' exclude each other.")
    given = entry["values"]
    if not isinstance(given, list | Mapping) or not given:
        raise ConfigurationError(f"{place}: 'values' is a list, or labels with values, got {given!r}.")
    if isinstance(given, Mapping):
        return Choice(tuple(map(str, given)), tuple(given.values()))
    labels = [value if isinstance(value, str) else json.dumps(value) for value in given]
    if len(set(labels)) < len(labels):  # 1 and "1", or the same twice
        labels = [json.dumps(value) for value in given]
    if len(set(labels)) < len(labels):
        raise ConfigurationError(f"{place}: a value is given twice.")
    return Choice(tuple(labels), tuple(given))


def _range(entry: Mapping[str, object], place: str) -> Range:
    missing = [key for key in ("low", "high") if key not in entry]
    if missing:
        raise ConfigurationError(f"{place}: '{missing[0]}' is missing ('low' and 'high', or 'values').")
    low, high = (_number(entry[key], place, key) for key in ("low", "high"))
    step = None if entry.get("step") is None else _number(entry["step"], place, "step")
    log = entry.get("log", False)
    if not isinstance(log, bool):
        raise ConfigurationError(f"{place}: 'log' is true or false, got {log!r}.")
    if low >= high:
        raise ConfigurationError(f"{place}: 'low' must be below 'high', got {low:g} and {high:g}.")
    if log and low <= 0:
        raise ConfigurationError(f"{place}: with 'log', 'low' must be above 0, got {low:g}.")
    if step is not None and (step <= 0 or log):
        raise ConfigurationError(
            f"{place}: 'step' and 'log' exclude each other."
            if log
            else f"{place}: 'step' must be above 0, got {step:g}."
        )
    return Range(low, high, step, log)


def _number(value: object, place: str, key: str) -> float:
    if isinstance(value, str):  # YAML reads 1e-4 as a text
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigurationError(f"{place}: '{key}' must be a number, got {value!r}.")
    return value


def _conditions(
    given: object, known: Mapping[str, Parameter], place: str
) -> Mapping[str, tuple[Stored, ...]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{place}: 'when' is a name with its values, got {given!r}.")
    conditions: dict[str, tuple[Stored, ...]] = {}
    for other, allowed in given.items():
        if other not in known:
            near = difflib.get_close_matches(str(other), known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ConfigurationError(f"{place}: 'when' needs a name that stands above, got '{other}'.{hint}")
        domain = known[other].domain
        if not isinstance(domain, Choice):
            raise ConfigurationError(f"{place}: 'when' needs a name with 'values'; {other} is a range.")
        labels = []
        for one in allowed if isinstance(allowed, list) else [allowed]:
            found = [
                label
                for label, value in zip(domain.labels, domain.values, strict=True)
                if one == label or (one == value and isinstance(one, bool) == isinstance(value, bool))
            ]
            if not found:
                raise ConfigurationError(
                    f"{place}: 'when': {other} is never {one!r}; its values: {', '.join(domain.labels)}."
                )
            labels.append(found[0])
        conditions[str(other)] = tuple(labels)
    return conditions


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
