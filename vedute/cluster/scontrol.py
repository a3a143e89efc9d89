"""Asking SLURM about jobs and machines."""

from __future__ import annotations

import subprocess


def scontrol(*words: str, seconds: float = 60) -> tuple[str, str | None]:
    """Run ``scontrol``.

    Args:
        words: Its arguments.
        seconds: How long to wait for it.

    Returns:
        What it prints, and why it failed, for people (None: it did not).
    """
    command = ["scontrol", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except FileNotFoundError:
        return "", "there is no 'scontrol' here"
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"'{' '.join(command)}' failed: {error}"
    if done.returncode:
        return "", " ".join(done.stderr.split()) or f"'{' '.join(command)}' failed ({done.returncode})"
    return done.stdout, None
