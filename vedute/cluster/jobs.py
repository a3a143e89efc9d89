"""Which scheduler's job this process belongs to, and which run belongs to that job.

A job that its scheduler starts a second time (SLURM after a preemption, a time limit or a lost node;
``torchrun`` after a lost process) has the identity that it had before. Its run folder remembers it, so that
the job finds its own run again, however many others of the same configuration have begun since.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vedute.run_folder import run_folders

JOBS = "jobs.txt"
"""The file of a run folder that holds the jobs that the run was trained in, one a line."""

_NO_IDENTITY = ("", "none")
"""What ``torchrun`` calls a job that was given no ``--rdzv-id``."""


@dataclass(frozen=True)
class SlurmJob:
    """The SLURM job that this process belongs to.

    Attributes:
        number: As ``scontrol`` takes it: ``17``, of an array ``12_3``.
        step: Which of the job's ``srun`` commands has started this process; None: none.
        restarts: How often the job has been started before.
        cluster: The cluster's name; jobs of two clusters may have one number.
        nodes: Number of machines of the step or job.
    """

    number: str
    step: str | None
    restarts: int
    cluster: str
    nodes: int

    @property
    def identity(self) -> str:
        """What stays the same when the job is started again: its ``srun`` commands are numbered anew."""
        return f"slurm {self.cluster} {self.number} step {self.step or '-'}"


def slurm_job() -> SlurmJob | None:
    """Return the SLURM job that this process belongs to, as its environment tells; None: it is in none."""
    number = os.environ.get("SLURM_JOB_ID")
    if not number:
        return None
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return SlurmJob(
        number=f"{array}_{task}" if array and task else number,
        step=os.environ.get("SLURM_STEP_ID") or None,
        restarts=_count("SLURM_RESTART_COUNT"),
        cluster=os.environ.get("SLURM_CLUSTER_NAME") or "-",
        nodes=_count("SLURM_NNODES") or 1,
    )


def _count(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else 0


def _identities() -> list[tuple[str, bool]]:
    """Return the identities of the jobs that this process belongs to, and whether each may have begun a run.

    ``torchrun`` counts restarts on each machine for itself: where a process was lost, not on the others. With
    ``--max-restarts``, its ``--rdzv-id`` therefore names the training.
    """
    found = []
    job = slurm_job()
    if job is not None:
        found.append((job.identity, job.restarts > 0))
    elastic = os.environ.get("TORCHELASTIC_RUN_ID", "")
    if elastic not in _NO_IDENTITY:
        found.append((f"torchrun {elastic}", _count("TORCHELASTIC_MAX_RESTARTS") > 0))
    return found


def remember(folder: Path) -> None:
    """Note in a run folder that the run belongs to this process's job; without a job, nothing.

    Args:
        folder: The run folder.
    """
    path = folder / JOBS
    known = _read(path)
    new = [identity for identity, _ in _identities() if identity not in known]
    if new:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(f"{identity}\n" for identity in new)


def _read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def restarted_run(root: Path, name: str) -> Path | None:
    """Return the run that this job has begun before its scheduler started it again.

    Args:
        root: Folder of ``runs/``.
        name: Name of the configuration.

    Returns:
        The run folder; None: this is no job, or its first start, or it had not come to making one.
    """
    wanted = {identity for identity, begun in _identities() if begun}
    if not wanted:
        return None
    for folder in reversed(run_folders(root, name)):
        if wanted.intersection(_read(folder / JOBS)):
            return folder
    return None
