"""The batch script of a SLURM job: what ``submit`` writes, and what lies in ``slurm/`` to be changed by hand.

Source: https://slurm.schedmd.com/sbatch.html
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from vedute.errors import ConfigurationError

TASK = "{task}"
"""Stands for the number of an array's task in options."""

PROCESSES = ("--trainer.num_nodes", "$SLURM_NNODES", "--trainer.devices", "$SLURM_NTASKS_PER_NODE")
"""Options of ``fit`` that make it expect the job's processes."""

_VARIABLES = ("$SLURM_", "$@")
"""What words of a command begin with that the shell fills in: SLURM's, and the script's own options."""

MOST_SIGNAL_SECONDS = 65535
"""The longest time before its end that SLURM can signal a job, seconds."""

_TIME = re.compile(
    r"(?:(?P<days>\d+)-(?P<day_hours>\d+)(?::(?P<day_minutes>\d+)(?::(?P<day_seconds>\d+))?)?"
    r"|(?:(?P<hours>\d+):(?=\d+:))?(?P<minutes>\d+)(?::(?P<seconds>\d+))?)"
)
_MEMORY = re.compile(r"\d+[KMGT]?", re.IGNORECASE)
_ARRAY = re.compile(r"\d+(-\d+(:\d+)?)?(,\d+(-\d+(:\d+)?)?)*(%\d+)?")
_NAME = re.compile(r"[\w.+-]+")
_GPUS = re.compile(r"(?:[\w.-]+:)?\d+")


def seconds_of(time: str) -> int:
    """Return a time limit in seconds, from SLURM's ways to write it.

    Args:
        time: ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours``,
            ``days-hours:minutes`` or ``days-hours:minutes:seconds``.

    Raises:
        ConfigurationError: It is none of these, or no time at all.
    """
    found = _TIME.fullmatch(time)
    part = {name: int(value or 0) for name, value in (found.groupdict() if found else {}).items()}
    total = 0
    if part:
        hours = 24 * part["days"] + part["day_hours"] + part["hours"]
        minutes = part["day_minutes"] + part["minutes"]
        total = 3600 * hours + 60 * minutes + part["day_seconds"] + part["seconds"]
    if total == 0:
        raise ConfigurationError(
            f"--time {time} is no time that SLURM knows: write hours:minutes:seconds, e.g. 2:00:00, or "
            "days-hours, e.g. 1-12."
        )
    return total


def in_words(seconds: int) -> str:
    """Return a duration for people, e.g. ``1 day 2 hours``."""
    words = []
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            words.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(words)


@dataclass(frozen=True)
class Resources:
    """What a job asks of SLURM.

    Attributes:
        name: Name of the job.
        time: Time limit, as SLURM writes it.
        output: Where the log goes, with SLURM's placeholders; ``%j`` is the job's number.
        nodes: Number of machines.
        gpus: GPUs of each machine, ``4`` or with a kind ``a100:4``; ``0``: none.
        tasks: Processes on each machine.
        cpus: CPU cores of each process; None: what the cluster gives.
        memory: Memory of each machine, e.g. ``64G``; None: what the cluster gives.
        partition: Partition; None: the cluster's default.
        account: Account that is charged; None: the user's default.
        array: Numbers of an array's tasks, e.g. ``0-2``; None: one job.
        requeue: Whether the job goes back into the queue after a preemption, a lost node or its time limit.
        signal_seconds: How long before its end the job is told; None: never.
    """

    name: str
    time: str
    output: str
    nodes: int = 1
    gpus: str = "1"
    tasks: int = 1
    cpus: int | None = None
    memory: str | None = None
    partition: str | None = None
    account: str | None = None
    array: str | None = None
    requeue: bool = True
    signal_seconds: int | None = 120

    def __post_init__(self) -> None:
        """Look at every value.

        Raises:
            ConfigurationError: SLURM would not understand one, or they contradict each other.
        """
        limit = seconds_of(self.time)
        for option, value, pattern, example in (
            ("--name", self.name, _NAME, "letters, digits, '-', '_' and '.'"),
            ("--gpus", self.gpus, _GPUS, "a number, e.g. 4, or with a kind, e.g. a100:4"),
            ("--memory", self.memory, _MEMORY, "a size, e.g. 64G"),
            (
                "--partition",
                self.partition,
                re.compile(r"[\w.,+-]+"),
                "a partition's name; 'sinfo' lists them",
            ),
            ("--account", self.account, re.compile(r"[\w.@+-]+"), "an account's name"),
            ("--array", self.array, _ARRAY, "numbers, e.g. 0-2 or 1,3,5 or 0-99%4 (four at a time)"),
        ):
            if value is not None and not pattern.fullmatch(value):
                raise ConfigurationError(f"{option} {value} cannot be used: expected {example}.")
        for option, count in (("--nodes", self.nodes), ("--tasks", self.tasks), ("--cpus", self.cpus)):
            if count is not None and count < 1:
                raise ConfigurationError(f"{option} must be at least 1, got {count}.")
        if self.signal_seconds is not None and not 0 < self.signal_seconds < min(limit, MOST_SIGNAL_SECONDS):
            raise ConfigurationError(
                f"--signal-seconds {self.signal_seconds} must lie between 0 and the job's time, "
                f"--time {self.time} ({in_words(limit)}); at most {MOST_SIGNAL_SECONDS}."
            )

    @property
    def gpu_count(self) -> int:
        """GPUs of each machine."""
        return int(self.gpus.rpartition(":")[2])

    @property
    def first_task(self) -> str:
        """The first number of the array."""
        return re.split(r"\D", self.array or "0")[0]


