"""Settings in which runs differ, as flat names and short texts."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from vedute.report.run_record import RunRecord

_ALWAYS_LAST = (
    *("seed_everything", "seed", "ckpt_path", "root", "default_root_dir", "logger", "weights_dir"),
    *("num_workers", "devices", "accelerator", "enable_progress_bar"),
)
"""Last parts of names of seeds, places and machines: they say nothing about the model."""

_REPEATS_DIFFER = ("seed_everything", "ckpt_path", "trainer.default_root_dir")
_OFF = ("none", "no", "0", "[]", "{}")


class Difference(NamedTuple):
    """A setting, and what each run has; None: the run has no such setting."""

    name: str
    values: list[str | None]


def differences(runs: Sequence[RunRecord]) -> tuple[list[Difference], list[Difference]]:
    """Return the settings that are not equal in all runs; seeds and places last.

    Returns:
        Those in which runs differ; and those of parts that only some runs have, where all that have the part
        agree.
    """
    flat = [flattened(run.configured) for run in runs]
    names = dict.fromkeys(name for one in flat for name in one)
    found = [Difference(name, [one.get(name) for one in flat]) for name in names]
    differing = sorted(
        (one for one in found if len(set(one.values)) > 1),
        key=lambda one: (_is_last(one.name), _kind(one.name), one.name),
    )
    known = {one.name for one in differing}
    inner = [one for one in differing if len(set(one.values) - {None}) == 1 and _part(one.name, known)]
    return [one for one in differing if one not in inner], inner


def repeats(one: RunRecord, other: RunRecord) -> bool:
    """Whether two runs of one configuration differ in nothing but seed and places.

    An option that one of them does not have (its version of the program had none) and that is switched off
    in the other is no difference.
    """
    first, second = flattened(one.configured), flattened(other.configured)
    for name in first.keys() | second.keys():
        if name in _REPEATS_DIFFER or name.startswith("trainer.logger"):
            continue
        mine, others = first.get(name), second.get(name)
        lacking = mine is None or others is None
        if mine != others and not (lacking and (mine or others) in _OFF):
            return False
    return one.configuration == other.configuration


def _part(name: str, known: Collection[str]) -> bool:
    """Whether a setting belongs to a part that differs itself."""
    pieces = name.split(".")
    return any(".".join(pieces[:end]) in known for end in range(1, len(pieces)))


def flattened(settings: Mapping[str, object]) -> dict[str, str]:
    """Return nested settings under dotted names.

    A part that is a class with arguments stands under its own name with the class's name as its value; a
    list of such parts with their names, and their arguments by name: ``trainer.callbacks.EMA.decay``.
    """
    found: dict[str, str] = {}
    for name, value in settings.items():
        _flatten(str(name), value, found)
    return found


def _flatten(name: str, value: object, found: dict[str, str]) -> None:
    if isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
        found[name] = _short(value["class_path"])
        _flatten_all(name, value.get("init_args"), found)
    elif isinstance(value, Mapping) and value:
        _flatten_all(name, value, found)
    elif isinstance(value, list) and value and all(_is_class(one) for one in value):
        titles = [_short(one["class_path"]) for one in value]
        found[name] = ", ".join(titles)
        for place, (title, one) in enumerate(zip(titles, value, strict=True)):
            again = titles[:place].count(title)
            own = f"{name}.{title} ({again + 1})" if again else f"{name}.{title}"
            _flatten_all(own, one.get("init_args"), found)
    else:
        found[name] = _text(value)


def _flatten_all(name: str, values: object, found: dict[str, str]) -> None:
    if isinstance(values, Mapping):
        for key, value in values.items():
            _flatten(f"{name}.{key}", value, found)


def _is_class(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("class_path"), str)


def _short(class_path: object) -> str:
    return str(class_path).rpartition(".")[2]


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str | int):
        return str(value)
    return json.dumps(value, default=str)


def _is_last(name: str) -> bool:
    return name.rpartition(".")[2] in _ALWAYS_LAST or ".logger" in name


def _kind(name: str) -> int:
    """Return where a part of the configuration stands: the model first."""
    order = ("model", "data", "budget", "checkpoint", "trainer")
    part = name.partition(".")[0]
    return order.index(part) if part in order else len(order)
