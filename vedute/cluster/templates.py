"""The scripts in ``slurm/``: those that ``submit`` writes, with resources to be changed by hand.

``python -m vedute.cluster.templates`` writes them anew.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vedute.cluster.script import PROCESSES, Resources, batch_script

FOLDER = Path("slurm")
_LOG = "slurm-%x-%j.log"
_SETUP = """# What makes 'python' the one of this project, on this cluster; without such a line it is that of
# the shell in which the job was submitted:
# module load cuda; source venv/bin/activate"""
_FIT = ["python", "cli.py", "fit", "$@"]
_ONE = Resources(name="vedute", time="4:00:00", output=_LOG, gpus="4", tasks=4, cpus=8, memory="128G")


def templates() -> dict[str, str]:
    """Return the text of each script by its file's name."""
    fit = [*_FIT, *PROCESSES]
    worker = replace(_ONE, name="sweep", gpus="1", tasks=1, memory="32G", array="0-7", signal_seconds=None)
    worker = replace(worker, output="slurm-%x-%A_%a.log")
    sweep = ["python", "cli.py", "sweep", "$@"]
    return {
        "one_node.sbatch": batch_script(_ONE, fit, _SETUP, _origin("one_node", "on the GPUs of one machine")),
        "several_nodes.sbatch": batch_script(
            replace(_ONE, nodes=2), fit, _SETUP, _origin("several_nodes", "on the GPUs of several machines")
        ),
        "array_sweep.sbatch": batch_script(
            worker,
            sweep,
            _SETUP,
            """Workers of one sweep, each on a GPU of its own; they share a study through --storage:
  sbatch slurm/array_sweep.sbatch --config configs/cvae_landscapes.yaml --space configs/spaces/cvae.yaml \\
    --trials 50 --objective val/loss:minimize --study cvae --storage postgresql://USER@HOST/DATABASE
Resources below can be changed before the script's name:
  sbatch --array=0-3 --time=1:00:00 slurm/array_sweep.sbatch --config ...
A worker that is preempted, or whose machine is lost, is started again and goes on with the study.""",
        ),
    }


def _origin(name: str, what: str) -> str:
    return f"""Trains {what}; options after the script's name are those of 'fit':
  sbatch slurm/{name}.sbatch --config configs/cvae_landscapes.yaml --config configs/with/slurm.yaml
Resources below can be changed before the script's name, a process for each GPU:
  sbatch --gpus-per-node=8 --ntasks-per-node=8 --time=1-0 slurm/{name}.sbatch --config ...
'python cli.py submit' writes such a script for one training, with its options checked."""


def write(folder: Path = FOLDER) -> None:
    """Write the scripts.

    Args:
        folder: Where to.
    """
    folder.mkdir(exist_ok=True)
    for name, text in templates().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
