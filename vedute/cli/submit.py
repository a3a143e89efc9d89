"""``submit``: a training as a SLURM job, which ends at checkpoints and queues again until it is done."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.cli import program
from vedute.cli.inference import VerbParser, positive
from vedute.errors import ConfigurationError

if TYPE_CHECKING:
    from vedute.cluster.script import Resources

_OURS = ("--trainer.devices", "--trainer.num_nodes")
_DRAFT = "submit.sbatch"


def main(args: Sequence[str]) -> int:
    """Write a batch script, and submit it.

    Args:
        args: The verb's options and those of ``fit``.

    Returns:
        0.

    Raises:
        ConfigurationError: An option cannot be used, here or by ``fit``, or there is no ``sbatch``.
        VeduteError: SLURM refuses the job.
    """
    given, fit = _options().parse_known_args(list(args))
    if not given.dry_run:
        from vedute.cluster.submission import check_sbatch

        check_sbatch()

    from vedute.cluster.script import PROCESSES, TASK, batch_script, in_words, seconds_of

    varies = any(TASK in option for option in fit)
    if given.array is not None and not varies:
        raise ConfigurationError(
            "--array starts one training several times: let an option differ by the task's number, "
            f"e.g. --seed_everything {TASK}, or --config configs/{TASK}.yaml."
        )
    if given.array is None and varies:
        raise ConfigurationError(
            f"{TASK} is the number of an array's task: give --array too, e.g. --array 0-2."
        )
    for option in _OURS:
        if any(word.partition("=")[0] == option for word in fit):
            raise ConfigurationError(f"Leave out {option}: --nodes and --gpus (or --tasks) say it.")

    from vedute.cli.training_arguments import option_values, runs_root
    from vedute.run_folder import RUNS, run_name, shown

    # An early look at what else could be wrong with the resources; the folder is known after parsing.
    resources = _resources(given)
    accelerators = option_values(fit, "--trainer.accelerator")
    if not resources.gpu_count and accelerators not in ([], ["cpu"]):
        raise ConfigurationError("--gpus 0 asks for no GPU: leave out --trainer.accelerator.")
    if not accelerators:
        fit = [*fit, "--trainer.accelerator", "cuda" if resources.gpu_count else "cpu"]
    tried = [word.replace(TASK, resources.first_task) for word in fit] if given.array else fit
    name = _check_fit(tried)
    configs = [Path(config) for config in option_values(tried, "--config", "-c")]
    folder = runs_root(configs, tried) / RUNS / (run_name(configs[0]) if configs else name) / "jobs"

    log = "%j.log" if given.array is None else "%A_%a.log"
    resources = replace(resources, name=given.name or folder.parent.name, output=f"{shown(folder)}/{log}")
    again = shlex.join([*program().split(), "submit", *args])
    text = batch_script(
        resources, [*_command(given.setup), *fit, *PROCESSES], _setup(given.setup), f"Written by: {again}"
    )

    from vedute.files import whole

    script = folder / _DRAFT
    with whole(script) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text)
    print(f"Written to {shown(script)}. Time limit: {in_words(seconds_of(given.time))}.")
    if given.dry_run:
        print(f"Not submitted (--dry-run); to submit it: sbatch {shlex.quote(shown(script))}")
        return 0
    _submit(script, resources)
    return 0


def _submit(script: Path, resources: Resources) -> None:
    from vedute.cluster.submission import submit
    from vedute.run_folder import shown

    number = submit(script)
    kept = script.with_name(f"{number}.sbatch")
    script.replace(kept)  # sbatch has taken a copy
    task = "" if resources.array is None else f"_{resources.first_task}"
    log = resources.output.replace("%A", number).replace("%j", number).replace("_%a", task)
    logs = log if resources.array is None else f"{log} (and so on: one for each task)"
    print(f"Submitted job {number} ({resources.name}), script {shown(kept)}")
    print(f"  log         {logs}")
    print(f"  follow      tail -F {shlex.quote(log)}")
    print(f"  state       squeue --job {number}")
    print(f"  end         scancel {number}")
    if resources.requeue:
        print(f"  checkpoint and back into the queue now: scancel --signal=USR1 {number}{task}")


def _resources(given: argparse.Namespace) -> Resources:
    """Return what is asked of SLURM, but for the job's name and log.

    Raises:
        ConfigurationError: A value cannot be used.
    """
    from vedute.cluster.script import Resources

    gpus = given.gpus.rpartition(":")[2]
    with_gpus = gpus.isdigit() and int(gpus) > 0
    if with_gpus and given.tasks is not None:
        raise ConfigurationError(
            "--tasks is for jobs without GPUs (--gpus 0): else each GPU has one process."
        )
    return Resources(
        name="job",
        time=given.time,
        output="%j.log",
        nodes=given.nodes,
        gpus=given.gpus,
        tasks=int(gpus) if with_gpus else given.tasks or 1,
        cpus=given.cpus,
        memory=given.memory,
        partition=given.partition,
        account=given.account,
        array=given.array,
        requeue=given.requeue,
        signal_seconds=given.signal_seconds,
    )


def _check_fit(args: Sequence[str]) -> str:
    """Parse the options as ``fit`` will, build nothing, and return the model's name.

    Raises:
        ConfigurationError: ``fit`` does not know one, or a value is wrong.
    """
    from vedute.cli.mistakes import own_errors
    from vedute.cli.parsed_only import ParsedOnly
    from vedute.cli.training_arguments import complete

    with own_errors():
        config = ParsedOnly("fit", complete("fit", args)).config["fit"]
    return str(config["model"]["class_path"]).rpartition(".")[2].lower()


def _command(setup: str | None) -> list[str]:
    """Return ``fit`` as the job calls it: by this Python, or by the one that ``--setup`` brings."""
    python = Path(sys.executable)
    if program() == "vedute":
        installed = python.with_name("vedute")
        return ["vedute" if setup is not None or not installed.is_file() else str(installed), "fit"]
    return ["python" if setup is not None else str(python), sys.argv[0], "fit"]


def _setup(given: str | None) -> str:
    """Return the lines of ``--setup``: a file's, or the text itself.

    Raises:
        ConfigurationError: It looks like a file, and there is none.
    """
    if given is None:
        return ""
    path = Path(given)
    if "\n" not in given and path.is_file():
        return path.read_text(encoding="utf-8")
    if len(given.split()) == 1:
        raise ConfigurationError(
            f"--setup {given}: there is no such file. Give a file of shell lines, or the "
            "lines themselves, e.g. --setup 'module load cuda'."
        )
    return given


def _options() -> argparse.ArgumentParser:
    options = VerbParser(
        prog=f"{program()} submit",
        usage=f"{program()} submit --config FILE [options of fit] [options below]",
        description="Train as a SLURM job. Options that are not listed here are those of 'fit', and are "
        "checked before anything is submitted. Writes the batch script to runs/NAME/jobs/, shows it, and "
        "hands it to sbatch. Some time before the job's time is over, or when it is preempted, the training "
        "writes a checkpoint, and the job queues again and goes on in its own run folder, until it is done.",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument(
        "--time", required=True, metavar="H:MM:SS", help="time limit, e.g. 2:00:00 or 1-12 (days-hours)"
    )
    options.add_argument("--nodes", type=positive, default=1, metavar="N", help="machines")
    options.add_argument(
        "--gpus",
        default="1",
        metavar="[KIND:]N",
        help="GPUs of each machine, a process for each, e.g. 4 or a100:4; 0: train on CPUs",
    )
    options.add_argument(
        "--tasks", type=positive, metavar="N", help="processes on each machine without GPUs (none given: 1)"
    )
    options.add_argument("--cpus", type=positive, metavar="N", help="CPU cores of each process")
    options.add_argument("--memory", metavar="SIZE", help="memory of each machine, e.g. 64G")
    options.add_argument("--partition", metavar="NAME", help="partition; 'sinfo' lists them")
    options.add_argument("--account", metavar="NAME", help="account that is charged")
    options.add_argument(
        "--array",
        metavar="NUMBERS",
        help="several trainings, e.g. 0-2; {task} in the options of fit becomes each one's number: "
        "--seed_everything {task}",
    )
    options.add_argument("--name", metavar="NAME", help="name of the job (none given: the configuration's)")
    options.add_argument(
        "--setup",
        metavar="FILE_OR_LINES",
        help="shell lines before the training, e.g. 'module load cuda; source venv/bin/activate'; without it "
        "the Python of now is used",
    )
    options.add_argument("--dry-run", action="store_true", help="write and show the script, submit nothing")
    options.add_argument(
        "--requeue",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether the job queues again when its time is over or it is preempted",
    )
    options.add_argument(
        "--signal-seconds",
        type=int,
        default=120,
        metavar="S",
        help="how long before its end the job is told; longer than a validation and a checkpoint take",
    )
    return options
