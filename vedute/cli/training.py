"""``fit``, ``validate``, ``test`` and ``predict``: Lightning's command line on our two bases.

Here: the parser, the trainer and what every training gets without asking (run folder, loggers,
checkpoints, seeds). Not here: which checkpoint is meant (``vedute.cli.training_arguments``).
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Optional

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.trainer.states import TrainerStatus

from datamodules.base import ImageDataModule
from lightning_modules.base import GenerativeModule, ImageModule
from vedute.callbacks.budget import TrainingBudget
from vedute.callbacks.checkpoint import LOGGED_STEP, BestAndLast, WholeFileIO
from vedute.callbacks.closing import ClosingMessage, OpeningMessage
from vedute.callbacks.finite import FiniteLosses
from vedute.callbacks.progress import EpochLines, LossBar
from vedute.callbacks.reproducible import Reproducible
from vedute.callbacks.results import PredictionWriter, ScoreWriter
from vedute.callbacks.run_log import RunLog
from vedute.callbacks.throughput import Throughput
from vedute.checkpoints import begin_with, check_weights, load_checkpoint, load_weights
from vedute.cli import program
from vedute.cli.mistakes import own_errors
from vedute.cli.training_arguments import LINKED, Run, check_same, complete, find_run
from vedute.cluster.ending import BEFORE_THE_END, Ended, EndRequest, Preemption, requeue
from vedute.cluster.environment import cluster_environment
from vedute.cluster.hardware import check_hardware
from vedute.cluster.jobs import remember, slurm_job
from vedute.distributed import first_rank
from vedute.errors import ConfigurationError, named
from vedute.files import WEIGHTS
from vedute.hardware import best_precision, reuse_freed_memory
from vedute.loggers import RunCSVLogger, RunTensorBoardLogger, WeightsAndBiases
from vedute.networks.published_rrdb import SUFFIXES
from vedute.pretrained import weights_follow
from vedute.run_folder import CHECKPOINTS, CONFIG, METRICS, RunFolder, announced, shown

_SKIPPED = {
    "model",
    "train_dataloaders",
    "val_dataloaders",
    "dataloaders",
    "datamodule",
    "weights_only",
    "verbose",
}

_USAGE = {
    "fit": f"{program()} fit --config FILE [--config FILE ...] [--ckpt_path last|FILE] [options]",
    **{verb: f"{program()} {verb} --ckpt_path FILE [options]" for verb in ("validate", "test", "predict")},
}
_DESCRIPTION = (
    "Every value of a configuration can be changed on the command line, e.g. --data.batch_size 32; "
    "later values win. --print_config writes out a complete configuration. --ckpt_path takes a file, or "
    "last or best: those of the newest run of the configuration. A checkpoint alone brings its own "
    "configuration. Sizes are in pixels, intervals as named."
)


class TrainingCLI(LightningCLI):
    """LightningCLI for one verb, which knows runs and builds no parser of another verb."""

    def __init__(self, verb: str, args: Sequence[str]) -> None:
        """Parse, build and run.

        Args:
            verb: ``fit``, ``validate``, ``test`` or ``predict``.
            args: Its options.
        """
        self.verb = verb
        self.plan: Run
        self.folder: Path | None = None
        self.end_request = EndRequest()
        self._environment: ClusterEnvironment | None = None
        if verb == "fit" and slurm_job() is not None:
            self.end_request.listen(BEFORE_THE_END)  # which would otherwise kill a job that prepares data
        super().__init__(
            model_class=ImageModule,
            datamodule_class=ImageDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,  # RunFolder writes it
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_kwargs={
                "exit_on_error": False,
                "prog": program(),
                "allow_abbrev": False,
                verb: {
                    "exit_on_error": False,
                    "allow_abbrev": False,
                    "usage": _USAGE[verb],
                    "description": _DESCRIPTION,
                },
            },
            args=[verb, *args],
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # static there: here one verb only
        """Return the one verb that was chosen, and the arguments that it does not take."""
        return {self.verb: _SKIPPED | ({"return_predictions"} if self.verb == "predict" else set())}

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse without Lightning's warning that the process has arguments of its own."""
        assert isinstance(args, list)
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Leave the options as they are: ``complete`` has already taken a checkpoint's own."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the checkpoint callback and give the model the data set's facts."""
        parser.add_lightning_class_args(BestAndLast, "checkpoint")
        parser.add_lightning_class_args(TrainingBudget, "budget")
        parser.add_argument(
            "--weights_dir",
            "--weights-dir",
            type=Optional[str],  # noqa: UP045  # the parser's own notation
            default=None,
            help="Folder of pretrained weights (of perceptual losses, of encoders); null: VEDUTE_WEIGHTS, "
            "then torch's cache.",
        )
        parser.add_argument(
            "--initial_weights",
            "--initial-weights",
            type=Optional[str],  # noqa: UP045  # the parser's own notation
            default=None,
            help="Checkpoint of the same model whose weights a new training begins with: fine-tuning, e.g. "
            "on other tiles. --ckpt_path instead continues a run, with its optimisers and its progress.",
        )
        for name in LINKED:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def _run_subcommand(self, subcommand: str) -> None:
        """Wait for :meth:`execute`: errors ask what has been built."""

    def execute(self) -> None:
        """Do what the verb says.

        Raises:
            KeyboardInterrupt: With the place of the last checkpoint.
            SystemExit: A signal ended the training, after a checkpoint; 0 if SLURM will continue it.
        """
        try:
            super()._run_subcommand(self.verb)
        except Ended as end:
            raise SystemExit(self._ended(end)) from None
        except (KeyboardInterrupt, SystemExit):
            if self.trainer.state.status == TrainerStatus.INTERRUPTED:
                raise KeyboardInterrupt(self._interrupted()) from None
            raise
        finally:
            self._discard_unused()

    def _interrupted(self, what: str = "Interrupted") -> str:
        last = None if self.folder is None else self.folder / CHECKPOINTS / "last.ckpt"
        if self.verb != "fit" or last is None:
            return f"{what}."
        if not last.is_file():
            return f"{what} before the first checkpoint: there is nothing to continue from."
        again = shlex.join([*program().split(), "fit", "--ckpt_path", shown(last)])
        return f"{what}. The last checkpoint is {shown(last)}; continue with:\n  {again}"

    def _ended(self, end: Ended) -> int:
        """Put the job back into SLURM's queue, say what happens next, and return the exit code."""
        if not first_rank():
            return 0  # the first process speaks for all; Lightning kills it where another reports a failure
        said = f"Ended by {signal.Signals(end.number).name} after a checkpoint"
        job = slurm_job()
        reason = None if job is None else requeue(job, end.number)
        if job is None or reason is not None:
            print(self._interrupted(said), file=sys.stderr, flush=True)
            if job is not None:
                print(
                    f"SLURM job {job.number} does not go on by itself: {reason}.", file=sys.stderr, flush=True
                )
            return 128 + end.number
        assert self.folder is not None
        print(
            f"{said}. SLURM job {job.number} is in the queue again and will go on in {shown(self.folder)}.",
            file=sys.stderr,
            flush=True,
        )
        return 0

    def _discard_unused(self) -> None:
        """Remove a new run folder that an error left before training began."""
        folder = self.folder
        if folder is None or self.verb != "fit" or self.plan.resumed is not None or not first_rank():
            return
        if not (folder / METRICS).exists() and not any(folder.glob(f"{CHECKPOINTS}/*.ckpt")):
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(
                OSError
            ):  # other runs, or this one's first: runs/NAME and runs, where they are empty
                folder.parent.rmdir()
                folder.parent.parent.rmdir()

    def before_instantiate_classes(self) -> None:
        """Find the checkpoint and the weights before anything is built."""
        weights = self.config[self.verb].get("weights_dir")
        if weights is not None:
            if not Path(weights).is_dir():
                raise ConfigurationError(f"--weights_dir {weights} is no folder.")
            os.environ[WEIGHTS] = str(Path(weights).absolute())
        self.check_machine()
        self.plan = find_run(self.verb, self.config[self.verb])
        self.config[self.verb]["ckpt_path"] = None  # resuming is no part of the configuration
        initial = self.config[self.verb].get("initial_weights")
        self._initial = None if initial is None else Path(initial)
        if self.verb == "fit" and self._initial is not None and self.plan.checkpoint is None:
            # A file that is none is said before data are prepared.
            if self._initial.suffix.lower() not in SUFFIXES:
                load_checkpoint(self._initial)
            elif not self._initial.is_file():
                raise ConfigurationError(f"--initial_weights {self._initial} does not exist.")
        self._text = self._parser(self.verb).dump(self.config[self.verb], skip_none=False)
        resumed = self.plan.resumed
        if self.verb == "fit" and resumed is not None:
            files = [Path(str(file)).absolute() for file in self.config[self.verb]["config"] or []]
            own = resumed / CONFIG
            if own.absolute() not in files:
                check_same(resumed, own, self._text)

    def check_machine(self) -> None:
        """Make sure that the GPUs that are asked for are here, and the job's other processes will be."""
        trainer = self.config[self.verb]["trainer"]
        strategy = trainer["strategy"]
        backend = None if isinstance(strategy, str) else strategy.get("init_args.process_group_backend")
        check_hardware(trainer["accelerator"], trainer["devices"], trainer["num_nodes"], backend)
        self._environment = cluster_environment()

    def instantiate_classes(self) -> None:
        """Build data, model and trainer, without pretrained weights where a checkpoint brings its own."""
        with nullcontext() if self.plan.checkpoint is None else weights_follow():
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: object) -> Trainer:
        """Build the trainer on the run's folder."""
        options = self.config_init[self.verb]["trainer"]
        if self.verb != "predict":
            self.model.check()
        if self.verb == "fit" and self.plan.checkpoint is not None:
            check_weights(self.model, load_checkpoint(self.plan.checkpoint), self.plan.checkpoint)
        elif self.verb == "fit" and self._initial is not None:
            begin_with(self.model, self._initial)
        # Losses of two data sets would be mixed up by Lightning's merged table of hyper-parameters,
        # which refuses options that a model and a data set both have (image_size).
        self.model._log_hyperparams = self.datamodule._log_hyperparams = False
        loggers: list[Logger] | bool = False
        config = None
        kept_step = None
        if options["fast_dev_run"]:
            self._scratch = TemporaryDirectory(prefix="vedute-")
            self.folder = Path(self._scratch.name)
        else:
            self.folder = self.plan.create(first_rank())
            if self.verb == "fit":
                if self.folder is not None and first_rank():
                    remember(self.folder)
                config = self._text
                kept_step = self._kept_step()
                loggers = self._loggers(options["logger"], kept_step)
        callbacks = [*_listed(options["callbacks"]), RunFolder(self.folder, config)]
        callbacks += self._callbacks(callbacks, options["enable_progress_bar"] is not False)
        try:
            return super().instantiate_trainer(
                **{
                    "callbacks": callbacks,
                    "logger": loggers,
                    "plugins": [*_listed(options["plugins"]), *self._plugins(options["plugins"])],
                    "precision": options["precision"] or best_precision(str(options["accelerator"])),
                    "enable_model_summary": options["enable_model_summary"] or False,
                    **kwargs,
                }
            )
        except (ValueError, ImportError) as error:
            self._discard_unused()
            raise ConfigurationError(f"The trainer cannot be built: {error}") from error
        except BaseException:
            self._discard_unused()
            raise

    def _kept_step(self) -> int | None:
        """Return the last logged step that a continued run keeps; None for a new run."""
        if self.plan.resumed is None or self.plan.checkpoint is None:
            return None
        step = load_checkpoint(self.plan.checkpoint).get(LOGGED_STEP)
        return step if isinstance(step, int) else None

    def _loggers(self, given: object, kept_step: int | None) -> list[Logger] | bool:
        if given is False or self.folder is None:
            return False
        loggers: list[Logger] = [
            RunCSVLogger(self.folder, kept_step),
            RunTensorBoardLogger(self.folder, kept_step),
            *(logger for logger in _listed(given) if isinstance(logger, Logger)),
        ]
        for logger in loggers:
            if isinstance(logger, WeightsAndBiases):
                logger.attach(self.folder, resumed=self.plan.resumed is not None)
        return loggers

    def _callbacks(self, given: Sequence[object], bar: bool) -> list[Callback]:
        """Return what every run has; a configuration's own of the same kind comes first."""
        ours: list[Callback] = []
        if self.verb == "fit":
            # Throughput first: seeding is not waiting for data.
            ours += [RunLog(), Throughput(), Reproducible(), OpeningMessage(), FiniteLosses()]
            ours += [Preemption(self.end_request)]
        elif self.verb == "predict":
            ours += [PredictionWriter(self._source())]
        else:
            ours += [ScoreWriter(self._source(), self.verb)]
        if bar and not any(isinstance(callback, ProgressBar) for callback in given):
            ours += [LossBar() if sys.stdout.isatty() else EpochLines()]
        if self.verb == "fit":
            ours += [ClosingMessage(program())]  # after the bar
        return [ours_ for ours_ in ours if not any(type(ours_) is type(callback) for callback in given)]

    def _source(self) -> Path:
        assert self.plan.checkpoint is not None, "find_run demands one"
        return self.plan.checkpoint

    def _plugins(self, given: object) -> list[CheckpointIO | ClusterEnvironment]:
        """Return what every trainer has, but where a configuration has its own of the kind."""
        theirs = _listed(given)
        return [
            ours
            for kind, ours in ((CheckpointIO, WholeFileIO()), (ClusterEnvironment, self._environment))
            if ours is not None and not any(isinstance(plugin, kind) for plugin in theirs)
        ]

    def fit(self, model: LightningModule, datamodule: LightningDataModule, **_: object) -> None:
        """Train, from the beginning or from where the run stopped."""
        with announced(self.folder):
            self.trainer.fit(model, datamodule=datamodule, ckpt_path=self.plan.checkpoint, weights_only=True)

    def _loaded(self, model: LightningModule) -> LightningModule:
        path = self._source()
        load_weights(model, load_checkpoint(path), path)
        return model

    def validate(self, model: LightningModule, datamodule: LightningDataModule, **_: object) -> None:
        """Score the validation split."""
        self.trainer.validate(self._loaded(model), datamodule=datamodule, verbose=False)

    def test(self, model: LightningModule, datamodule: LightningDataModule, **_: object) -> None:
        """Score the test split."""
        self.trainer.test(self._loaded(model), datamodule=datamodule, verbose=False)

    def predict(self, model: LightningModule, datamodule: LightningDataModule, **_: object) -> None:
        """Generate an image for each condition of the test split."""
        if not isinstance(model, GenerativeModule):
            raise ConfigurationError(
                f"'predict' generates images; {self._source()} holds {named(type(model))}."
            )
        self.trainer.predict(self._loaded(model), datamodule=datamodule, return_predictions=False)


