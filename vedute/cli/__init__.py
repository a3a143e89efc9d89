"""The command line: one verb per job.

Here: the table of verbs, and what happens to errors. Each verb has a module of its own, which
is imported only when the verb is chosen; nothing here imports torch, so that help is instant.
"""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from vedute import __version__
from vedute.cli.quiet import quieten
from vedute.errors import ConfigurationError, VeduteError


class Verb(NamedTuple):
    """A verb: its name, one line about it, and ``module:function``."""

    name: str
    summary: str
    target: str


VERBS: tuple[Verb, ...] = (
    Verb("fit", "train a model from a configuration, or continue a run", "vedute.cli.training:fit"),
    Verb("validate", "compute a checkpoint's losses on the validation split", "vedute.cli.training:validate"),
    Verb("test", "compute a checkpoint's losses on the test split", "vedute.cli.training:test"),
    Verb("predict", "generate an image for each condition of the test split", "vedute.cli.training:predict"),
    Verb("inspect", "look at a data set: sizes, balance, leaks, broken files", "vedute.cli.inspect:main"),
    Verb("prepare", "decode a data set into the cache before training", "vedute.cli.prepare:main"),
    Verb("sample", "generate images for conditions of your choice", "vedute.cli.sample:main"),
    Verb("reconstruct", "encode and decode images, pairs side by side", "vedute.cli.reconstruct:main"),
    Verb("embed", "images as latent vectors, in a file and on a map", "vedute.cli.embed:main"),
    Verb("interpolate", "pictures between two images, conditions or seeds", "vedute.cli.interpolate:main"),
    Verb("translate", "make images from masks of any size, or a training set", "vedute.cli.translate:main"),
    Verb("upscale", "enlarge images of any size", "vedute.cli.upscale:main"),
    Verb("evaluate", "score a checkpoint: quality card as table and JSON", "vedute.cli.evaluate:main"),
    Verb(
        "compare",
        "runs beside each other: a page of scores, curves and pictures",
        "vedute.cli.compare:main",
    ),
    Verb("sweep", "train many times with other values, to find the best", "vedute.cli.sweep:main"),
    Verb("describe", "list a model's layers, shapes, weights and multiply-adds", "vedute.cli.describe:main"),
    Verb("submit", "train as a SLURM job that goes on until it is done", "vedute.cli.submit:main"),
    Verb("doctor", "tell what works on this machine and what is missing", "vedute.cli.doctor:main"),
)

INTERRUPTED = 130  # what shells report for a process that Ctrl+C ended
USER_ERROR = 2


def program() -> str:
    """Return how this process was called: ``python cli.py`` or ``vedute``."""
    return "python cli.py" if sys.argv and os.path.basename(sys.argv[0]) == "cli.py" else "vedute"  # noqa: PTH119


def _help() -> str:
    width = max(len(verb.name) for verb in VERBS)
    lines = [f"usage: {program()} VERB [options]", "", "Train, judge and serve image generators.", ""]
    lines += [f"  {verb.name:<{width}}  {verb.summary}" for verb in VERBS]
    lines += ["", f"Options of a verb: {program()} VERB --help. Version: {program()} --version."]
    return "\n".join(lines)


def _find(name: str) -> Verb:
    for verb in VERBS:
        if verb.name == name:
            return verb
    names = [verb.name for verb in VERBS]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise ConfigurationError(f"Unknown verb '{name}'.{hint} Verbs: {', '.join(names)}.")


def _run(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        print(f"vedute {__version__}")
        return 0
    module, _, function = _find(arguments[0]).target.partition(":")
    found = import_module(module)
    quieten()  # after the import: Lightning's own would undo it
    code: int = getattr(found, function)(list(arguments[1:]))
    return code


def main(args: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        args: The verb and its options; None: those of the process.

    Returns:
        The exit code: 0 done, 2 something the user gave cannot be used (one message on
        stderr, no traceback; ``VEDUTE_TRACEBACK=1`` adds it), 130 interrupted.
    """
    try:
        return _run(sys.argv[1:] if args is None else args)
    except VeduteError as error:
        if os.environ.get("VEDUTE_TRACEBACK"):
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or "Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of our output (head, a pager) has gone; nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as stop:  # --help and the errors of argparse
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
