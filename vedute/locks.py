"""One process writes a folder of the cache, the others wait. Imports nothing slow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vedute.errors import VeduteError


def lock_path(folder: Path) -> Path:
    """Return the file that is locked while ``folder`` is written."""
    return folder.with_name(f".{folder.name}.lock")


@contextmanager
def alone(folder: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Wait until no other process writes ``folder``, and keep others from it.

    Args:
        folder: What is to be written; its parent is made.
        on_wait: Called once if another process is at it.

    Raises:
        VeduteError: The place cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_path(folder))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire(poll_interval=0.1)
    except OSError as error:
        raise VeduteError(
            f"The cache folder {folder.parent} cannot be written: {error.strerror}. "
            "Choose another place with VEDUTE_CACHE."
        ) from error
    try:
        yield
    finally:
        lock.release()
