"""The errors that a user can cause, each with a message a user can act on.

The command line turns any :class:`VeduteError` into its message and exit code 2,
without a traceback. Bugs raise ordinary Python exceptions.
"""

import difflib
from pathlib import Path


class VeduteError(Exception):
    """Something that the user gave cannot be used; the message says what, and what to do."""


class ConfigurationError(VeduteError):
    """Options that contradict each other, or a value out of its range."""


class DataError(VeduteError):
    """A data set that is missing, empty, broken or does not fit the options."""


class CheckpointError(VeduteError):
    """A checkpoint that is missing, broken, unsafe or of the wrong kind."""


class ConditionError(VeduteError):
    """A condition that the model does not know."""


def named(kind: type) -> str:
    """Return the name of a class with its article, for messages: ``an ESRGAN``, ``a CVAE``."""
    return f"{'an' if kind.__name__[0] in 'AEIO' else 'a'} {kind.__name__}"


def similar_file(path: Path) -> str:
    """Ask whether the YAML file beside a missing one that is named most like it was meant; empty: none is."""
    names = [entry.name for entry in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f" Did you mean {path.parent / near[0]}?" if near else ""
