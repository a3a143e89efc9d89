"""Conditions as a person writes them: ``coast``, ``coast=0.7,mountain=0.3``, ``Moira=9``."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vedute.batch import ConditionKind
from vedute.countries import country_name
from vedute.errors import ConditionError


def match_name(name: str, names: Sequence[str]) -> int:
    """Return the position of ``name`` in ``names``, whatever the case.

    Where the names are countries, ISO codes and usual variants are understood as well.

    Raises:
        ConditionError: There is none; the message suggests the nearest and lists the first few.
    """
    folded = [known.casefold() for known in names]
    wanted = name.strip().casefold()
    if wanted in folded:
        return folded.index(wanted)
    country = country_name(name)
    if country is not None and country.casefold() in folded:
        return folded.index(country.casefold())
    near = difflib.get_close_matches(wanted, folded, n=1, cutoff=0.5)
    hint = f" Did you mean '{names[folded.index(near[0])]}'?" if near else ""
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    raise ConditionError(f"Unknown condition '{name.strip()}'.{hint} Known: {shown}.")


def parse_condition(
    text: str,
    kind: ConditionKind,
    names: Sequence[str],
    mean: Sequence[float] = (),
    scale: Sequence[float] = (),
    legal: Sequence[float] = (),
) -> Tensor:
    """Turn a condition as typed into its vector.

    Args:
        text: One name (``coast``) or ``name=value`` pairs joined by commas.
        kind: What the vector means. For ``class``, one name is one-hot and pairs are
            probabilities (their sum at most 1: a fuzzy label). For ``score``, pairs must name
            every score.
        names: The D entries of the vector.
        mean: Of each score.
        scale: Of each score; scores become (score - mean) / scale. Empty: they stay.
        legal: The lowest and the highest legal score, of all or of each score in turn; empty: any.

    Returns:
        (D,) float32.

    Raises:
        ConditionError: An unknown name, a value that is no number, or a kind without a vector.
    """
    if kind not in ("class", "score"):
        raise ConditionError(f"This model takes no condition by name (its condition kind is '{kind}').")
    if kind == "class" and text.strip().casefold() in [name.casefold() for name in names]:
        values = {match_name(text, names): 1.0}  # whole: a class may have a comma in its name
    else:
        values = _values(text, kind, names)
    vector = torch.zeros(len(names))
    if kind == "class":
        vector[list(values)] = torch.tensor(list(values.values()))
        if vector.min() < 0 or vector.sum() > 1 + 1e-6 or vector.sum() <= 0:
            raise ConditionError(
                f"The condition '{text}' is no class label: probabilities lie in [0, 1] and sum to at "
                f"most 1 (got {vector.sum():g}); a single class is written by its name alone."
            )
        return vector
    if len(values) != len(names):
        missing = ", ".join(name for i, name in enumerate(names) if i not in values)
        raise ConditionError(f"The condition '{text}' leaves out: {missing}.")
    for position, value in values.items():
        limits = legal_range(legal, position)
        if limits is not None and not limits[0] <= value <= limits[1]:
            raise ConditionError(
                f"{names[position]}={value:g} lies outside the scores' range {limits[0]:g} to {limits[1]:g}."
            )
        vector[position] = (value - mean[position]) / scale[position] if scale else value
    return vector


def _values(text: str, kind: ConditionKind, names: Sequence[str]) -> dict[int, float]:
    """Return the number that is given to each position."""
    values: dict[int, float] = {}
    for part in text.split(","):
        name, equals, value = part.rpartition("=") if "=" in part else (part, "", "")
        position = match_name(name, names)
        if position in values:
            raise ConditionError(f"'{names[position]}' is given twice in the condition '{text}'.")
        if not equals and kind == "score":
            raise ConditionError(f"Give a value for each score, e.g. '{names[0]}=9'; got '{part}'.")
        try:
            values[position] = float(value) if equals else 1.0
        except ValueError:
            values[position] = math.nan
        if not math.isfinite(values[position]):
            raise ConditionError(f"'{value}' in the condition '{text}' is no number.")
    return values


def legal_range(legal: Sequence[float], position: int) -> tuple[float, float] | None:
    """Return the lowest and the highest legal value of one score.

    Args:
        legal: Two numbers for all scores, or two for each in turn; empty: any.
        position: Of the score.
    """
    if not legal:
        return None
    first = 0 if len(legal) == 2 else 2 * position
    return legal[first], legal[first + 1]
