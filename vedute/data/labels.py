"""What the labels of a data set mean: which images they keep, and the condition vectors they become."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedute.batch import ConditionKind
from vedute.conditions import match_name
from vedute.data.source import Source
from vedute.errors import ConditionError, ConfigurationError, DataError

logger = logging.getLogger(__name__)

Labels = NDArray[np.int64]

Encoder = Callable[[Tensor], Tensor]
"""From labels (N,) int64 to condition vectors (N, D) float32; picklable, works on any device."""


@dataclass(frozen=True)
class OneHot:
    """Class positions to one-hot vectors.

    Attributes:
        size: Number D of classes.
    """

    size: int

    def __call__(self, labels: Tensor) -> Tensor:
        """Return (N, D) float32 for labels (N,) int64 in [0, D)."""
        return torch.nn.functional.one_hot(labels, self.size).float()


class TableEncoder:
    """Rows of a table to condition vectors: scores, or class probabilities."""

    def __init__(self, table: NDArray[np.float32]) -> None:
        """Keep the table.

        Args:
            table: (R, D) float32: the vector of each row.
        """
        self._tables = {torch.device("cpu"): torch.as_tensor(table, dtype=torch.float32)}

    def __call__(self, labels: Tensor) -> Tensor:
        """Return (N, D) float32 for row numbers (N,) int64 in [0, R), on their device."""
        if labels.device not in self._tables:
            self._tables[labels.device] = self._tables[torch.device("cpu")].to(labels.device)
        return self._tables[labels.device][labels]


@dataclass(frozen=True)
class Conditions:
    """What condition vectors mean.

    Attributes:
        kind: ``class``, ``score`` or ``none``.
        names: Of the D entries.
        encoder: Makes the vectors; None: no vectors.
        mean: Of each score: the vector is (score - mean) / scale.
        scale: Of each score.
        range: The lowest and the highest legal score, of all or of each in turn; empty: any.
        missing: (R, D) bool by label: where a score is missing and counts as the mean; None: nowhere.
    """

    kind: ConditionKind = "none"
    names: list[str] = field(default_factory=list)
    encoder: Encoder | None = None
    mean: list[float] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    range: list[float] = field(default_factory=list)
    missing: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Labelled:
    """What a data set says of its images; every mapping is by shipped part (``train``, ``val``, ``test``).

    Attributes:
        labels: (N,) int64, what the encoder takes; -1: the image is in no split.
        conditions: Makes the meaning of vectors from the labels of the training split, which is where
            mean and scale of scores come from.
        strata: (N,) int64: drawn splits take the same share of each value; None: any rows.
        groups: (N,) int64: drawn splits keep rows of one value together, such as tiles of one photo.
        splits: (N,) int64, of ``train``: position in ``SPLITS`` of each row, -1 where it is to be drawn.
    """

    labels: Mapping[str, Labels]
    conditions: Callable[[Labels], Conditions]
    strata: Mapping[str, Labels] | None = None
    groups: Mapping[str, Labels] | None = None
    splits: Mapping[str, Labels] | None = None


def unlabelled(raw: Mapping[str, Labels]) -> Labelled:
    """Say that images have no conditions; their labels, if any, are not looked at."""
    return Labelled({part: np.zeros_like(labels) for part, labels in raw.items()}, lambda _: Conditions())


def by_class(
    raw: Mapping[str, Labels],
    names: Mapping[int, str],
    sources: Mapping[str, Source],
    wanted: Sequence[str] | None = None,
) -> Labelled:
    """Say that labels are class numbers; vectors are one-hot, in the order of the label map.

    Args:
        raw: (N,) labels as stored, for each shipped part; -1 where there is none.
        names: The label map; it may name labels that no image has.
        sources: Where the labels come from, to name a wrong record.
        wanted: Names of the classes to keep; None: all that exist.

    Raises:
        DataError: An image has no label, or one without a name.
        ConfigurationError: A wanted class is unknown, or no image shows it.
    """
    kept = wanted_labels(wanted, names) if wanted is not None else None
    class_names, labels = class_positions(raw, names, sources, kept)
    conditions = Conditions("class", class_names, OneHot(len(class_names)))
    # By the labels as stored, so that leaving a class out does not change how others are split.
    return Labelled(labels, lambda _: conditions, strata=raw)


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
    numbers = np.array(existing, dtype=np.int64)
    places = np.array([kept.index(label) if label in kept else -1 for label in existing], dtype=np.int64)
    positions = {part: places[np.searchsorted(numbers, labels)] for part, labels in raw.items()}
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
