"""What this machine's processors are good at."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Literal

import torch


@cache
def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 natively (AVX512-BF16 or AMX)."""
    capabilities = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")()
    checks = (
        getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return "AVX512" in capabilities and any(check() for check in checks if check is not None)


def best_precision(accelerator: str = "auto") -> Literal["bf16-mixed", "32-true"]:
    """Return the Trainer precision that is fastest here without harm to quality.

    Args:
        accelerator: The Trainer's accelerator: ``auto``, ``cpu``, ``gpu`` or ``cuda``.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return "bf16-mixed" if cpu_has_bfloat16() else "32-true"


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's names for what it sets


def reuse_freed_memory() -> None:
    """Let this process keep memory that it has freed, up to 1 GB, for the next batch and step.

    glibc gives tensors of some MB back to the system when they are freed, and the next one of that size
    is made of pages that the system must clear first: making float images of 128 x 128 pixels took
    twice as long, at random. Elsewhere than on Linux with glibc nothing happens.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        # Both: setting one alone fixes the other at its small default. 32 MB is the largest that is taken.
        mallopt(_TRIM_THRESHOLD, 1 << 30)
        mallopt(_MMAP_THRESHOLD, 32 << 20)
