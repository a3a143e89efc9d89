"""What the verbs that use a trained generator share: its options, its device, its batches."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from vedute.cli import program
from vedute.errors import ConfigurationError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_MOST_SEED = 2**62


class VerbParser(argparse.ArgumentParser):
    """A parser whose complaints are one message, like all others: without the list of options before it."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(f"{message.rstrip('.')}. '{self.prog} --help' explains the options.")


def parser(verb: str, description: str) -> argparse.ArgumentParser:
    """Return a verb's parser with the options that every use of a checkpoint has."""
    options = VerbParser(
        prog=f"{program()} {verb}",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        metavar="FILE",
        help="checkpoint of a run, e.g. runs/NAME/0/checkpoints/best.ckpt",
    )
    options.add_argument(
        "--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, mps, or auto: the fastest here"
    )
    options.add_argument(
        "--average",
        metavar="DECAY",
        help="use another average of the weights: a decay that the run's EMA callback kept besides its own "
        "('further'), or 'none': the weights of the last step",
    )
    options.add_argument(
        "--batch-size", type=positive, default=64, metavar="N", help="images computed at a time"
    )
    return options


def positive(text: str) -> int:
    """Return a number of at least 1 from an option."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text}")
    return value


def not_negative(text: str) -> int:
    """Return a number of at least 0 from an option."""
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text}")
    return int(text)


def seed(text: str) -> int:
    """Return a seed from an option: a whole number that torch can count on from."""
    try:
        value = int(text)
    except ValueError:
        value = _MOST_SEED + 1
    if abs(value) > _MOST_SEED:
        raise argparse.ArgumentTypeError(f"must be a whole number of at most {_MOST_SEED}, got {text}")
    return value


def pick_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises:
        ConfigurationError: This machine does not have it.
    """
    import torch

    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f"--device {name} does not work here: {reason} '{program()} doctor' lists what does."
        ) from error
    return device


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal; yields what advances it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)


def in_batches(title: str, count: int, batch_size: int, compute: Callable[[slice], Tensor]) -> Tensor:
    """Compute ``count`` images batch by batch, with a bar.

    Args:
        title: What the bar says.
        count: Number of images N.
        batch_size: Images at a time.
        compute: From rows to images (n, C, H, W) in [0, 1].

    Returns:
        (N, C, H, W) float32 on the CPU.
    """
    import torch

    parts = []
    with progress(title, count) as advance, torch.inference_mode():
        for start in range(0, count, batch_size):
            rows = slice(start, min(start + batch_size, count))
            parts.append(compute(rows).float().cpu())
            advance(rows.stop - start)
    return torch.cat(parts)
