"""Whether this machine has what a training on GPUs needs: asked before data are prepared."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from vedute.cluster.jobs import slurm_job
from vedute.errors import ConfigurationError


def check_hardware(
    accelerator: object, devices: object = "auto", num_nodes: int = 1, backend: str | None = None
) -> None:
    """Make sure that the processors that a trainer asks for are here.

    Args:
        accelerator: ``trainer.accelerator``; only ``cuda`` and ``gpu`` are looked at.
        devices: ``trainer.devices``: a number, a list of numbers, or text such as ``auto``.
        num_nodes: ``trainer.num_nodes``.
        backend: What processes talk to each other by; None: NCCL.

    Raises:
        ConfigurationError: They are not.
    """
    wanted = accelerator == "cuda" or (accelerator == "gpu" and not torch.backends.mps.is_available())
    if not wanted:
        return
    if not torch.cuda.is_available():
        raise ConfigurationError(
            f"trainer.accelerator is {accelerator}, but torch {torch.__version__} finds no GPU here. "
            f"{_advice()} To train on the CPU: --trainer.accelerator cpu."
        )
    present = torch.cuda.device_count()
    needed = _needed(devices)
    if needed > present:
        raise ConfigurationError(
            f"trainer.devices {devices} needs {needed} GPUs, {present} "
            f"{'is' if present == 1 else 'are'} here{_visible()}."
        )
    several = needed > 1 or num_nodes > 1 or (devices in ("auto", -1, "-1") and present > 1)
    if several and backend in (None, "nccl") and not torch.distributed.is_nccl_available():
        raise ConfigurationError(
            f"Several GPUs talk to each other by NCCL, which torch {torch.__version__} was built without: "
            "install torch for CUDA on Linux, train on one GPU (--trainer.devices 1), or let them talk by "
            "gloo, which is slow (strategy: process_group_backend: gloo)."
        )


def _needed(devices: object) -> int:
    """Return how many GPUs must be here at the least."""
    if isinstance(devices, str):
        if devices.isdigit():
            return int(devices)
        devices = [int(word) for word in devices.split(",") if word.strip().isdigit()]
    if isinstance(devices, int):
        return max(devices, 1)
    if isinstance(devices, Sequence) and devices:
        return max(len(devices), 1 + max(int(one) for one in devices))
    return 1


def _visible() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible})"


def _advice() -> str:
    if slurm_job() is not None:
        return f"Ask SLURM for some (submit --gpus 1, #SBATCH --gpus-per-node=1){_visible()}."
    if torch.version.cuda is None:
        return "This torch was built for CPUs only: install torch for CUDA."
    return f"A driver must be installed, and the GPUs visible{_visible()}; 'doctor' tells more."
