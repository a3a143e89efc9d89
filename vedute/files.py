"""Where Vedute keeps files, and how it writes them whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from vedute.errors import VeduteError

_NO_PLACE = (
    *(errno.EACCES, errno.EROFS, errno.EPERM, errno.EISDIR, errno.ENOTDIR),
    *(errno.EEXIST, errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP),
)

WEIGHTS = "VEDUTE_WEIGHTS"
"""The environment variable that names the folder of pretrained weights."""


def cache_folder() -> Path:
    """Return the folder of prepared caches and painted samples.

    ``VEDUTE_CACHE`` where it is set, else the platform's cache folder.
    """
    return Path(os.environ.get("VEDUTE_CACHE") or platformdirs.user_cache_dir("vedute", appauthor=False))


def weights_folder(option: Path | None = None) -> Path | None:
    """Return the folder of pretrained weights: ``option``, else ``VEDUTE_WEIGHTS``, else None."""
    if option is not None:
        return option
    value = os.environ.get(WEIGHTS)
    return Path(value) if value else None


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Write a file or folder that appears under its name only when it is complete.

    Yields a temporary path beside ``path`` (same file system, not yet existing); when the
    block ends well it is renamed to ``path``, replacing an older one; when it fails, whatever
    was written is removed and ``path`` is as before.

    Raises:
        VeduteError: The disk is full or the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if path.is_dir() and temporary.is_dir():  # a picture's name must not cost somebody a folder
            shutil.rmtree(path)
        temporary.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise VeduteError(
                f"The disk is full: {path} could not be written and was left as it was. "
                "Free some space, or choose another place (VEDUTE_CACHE for caches)."
            ) from error
        if error.errno in _NO_PLACE:
            raise VeduteError(f"{path} cannot be written: {error.strerror}.") from error
        raise
    finally:
        with suppress(OSError):  # where a name cannot be, nothing was written
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                temporary.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """Make sure, before long work, that a file of this name can be written.

    Raises:
        VeduteError: It is a folder, lies below a file, or its folder may not be written.
    """
    try:
        if path.is_dir():
            raise VeduteError(f"{path} is a folder: give the name of a file.")
        folder = path.absolute().parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise VeduteError(f"{path} cannot be written: {folder} is no folder.")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise VeduteError(f"{path} cannot be written: {folder} may not be changed.")
    except OSError as error:
        raise VeduteError(f"{path} cannot be written: {error.strerror}.") from error
