"""Image files found by the names that people write into tables."""

from __future__ import annotations

import difflib
import logging
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import islice
from pathlib import Path

from vedute.data.image_files import image_files
from vedute.errors import DataError

logger = logging.getLogger("vedute.data.table")

_NEAR_AMONG = 5000
"""Files among which a similar name is looked for: the search takes about 0.1 ms for each."""

_DRIVE = re.compile("[A-Za-z]:/")  # an absolute path of Windows

_SUGGESTIONS = 5
"""Names for which a similar one is looked for: as many as a message shows."""


def listed(names: Sequence[str], separator: str = ", ", limit: int = 5) -> str:
    """Return the first few names, and how many more there are."""
    more = f"{separator}and {len(names) - limit} more" if len(names) > limit else ""
    return separator.join(names[:limit]) + more


class NamedFiles:
    """The image files in and below a folder, by name.

    Attributes:
        folder: The folder.
        paths: All visible image files, in natural order.
    """

    def __init__(self, folder: Path) -> None:
        """List the files.

        Args:
            folder: Where they are.

        Raises:
            DataError: The folder does not exist.
        """
        self.folder = Path(folder)
        self.paths = image_files(self.folder)
        begin = len(self.folder.parts)
        self._by_name = {_normal("/".join(path.parts[begin:])): path for path in self.paths}
        self._base = ""
        self._suggested = 0

    def choose_base(self, cells: Sequence[str]) -> None:
        """Find out which folder the names are relative to: this one, or one below (``images``).

        Raises:
            DataError: The names fit several folders.
        """
        names: list[str] = []
        for cell in islice(filter(None, cells), 50):
            with suppress(DataError):  # which find() raises, where the row is known
                names.append(self._below(cell))
        if any(self._exact(name) for name in names):
            return
        fitting: set[str] | None = None
        for name in names:
            places = self._folders_with(name)
            if places:
                fitting = places if fitting is None else fitting & places
        if not fitting:
            return
        if len(fitting) > 1:
            raise DataError(
                f"Files with the names in the table are in several folders of {self.folder}: "
                f"{listed(sorted(fitting))}. Write the folder into the names, e.g. "
                f"'{min(fitting)}/{names[0]}'."
            )
        self._base = fitting.pop() + "/"
        logger.info("The names in the table are below the folder %s.", self._base)

    def find(self, cell: str, where: str) -> Path | str:
        """Return the file that a cell names, or what is wrong with it.

        Args:
            cell: The name as written.
            where: Where it stands, for messages.

        Raises:
            DataError: The name leads out of the folder.
        """
        if not cell:
            return f"{where}: no file is named"
        try:
            name = self._base + self._below(cell)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        found = self._exact(name)
        if len(found) == 1:
            return self._by_name[found[0]]
        if found:
            return f"{where}: '{cell}' may be {' or '.join(found)}"
        folded = self._by_folded.get(name.casefold())
        if folded:
            return f"{where}: '{cell}' does not exist, but '{folded}' does (upper and lower case differ)"
        path = self.folder / name
        try:
            if path.is_file():  # a name without an image's suffix is none of the listed
                return path
        except OSError:  # a name that the file system cannot have
            pass
        near: list[str] = []
        if self._suggested < _SUGGESTIONS:
            self._suggested += 1
            near = difflib.get_close_matches(name, list(self._by_name)[:_NEAR_AMONG], n=1, cutoff=0.8)
        return f"{where}: '{cell}' does not exist" + (f" (there is '{near[0]}')" if near else "")

    def _below(self, cell: str) -> str:
        """Return a name as a path below the folder, in normal form."""
        name = _normal(cell)
        if name in self._by_name:
            return name
        name = name.replace("\\", "/")
        if name.startswith("/") or _DRIVE.match(name):
            roots = [
                _normal(root.as_posix()) + "/" for root in (self.folder.absolute(), self.folder.resolve())
            ]
            inside = [name.removeprefix(root) for root in roots if name.startswith(root)]
            if not inside:
                raise DataError(
                    f"'{cell}' lies outside of {self.folder}. Write paths relative to this folder, "
                    "or give the folder that holds all files as data.root."
                )
            name = inside[0]
        name = posixpath.normpath(name)
        if name.startswith("../") or name == "..":
            raise DataError(f"'{cell}' leads out of {self.folder}. Write paths relative to this folder.")
        return name

    def _exact(self, name: str) -> list[str]:
        """Return the file of a name, or those that differ from it by their suffix alone."""
        return [name] if name in self._by_name else self._by_stem.get(name, [])

    def _folders_with(self, name: str) -> set[str]:
        return {
            full.removesuffix(name).removesuffix("/")
            for known in self._by_last.get(_last(name), ())
            for full in (known, _stem(known))
            if full.endswith(f"/{name}")
        }

    @cached_property
    def _by_stem(self) -> Mapping[str, list[str]]:
        return _grouped((_stem(name), name) for name in self._by_name)

    @cached_property
    def _by_last(self) -> Mapping[str, list[str]]:
        """Files by the last part of their names, with and without suffix."""
        return _grouped((last, name) for name in self._by_name for last in (_last(name), _stem(_last(name))))

    @cached_property
    def _by_folded(self) -> Mapping[str, str]:
        return {name.casefold(): name for name in self._by_name}


def _normal(name: str) -> str:
    """Compose accents: macOS writes names decomposed, spreadsheets do not."""
    return unicodedata.normalize("NFC", name)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _stem(name: str) -> str:
    """Return the name of a file without its suffix, which image files always have."""
    return name.rpartition(".")[0]


def _grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, name in pairs:
        groups.setdefault(key, []).append(name)
    return groups
