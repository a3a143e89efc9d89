"""Bad tables, as a person meets them: one message with file and line, before anything is prepared.

What a table may look like is in test_table.py, what its columns may hold in test_image_folder.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.commands import failed
from tests.data.image_folder import write_image
from tests.data.sets import SETS, command, prepared

COUNT = 20
SCORES = ("--data.class_column", "null", "--data.score_columns", "[kind]")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def csv(odd: str = "cat", row: int = 7, header: str = "file,kind") -> str:
    """Return a table of 20 rows, one of which has ``odd`` in its second column, on line ``row`` + 2."""
    cells = [odd if number == row else ("cat", "dog")[number % 2] for number in range(COUNT)]
    return "\n".join([header, *(f"{number}.png,{cell}" for number, cell in enumerate(cells))]) + "\n"


def numbers(odd: str) -> str:
    cells = [odd if number == 7 else str(number) for number in range(COUNT)]
    return "\n".join(["file,kind", *(f"{number}.png,{cell}" for number, cell in enumerate(cells))])


def json_lines(odd: str) -> str:
    cells = [odd if number == 7 else str(number) for number in range(COUNT)]
    return "\n".join(f'{{"file": "{number}.png", "kind": {cell}}}' for number, cell in enumerate(cells))


def write(root: Path, table: str | bytes, name: str = "labels.csv") -> Path:
    for number in range(COUNT):
        write_image(root / f"{number}.png", number)
    (root / name).write_bytes(table if isinstance(table, bytes) else table.encode())
    return root


CASES: dict[str, tuple[str | bytes, tuple[str, ...], tuple[str, ...]]] = {
    "no such column": (csv(header="file,kid"), (), ("no column 'kind'", "Did you mean 'kid'")),
    "no column of files": (csv(header="name,kind"), (), ("no column 'file'", "data.file_column")),
    "nothing": (b"", (), ("labels.csv is empty",)),
    "no rows": ("file,kind\n", (), ("no rows",)),
    "UTF-16": (csv().encode("utf-16"), (), ("UTF-16", "Save the table as UTF-8")),
    "Latin-1": (csv("caf\xe9").encode("latin-1"), (), ("not UTF-8 (line 9)",)),
    "zero bytes": (csv("a\0"), (), ("zero bytes",)),
    "one cell more": (csv("cat,dog"), (), ("line 9 has 3 cells", "2 columns")),
    "an open quote": (csv('"cat'), (), ("line 9", "quote")),
    "a label is missing": (csv(""), (), ("missing in 1 of 20 rows (line 9)", "data.missing")),
    "one class": (csv().replace("dog", "cat"), (), ("1 different values (cat)", "at least two")),
    "not a number": (numbers("good"), SCORES, ("line 9", "'good' is no finite number")),
    "NaN": (numbers("nan"), SCORES, ("line 9 (kind)", "data.missing")),
    "infinite": (numbers("inf"), SCORES, ("line 9", "'inf' is no finite number")),
    "beyond a double": (numbers("1e999"), SCORES, ("line 9", "no finite number")),
    "beyond float32": (numbers("-1e300"), SCORES, ("line 9", "-1e300 is too large")),
    "out of range": (numbers("77"), (*SCORES, "--data.score_range", "[0, 30]"), ("line 9: kind 77",)),
    "a file twice": (csv() + "3.png,cat\n", (), ("line 22 names 3.png, as labels.csv, line 5",)),
    "an absolute path": (csv() + "/etc/hostname,cat\n", (), ("line 22", "lies outside")),
    "a path upwards": (csv() + "../3.png,cat\n", (), ("line 22", "leads out")),
    "no file at all": (csv().replace(".png", ".gif"), (), ("20 of 20 rows", "Does the column 'file'")),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_table_is_one_message(
    name: str, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, options, says = CASES[name]
    said = failed(capsys, *command("prepare", "table", write(tmp_path / "data", table), *options))
    missing = [part for part in says if part not in said]
    assert not missing, f"{missing} is not in: {said}"
    assert not [*cache.glob("prepared/[!.]*")]


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        ("NaN", "line 8 (kind)"),
        ("null", "line 8 (kind)"),
        ("-Infinity", "'-inf' is no finite number"),
        ("true", "'true' is no finite number"),
        ("[1, 2]", "is a list"),
        ("9" * 5000, "line 8: no JSON"),
        ("[" * 100_000, "line 8: no JSON"),
    ],
)
def test_bad_values_in_json_lines(
    odd: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "data", json_lines(odd), "labels.jsonl")
    assert says in failed(capsys, *command("prepare", "table", root, *SCORES))


def test_half_a_surrogate_is_no_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = [("cat", "\\ud800")[number % 2] for number in range(COUNT)]
    lines = [f'{{"file": "{number}.png", "kind": "{kind}"}}' for number, kind in enumerate(kinds)]
    root = write(tmp_path / "data", "\n".join(lines), "labels.jsonl")
    assert "no UTF-8 text" in failed(capsys, *command("prepare", "table", root))


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n\n"])
@pytest.mark.parametrize("kind", ["table", "cars", "street view"])
def test_line_ends_and_byte_order_marks_change_nothing(
    kind: str, end: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = SETS[kind](tmp_path / "data")
    expected = prepared(capsys, kind, root).split("Splits:")[1].splitlines()[0]
    for table in root.glob("*.csv"):
        text = table.read_text().replace("\n", end)
        table.write_bytes(b"\xef\xbb\xbf" + text.encode())
    printed = prepared(capsys, kind, root)
    assert printed.split("Splits:")[1].splitlines()[0] == expected and "already" in printed


def test_a_table_of_three_gigabytes_is_refused_unread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "data", csv())
    with (root / "labels.csv").open("r+b") as file:
        file.truncate(3 * 10**9)
    assert "labels.csv has 3,000 MB" in failed(capsys, *command("prepare", "table", root))


def test_a_missing_table_says_where_it_was_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = SETS["cars"](tmp_path / "data")
    (root / "scores.csv").rename(root / "ratings.csv")
    said = failed(capsys, *command("prepare", "cars", root))
    assert "scores.csv does not exist" in said and "holds: ratings.csv" in said and "data.root" in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace(",NO", ",QQ", 1), "line 2: Unknown country 'QQ'"),
        (lambda text: text.replace("country", "land"), "no column country"),
        (lambda text: text.splitlines()[0] + "\n", "no row with an id and a country"),
        (lambda text: "", "no column id"),
        (lambda text: text.replace("\n1", "\nx1", 1), "line 2: the id 'x1"),
    ],
)
def test_bad_metadata_of_street_photos(
    change: Callable[[str], str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = SETS["street view"](tmp_path / "data")
    table = root / "train.csv"
    table.write_text(change(table.read_text()))
    assert says in failed(capsys, *command("prepare", "street view", root))


@pytest.mark.parametrize(
    ("odd", "says"), [("10", "outside of the range 0 to 9"), ("nan", "line 4 (Moira)"), ("-inf", "no finite")]
)
def test_bad_scores_of_cars(odd: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = SETS["cars"](tmp_path / "data")
    lines = (root / "scores.csv").read_text().splitlines()
    lines[3] = f"2.png,{odd},1,2"
    (root / "scores.csv").write_text("\n".join(lines))
    assert says in failed(capsys, *command("prepare", "cars", root))
