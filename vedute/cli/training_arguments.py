"""What the options of ``fit``, ``validate``, ``test`` and ``predict`` mean before they are parsed.

Here: which checkpoint is meant, which configuration belongs to it, where a run writes.
Not here: the parser and the trainer (``vedute.cli.training``).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import yaml

from vedute.checkpoints import descriptions, load_checkpoint
from vedute.cli import program
from vedute.cluster.jobs import restarted_run
from vedute.distributed import first_rank
from vedute.errors import CheckpointError, ConfigurationError, similar_file
from vedute.run_folder import (
    CHECKPOINTS,
    CONFIG,
    ENVIRONMENT,
    METRICS,
    folder_of_checkpoint,
    newest_checkpoint,
    next_run_folder,
    run_name,
    shown,
)

logger = logging.getLogger("vedute.cli")

LINKED = (
    "image_size",
    "image_channels",
    "condition_kind",
    "condition_names",
    "condition_channels",
    "condition_mean",
    "condition_scale",
    "condition_range",
    "train_size",
)
"""Facts that a model takes from the data set."""

KEYWORDS = ("last", "best")


class Names(Protocol):
    """A parsed configuration: values by dotted name."""

    def get(self, key: str, default: object = None) -> object:
        """Return the value of ``key``."""


def option_values(args: Sequence[str], *names: str) -> list[str]:
    """Return the values given to an option on the command line, ``--name value`` or ``--name=value``."""
    values = []
    for position, argument in enumerate(args):
        name, equals, value = argument.partition("=")
        if name in names:
            if equals:
                values.append(value)
            elif position + 1 < len(args):
                values.append(args[position + 1])
    return values


def complete(verb: str, args: Sequence[str]) -> list[str]:
    """Add to the options what a checkpoint tells: its configuration, and where ``last`` is.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ConfigurationError: A configuration does not exist, or neither it nor a checkpoint is given.
    """
    arguments = list(args)
    configs = [Path(config) for config in option_values(arguments, "--config", "-c")]
    for config in configs:
        _check_config(config)
    wanted = option_values(arguments, "--ckpt_path")
    if verb == "fit" and (begun := _begun(configs, arguments, wanted)) is not None:
        return begun
    if not wanted or wanted[-1] == "null":
        names = {argument.partition("=")[0] for argument in arguments}
        asks = any(name.endswith(".help") for name in names)  # --data.help CLASS lists its options
        if not configs and "--model" not in names and not asks:
            usage = "--config configs/cvae_landscapes.yaml" if verb == "fit" else "--ckpt_path CHECKPOINT"
            raise ConfigurationError(f"'{verb}' needs a configuration, e.g. {program()} {verb} {usage}")
        return arguments
    checkpoint = Path(wanted[-1])
    rest = _without(arguments, "--ckpt_path")
    if wanted[-1] in KEYWORDS:
        if not configs:
            raise ConfigurationError(
                f"--ckpt_path {wanted[-1]} means the newest run of a configuration: give --config too, or "
                "the checkpoint's path."
            )
        checkpoint = _newest(wanted[-1], configs, arguments)
    content = load_checkpoint(checkpoint)
    own = folder_of_checkpoint(checkpoint) / CONFIG
    if not configs and not own.is_file():
        rest = [*_described(content, checkpoint), *rest]
    elif not configs or (verb != "fit" and wanted[-1] in KEYWORDS):
        # scored on the data that it was trained beside, whatever options that run had
        rest = [f"--config={own}", *_without(rest, "--config", "-c")]
    return [*rest, f"--ckpt_path={checkpoint}"]


def _begun(configs: Sequence[Path], args: Sequence[str], wanted: Sequence[str]) -> list[str] | None:
    """Return the options with which a job that its scheduler has started again goes on with its run.

    They are the run's own: a configuration may have been edited since. None: there is nothing to go on with.
    """
    if not configs and wanted and wanted[-1] not in KEYWORDS:
        configs = [folder_of_checkpoint(Path(wanted[-1])) / CONFIG]
        if not configs[0].is_file():
            return None
    if not configs:
        return None
    run = restarted_run(runs_root(configs, args), run_name(configs[0]))
    if run is None:
        return None
    last = run / CHECKPOINTS / "last.ckpt"
    goes_on = last.is_file()
    if first_rank():
        then = "it goes on with its run %s." if goes_on else "its run %s had no checkpoint, and begins anew."
        logger.info(f"This job was started again: {then}", shown(run))
    if not goes_on:
        return None
    return [f"--config={run / CONFIG}", f"--ckpt_path={last}"]


def _without(args: Sequence[str], *names: str) -> list[str]:
    """Return the options without some and their values."""
    kept = []
    skip = False
    for argument in args:
        name, equals, _ = argument.partition("=")
        if skip:
            skip = False
        elif name in names:
            skip = not equals
        else:
            kept.append(argument)
    return kept


def _newest(which: str, configs: Sequence[Path], args: Sequence[str]) -> Path:
    """Return ``last`` or ``best`` of the newest run of a configuration."""
    folder = runs_root(configs, args)
    name = run_name(configs[0])
    found = newest_checkpoint(folder, name, which)
    if found is None:
        raise CheckpointError(
            f"There is no {which}.ckpt of '{name}' under {folder / 'runs' / name}: nothing to start from. "
            "Leave out --ckpt_path to start a new run."
        )
    return found


def runs_root(configs: Sequence[Path], args: Sequence[str]) -> Path:
    """Return the folder of ``runs/`` that options mean, before they are parsed.

    Args:
        configs: The configurations, later ones win.
        args: All options; they win over configurations.
    """
    root = "."
    for config in configs:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
        trainer = content.get("trainer") if isinstance(content, dict) else None
        root = (trainer.get("default_root_dir") if isinstance(trainer, dict) else None) or root
    return Path([root, *option_values(args, "--trainer.default_root_dir")][-1])


def _described(content: Mapping[str, object], path: Path) -> list[str]:
    """Return the options that describe the model and data of a checkpoint without a run folder."""
    described = []
    for name, part in descriptions(content, path).items():
        options = part["init_args"]
        assert isinstance(options, Mapping)
        kept = {key: value for key, value in options.items() if name == "data" or key not in LINKED}
        described.append(f"--{name}={json.dumps({**part, 'init_args': kept})}")
    return described


def continues(checkpoint: Path, name: str) -> bool:
    """Whether training from ``checkpoint`` goes on with its run, whose configuration is ``name``.

    From ``last.ckpt`` a run goes on; from any other state it branches off, and the old run stays.
    """
    own = folder_of_checkpoint(checkpoint) / CONFIG
    return checkpoint.name == "last.ckpt" and own.is_file() and run_name(own) == name


def _check_config(path: Path) -> None:
    if path.is_file():
        return
    if path.is_dir():
        raise ConfigurationError(f"--config {path} is a folder; give a YAML file.")
    raise ConfigurationError(f"There is no configuration {path}.{similar_file(path)}")


@dataclass
class Run:
    """Which checkpoint a verb starts from and where it writes.

    Attributes:
        name: Name of the configuration.
        root: Folder of ``runs/``.
        checkpoint: Where to start; None: from scratch.
        resumed: The folder of the run that is continued; None: a new run.
        begun: The folder of a run that this job began before it was started again, without coming to a
            checkpoint; None: there is none.
    """

    name: str
    root: Path
    checkpoint: Path | None
    resumed: Path | None
    begun: Path | None = None

    def create(self, first_rank: bool) -> Path | None:
        """Return the run's folder; on ranks that the first one did not launch, None.

        Only rank 0 makes a new one; the processes that it launches are told which.
        """
        if self.resumed is not None:
            return self.resumed
        if self.begun is not None:
            if first_rank:  # what is logged begins anew; all else is written over
                for old in (self.begun / METRICS, *self.begun.glob("events.out.tfevents.*")):
                    old.unlink(missing_ok=True)
            return self.begun
        if first_rank:
            return next_run_folder(self.root, self.name)
        told = os.environ.get(ENVIRONMENT)
        return Path(told) if told else None


def find_run(verb: str, config: Names) -> Run:
    """Work out which checkpoint is meant and whether a run is continued.

    Args:
        verb: The verb.
        config: Its parsed options.

    Raises:
        CheckpointError: There is no such checkpoint.
        ConfigurationError: The verb needs one.
    """
    root = Path(str(config.get("trainer.default_root_dir") or "."))
    files = config.get("config")
    paths = [Path(str(file)) for file in files] if isinstance(files, list) else []
    model = str(config.get("model.class_path") or "model").rpartition(".")[2].lower()
    name = run_name(paths[0]) if paths else model
    wanted = config.get("ckpt_path")
    begun = restarted_run(root, name) if verb == "fit" else None
    if wanted is None and begun is not None and (begun / CHECKPOINTS / "last.ckpt").is_file():
        wanted = str(begun / CHECKPOINTS / "last.ckpt")
    if wanted is None:
        if verb != "fit":
            raise ConfigurationError(
                f"'{verb}' needs a trained model: give --ckpt_path FILE, or --ckpt_path best for the best of "
                f"the newest run of '{name}'."
            )
        return Run(name, root, None, None, begun)
    if wanted in KEYWORDS:
        raise ConfigurationError(f"Give --ckpt_path {wanted} on the command line, not in a configuration.")
    checkpoint = Path(str(wanted))
    load_checkpoint(checkpoint)
    goes_on = verb != "fit" or continues(checkpoint, name)
    return Run(name, root, checkpoint, folder_of_checkpoint(checkpoint) if goes_on else None, begun)


def check_same(run: Path, config: Path, text: str) -> None:
    """Make sure that a run is continued with the data and the model that it was started with.

    Args:
        run: The run folder.
        config: Its ``config.yaml``.
        text: The configuration that it shall be continued with.

    Raises:
        ConfigurationError: They differ; the message names the first differences.
    """
    before, now = (yaml.safe_load(source) or {} for source in (config.read_text(encoding="utf-8"), text))
    differences = [
        difference
        for part in ("seed_everything", "data", "model")
        for difference in _differences(before.get(part), now.get(part), part)
    ]
    if differences:
        again = f"{program()} fit --ckpt_path {shown(run / CHECKPOINTS / 'last.ckpt')}"
        raise ConfigurationError(
            f"The run {shown(run)} was started otherwise: {'; '.join(differences[:4])}. Give the same "
            f"options, or let the run's own configuration hold, with options that you mean to change: {again}"
        )


def _differences(before: object, now: object, name: str) -> list[str]:
    """Return how two configurations differ, in what both have: versions may add options."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return [
            difference
            for key in before
            if key in now
            for difference in _differences(before[key], now[key], f"{name}.{key}".replace(".init_args", ""))
        ]
    return [] if before == now else [f"{name} was {json.dumps(before)}, is {json.dumps(now)}"]
