"""Where Vedute keeps files, and how it writes them whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from vedute.errors import VeduteError

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
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise VeduteError(
                f"The disk is full: {path} could not be written and was left as it was. "
                "Free some space, or choose another place (VEDUTE_CACHE for caches)."
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise VeduteError(f"{path} cannot be written: {error.strerror}.") from error
        raise
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
