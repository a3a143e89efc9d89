"""A sweep's configuration, read by the parser of ``fit`` itself, in a process of its own.

Importing what the parser needs takes seconds and hundreds of megabytes; in a process forked from the server
that trials come from, they are imported once for all.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection

import torch
import yaml

from vedute.cli.mistakes import own_errors
from vedute.cli.parsed_only import ParsedOnly
from vedute.cli.quiet import quieten
from vedute.cli.training_arguments import complete
from vedute.errors import ConfigurationError, VeduteError
from vedute.sweep.names import plain
from vedute.sweep.processes import Parsed, Request, move_in
from vedute.sweep.space import Space
from vedute.sweep.space_file import described

_MACHINE = ("root", "residence", "num_workers", "workers", "cache")
"""Options of data that say where and how they are read, not what they are."""
_LENGTHS = (
    *("max_epochs", "max_steps", "max_time", "min_epochs", "min_steps", "limit_train_batches"),
    *("limit_val_batches", "val_check_interval", "check_val_every_n_epoch", "accumulate_grad_batches"),
    *("gradient_clip_val", "gradient_clip_algorithm", "overfit_batches"),
)


def answer(connection: Connection, request: Request) -> None:
    """Parse a configuration, and try a space on it; send a :class:`Parsed`, or an error's text.

    Args:
        connection: To who asks.
        request: What is to be parsed.
    """
    move_in(request)
    quieten()
    try:
        message: Parsed | str = parse(request)
    except VeduteError as error:
        message = str(error)
    except BaseException as error:
        traceback.print_exc()
        message = f"The configuration cannot be read: {type(error).__name__}: {error}"
    connection.send(message)
    connection.close()


def parse(request: Request) -> Parsed:
    """Parse a configuration, and try a space on it.

    Raises:
        VeduteError: The configuration or the space is wrong.
    """
    arguments = list(request.arguments)
    with own_errors():
        cli = ParsedOnly("fit", complete("fit", arguments))
        text = cli.text(arguments)
    if request.space is not None:
        _try_space(cli, arguments, described(request.space), text)
    content = yaml.safe_load(text)
    accelerator = (content.get("trainer") or {}).get("accelerator")
    cards = torch.cuda.device_count() if accelerator in ("auto", "gpu", "cuda", None) else 0
    return Parsed(text, decisive(content), cards)


def decisive(content: Mapping[str, object]) -> dict[str, object]:
    """Return the part of a configuration that results depend on: not where data lie, nor what is logged."""
    kept: dict[str, object] = {
        key: content.get(key) for key in ("seed_everything", "model", "budget", "initial_weights")
    }
    data = content.get("data")
    if isinstance(data, Mapping):
        options = data.get("init_args")
        own = {k: v for k, v in options.items() if k not in _MACHINE} if isinstance(options, Mapping) else {}
        kept["data"] = {**data, "init_args": own}
    trainer = content.get("trainer")
    if isinstance(trainer, Mapping):
        kept["trainer"] = {key: trainer[key] for key in _LENGTHS if key in trainer}
    return kept


def _try_space(cli: ParsedOnly, arguments: Sequence[str], space: Space, text: str) -> None:
    """Parse the configuration with each end and each choice of the space.

    Raises:
        ConfigurationError: The parser knows a name not, or refuses a value.
    """
    for name, chosen in space.probes():
        try:
            with own_errors():
                cli.parser.parse_args(["fit", *arguments, *space.options(chosen)])
        except VeduteError as error:
            said = str(error)
            value = space.options({name: chosen[name]})[0].partition("=")[2]
            hint = "" if "did you mean" in said else _near(name, text)
            raise ConfigurationError(f"The space's {name} cannot be {value}: {said}{hint}") from error


def _near(name: str, text: str) -> str:
    """Return names of a configuration that are like one, as a question."""
    names = sorted(set(_names(yaml.safe_load(text), ())))
    short = {plain(known): known for known in names}
    near = difflib.get_close_matches(plain(name), short, n=2, cutoff=0.75)
    if not near or plain(name) in short:
        return ""
    return f" Did you mean {' or '.join(near)}?"


def _names(content: object, above: tuple[str, ...]) -> list[str]:
    if not isinstance(content, Mapping):
        return [".".join(above)] if above else []
    inner = [name for key, value in content.items() for name in _names(value, (*above, str(key)))]
    return [*inner, ".".join(above)] if above else inner
