"""How many processor cores there are to use. Imports nothing slow: worker processes need it."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return how many cores this process may use, which under SLURM may be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
