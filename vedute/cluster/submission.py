"""Handing a batch script to SLURM."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from vedute.errors import ConfigurationError, VeduteError

_SECONDS = 120


def check_sbatch() -> None:
    """Make sure that jobs can be submitted from here.

    Raises:
        ConfigurationError: There is no ``sbatch``.
    """
    if shutil.which("sbatch") is None:
        raise ConfigurationError(
            "There is no 'sbatch' on this machine: run this where jobs are submitted, mostly a cluster's "
            "login node. --dry-run writes the script without it."
        )


def submit(script: Path) -> str:
    """Hand a script to SLURM.

    Args:
        script: The batch script.

    Returns:
        The job's number.

    Raises:
        VeduteError: SLURM refuses it; the message is SLURM's own.
    """
    command = ["sbatch", "--parsable", str(script)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VeduteError(f"sbatch does not answer: {error}. The script is kept: {script}.") from error
    if done.returncode:
        said = " ".join(line.removeprefix("sbatch: error: ").strip() for line in done.stderr.splitlines())
        raise VeduteError(f"SLURM refuses the job: {said or done.returncode}. The script is kept: {script}.")
    return done.stdout.strip().partition(";")[0]
