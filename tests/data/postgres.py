"""A PostgreSQL server of a test's own, in a temporary folder, run by an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

USER = "vedute"


def programs() -> Path | None:
    """Return the folder of ``initdb`` and ``pg_ctl``; None: PostgreSQL is not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # Debian's
    return next((folder for folder in folders if (folder / "pg_ctl").exists()), None)


class PostgreSQL:
    """A server that can be stopped and started."""

    def __init__(self) -> None:
        """Make a cluster of databases and start it."""
        found = programs()
        assert found is not None, "ask programs() first"
        self._programs = found
        # Not below a test's folder: others than its owner may not enter that.
        self.folder = folder = Path(tempfile.mkdtemp(prefix="vedute-postgres-"))
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:  # the server refuses to run as root
            account = pwd.getpwnam(self._user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run("initdb", "--pgdata", folder / "data", "--username", USER, "--auth", "trust", "--no-sync")
        self.start()

    @property
    def url(self) -> str:
        """Where the server's database is."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -F"
        self._run(
            "pg_ctl", "start", "-w", "-D", self.folder / "data", "-o", options, "-l", self.folder / "log"
        )

    def stop(self) -> None:
        """Stop the server at once: connections are closed, nothing that was committed is lost."""
        self._run("pg_ctl", "stop", "-w", "-D", self.folder / "data", "-m", "fast")

    def remove(self) -> None:
        """Stop the server and remove what it wrote."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder)

    def _run(self, program: str, *args: object) -> None:
        command: Sequence[str] = [str(self._programs / program), *map(str, args)]
        subprocess.run(
            command,
            check=True,
            user=self._user,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