def _listed(value: object) -> list[object]:
    """Return an option that may be nothing, one thing or several as a list."""
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, Iterable) else [value]


def main(verb: str, args: Sequence[str]) -> int:
    """Run a verb of the trainer.

    Args:
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        args: Its options.

    Returns:
        0.

    Raises:
        VeduteError: An option, the data or the checkpoint cannot be used.
        KeyboardInterrupt: Interrupted; the message says where the last checkpoint is.
    """
    reuse_freed_memory()
    informative = any(argument.startswith(("-h", "--help", "--print_config")) for argument in args)
    handlers = {
        number: signal.getsignal(number) for number in (signal.SIGINT, BEFORE_THE_END, signal.SIGTERM)
    }
    weights = os.environ.get(WEIGHTS)
    try:
        with own_errors():
            TrainingCLI(verb, list(args) if informative else complete(verb, args)).execute()
    finally:
        for number, handler in handlers.items():  # Lightning leaves Ctrl+C switched off
            # A job that was given back to SLURM ignores its SIGTERM: it ends by itself.
            if signal.getsignal(number) is not signal.SIG_IGN or number == signal.SIGINT:
                signal.signal(number, handler)
        if weights is None:
            os.environ.pop(WEIGHTS, None)
        else:
            os.environ[WEIGHTS] = weights
    return 0


def fit(args: Sequence[str]) -> int:
    """Train."""
    return main("fit", args)


def validate(args: Sequence[str]) -> int:
    """Score the validation split."""
    return main("validate", args)


def test(args: Sequence[str]) -> int:
    """Score the test split."""
    return main("test", args)


def predict(args: Sequence[str]) -> int:
    """Generate images for the test split's conditions."""
    return main("predict", args)
