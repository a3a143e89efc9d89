"""What jsonargparse says about a wrong value, as one sentence: which option, what is wrong, what is expected.

Its messages repeat every level of a configuration, each with all alternatives; what a person needs is at the
innermost level. Here: reading such a message. Not here: which errors are a user's (``vedute.cli.mistakes``).
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable
from importlib import import_module

_NOISE = (
    "usage:",
    "tip:",
    "Does not validate against",
    "Subtypes:",
    "Errors:",
    "Given value type:",
    "Expected a path but",
    "Expected a <class 'NoneType'>",
    "Subclass types expect one of:",
    "a class path (str)",
    "a dict with",
    "a dict without",
)
_KEY = re.compile(r'Parser key "([^"]+)":\s*')
_OWNER = re.compile(r"Problem with given class_path '([^']+)':\s*")
_CALLABLE = re.compile(r"Type .*? expects a function or a callable class: ")
_REPEATED = re.compile(r"\.*\s*Got value: (Namespace|NestedArg|\{|\[).*$")
_GIVEN = "Given value: "
_KINDS = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list",
    "tuple": "a list",
    "Sequence": "a list",
    "dict": "names, each with its value",
}


def essence(text: str) -> str:
    """Return what a parser's message says, in one line.

    Args:
        text: The message, as jsonargparse raises it.
    """
    path: list[str] = []
    owner = ""
    reasons: list[str] = []
    given = ""
    for line in text.splitlines():
        rest = line.strip().removeprefix("- ")
        if rest.startswith(_GIVEN):
            given = given or rest.removeprefix(_GIVEN)
            continue
        while found := _KEY.match(rest) or _OWNER.match(rest) or _CALLABLE.match(rest):
            if found.re is _KEY and found[1] not in path:
                path.append(found[1])
            elif found.re is _OWNER:
                owner = found[1]
            rest = rest[found.end() :]
        if match := re.search(r"Got value: Namespace\(class_path='([^']+)'", rest):
            owner = match[1]
        rest = _REPEATED.sub("", rest)
        if rest and not rest.startswith(_NOISE):
            reasons.append(rest)
    said = [_reason(reason, owner) for reason in dict.fromkeys(reasons)]
    if not said:
        return " ".join(line.strip() for line in text.splitlines() if line.strip())[:500]
    if given and not given.startswith("NestedArg") and len(given) < 80 and all(map(_incomplete, said)):
        said[-1] += f", got {given}"
    about = f"{'.'.join(path)}: " if path else ""
    return about + "; or ".join(dict.fromkeys(said)).rstrip(".") + "."


def _incomplete(reason: str) -> bool:
    """Whether a reason says what was expected, but not what was given."""
    return reason.startswith("expected") and "got " not in reason


def _reason(text: str, owner: str) -> str:
    """Return one reason in plain words; ``owner`` is the class that it is about, as far as it is known."""
    if found := re.match(r"module '([^']+)' has no attribute '([^']+)'", text):
        return _no_class(found[1], found[2])
    if found := re.match(r"No module named '([^']+)'", text):
        return f"there is no module {found[1]}"
    if found := re.match(r"Option '([^']+)' is not accepted", text):
        return _no_option(owner, found[1])
    if found := re.match(r"the following arguments are required: (.+)", text):
        return f"{owner or 'it'} needs {found[1].rstrip('.')}"
    if found := re.match(r"Expected a dot import path string: (.+)", text):
        return f"expected the path of a class, e.g. package.module.Class, got {found[1]}"
    if found := re.match(r"Expected an import path or a subclass spec, but got (.+?)\. Got value.*", text):
        return f"expected a class (class_path and init_args), got {found[1]}"
    if found := re.match(r"Not a valid subclass of (\w+)\. Got value: (.+)", text):
        return f"expected a {found[1]} (class_path and init_args), got {found[2]}"
    if found := re.match(r"Import path (\S+) does not correspond to a subclass of (\w+)", text):
        return f"{found[1]} is no {found[2]}"
    if found := re.match(r"Expected '([^']+)' to be a subclass of <class '([^']+)'>", text):
        return f"{found[1]} is no {found[2].rpartition('.')[2]}"
    text = re.sub(r"\btyping\.Literal\[(.*?)\]", lambda match: f"one of {match[1]}", text)
    text = re.sub(
        r"^Expected an? <class '(?:\w+\.)*(\w+)'>",
        lambda match: f"expected {_KINDS.get(match[1], match[1])}",
        text,
    )
    text = re.sub(r"^Expected an? ", "expected ", text)
    return re.sub(r"\. Got value: ", ", got ", text)


def _no_class(module: str, name: str) -> str:
    """Say that a module has no class of this name, and which it has."""
    try:
        found = vars(import_module(module))
    except ImportError:
        return f"there is no {module}.{name}"
    own = [
        key
        for key, value in found.items()
        if inspect.isclass(value) and not key.startswith("_") and value.__module__.startswith(module)
    ]
    return f"there is no {module}.{name}{_near(name, own)}"


def _no_option(owner: str, name: str) -> str:
    """Say that a class has no option of this name, and which one is near."""
    options: set[str] = set()
    module, _, kind = owner.rpartition(".")
    try:
        cls = getattr(import_module(module), kind)
    except (ImportError, AttributeError, ValueError):
        return f"there is no option '{name}'"
    for base in inspect.getmro(cls):
        init = vars(base).get("__init__")
        options |= set(inspect.signature(init).parameters) if inspect.isfunction(init) else set()
    return f"{owner} has no option '{name}'{_near(name, options - {'self'})}"


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""
