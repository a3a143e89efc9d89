"""How the processes of one training find each other under SLURM."""

from __future__ import annotations

import logging
import os

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from vedute.cluster.jobs import slurm_job
from vedute.cluster.scontrol import scontrol
from vedute.distributed import first_rank
from vedute.errors import ConfigurationError

logger = logging.getLogger("vedute.cluster")

_INTERACTIVE = ("bash", "interactive")
"""Names of jobs in which a person types: Lightning starts processes by itself there, and so do we."""


class SlurmEnvironment(SLURMEnvironment):
    """Lightning's, without its requeue, which saves amid a step; ours is ``vedute.cluster.ending``.

    On one machine the processes meet at the loopback address, which needs no name service.
    """

    def __init__(self) -> None:
        """Leave signals alone."""
        super().__init__(auto_requeue=False)

    @property
    def main_address(self) -> str:
        """Address of the first process's machine."""
        job = slurm_job()
        if "MASTER_ADDR" not in os.environ and job is not None:
            address = "127.0.0.1" if job.nodes == 1 else _first_host(os.environ.get("SLURM_JOB_NODELIST", ""))
            if address:
                os.environ["MASTER_ADDR"] = address
        return super().main_address

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Compare the trainer's processes with the job's.

        Raises:
            ConfigurationError: They differ.
        """
        try:
            super().validate_settings(num_devices, num_nodes)
        except ValueError as error:
            tasks = os.environ.get("SLURM_NTASKS_PER_NODE", "1")
            nodes = os.environ.get("SLURM_NNODES", "1")
            raise ConfigurationError(
                f"The SLURM job has {nodes} node(s) with {tasks} process(es) each, the training expects "
                f"{num_nodes} with {num_devices}. Give --trainer.num_nodes $SLURM_NNODES and "
                "--trainer.devices $SLURM_NTASKS_PER_NODE, as the scripts in slurm/ do."
            ) from error


def _first_host(nodes: str) -> str:
    """Return the first machine of SLURM's list, e.g. ``rack[1-2,7]-a``; empty where SLURM cannot say it."""
    shown, _ = scontrol("show", "hostnames", nodes, seconds=30)
    return next(iter(shown.split()), "")


def _check_restarts() -> None:
    """Say what restarted processes would stumble over: old addresses in a store that outlives them."""
    restarts = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
    several = os.environ.get("GROUP_WORLD_SIZE", "1") != "1"
    if restarts and several and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and first_rank():
        logger.warning(
            "torchrun can only restart processes of several machines that meet anew: begin its command with "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1, else they look for each other where they were before."
        )


def cluster_environment() -> ClusterEnvironment | None:
    """Return how the processes meet; None: as Lightning finds out by itself.

    Raises:
        ConfigurationError: A job with several tasks was not started by ``srun``: each would wait for ever
            for others that nobody starts.
    """
    job = slurm_job()
    if TorchElasticEnvironment.detect():
        _check_restarts()
        return None
    if job is None or SLURMEnvironment.job_name() in _INTERACTIVE:
        return None
    if job.step is not None:
        if int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
            raise ConfigurationError(
                "This SLURM job says --ntasks, from which nobody knows how many processes are on each "
                "machine: give --nodes and --ntasks-per-node instead."
            )
        return SlurmEnvironment()
    if job.nodes > 1:
        raise ConfigurationError(
            f"SLURM job {job.number} has {job.nodes} nodes, but this process was started on the first alone: "
            "begin the command with 'srun', as slurm/several_nodes.sbatch does."
        )
    return LightningEnvironment()  # Lightning itself would take the batch script for one of srun's processes
