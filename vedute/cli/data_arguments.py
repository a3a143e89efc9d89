"""The data options of ``inspect`` and ``prepare``: the same as those of ``fit``, without a model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import yaml

from vedute.cli import program
from vedute.errors import ConfigurationError, named, similar_file

if TYPE_CHECKING:
    from datamodules.base import ImageDataModule

_USAGE = "(--data FILE | --config FILE) [--data.root FOLDER] [--data.OPTION VALUE ...]"
_EPILOG = (
    "Every option of the data can be changed as for fit, e.g. --data.image_size 128; later values win. "
    "Without --data.root it is the painted sample, unless the file names a root."
)


class DataParser(argparse.ArgumentParser):
    """A parser whose errors are ours: one message, no usage."""

    def error(self, message: str) -> NoReturn:
        """Report a wrong option."""
        raise ConfigurationError(f"{self.prog}: {message}. See {self.prog} --help.")


def data_parser(verb: str, usage: str, description: str, epilog: str = "") -> DataParser:
    """Return the parser of a verb on data; the options of the data themselves are ``build_data``'s."""
    parser = DataParser(
        prog=f"{program()} {verb}",
        usage=f"{program()} {verb} {_USAGE} {usage}".rstrip(),
        description=description,
        epilog=f"{_EPILOG} {epilog}".rstrip(),
        allow_abbrev=False,
    )
    group = parser.add_argument_group("data")
    # Only shown here: their order among --data.x options matters, which build_data keeps.
    group.add_argument(
        "--data",
        metavar="FILE",
        help="description of the data, e.g. configs/data/pictures.yaml, or a class path",
    )
    group.add_argument(
        "--config", "-c", metavar="FILE", help="a complete configuration, of which the data part is taken"
    )
    group.add_argument("--data.root", metavar="FOLDER", help="folder of the data")
    return parser


def split_arguments(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the options of the data, and the others."""
    data: list[str] = []
    others: list[str] = []
    rest = list(args)
    while rest:
        argument = rest.pop(0)
        target = data if is_data_option(argument) else others
        target.append(argument)
        if target is data and "=" not in argument:
            # Values of lists may follow each other, up to the next option.
            while rest and not rest[0].startswith("--") and rest[0] != "-c":
                target.append(rest.pop(0))
    return data, others


def is_data_option(argument: str) -> bool:
    """Whether an argument says something about the data: ``--data``, ``--data.x``, ``--config``, ``-c``."""
    name = argument.partition("=")[0]
    return name in ("--data", "--config", "-c") or name.startswith("--data.")


def build_data(verb: str, args: Sequence[str]) -> ImageDataModule:
    """Build the data module that the options describe; nothing is read yet.

    Args:
        verb: The verb, for messages.
        args: ``--data FILE``, ``--config FILE`` and ``--data.x VALUE`` in any number; later ones win.

    Raises:
        ConfigurationError: No data are described, a file is missing or has no data part, or an option is
            unknown or out of its range.
    """
    if not any(argument.partition("=")[0] in ("--data", "--config", "-c") for argument in args):
        raise ConfigurationError(
            f"'{verb}' needs data, e.g. {program()} {verb} --data configs/data/landscapes.yaml --data.root "
            "FOLDER; or --config FILE for the data of a complete configuration."
        )
    arguments = _arguments(args)

    from lightning.pytorch.cli import LightningArgumentParser

    from datamodules.base import ImageDataModule
    from vedute.cli.mistakes import own_errors
    from vedute.cli.quiet import quieten

    quieten()
    with own_errors():
        parser = LightningArgumentParser(
            prog=f"{program()} {verb}", exit_on_error=False, allow_abbrev=False, default_env=False
        )
        parser.add_lightning_class_args(ImageDataModule, "data", subclass_mode=True, required=True)
        data = parser.instantiate_classes(parser.parse_args(arguments)).data
    if not isinstance(data, ImageDataModule):
        raise ConfigurationError(f"--data names {named(type(data))}, which is no data set of images.")
    return data


def _arguments(args: Sequence[str]) -> list[str]:
    """Return the options with each complete configuration replaced by its data part."""
    result: list[str] = []
    rest = list(args)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if name not in ("--data", "--config", "-c"):
            result.append(argument)
            continue
        if not equals:
            if not rest:
                raise ConfigurationError(f"{name} needs a value: a YAML file.")
            value = rest.pop(0)
        result.append(f"--data={value}" if name == "--data" else _data_part(Path(value)))
        if name == "--data" and value.lower().endswith((".yaml", ".yml", ".json")):
            _check_file("--data", Path(value))
    return result


def _data_part(path: Path) -> str:
    _check_file("--config", path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    data = content.get("data") if isinstance(content, Mapping) else None
    if data is None:
        hint = " It describes data alone: give it with --data." if _is_data(content) else ""
        raise ConfigurationError(f"{path} has no part 'data'.{hint}")
    if isinstance(data, str) and (path.parent / data).is_file():
        data = str(path.parent / data)  # a path is relative to the file that names it
    return f"--data={data if isinstance(data, str) else json.dumps(data)}"


def _is_data(content: object) -> bool:
    return isinstance(content, Mapping) and "class_path" in content


def _check_file(option: str, path: Path) -> None:
    if path.is_file():
        return
    if path.is_dir():
        raise ConfigurationError(
            f"{option} {path} is a folder; give a YAML file. Data are named by --data.root."
        )
    raise ConfigurationError(f"There is no file {path}.{similar_file(path)}")
