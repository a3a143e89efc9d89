"""Reads the weights of published ESRGAN and Real-ESRGAN files into our network.

Three generations of names are known: ESRGAN's first files (``model.1.sub.0.RDB1.conv1.0.weight``), its
later ones (``RRDB_trunk.0.RDB1.conv1.weight``), and those of BasicSR and Real-ESRGAN
(``body.0.rdb1.conv1.weight``), which are ours.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vedute.errors import CheckpointError
from vedute.networks.rrdb import RRDB

SUFFIXES = (".pth", ".pt")
"""How such files' names end; those of our checkpoints do not."""

_WRAPPERS = ("params_ema", "params", "state_dict", "model")
"""Where files keep the weights; averaged ones first, which are the ones to use."""

_LATER = {
    "RRDB_trunk": "body",
    "trunk_conv": "conv_body",
    "upconv1": "conv_up1",
    "upconv2": "conv_up2",
    "HRconv": "conv_hr",
}
_FIRST = {"0": "conv_first", "3": "conv_up1", "6": "conv_up2", "8": "conv_hr", "10": "conv_last"}
"""Modules of ESRGAN's first files, numbered with activations and doublings between them."""

_FIRST_BLOCK = re.compile(r"model\.1\.sub\.(\d+)\.RDB([123])\.conv([1-5])\.0\.(weight|bias)")
_FIRST_TRUNK = re.compile(r"model\.1\.sub\.\d+\.(weight|bias)")
_FIRST_OTHER = re.compile(r"model\.(\d+)\.(weight|bias)")
_LATER_BLOCK = re.compile(r"\.RDB([123])\.")


def load_published(network: RRDB, path: Path) -> None:
    """Give a network the weights of a published file.

    The condition's modulation, which no such file has, stays as it is.

    Args:
        network: Of the file's scale, channels, width and number of blocks.
        path: A file that torch wrote, e.g. ``RealESRGAN_x4plus.pth``. Read without executing anything in it.

    Raises:
        CheckpointError: There is no such file, it holds no such network, or one of another size; the
            message says which.
    """
    weights = read_published(path)
    found, expected = _layout(weights), _layout(network.state_dict())
    if found != expected:
        differences = "; ".join(
            f"{name} {found[name]} instead of {expected[name]}"
            for name in expected
            if found[name] != expected[name]
        )
        raise CheckpointError(
            f"{path} holds another network than the configured one: {differences}. Set the network's options "
            "to the file's, or choose another file."
        )
    own = {name: value for name, value in network.state_dict().items() if not name.startswith("film.")}
    unfit = [name for name in own if name not in weights or weights[name].shape != own[name].shape]
    unfit += [name for name in weights if name not in own]
    if unfit:
        raise CheckpointError(
            f"{path} does not fit the network in {len(unfit)} places, the first {unfit[0]}: take a file of "
            "an ESRGAN or Real-ESRGAN generator as published."
        )
    network.load_state_dict(weights, strict=False)


def published_network(path: Path) -> RRDB:
    """Return the network of a published file, of the size that its weights have.

    Raises:
        CheckpointError: See :func:`read_published`, or it is of no scale that we know.
    """
    found = _layout(read_published(path))
    if min(found.values()) < 1:
        raise CheckpointError(f"{path} holds a part of an RRDB network: take the file as it was published.")
    scale: Literal[2, 4] = 2 if found["scale"] == 2 else 4
    network = RRDB(
        (64, 64), found["output channels"], found["input channels"], 0, scale,
        width=found["width"], blocks=found["blocks"], growth=found["growth"],
    )  # fmt: skip
    load_published(network, path)
    return network


def read_published(path: Path) -> dict[str, Tensor]:
    """Return a published file's weights under the names of ``vedute.networks.rrdb.RRDB``.

    Args:
        path: See :func:`load_published`.

    Raises:
        CheckpointError: There is no such file, or it holds no RRDB network.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"There is no file {path} of RRDB weights: give the path of e.g. RealESRGAN_x4plus.pth or "
            "RRDB_ESRGAN_x4.pth."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is damaged, or holds more than weights: reading it could execute code, so it was not "
            "read."
        ) from error
    except Exception as error:  # what a damaged file makes its reader raise can be nearly anything
        raise CheckpointError(f"{path} is damaged or no file of weights: it cannot be read.") from error
    weights = our_names(_unwrap(content))
    if "conv_first.weight" in weights and any(name.startswith("model.") for name in weights):
        raise CheckpointError(
            f"{path} is one of ESRGAN's first files, but not for 4 times the size: only x4 of them is known. "
            "Take a Real-ESRGAN file for 2 times."
        )
    if "conv_first.weight" not in weights or "body.0.rdb1.conv1.weight" not in weights:
        raise CheckpointError(
            f"{path} holds no RRDB network (ESRGAN's, Real-ESRGAN's x2 or x4): small models such as SRVGG "
            "and discriminators have other layers."
        )
    return weights


def our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of any generation under our names; names that are unknown stay as they are."""
    return {_our_name(name.removeprefix("module.")): value for name, value in weights.items()}


def _our_name(name: str) -> str:
    if match := _FIRST_BLOCK.fullmatch(name):
        block, dense, conv, kind = match.groups()
        return f"body.{block}.rdb{dense}.conv{conv}.{kind}"
    if match := _FIRST_TRUNK.fullmatch(name):
        return f"conv_body.{match.group(1)}"
    if match := _FIRST_OTHER.fullmatch(name):
        return f"{_FIRST[match.group(1)]}.{match.group(2)}" if match.group(1) in _FIRST else name
    first, dot, rest = name.partition(".")
    return _LATER.get(first, first) + _LATER_BLOCK.sub(r".rdb\1.", dot + rest)


def _unwrap(content: object) -> dict[str, Tensor]:
    """Return the weights in what a file holds: bare, or one level down."""
    if not isinstance(content, Mapping):
        return {}
    for wrapper in _WRAPPERS:
        inner = content.get(wrapper)
        if isinstance(inner, Mapping):
            return _unwrap(inner)
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def _layout(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Return what sizes weights say; 0 for what they do not."""

    def side(name: str, axis: int) -> int:
        return weights[name].shape[axis] if name in weights and weights[name].ndim == 4 else 0

    inputs, channels = side("conv_first.weight", 1), side("conv_last.weight", 0)
    blocks = {name.split(".")[1] for name in weights if name.startswith("body.")}
    # Space to depth multiplies the inputs; images of 4 channels are told from it by the outputs.
    folded = max(1, channels) * 4 == inputs
    return {
        "scale": 2 if folded else 4,
        "input channels": inputs // 4 if folded else inputs,
        "output channels": channels,
        "width": side("conv_first.weight", 0),
        "growth": side("body.0.rdb1.conv1.weight", 0),
        "blocks": len(blocks),
    }
