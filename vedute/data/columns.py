"""Which columns of a table are used and as what: checked before any image is read, with advice.

Here too: columns that say where files are, and which split a row is in. Not here: what labels mean
(``column_values.py``), and reading (``table.py``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from vedute.data.image_files import is_image
from vedute.data.labels import Labels
from vedute.data.layout import PART_NAMES
from vedute.data.named_files import NamedFiles
from vedute.data.splits import SPLITS
from vedute.data.table import Table
from vedute.errors import ConfigurationError, DataError

ALL_OTHERS = "*"
_SPLIT = "split"
_POSITIONS: Mapping[str, int] = {split: position for position, split in enumerate(SPLITS)}
_PLAIN = re.compile(r"\w[\w .-]*")
_FEW = 20
"""Whole numbers of at most so many different values may be classes."""


@dataclass(frozen=True)
class Columns:
    """The role of each column.

    Attributes:
        file: Names of image files.
        split: ``train``, ``val`` or ``test``; None: the column 'split' where there is one.
        category: The class of each image, text or number.
        probabilities: The probability of each class, a column each.
        scores: Numbers.
        mask: Names of mask files.
        ignored: Not used, on purpose; ``*`` stands for all others.
    """

    file: str = "file"
    split: str | None = None
    category: str | None = None
    probabilities: Sequence[str] = ()
    scores: Sequence[str] = ()
    mask: str | None = None
    ignored: Sequence[str] = ()

    @property
    def used(self) -> list[str]:
        """All columns that have a role, the ignored ones left out."""
        single = [self.file, self.split, self.category, self.mask]
        return [name for name in single if name is not None] + [*self.probabilities, *self.scores]

    @property
    def labels(self) -> list[str]:
        """The columns that make the condition vector."""
        return [*([] if self.category is None else [self.category]), *self.probabilities, *self.scores]

    def check_roles(self) -> None:
        """Refuse roles that exclude each other.

        Raises:
            ConfigurationError: Two kinds of labels, or a column with two roles.
        """
        kinds = {
            "class_column": self.category is not None,
            "probability_columns": bool(self.probabilities),
            "score_columns": bool(self.scores),
        }
        named = [f"data.{kind}" for kind, given in kinds.items() if given]
        if len(named) > 1:
            raise ConfigurationError(
                f"{' and '.join(named)} are given, but a condition vector has one meaning: keep one of them "
                "and put the columns of the others into data.ignore_columns."
            )
        if len(self.probabilities) == 1:
            raise ConfigurationError(
                f"data.probability_columns names one column ({self.probabilities[0]}); it needs one for each "
                "class. A number of its own goes into data.score_columns."
            )
        roles = [*self.used, *self.ignored]
        twice = sorted({name for name in roles if roles.count(name) > 1})
        if twice:
            raise ConfigurationError(
                f"The column '{twice[0]}' has two roles; name it in one option of data only."
            )


def fit_columns(table: Table, columns: Columns, folder: Path) -> Columns:
    """Check the roles against a table.

    Args:
        table: The table.
        columns: What the user asks for.
        folder: Where the images are, to recognise names of files.

    Returns:
        The roles, with the split column found and ``ignored`` holding the names of all unused columns.

    Raises:
        DataError: A column is missing (the message suggests the nearest), or a column has no role (the
            message lists all such columns and says what each could be).
    """
    wanted = [name for name in [*columns.used, *columns.ignored] if name != ALL_OTHERS]
    for name in wanted:
        try:
            table.column(name)
        except DataError as error:
            hint = " Say with data.file_column which one names the images." if name == columns.file else ""
            raise DataError(f"{error}{hint}") from None
    if columns.split is None and _SPLIT in table.columns and _SPLIT not in wanted:
        columns = replace(columns, split=_SPLIT)
    others = [name for name in table.columns if name not in columns.used]
    unnamed = [name for name in others if name not in columns.ignored]
    if unnamed and ALL_OTHERS not in columns.ignored:
        raise DataError(_advice(table, columns, unnamed, folder))
    return replace(columns, ignored=others)


def _advice(table: Table, columns: Columns, unnamed: Sequence[str], folder: Path) -> str:
    """Say what the columns without a role could be."""
    guesses = []
    shares = _shares(table, unnamed)
    if len(shares) > 1:
        guesses.append(f"{', '.join(shares)} (probabilities: --data.probability_columns '{_yaml(shares)}')")
    guesses += [f"{name} ({_guess(table, name, folder)})" for name in unnamed if name not in shares]
    return (
        f"{table.path.name} has {'a column' if len(unnamed) == 1 else 'columns'} that no option uses: "
        f"{'; '.join(guesses)}. Name each in one of data.class_column, probability_columns, score_columns "
        f"and mask_column, or say that it is not wanted: --data.ignore_columns "
        f"'{_yaml([*columns.ignored, *unnamed])}', or '[\"*\"]' "
        "for all others."
    )


def _shares(table: Table, names: Sequence[str]) -> list[str]:
    """Return the columns that look like the probabilities of classes: in [0, 1], with sums of at most 1."""
    found = {}
    for name in names:
        values = _numbers(table, name)
        if values is not None and values.min() >= 0 and values.max() <= 1 and (values % 1).any():
            found[name] = values
    lengths = {len(values) for values in found.values()}
    if len(found) > 1 and len(lengths) == 1 and sum(found.values()).max() <= 1.001:  # type: ignore[union-attr]
        return list(found)
    return []


def _guess(table: Table, name: str, folder: Path) -> str:
    """Say what a column holds, and the option that uses it."""
    cells = [cell for cell in table.columns[name] if cell]
    if not cells:
        return "empty"
    sample = cells[:: max(1, len(cells) // 20)]
    if sum(_names_image(cell, folder) for cell in sample) > len(sample) / 2:
        return f"names of images: --data.mask_column {name}"
    different = len(set(cells))
    values = _numbers(table, name)
    if values is not None:
        if (values % 1).any() or different > _FEW:
            return f"{different} different numbers: --data.score_columns '{_yaml([name])}'"
        return (
            f"{different} different numbers: --data.score_columns '{_yaml([name])}', "
            f"or --data.class_column {name} if they are classes"
        )
    if different > max(2, len(cells) / 2):
        return f"{different} different texts such as '{cells[0]}': no classes"
    return f"{different} different texts: --data.class_column {name}"


def _yaml(names: Sequence[str]) -> str:
    """Write names as a list for the command line, with quotes where YAML would read something else."""
    plain = [isinstance(yaml.safe_load(name), str) if _PLAIN.fullmatch(name) else False for name in names]
    return f"[{', '.join(n if bare else json.dumps(n) for n, bare in zip(names, plain, strict=True))}]"


def _numbers(table: Table, name: str) -> np.ndarray | None:
    """Return the numbers of a column without the missing ones, None where there are none or others."""
    try:
        values = table.numbers(name)
    except DataError:
        return None
    values = values[~np.isnan(values)]
    return values if len(values) else None


def _names_image(cell: str, folder: Path) -> bool:
    path = Path(cell.replace("\\", "/"))
    return is_image(path) and (len(path.parts) > 1 or (folder / path).is_file())


def named_files(folder: Path, table: Table, column: str) -> tuple[dict[int, Path], list[str]]:
    """Find the files that a column names beside the images, such as masks; empty cells name none.

    Args:
        folder: Where the files are.
        table: The table.
        column: Its column.

    Returns:
        The file of each row that has one, and what is wrong with the others.
    """
    files = NamedFiles(folder)
    cells = table.column(column)
    files.choose_base(cells)
    found: dict[int, Path] = {}
    problems: list[str] = []
    for row, cell in enumerate(cells):
        file = files.find(cell, table.where(row)) if cell else None
        if isinstance(file, str):
            problems.append(file)
        elif file is not None:
            found[row] = file
    return found, problems


def files_of_columns(folder: Path, table: Table, columns: Sequence[str]) -> list[Path]:
    """Return the image files that columns without a role name: they are no images of the set."""
    files: list[Path] = []
    for name in columns:
        if is_image(Path(next((cell for cell in table.columns[name] if cell), ""))):
            with suppress(DataError):  # nobody wants the column: whatever it says is no error
                files += named_files(folder, table, name)[0].values()
    return files


def split_positions(table: Table, column: str) -> Labels:
    """Return the split of each row, (R,) int64, as position in ``SPLITS``; -1 where the cell is empty.

    Raises:
        DataError: A cell names no split, or no row is for training.
    """
    positions = np.full(len(table), -1, dtype=np.int64)
    for row, cell in enumerate(table.column(column)):
        if not cell:
            continue
        part = PART_NAMES.get(cell.casefold())
        if part is None:
            raise DataError(
                f"{table.where(row)}: '{cell}' in the column '{column}' is no split; write train, val or "
                "test. A column that means something else goes into data.ignore_columns."
            )
        positions[row] = _POSITIONS[part]
    if not (positions == 0).any():
        raise DataError(f"{table.path.name}: no row of the column '{column}' says 'train'.")
    return positions


def drawn_where_missing(positions: Labels, validation_share: float | None) -> Labels | None:
    """Leave the rows of the training split open where a part of them must become the validation split.

    Args:
        positions: (N,) as ``split_positions`` returns them, none of them -1.
        validation_share: The option of the data.

    Returns:
        (N,) int64; None where all is training.
    """
    if (positions == 0).all():
        return None
    complete = validation_share is None and (positions == 1).any()
    return positions if complete else np.where(positions == 0, -1, positions)
