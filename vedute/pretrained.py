"""Networks of torchvision with published weights, read from local files only.

Nothing here downloads: a file is looked for by the name under which torchvision publishes it, in the
folder of weights (``--weights-dir``, ``VEDUTE_WEIGHTS``), then in torch's hub cache. Not here: the
weights of FID and KID (``vedute.metrics.features``).
"""

from __future__ import annotations

import difflib
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from vedute.errors import CheckpointError, ConfigurationError
from vedute.files import weights_folder

RANDOM = "random"
"""Given as ``weights``: none are read; random ones, the same each time."""

USUAL = ("resnet18", "vgg16", "vgg19", "squeezenet1_1")
"""Networks that the systems use, which ``doctor`` lists."""

_RECOGNISED = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "vgg11", "vgg13", "vgg16", "vgg19", "vgg16_bn"),
    *("vgg19_bn", "squeezenet1_0", "squeezenet1_1", "alexnet", "densenet121", "mobilenet_v2"),
)
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")
_weights_follow: ContextVar[bool] = ContextVar("weights_follow", default=False)


@dataclass(frozen=True)
class Published:
    """One set of weights that torchvision publishes.

    Attributes:
        network: Name of the network, e.g. ``resnet18``.
        name: Name of the weights, e.g. ``IMAGENET1K_V1``.
        file: Name of their file, e.g. ``resnet18-f37072fd.pth``.
        megabytes: Size of the file; None: not known.
        mean: Of the red, green and blue values in [0, 1] that the network expects to be subtracted.
        deviation: What it expects them to be divided by then.
    """

    network: str
    name: str
    file: str
    megabytes: float | None
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __str__(self) -> str:
        """Return the file with its size."""
        return self.file if self.megabytes is None else f"{self.file} ({self.megabytes:.0f} MB)"


@lru_cache
def network_names() -> tuple[str, ...]:
    """Return the names of torchvision's classification networks."""
    from torchvision import models

    return tuple(models.list_models(module=models))


def check_network(name: str) -> None:
    """Make sure that torchvision has a network.

    Raises:
        ConfigurationError: It has not; the message names those with similar names.
    """
    if name not in network_names():
        raise ConfigurationError(
            f"torchvision has no network '{name}'. "
            f"{did_you_mean(name, network_names()) or 'Usual ones: ' + ', '.join(USUAL) + '.'}"
        )


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """Return 'Did you mean ...?' with up to four similar names; empty where none is."""
    near = difflib.get_close_matches(name, names, n=4, cutoff=0.5)
    return f"Did you mean {', '.join(near)}?" if near else ""


def published(name: str) -> list[Published]:
    """Return the weights for ImageNet's classes that torchvision publishes for a network, best first.

    Raises:
        ConfigurationError: There is no such network.
    """
    from torchvision.models import get_model_weights

    check_network(name)
    enumeration = get_model_weights(name)
    default = getattr(enumeration, "DEFAULT", None)
    entries = sorted(enumeration, key=lambda entry: entry is not default)
    found = []
    for entry in entries:
        if entry.meta.get("categories"):  # those without classes are parts of networks, for Caffe's colours
            colours = entry.transforms()
            file, size = entry.url.rsplit("/", 1)[-1], entry.meta.get("_file_size")
            found.append(Published(name, entry.name, file, size, tuple(colours.mean), tuple(colours.std)))
    return found


def places(folder: Path | None = None) -> list[Path]:
    """Return the folders that weights are looked for in: ``folder`` or VEDUTE_WEIGHTS, torch's hub cache."""
    own = weights_folder(folder)
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    return [hub] if own is None else [own, hub]


def find_weights(name: str, weights: str | None = None, folder: Path | None = None) -> Path | None:
    """Return the file with a network's weights.

    Args:
        name: The network.
        weights: Name of published weights (``IMAGENET1K_V1``), or a file; None: any published for the
            network, torchvision's default first.
        folder: Where to look first; None: ``VEDUTE_WEIGHTS``.

    Returns:
        The file; None: published weights that are not on this machine.

    Raises:
        ConfigurationError: There is no such network, nor weights or file of that name.
    """
    entries = published(name)
    if weights is not None:
        named = [entry for entry in entries if entry.name == weights]
        if not named:
            if Path(weights).is_file():
                return Path(weights)
            raise ConfigurationError(
                f"The weights '{weights}' of {name} are neither a file nor published. Give a file, "
                f"{', '.join(entry.name for entry in entries)}, or {RANDOM}."
            )
        entries = named
    files = (place / entry.file for place in places(folder) for entry in entries)
    return next((file for file in files if file.is_file()), None)


def missing(name: str, weights: str | None = None, folder: Path | None = None) -> str:
    """Return what a person must do to have a network's published weights, as a sentence."""
    entries = [entry for entry in published(name) if weights in (None, entry.name)]
    where = places(folder)
    return (
        f"Put {' or '.join(map(str, entries)) or 'a file'}, published by torchvision, into {where[0]}"
        + (f" (or {where[1]})" if len(where) > 1 else "")
        + ", or name another folder with --weights-dir or VEDUTE_WEIGHTS."
    )


