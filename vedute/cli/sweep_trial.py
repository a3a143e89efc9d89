"""What runs inside the process of a sweep's trial: ``fit``, with a reporter and a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path

from lightning.pytorch import Callback, LightningDataModule, LightningModule

from vedute.callbacks.finite import DivergedError
from vedute.cli.mistakes import own_errors
from vedute.cli.quiet import quieten
from vedute.cli.sweep_continuation import take_over
from vedute.cli.training import TrainingCLI
from vedute.cli.training_arguments import Run, complete
from vedute.errors import VeduteError
from vedute.hardware import reuse_freed_memory
from vedute.run_folder import RUNS, next_run_folder
from vedute.sweep.processes import Begun, Job, Outcome, move_in
from vedute.sweep.reporter import Reporter

_ORPHAN_SECONDS = 60.0
_LOGGER = "WeightsAndBiases"


@dataclass
class TrialRun(Run):
    """A new run whose folder has the trial's number."""

    number: int = 0

    def create(self, first_rank: bool) -> Path | None:
        """Return ``runs/NAME/<number of the trial>``, or the next free one where that is taken."""
        if not first_rank:
            return super().create(first_rank)
        folder = self.root / RUNS / self.name / str(self.number)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            return next_run_folder(self.root, self.name)
        return folder


class TrialCLI(TrainingCLI):
    """``fit`` as a trial of a sweep."""

    def __init__(
        self, args: Sequence[str], number: int, study: str, reporter: Reporter, continues: Path | None = None
    ) -> None:
        """Parse and build.

        Args:
            args: Options of ``fit``.
            number: The trial's number.
            study: The study's name.
            reporter: What reports to the sweep.
            continues: Run folder of a lost trial with the same values; None: there is none.
        """
        self._number = number
        self._study = study
        self._reporter = reporter
        self._continues = continues
        super().__init__("fit", args)

    def before_instantiate_classes(self) -> None:
        """Group what goes to Weights & Biases, and choose the folder."""
        group_runs(self.config["fit"]["trainer"].get("logger"), self._study)
        super().before_instantiate_classes()
        plan = self.plan
        if plan.resumed is not None:  # as another process of a trial that goes on
            return
        folder = plan.root / RUNS / plan.name / str(self._number)
        last = None if self._continues is None else take_over(self._continues, folder, self._text)
        if last is None:
            self.plan = TrialRun(plan.name, plan.root, None, None, number=self._number)
        else:
            self.plan = Run(plan.name, plan.root, last, folder)

    def _callbacks(self, given: Sequence[object], bar: bool) -> list[Callback]:
        return [*super()._callbacks(given, bar), self._reporter]

    def fit(self, model: LightningModule, datamodule: LightningDataModule, **options: object) -> None:
        """Train; processes that Lightning starts are trials too."""
        if self.trainer.world_size > 1:
            # Lightning runs this process's command again for each other device.
            last = [] if self.plan.checkpoint is None else [f"--ckpt_path={self.plan.checkpoint}"]
            job = {
                "arguments": [*self._given, *last],
                "number": self._number,
                "study": self._study,
                "objective": self._reporter.objective,
            }
            sys.argv = [__file__, json.dumps(job)]
            sys.modules["__main__"].__spec__ = find_spec("vedute.cli.sweep_trial")  # python -m NAME
            os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        super().fit(model, datamodule, **options)

    def parse_arguments(self, parser: object, args: object) -> None:
        """Parse, and keep what was given for other processes."""
        assert isinstance(args, list)
        self._given: list[str] = args[1:]
        super().parse_arguments(parser, args)  # type: ignore[arg-type]  # as they come from Lightning


def group_runs(loggers: object, study: str) -> None:
    """Give the parsed options of Weights & Biases the study's name as group, unless they have one."""
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        get = getattr(logger, "get", None)
        if get is not None and str(get("class_path")).endswith(_LOGGER) and get("init_args.group") is None:
            logger["init_args"]["group"] = study  # type: ignore[index]  # a namespace of the parser


def run_trial(connection: Connection, job: Job) -> None:
    """Train in this process, which is the trial's own.

    Args:
        connection: To the sweep.
        job: What to do.
    """
    _move_in(job)
    reporter = Reporter(job.objective, lambda step, value: _reported(connection, step, value))
    folder: Path | None = None
    try:
        reuse_freed_memory()
        with own_errors():
            arguments = complete("fit", job.arguments)
            cli = TrialCLI(arguments, job.number, job.study, reporter, job.continues)
            folder = cli.folder
            connection.send(Begun(str(folder)))
            cli.execute()
        outcome = Outcome("pruned" if reporter.pruned else "complete", "", _text(folder), reporter.logged)
    except DivergedError as error:
        outcome = Outcome("failed", _said(error).partition(" There is no checkpoint")[0], _text(folder))
    except VeduteError as error:
        outcome = Outcome("failed", _said(error), _text(folder))
    except (KeyboardInterrupt, SystemExit) as error:
        outcome = Outcome("failed", str(error) or "interrupted", _text(folder))
    except BaseException as error:
        traceback.print_exc()
        outcome = Outcome("failed", f"{type(error).__name__}: {_first_line(error)}", _text(folder))
    with suppress(OSError):  # the sweep has gone
        connection.send(outcome)
    connection.close()


def _said(error: VeduteError) -> str:
    """Print an error to the trial's log and return it."""
    print(f"error: {error}", file=sys.stderr)
    return str(error)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "without a message."


def _text(folder: Path | None) -> str | None:
    return str(folder) if folder is not None and folder.is_dir() else None


def _reported(connection: Connection, step: int, value: float) -> bool:
    """Tell the sweep a value; whether to end.

    Raises:
        KeyboardInterrupt: The sweep has gone.
    """
    try:
        connection.send((step, value))
        return bool(connection.recv())
    except (EOFError, OSError) as error:
        raise KeyboardInterrupt("The sweep that started this trial has gone.") from error


def _move_in(job: Job) -> None:
    """Make this process the trial's: its output, its variables, its share of the machine."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with job.log.open("ab", buffering=0) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    for stream in (sys.stdout, sys.stderr):
        getattr(stream, "reconfigure", lambda **_: None)(line_buffering=True)
    move_in(job)
    with suppress(OSError):  # memory that is short costs a trial, not the sweep; only Linux has this
        Path("/proc/self/oom_score_adj").write_text("500")
    if job.threads is not None:
        import torch

        torch.set_num_threads(job.threads)
    threading.Thread(target=_watch_parent, daemon=True).start()
    quieten()


def _watch_parent() -> None:
    """End this process when the sweep is killed: nobody would hear what it says, others run it again."""
    parent = parent_process()
    if parent is None:
        return
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)  # the trainer ends after its batch
    threading.Event().wait(_ORPHAN_SECONDS)
    os._exit(1)


def follow(text: str) -> None:
    """Be another process of a trial: train along, and report to nobody.

    Args:
        text: What the first process passed on, JSON.
    """
    job = json.loads(text)
    quieten()
    reuse_freed_memory()
    reporter = Reporter(job["objective"], lambda step, value: False)
    with own_errors():
        TrialCLI(job["arguments"], job["number"], job["study"], reporter).execute()


if __name__ == "__main__":
    follow(sys.argv[1])
