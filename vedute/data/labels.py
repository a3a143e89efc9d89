"""From the labels that a source stores to positions among the classes that exist and are wanted."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vedute.conditions import match_name
from vedute.data.source import Source
from vedute.errors import ConditionError, ConfigurationError, DataError

logger = logging.getLogger(__name__)

Labels = NDArray[np.int64]


def wanted_labels(wanted: Sequence[str], names: Mapping[int, str]) -> set[int]:
    """Return the labels of the classes with the given names, whatever the case.

    Raises:
        ConfigurationError: A class is unknown (the message suggests the nearest), or none is given.
    """
    if not wanted:
        raise ConfigurationError(f"data.classes is empty; name some of: {', '.join(names.values())}.")
    try:
        return {list(names)[match_name(name, list(names.values()))] for name in wanted}
    except ConditionError as error:
        message = str(error).replace("Unknown condition", "Unknown class")
        raise ConfigurationError(f"data.classes: {message}") from None


def class_positions(
    raw: Mapping[str, Labels],
    names: Mapping[int, str],
    sources: Mapping[str, Source],
    wanted: set[int] | None = None,
) -> tuple[list[str], dict[str, Labels]]:
    """Renumber labels without holes, in the order of the label map.

    Args:
        raw: (N,) labels as stored, for each shipped part; -1 where there is none.
        names: The label map; it may name labels that no image has.
        sources: Where the labels come from, to name a wrong record.
        wanted: Labels of the classes to keep; None: all that exist.

    Returns:
        The names of the D classes, and for each part (N,) positions in [0, D), -1 for other classes.

    Raises:
        DataError: An image has no label, or one without a name.
        ConfigurationError: No image shows a wanted class.
    """
    existing = sorted({int(label) for labels in raw.values() for label in np.unique(labels)})
    for label in existing:
        if label not in names:
            raise DataError(_unknown_label(label, names, sources))
    present = [names[label] for label in existing]
    missing = [name for label, name in names.items() if label not in existing]
    if missing:
        logger.info(
            "The data set has no image of: %s. Its classes: %s.", ", ".join(missing), ", ".join(present)
        )
    kept = existing
    if wanted is not None:
        for label in sorted(wanted - set(existing)):
            raise ConfigurationError(
                f"data.classes: the data set has no image of '{names[label]}'. It has: {', '.join(present)}."
            )
        kept = sorted(wanted)
        logger.info("Keeping the classes: %s.", ", ".join(names[label] for label in kept))
    absent = [names[label] for label in kept if label not in raw["train"]]
    if absent:
        logger.warning("No training image shows: %s. A model cannot learn it.", ", ".join(absent))
    positions = {
        part: np.select([labels == label for label in kept], list(range(len(kept))), -1).astype(np.int64)
        for part, labels in raw.items()
    }
    return [names[label] for label in kept], positions


def _unknown_label(label: int, names: Mapping[int, str], sources: Mapping[str, Source]) -> str:
    known = ", ".join(f"{number} {name}" for number, name in sorted(names.items()))
    for source in sources.values():
        for part in source.parts():
            for record in part.read():
                if isinstance(record, DataError) or (label if label >= 0 else None) != record.label:
                    continue
                what = "has no label" if label < 0 else f"has the label {label}, which has no name"
                return f"{record.origin} {what}. Known labels: {known}. Check the file, or name the labels."
    return f"An image has the label {label}, which has no name. Known labels: {known}."