@contextmanager
def weights_follow() -> Iterator[None]:
    """Inside, networks are built without pretrained weights: a checkpoint brings theirs right after."""
    token = _weights_follow.set(True)
    try:
        yield
    finally:
        _weights_follow.reset(token)


def load_torchvision(name: str, weights: str | None = None) -> nn.Module:
    """Build a network of torchvision, with published weights where they are on this machine.

    Where they are not, it starts from random weights with one line of warning, drawn from torch's
    generator as those of any other network. While a model is rebuilt from its checkpoint, no weights
    are looked for.

    Args:
        name: The network, e.g. ``resnet18``.
        weights: Name of published weights, a file, or ``random``; None: any that are published.

    Raises:
        ConfigurationError: There is no such network or weights.
        CheckpointError: The file is damaged or of another architecture.
    """
    check_network(name)
    network = _build(name)
    on_meta = any(parameter.is_meta for parameter in network.parameters())  # an outline without numbers
    if weights == RANDOM or on_meta or _weights_follow.get():
        return network
    file = find_weights(name, weights)
    if file is None:
        sentence = missing(name, weights)
        warnings.warn(f"{name} is trained from scratch: its weights are absent. {sentence}", stacklevel=2)
        return network
    network.load_state_dict(read_weights(name, file))
    return network


def pretrained_torchvision(name: str, weights: str | None = None) -> nn.Module:
    """Build a network of torchvision that others measure with: it must have its weights.

    Takes the memory of the file's pages that are used, and no random numbers. In eval mode, without
    gradients.

    Args:
        name: The network, e.g. ``vgg16``.
        weights: Name of published weights, a file, or ``random`` (the same each time); None: any that
            are published.

    Raises:
        ConfigurationError: There is no such network, or its weights are absent.
        CheckpointError: The file is damaged or of another architecture.
    """
    if weights == RANDOM:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = _build(name)
    else:
        file = require_weights(name, weights)
        network = outline(name)
        network.load_state_dict(read_weights(name, file), assign=True)
        if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
            # Some networks compute tables when they are built, which no file holds.
            network = _build(name)
            network.load_state_dict(read_weights(name, file))
    return network.eval().requires_grad_(False)


def require_weights(name: str, weights: str | None = None) -> Path:
    """Return the file with a network's weights.

    Raises:
        ConfigurationError: There is none on this machine; the message says which file, and where to put it.
    """
    file = find_weights(name, weights)
    if file is None:
        raise ConfigurationError(
            f"The weights of {name} are absent. {missing(name, weights)} Or choose 'weights: {RANDOM}': "
            "random features still measure structure, less well."
        )
    return file


def outline(name: str) -> nn.Module:
    """Build a network without numbers, on the meta device: it takes no memory."""
    try:
        with torch.device("meta"):
            return _build(name).eval()
    except NotImplementedError:  # RegNets compute with numbers while they are built
        return _build(name).eval().to("meta")


def _build(name: str) -> nn.Module:
    from torchvision.models import get_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Inception and GoogLeNet about their own start
        network: nn.Module = get_model(name, weights=None)
    return network


def read_weights(name: str, file: Path) -> dict[str, Tensor]:
    """Read the weights of a network.

    Args:
        name: The network that they must fit.
        file: The file, as torchvision publishes it: a state dict.

    Raises:
        CheckpointError: It is damaged, holds more than tensors, or weights of another architecture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's guesses about foreign files
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:  # what a damaged pickle makes its reader raise can be nearly anything
        raise CheckpointError(
            f"{file} cannot be read as weights of {name}: it is damaged, or holds more than numbers. "
            f"{missing(name)}"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{file} holds no weights: a state dict of {name} is needed. {missing(name)}")
    state = {_OLD_DENSENET.sub(r"\1\2.", str(key)): value for key, value in state.items()}
    needed = outline(name).state_dict()
    for key, value in needed.items():
        if key.endswith("num_batches_tracked") and key not in state:  # of files before torch 0.4
            state[key] = torch.zeros(value.shape, dtype=value.dtype)
    difference = _difference(state, needed)
    if difference:
        raise CheckpointError(
            f"{file} does not hold the weights of {name}, but of {_architecture(state)}: {difference}. "
            f"{missing(name)}"
        )
    return state


def _difference(state: Mapping[str, Tensor], needed: Mapping[str, Tensor]) -> str:
    """Return the first difference of two sets of weights by names and shapes; empty: there is none."""
    for key in [*needed, *state]:
        if key not in state:
            return f"{key} is not in the file"
        if key not in needed:
            return f"{key} is in the file, but not in the network"
        if state[key].shape != needed[key].shape:
            return f"{key} is {list(state[key].shape)} in the file, {list(needed[key].shape)} in the network"
    return ""


def _architecture(state: Mapping[str, Tensor]) -> str:
    """Return which network weights belong to, as far as it is one of the usual ones."""
    for name in _RECOGNISED:
        if not _difference(state, outline(name).state_dict()):
            return name
    return "another network"
