"""How a sweep starts processes: forked from a server that has imported everything once.

The sweep itself never imports torch; what needs it (trials, the parser of ``fit``) is named by a text and
imported where it runs. A server that only imports has no threads and no GPU in use, so a process forked from
it is as clean as a new one, and there at once.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

from vedute.errors import ConfigurationError


@dataclass(frozen=True)
class Request:
    """What is to be parsed.

    Attributes:
        arguments: Options of ``fit``.
        space: A space to be tried on them, as plain values; None: none.
        folder: The current folder.
        environment: All environment variables.
    """

    arguments: tuple[str, ...]
    space: Mapping[str, object] | None
    folder: Path
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Parsed:
    """A configuration.

    Attributes:
        text: It all, as YAML.
        decisive: What decides about results, plain values.
        cards: GPUs that its trials may use; 0: none, or it asks for another accelerator.
    """

    text: str
    decisive: Mapping[str, object]
    cards: int


@dataclass(frozen=True)
class Job:
    """What a trial's process is told.

    Attributes:
        number: The trial's number.
        study: The study's name, for groups of Weights & Biases.
        objective: The value to be reported.
        arguments: Options of ``fit``.
        log: File of what the trial says.
        folder: The current folder.
        environment: All environment variables.
        threads: Threads for computing; None: as torch chooses.
        continues: Run folder of a lost trial with the same values; None: there is none.
    """

    number: int
    study: str
    objective: str
    arguments: tuple[str, ...]
    log: Path
    folder: Path
    environment: Mapping[str, str]
    threads: int | None
    continues: Path | None = None


@dataclass(frozen=True)
class Begun:
    """What a trial's process says first.

    Attributes:
        run: Its run folder.
    """

    run: str


@dataclass(frozen=True)
class Outcome:
    """What a trial's process says last.

    Attributes:
        state: How the training ended.
        reason: Why it failed.
        run: Its run folder.
        logged: Names of the logged values.
    """

    state: Literal["complete", "pruned", "failed"]
    reason: str = ""
    run: str | None = None
    logged: tuple[str, ...] = ()


def move_in(told: Request | Job) -> None:
    """Give this process the folder and the environment variables that it was told."""
    os.environ.clear()
    os.environ.update(told.environment)
    os.chdir(told.folder)


class Starter:
    """Starts processes."""

    def __init__(self, preload: Sequence[str]) -> None:
        """Start the server, where the system has such.

        Args:
            preload: Modules that it imports; one that does not exist is left out.
        """
        self._context: BaseContext
        if "forkserver" not in multiprocessing.get_all_start_methods():
            self._context = multiprocessing.get_context("spawn")
            return
        from multiprocessing import forkserver

        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        # The server finds modules where this process does, also beside a cli.py in another folder.
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        try:
            forkserver.ensure_running()
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before

    def start(self, target: str, told: object, name: str) -> tuple[BaseProcess, Connection]:
        """Start a process.

        Args:
            target: ``module:function`` of a connection and ``told``.
            told: What the function is told.
            name: The process's name.

        Returns:
            The process, and our end of the connection to it.
        """
        ours, theirs = self._context.Pipe()
        # Not a daemon: its loaders may start processes.
        make = getattr(self._context, "Process")  # noqa: B009  # the types know it for each context only
        process: BaseProcess = make(target=call, args=(target, theirs, told), name=name)
        process.start()
        theirs.close()
        return process, ours

    def parse(self, request: Request, target: str) -> Parsed:
        """Parse a configuration by the parser of ``fit``.

        Args:
            request: What is to be parsed.
            target: ``module:function`` that does it and sends a :class:`Parsed`, or an error's text.

        Raises:
            ConfigurationError: It is wrong.
        """
        process, connection = self.start(target, request, "parser")
        try:
            answer = connection.recv()
        except EOFError:
            answer = "The configuration cannot be read: the process that tried has ended."
        finally:
            connection.close()
            process.join()
        if not isinstance(answer, Parsed):
            raise ConfigurationError(str(answer))
        return answer


def call(target: str, connection: Connection, told: object) -> None:
    """Import a function and call it; what runs in a started process."""
    module, _, function = target.partition(":")
    getattr(import_module(module), function)(connection, told)
