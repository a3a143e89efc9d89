"""A user's mistakes as Lightning, its parser and torch report them, turned into our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException

from vedute.checkpoints import own_error
from vedute.errors import ConfigurationError, VeduteError


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
            raise ConfigurationError(_essence(error)) from error
        if isinstance(error, MisconfigurationException):
            raise ConfigurationError(str(error)) from error
        if isinstance(error, torch.OutOfMemoryError):
            raise ConfigurationError(
                "The GPU's memory is too small for this batch: lower --data.batch_size (and raise "
                "--trainer.accumulate_grad_batches by the same factor for an equal result)."
            ) from error
        raise


def _essence(error: ArgumentError) -> str:
    """Return a parser's message without the usage and tips around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("usage:", "tip:"))]
    return " ".join(kept[:8])