def batch_script(resources: Resources, command: Sequence[str], setup: str = "", origin: str = "") -> str:
    """Return the text of a batch script.

    Args:
        resources: What the job asks for.
        command: The command that each process runs; ``{task}`` in it becomes the array task's number, and
            words that begin with ``$SLURM_``, and ``$@``, stay variables. An option and its value make one
            line.
        setup: Lines before the command: modules, an environment.
        origin: Where the script comes from, a line for its head.
    """
    directives = [f"--job-name={resources.name}", f"--nodes={resources.nodes}"]
    if resources.gpu_count:
        directives += ["# A process for each GPU.", f"--ntasks-per-node={resources.tasks}"]
        directives += [f"--gpus-per-node={resources.gpus}"]
    else:
        directives += [f"--ntasks-per-node={resources.tasks}"]
    optional = (
        ("cpus-per-task", resources.cpus),
        ("mem", resources.memory),
        ("partition", resources.partition),
        ("account", resources.account),
        ("array", resources.array),
    )
    directives += [f"--{name}={value}" for name, value in optional if value is not None]
    directives += [f"--time={resources.time}"]
    if resources.signal_seconds is not None:
        directives += [
            "# So many seconds before the time is over, the training ends at a checkpoint"
            + (", and the job queues again." if resources.requeue else "."),
            f"--signal=USR1@{resources.signal_seconds}",
        ]
    directives += ["--requeue" if resources.requeue else "--no-requeue"]
    directives += ["# One log, also when the job is started again.", "--open-mode=append"]
    directives += [f"--output={resources.output}"]
    lines = ["#!/bin/bash", *(f"# {line}" for line in origin.splitlines())]
    lines += [one if one.startswith("#") else f"#SBATCH {one}" for one in directives]
    lines += ["", "set -eo pipefail"]
    if setup.strip():
        lines += ["", setup.strip(), ""]
    if resources.cpus is not None:
        lines += [
            "# Since SLURM 22.05 srun does not take over the batch job's cores for each process by itself.",
            'export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"',
        ]
    lines += ["# One process that fails ends the others, which would wait for it.", _joined(command)]
    return "\n".join(lines) + "\n"


def _joined(command: Sequence[str]) -> str:
    """Return ``srun`` and the command, an option a line."""
    lines: list[str] = ["srun --kill-on-bad-exit=1"]
    for position, word in enumerate(command):
        if position == 0 or word.startswith(("--", "$@")):
            lines.append(_quoted(word))
        else:
            lines[-1] += f" {_quoted(word)}"
    return " \\\n  ".join(lines)


def _quoted(word: str) -> str:
    """Return a word for the shell, in which the array task's number and SLURM's variables are filled in."""
    if word.startswith(_VARIABLES):
        return f'"{word}"'
    parts = [shlex.quote(part) if part else "" for part in word.split(TASK)]
    return '"$SLURM_ARRAY_TASK_ID"'.join(parts) or "''"
