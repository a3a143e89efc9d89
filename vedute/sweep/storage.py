"""Where a study is kept: a database or a journal file, and patience with one that does not answer."""

from __future__ import annotations

import logging
import re
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit, urlunsplit

from vedute.errors import ConfigurationError, VeduteError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

T = TypeVar("T")

_log = logging.getLogger("vedute.sweep")
_LONGEST_PAUSE = 10.0
_SQLITE_SECONDS = 60  # another worker may hold the file
_PERMANENT = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "unable to open database file",
    "readonly database",
    "permission denied",
    "access denied",
    "unknown database",
)
"""What databases say when asking again would not help."""


class StorageLost(VeduteError):
    """The study's storage does not answer any more; what was not told yet is kept beside the sweep."""


def check_installed() -> None:
    """Make sure that Optuna is there.

    Raises:
        ConfigurationError: It is not.
    """
    if find_spec("optuna") is None:
        raise ConfigurationError(
            "'sweep' needs Optuna, which is not installed: python -m pip install 'vedute[sweep]' (in a clone "
            "of the repository: python -m pip install -e '.[sweep]')."
        )


def without_password(url: str) -> str:
    """Return a storage's address for messages and files: nobody's password stands in them."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}@{host}"))


def open_storage(url: str) -> BaseStorage:
    """Open a storage; a file's folder is made.

    Args:
        url: ``sqlite:///FILE``, ``journal:FILE``, ``postgresql://USER@HOST/NAME``, or another database that
            SQLAlchemy knows.

    Raises:
        ConfigurationError: It is no address, or its driver is not installed.
    """
    import optuna
    from optuna.storages import JournalStorage, RDBStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if url.startswith("journal:"):
        from optuna.storages.journal import JournalFileBackend

        path = Path(url.removeprefix("journal:").removeprefix("//"))
        if not path.name or path.is_dir():
            raise ConfigurationError(f"--storage {url}: give a file, e.g. journal:sweeps/study.journal")
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path)))
    if "://" not in url:
        raise ConfigurationError(
            f"--storage {url}: expected sqlite:///FILE, journal:FILE or postgresql://USER@HOST/DATABASE."
        )
    options: dict[str, object] = {"pool_pre_ping": True}  # a server may have been restarted meanwhile
    if url.startswith("sqlite:"):
        file = url.partition(":///")[2]
        if not file:
            raise ConfigurationError(f"--storage {url}: give a file, e.g. sqlite:///sweeps/study.db")
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        options["connect_args"] = {"timeout": _SQLITE_SECONDS}
    elif re.match(r"postgres(ql)?://", url):
        url = f"postgresql+psycopg://{url.partition('://')[2]}"  # version 3 of the driver
        options["connect_args"] = {"connect_timeout": 10}
    try:
        storage = _with_tables(lambda: RDBStorage(url, engine_kwargs=options))
    except ImportError as error:
        raise ConfigurationError(
            f"--storage {without_password(url)}: the database's driver is not installed "
            f"({error.__cause__ or error}). For PostgreSQL: python -m pip install 'psycopg[binary]'."
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"--storage {without_password(url)}: {error}") from error
    # the wrapper that Optuna itself puts around a database: finished trials are read once
    opened: BaseStorage = optuna.storages.get_storage(storage)
    return opened


def _with_tables(make: Callable[[], T]) -> T:
    """Return what ``make`` returns, although another worker may be making the same tables at this moment."""
    pause = 0.2
    while True:
        try:
            return make()
        except Exception as error:
            said = str(error).lower()
            # A worker that came second finds tables, types or the schema's version half made.
            met = any(words in said for words in ("already exists", "unique constraint", "table schema"))
            if not met or pause > _LONGEST_PAUSE:
                raise
        time.sleep(pause)
        pause *= 2


class Patience:
    """Asks a storage again when it does not answer, for a while, and says so once."""

    def __init__(self, seconds: float, where: str, sleep: Callable[[float], None] = time.sleep) -> None:
        """Say how long.

        Args:
            seconds: Longest time without an answer.
            where: The storage's address, for messages.
            sleep: Waits so many seconds.
        """
        self.seconds = seconds
        self.where = where
        self.recovered_at: float | None = None
        self._sleep = sleep

    def __call__(self, operation: Callable[[], T]) -> T:
        """Return what ``operation`` returns; it may be done more than once.

        Raises:
            StorageLost: No answer for too long.
            ConfigurationError: The storage refuses; asking again would not help.
        """
        started: float | None = None
        pause = 0.25
        while True:
            try:
                result = operation()
            except Exception as error:
                reason = unreachable(error)
                if reason is None:
                    raise
                if _permanent(reason):
                    raise ConfigurationError(f"The study's storage {self.where} refuses: {reason}") from error
                now = time.monotonic()
                if started is None:
                    started = now
                    _log.warning(
                        "The study's storage %s does not answer (%s). Trying again for %g s; trials go on.",
                        *(self.where, reason, self.seconds),
                    )
                if now - started >= self.seconds:
                    raise StorageLost(
                        f"The study's storage {self.where} has not answered for {now - started:.0f} s: "
                        f"{reason} Nothing is lost: when it works again, the same command goes on, and "
                        "trials that were under way are run again. --patience waits longer."
                    ) from error
                self._sleep(min(pause, max(0.05, self.seconds - (now - started))))
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                if started is not None:
                    self.recovered_at = time.monotonic()
                    _log.warning("The study's storage answers again.")
                return result


def unreachable(error: BaseException) -> str | None:
    """Return what a storage says if it cannot be reached (or refuses), in one line; None: another error."""
    seen: BaseException | None = error
    while seen is not None:
        kind = f"{type(seen).__module__}.{type(seen).__name__}"
        if kind.startswith("sqlalchemy.") and type(seen).__name__ in (
            *("OperationalError", "InterfaceError", "DisconnectionError", "PendingRollbackError"),
            *("InternalError", "ResourceClosedError", "TimeoutError"),
        ):
            return _one_line(seen)
        if kind.startswith("sqlalchemy.") and "file is not a database" in str(seen):
            return f"unable to open database file: {_one_line(seen)}"
        if isinstance(seen, OSError):
            return _one_line(seen)
        seen = seen.__cause__ or seen.__context__
    return None


def _one_line(error: BaseException) -> str:
    said = str(getattr(error, "orig", None) or error)
    said = re.sub(r"\(Background on this error at:.*", "", said, flags=re.DOTALL)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    text = next((line for line in lines if "FATAL" in line), lines[0] if lines else type(error).__name__)
    return text.rstrip(".") + "."


def _permanent(reason: str) -> bool:
    return any(words in reason.lower() for words in _PERMANENT)
