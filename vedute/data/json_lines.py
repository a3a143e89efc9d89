"""JSON Lines as a table of texts."""

from __future__ import annotations

import json

from vedute.errors import DataError


def read_json_lines(name: str, text: str) -> tuple[dict[str, list[str]], list[int]]:
    """Read objects, one on each line; blank lines are ignored.

    Args:
        name: What the file is called in messages.
        text: Its content.

    Returns:
        The values of each key as text, "" where a line has none, and the number of each row's line.

    Raises:
        DataError: A line is no object, has a key twice, or a value that is no plain one.
    """
    lines: list[int] = []
    columns: dict[str, list[str]] = {}
    for number, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        for key, value in _json_object(f"{name}, line {number}", content):
            # Rows before the first one with this key lack it.
            column = columns.setdefault(key.strip(), [""] * len(lines))
            if len(column) > len(lines):
                raise DataError(f"{name}, line {number} has the key '{key.strip()}' twice.")
            column.append(value)
        lines.append(number)
        for column in columns.values():
            if len(column) < len(lines):
                column.append("")
    return columns, lines


def _json_object(where: str, content: str) -> list[tuple[str, str]]:
    try:
        pairs = json.loads(content, object_pairs_hook=lambda pairs: _Object(pairs))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: no JSON ({error}). JSON Lines have one whole object on each line."
        ) from None
    if not isinstance(pairs, _Object):
        raise DataError(f'{where}: expected an object such as {{"file": "1.jpg"}}, got {content[:40]!r}.')
    return [(key, _json_text(where, key, value)) for key, value in pairs]


class _Object(list[tuple[str, object]]):
    """The pairs of a JSON object, repeated keys included."""


def _json_text(where: str, key: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (int, float)):
        return repr(value)
    kind = "an object" if isinstance(value, _Object) else "a list"
    raise DataError(
        f"{where}: the value of '{key}' is {kind}. Values must be texts, numbers, booleans or null: "
        f"write one key for each number, such as {key}_1."
    )
