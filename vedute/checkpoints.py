"""The one way from a checkpoint file to a model or a data set.

A checkpoint is read without executing anything in it (``weights_only``); only then are the
class paths that it names checked against an allow-list, imported and built. Modules are found
by path at run time, because nothing in ``vedute`` imports ``lightning_modules``.
"""

from __future__ import annotations

import inspect
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar, cast

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn

from vedute.errors import CheckpointError, ConfigurationError, VeduteError, named
from vedute.networks.published_rrdb import SUFFIXES
from vedute.pretrained import weights_follow

ALLOWED_PACKAGES = ("lightning_modules", "datamodules", "vedute", "torch", "torchvision")
"""Packages whose classes a checkpoint may name."""

_OWN_PACKAGES = ALLOWED_PACKAGES[:3]
_FOREIGN_BASES = (nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
_MODULE_KEY = "hyper_parameters"
_DATA_KEY = "datamodule_hyper_parameters"
_REFUSED = re.compile(r"(?:Unsupported global|Unsupported class|GLOBAL)[: ]*(?:GLOBAL )?([\w.]+)")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")

ModuleType = TypeVar("ModuleType")

_building: ContextVar[Mapping[str, object] | None] = ContextVar("building", default=None)


def load_checkpoint(path: Path) -> dict[str, object]:
    """Read a checkpoint without executing anything in it.

    Args:
        path: The file.

    Returns:
        Its content, tensors on the CPU and mapped from the file until they are used.

    Raises:
        CheckpointError: There is no such file, it is damaged, it would execute code, or it was
            not written by ``fit``.
    """
    path = Path(path)
    if path.is_dir():
        inside = sorted(path.rglob("*.ckpt"))
        hint = f" Did you mean {inside[-1]}?" if inside else ""
        raise CheckpointError(f"{path} is a folder, not a checkpoint.{hint}")
    if not path.is_file():
        raise CheckpointError(
            f"There is no checkpoint {path}. 'fit' writes them to runs/<configuration>/<n>/checkpoints/."
        )
    if not zipfile.is_zipfile(path):
        raise CheckpointError(_damaged(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's guesses about foreign files
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        refused = _REFUSED.search(str(error))
        if refused is None:
            raise CheckpointError(_damaged(path)) from error
        raise CheckpointError(
            f"{path} holds more than numbers ({refused.group(1)}): reading it could execute code, so it was "
            "not read. Take a checkpoint that Vedute's 'fit' wrote."
        ) from error
    except Exception as error:  # what a damaged pickle makes its reader raise can be nearly anything
        raise CheckpointError(_damaged(path)) from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(
            f"{path} is no checkpoint of Vedute: it holds no 'state_dict' with a model's description. "
            "Take one from runs/<configuration>/<n>/checkpoints/."
        )
    return cast(dict[str, object], content)


def _damaged(path: Path) -> str:
    return (
        f"{path} is damaged or no checkpoint ({path.stat().st_size:,} bytes): it cannot be read. "
        "Was it copied completely? Its neighbours (last.ckpt, best.ckpt) may be whole."
    )


def module_class(checkpoint: Mapping[str, object], path: Path) -> type[LightningModule]:
    """Return the class of the model in a checkpoint.

    Raises:
        CheckpointError: It names none, or one outside the allow-list.
    """
    return _described_class(checkpoint, _MODULE_KEY, LightningModule, path)[0]


def load_module(
    path: Path, kind: type[ModuleType], device: torch.device | str = "cpu", average: str | None = None
) -> ModuleType:
    """Build the model of a checkpoint, ready for inference.

    Args:
        path: The checkpoint.
        kind: What it must be, e.g. ``GenerativeModule`` or ``Classifier``.
        device: Where to put it.
        average: Which weights: the decay of a further average that the run kept (``vedute.callbacks.ema``),
            or ``none``: those of the last step; None: the average that validation used, if there is one.

    Returns:
        The model in eval mode; with averaged (EMA) weights where the run kept them.

    Raises:
        CheckpointError: It cannot be read, is unsafe, holds something else, or its weights do
            not fit its description.
    """
    path = Path(path)
    checkpoint = load_checkpoint(path)
    found, description = _described_class(checkpoint, _MODULE_KEY, LightningModule, path)
    if not issubclass(found, kind):
        raise CheckpointError(
            f"{path} holds {named(found)} ({summary(found)}), but {named(kind)} ({summary(kind)}) is needed."
        )
    with _building_from(checkpoint):
        module = _build(found, description, path)
    load_weights(module, checkpoint if average is None else with_average(checkpoint, average, path), path)
    return cast(ModuleType, module.to(device).eval())


def outline_module(path: Path) -> LightningModule:
    """Build the model of a checkpoint without its numbers: shapes and options, on the meta device.

    It takes no memory, whatever the size of the model.

    Raises:
        CheckpointError: It cannot be read, is unsafe, or cannot be built by this version.
    """
    checkpoint = load_checkpoint(path)
    found, description = _described_class(checkpoint, _MODULE_KEY, LightningModule, path)
    with torch.device("meta"), _building_from(checkpoint):
        return _build(found, description, path)


@contextmanager
def _building_from(checkpoint: Mapping[str, object]) -> Iterator[None]:
    """Let the model that is built inside the block look up further parts of its checkpoint."""
    token = _building.set(checkpoint)
    try:
        yield
    finally:
        _building.reset(token)


def part_of_checkpoint(name: str) -> object:
    """Return a part of the checkpoint that a model is just built from; None: there is none.

    For what a model was made of in training and must not need again (another model's description).
    """
    checkpoint = _building.get()
    return None if checkpoint is None else checkpoint.get(name)


def described_module(checkpoint: Mapping[str, object], path: Path) -> LightningModule:
    """Build the model that a checkpoint describes, with first weights.

    Args:
        checkpoint: Its content, or at least its description of the model.
        path: Where it is from, for messages.

    Raises:
        CheckpointError: It is unsafe, or cannot be built by this version.
    """
    found, description = _described_class(checkpoint, _MODULE_KEY, LightningModule, path)
    return _build(found, description, path)


def summary(kind: type) -> str:
    """Return the first line of a class's docstring, in the middle of a sentence."""
    first = (inspect.getdoc(kind) or kind.__name__).splitlines()[0].rstrip(".")
    return first[:1].lower() + first[1:] if not first[:2].isupper() else first


def with_average(checkpoint: Mapping[str, object], average: str, path: Path) -> dict[str, object]:
    """Return a checkpoint whose averaged weights are others.

    Args:
        checkpoint: Its content.
        average: See :func:`load_module`.
        path: Of the checkpoint, for messages.

    Raises:
        CheckpointError: It does not hold this average.
    """
    if average == "none":
        return {**checkpoint, "ema_state_dict": None}
    kept = checkpoint.get("ema_further")
    further = kept if isinstance(kept, dict) else {}
    if average not in further:
        there = ", ".join(["none", *further])
        raise CheckpointError(
            f"{path} holds no average '{average}': there are {there}, and the usual one without --average. "
            "Further ones are kept where the EMA callback is given 'further'."
        )
    return {**checkpoint, "ema_state_dict": further[average]}


def load_weights(module: LightningModule, checkpoint: Mapping[str, object], path: Path) -> None:
    """Put a checkpoint's weights into a model, the averaged ones where there are.

    Raises:
        CheckpointError: They do not fit.
    """
    state = dict(cast(Mapping[str, Tensor], checkpoint["state_dict"]))
    averages = checkpoint.get("ema_state_dict")
    if isinstance(averages, dict):
        state.update(averages)
    module.on_load_checkpoint(dict(checkpoint))
    check_weights(module, checkpoint, path)
    module.load_state_dict(state)


def begin_with(module: LightningModule, path: Path) -> None:
    """Put a checkpoint's weights, the averaged ones where there are, into a model that is to be trained on.

    Files of other programs, by their suffix, are read by the model's own ``load_published``.

    Raises:
        CheckpointError: It holds another kind of model, or its weights do not fit.
    """
    read = getattr(module, "load_published", None)
    if read is not None and path.suffix.lower() in SUFFIXES:
        read(path)
        return
    checkpoint = load_checkpoint(path)
    found = module_class(checkpoint, path)
    if found is not type(module):
        raise CheckpointError(
            f"--initial_weights {path} holds {named(found)}, but {named(type(module))} is to be trained."
        )
    load_weights(module, checkpoint, path)


def check_weights(module: LightningModule, checkpoint: Mapping[str, object], path: Path) -> None:
    """Make sure that a checkpoint's weights fit a model, by names and shapes.

    Raises:
        CheckpointError: They do not; the message names the first difference.
    """
    saved = {
        name: tuple(value.shape)
        for name, value in cast(Mapping[str, Tensor], checkpoint["state_dict"]).items()
    }
    needed = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    for name in [*needed, *saved]:
        if saved.get(name) != needed.get(name):
            found = f"{list(saved[name])} in the file" if name in saved else "not in the file"
            wanted = f"{list(needed[name])} in the model" if name in needed else "not in the model"
            raise CheckpointError(
                f"The weights in {path} do not fit the {type(module).__name__} that is described: "
                f"{name} is {found}, {wanted}. Give the image size and network that it was trained with, "
                "or leave out --config: a checkpoint brings its own description."
            )


def load_datamodule(path: Path, overrides: Mapping[str, object] | None = None) -> LightningDataModule:
    """Build the data set that a checkpoint was trained on.

    Args:
        path: The checkpoint.
        overrides: Constructor arguments that replace the saved ones, e.g. ``{"root": "..."}``.

    Raises:
        CheckpointError: It cannot be read, is unsafe, or describes no data set.
        ConfigurationError: An override that the data set does not have.
        DataError: The data cannot be used.
    """
    path = Path(path)
    found, description = _described_class(load_checkpoint(path), _DATA_KEY, LightningDataModule, path)
    known = _options(found)
    for name in overrides or {}:
        if name not in known:
            raise ConfigurationError(f"{found.__name__} has no option '{name}'. Options: {', '.join(known)}.")
    return _build(found, {**description, **(overrides or {})}, path)


def load_datamodule_options(path: Path) -> Mapping[str, object]:
    """Return the constructor arguments of the data set that a checkpoint was trained on.

    Raises:
        CheckpointError: It cannot be read, is unsafe, or describes no data set.
    """
    return _described_class(load_checkpoint(Path(path)), _DATA_KEY, LightningDataModule, Path(path))[1]


def _options(found: type) -> list[str]:
    """Return the names of a constructor's arguments, those that it passes on to its base included."""
    names: list[str] = []
    for ancestor in found.__mro__:
        if "__init__" not in vars(ancestor):
            continue
        parameters = inspect.signature(vars(ancestor)["__init__"]).parameters.values()
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        names += [one.name for one in parameters if one.kind in kinds and one.name not in (*names, "self")]
        if all(one.kind != inspect.Parameter.VAR_KEYWORD for one in parameters):
            break
    return names


def descriptions(checkpoint: Mapping[str, object], path: Path) -> dict[str, dict[str, object]]:
    """Return what a checkpoint says of its model and data, as ``model:`` and ``data:`` in a YAML.

    Raises:
        CheckpointError: It says nothing, or names a class outside the allow-list.
    """
    parts: dict[str, dict[str, object]] = {}
    for name, key, base in (
        ("model", _MODULE_KEY, LightningModule),
        ("data", _DATA_KEY, LightningDataModule),
    ):
        _, description = _described_class(checkpoint, key, base, path)
        arguments = {option: value for option, value in description.items() if not option.startswith("_")}
        parts[name] = {"class_path": description["_class_path"], "init_args": arguments}
    return parts


BaseType = TypeVar("BaseType")


def _described_class(
    checkpoint: Mapping[str, object], key: str, base: type[BaseType], path: Path
) -> tuple[type[BaseType], dict[str, object]]:
    """Return the class a checkpoint describes under ``key``, and its checked description."""
    description = checkpoint.get(key)
    what = "data set" if key == _DATA_KEY else "model"
    if not isinstance(description, dict) or not isinstance(description.get("_class_path"), str):
        raise CheckpointError(
            f"{path} does not say which {what} it belongs to: it was not written by Vedute's 'fit', and "
            "cannot be used alone."
        )
    if description.get("_instantiator") not in (None, "lightning.pytorch.cli.instantiate_module"):
        raise CheckpointError(f"{path} names a foreign function to build its {what}: it was not used.")
    for class_path in _named_classes({k: v for k, v in description.items() if k != "_instantiator"}, path):
        checked_class(class_path, path)
    found = checked_class(description["_class_path"], path)
    if not issubclass(found, base):
        raise CheckpointError(f"{path} names {found.__name__} as its {what}, which is none.")
    return found, {str(option): value for option, value in description.items()}


def _named_classes(value: object, path: Path) -> Iterator[str]:
    """Yield every class path in a description, refusing texts that would be read as one."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in ("class_path", "_class_path"):
                if not isinstance(inner, str):
                    raise CheckpointError(f"{path} has a class path that is no text: it was not used.")
                yield inner
            else:
                yield from _named_classes(inner, path)
    elif isinstance(value, list | tuple | set):
        for inner in value:
            yield from _named_classes(inner, path)
    elif isinstance(value, str):
        if "class_path" in value:
            raise CheckpointError(f"{path} hides a class path in a text: it was not used.")
        # A parameter that is a callable also takes the plain import path of one.
        if _DOTTED.fullmatch(value) and _importable(value.partition(".")[0]):
            yield value


def _importable(package: str) -> bool:
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return False
    # a folder beside the program (data/) is a package without a file, and no danger
    return spec is not None and spec.origin is not None


def checked_class(class_path: str, path: Path) -> type:
    """Import a class that a checkpoint names, if it may be.

    Of ``torch`` and ``torchvision`` only networks, optimisers and schedules: both also have
    functions that download and run code.

    Raises:
        CheckpointError: It is outside the allow-list or does not exist.
    """
    package = class_path.partition(".")[0]
    module_name, _, name = class_path.rpartition(".")
    if package not in ALLOWED_PACKAGES or not _DOTTED.fullmatch(class_path):
        raise CheckpointError(
            f"{path} asks for '{class_path}', which is outside {', '.join(ALLOWED_PACKAGES)}: it was "
            "neither imported nor run. Do not use this file unless you trust where it came from."
        )
    try:
        found = getattr(import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(
            f"{path} was made with '{class_path}', which this version does not have."
        ) from error
    if not isinstance(found, type) or (
        package not in _OWN_PACKAGES and not issubclass(found, _FOREIGN_BASES)
    ):
        raise CheckpointError(
            f"{path} asks for '{class_path}', which is no network, optimiser or schedule: it was not run."
        )
    return found


def _build(found: type[BaseType], description: Mapping[str, object], path: Path) -> BaseType:
    from lightning.pytorch.cli import instantiate_module

    options = {name: value for name, value in description.items() if name != "_instantiator"}
    build = cast(Callable[[type[BaseType], dict[str, object]], BaseType], instantiate_module)
    try:
        with weights_follow():  # pretrained networks wait for the checkpoint's own weights
            return build(found, options)
    except VeduteError:
        raise
    except Exception as error:
        own = own_error(error)
        if own is not None:
            raise own from error
        raise CheckpointError(
            f"The {found.__name__} in {path} cannot be built by this version: {error}"
        ) from error


def own_error(error: BaseException | None) -> VeduteError | None:
    """Return the error of ours that a library wrapped in one of its own; None: there is none."""
    while error is not None:
        if isinstance(error, VeduteError):
            return error
        error = error.__cause__ or error.__context__
    return None
