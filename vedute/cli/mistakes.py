"""A user's mistakes as Lightning, its parser and torch report them, turned into our errors."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException

from vedute.checkpoints import own_error
from vedute.cli.parser_messages import essence
from vedute.cluster.lost import lost_process
from vedute.errors import ConfigurationError, VeduteError

_IN_TURNS = {
    "Automatic gradient clipping": "trainer.gradient_clip_val knows one optimiser, this model has two: leave "
    "it out (null), and give model.gradient_clip instead.",
    "Automatic gradient accumulation": "trainer.accumulate_grad_batches knows one optimiser, this model has "
    "two: leave it out (1), and choose another data.batch_size instead.",
}
"""What Lightning refuses in models whose optimisers take turns, by how its messages begin."""


@contextmanager
def own_errors() -> Iterator[None]:
    """Turn what Lightning, its parser and torch say about a user's mistake into our errors."""
    try:
        yield
    except VeduteError:
        raise
    except Exception as error:
        own = own_error(error)
        if own is not None:
            raise own from error
        if isinstance(error, ArgumentError):
            raise ConfigurationError(essence(str(error))) from error
        if isinstance(error, MisconfigurationException):
            raise ConfigurationError(_IN_TURNS.get(str(error).partition(" is ")[0], str(error))) from error
        if isinstance(error, torch.OutOfMemoryError):
            raise ConfigurationError(
                "The GPU's memory is too small for this batch: lower --data.batch_size (and, where the "
                "model has one optimiser, raise --trainer.accumulate_grad_batches by the same factor for an "
                "equal result)."
            ) from error
        gone = lost_process(error)
        if gone is not None:
            raise gone from error
        refused = _refused(error)
        if refused is not None:
            raise ConfigurationError(" ".join(refused.split())) from error
        raise


def _refused(error: Exception) -> str | None:
    """Return what the constructor of a class that a configuration names says about its values.

    Libraries (optimisers, callbacks, augmentations) refuse a value by a ``ValueError``. Only those count that
    come out of building what was asked for: one that is raised later is a bug.
    """
    if not isinstance(error, ValueError | TypeError):
        return None
    frames = traceback.extract_tb(error.__traceback__)
    places = [Path(frame.filename).parts for frame in frames]
    if places and "optim" in places[-1] and frames[-1].name == "__init__":
        return f"The optimizer cannot be built: {error}"
    if not any("jsonargparse" in parts for parts in places):
        return None
    root: BaseException = error
    while following := root.__cause__ or root.__context__:
        root = following
    if not isinstance(root, ValueError):
        return None
    keys = dict.fromkeys(re.findall(r'Parser key "([^"]+)"', str(error)))
    return f"{'.'.join(keys)}: {root}" if keys and root is not error else str(root)
