"""Dotted names of a configuration for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vedute.sweep.space import Stored


def plain(name: str) -> str:
    """Return a name as a person may write it: without the ``init_args`` in between."""
    return ".".join(part for part in name.split(".") if part != "init_args")


def as_text(chosen: Mapping[str, Stored]) -> str:
    """Return values for people, names shortened to what tells them apart."""
    short = short_names(list(chosen))
    return ", ".join(
        f"{short[name]} {value:.4g}" if isinstance(value, float) else f"{short[name]} {value}"
        for name, value in chosen.items()
    )


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return for each dotted name its last parts, as many as make it unique."""
    parts = {name: plain(name).split(".") for name in names}
    short = {}
    for name, own in parts.items():
        count = 1
        while count < len(own) and any(
            other[-count:] == own[-count:] for key, other in parts.items() if key != name
        ):
            count += 1
        short[name] = ".".join(own[-count:])
    return short
