"""How a space is written down.

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
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import yaml

from vedute.errors import ConfigurationError, similar_file
from vedute.sweep.space import Choice, Parameter, Range, Space, Stored

_KEYS = ("low", "high", "step", "log", "values", "when")


def described(content: Mapping[str, object]) -> Space:
    """Return the space that :meth:`Space.describe` has written down."""
    return parse_space(content, "the study")


def read_space(path: Path) -> Space:
    """Read a space from a YAML file.

    Raises:
        ConfigurationError: There is no such file, or it is no space; the message names the entry.
    """
    if not path.is_file():
        raise ConfigurationError(f"There is no space {path}.{similar_file(path)}")
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
