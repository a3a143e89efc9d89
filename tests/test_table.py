"""Tables as people write them, and the files that they name."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vedute.data.table import Table, match_files, read_table
from vedute.errors import DataError


def table_file(folder: Path, content: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(folder: Path, content: str | bytes, name: str = "labels.csv") -> str:
    with pytest.raises(DataError) as error:
        read_table(table_file(folder, content, name))
    return str(error.value)


def plain(table: Table) -> dict[str, list[str]]:
    return dict(table.columns)


WANTED = {"file": ["1.jpg", "b, c.jpg"], "kind": ["coast", ""]}
WAYS = {
    "commas": 'file,kind\n1.jpg,coast\n"b, c.jpg",\n',
    "semicolons": "file;kind\n1.jpg;coast\nb, c.jpg;\n",
    "tabs": "file\tkind\n1.jpg\tcoast\nb, c.jpg\t\n",
    "byte order mark": b'\xef\xbb\xbffile,kind\n1.jpg,coast\n"b, c.jpg",\n',
    "Windows line ends": 'file,kind\r\n1.jpg,coast\r\n"b, c.jpg",\r\n',
    "no last line end": 'file,kind\n1.jpg,coast\n"b, c.jpg",',
    "blanks": 'file , kind\n\n 1.jpg, "coast"\n  \n"b, c.jpg",\n,\n\n',
    "all quoted": '"file","kind"\n"1.jpg","coast"\n"b, c.jpg",""\n',
    "row numbers of pandas": ',file,kind\n0,1.jpg,coast\n1,"b, c.jpg",\n',
}


@pytest.mark.parametrize("way", WAYS)
def test_one_table_written_in_many_ways(tmp_path: Path, way: str) -> None:
    assert plain(read_table(table_file(tmp_path, WAYS[way]))) == WANTED


@pytest.mark.parametrize("name", ["a.jsonl", "b.NDJSON"])
def test_json_lines_become_text_and_keys_may_be_missing(tmp_path: Path, name: str) -> None:
    rows = [
        {"file": "1.jpg", "score": 7, "share": 0.5, "good": True},
        {"file": " 2.jpg ", "score": None, "later": "x"},
    ]
    content = "\ufeff" + "\n\n".join(json.dumps(row) for row in rows) + "\r\n"
    table = read_table(table_file(tmp_path, content, name))
    assert plain(table) == {
        "file": ["1.jpg", "2.jpg"],
        "score": ["7", ""],
        "share": ["0.5", ""],
        "good": ["true", ""],
        "later": ["", "x"],
    }
    assert table.where(1) == f"{name}, line 3"


def test_a_row_knows_the_line_on_which_it_begins(tmp_path: Path) -> None:
    table = read_table(table_file(tmp_path, 'file,note\n\n1.jpg,"two\nlines"\n2.jpg,\n'))
    assert [table.where(row) for row in (0, 1)] == ["labels.csv, line 3", "labels.csv, line 5"]
    assert len(table) == 2


def test_a_separator_inside_the_cells_misleads_nobody(tmp_path: Path) -> None:
    table = read_table(table_file(tmp_path, "file;score\n1.jpg;0,5\n2.jpg;1,5\n"))
    assert list(table.columns) == ["file", "score"]
    table = read_table(table_file(tmp_path, "a,b;c\n1,2;3\n", "x.tsv"))
    assert list(table.columns) == ["a,b;c"]


REFUSED = {
    "empty": ("", ("is empty",)),
    "blank": ("\n \r\n", ("is empty",)),
    "no rows": ("file,kind\n", ("has no rows",)),
    "two columns of one name": ("file,kind,kind\n1,2,3\n", ("two columns 'kind'",)),
    "a cell too few": ("file,kind\n1.jpg,coast\n2.jpg\n", ("line 3", "1 cells", "2 columns")),
    "a cell too many": ("file,kind\n\n1.jpg,coast,blue\n", ("line 3", "3 cells", "quotes")),
    "an open quote": ('file,kind\n1.jpg,coast\n"2.jpg,coast\n3.jpg,desert\n', ("line 3", "quote")),
    "a column without a name": ("file,\n1.jpg,coast\n", ("column without a name", "coast")),
    "Latin-1": ("file,kind\n1.jpg,K\xfcste\n".encode("latin-1"), ("not UTF-8 (line 2)", "CSV UTF-8")),
    "UTF-16": ("file,kind\n1.jpg,coast\n".encode("utf-16"), ("UTF-16", "Save")),
    "binary": (b"PK\x03\x04\x00\x00\x00", ("no text",)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_table_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    content, says = REFUSED[name]
    message = refused(tmp_path, content)
    assert "labels.csv" in message
    for part in says:
        assert part in message


JSON_REFUSED = {
    "a list": ('{"file": "1", "p": [1, 2]}', ("line 1", "'p' is a list", "p_1")),
    "an object": ('\n{"file": {"name": "1"}}', ("line 2", "an object")),
    "a key twice": ('{"file": "1", "file": "2"}', ("'file' twice",)),
    "no object": ("[1, 2]", ("expected an object",)),
    "no JSON": ('{"file": "1"', ("no JSON", "one whole object")),
}


@pytest.mark.parametrize("name", JSON_REFUSED)
def test_broken_json_lines_are_refused_with_their_place(tmp_path: Path, name: str) -> None:
    content, says = JSON_REFUSED[name]
    message = refused(tmp_path, content, "labels.jsonl")
    for part in says:
        assert part in message


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder; give the table in it"):
        read_table(tmp_path)
    table_file(tmp_path, "a\n1\n", "scores.csv")
    with pytest.raises(DataError, match=r"does not exist.*holds: scores\.csv"):
        read_table(tmp_path / "score.csv")
    with pytest.raises(DataError, match=r"no table that can be read: give \.csv"):
        read_table(table_file(tmp_path, "a", "a.xlsx"))
    with pytest.raises(DataError, match="one object a line"):
        read_table(table_file(tmp_path, "[]", "a.json"))


def test_a_missing_column_suggests_the_nearest(tmp_path: Path) -> None:
    table = read_table(table_file(tmp_path, "File,kind\n1.jpg,coast\n"))
    with pytest.raises(DataError, match=r"no column 'file'\. Did you mean 'File'\? Its columns: File, kind"):
        table.column("file")
    headless = read_table(table_file(tmp_path, "1.jpg,coast\n2.jpg,desert\n"))
    with pytest.raises(DataError, match="first line looks like data"):
        headless.column("file")


def test_numbers_may_be_missing_but_not_wrong(tmp_path: Path) -> None:
    cells = ["1", "-2.5", "1e3", "", "NaN", "n/a", "None"]
    table = read_table(
        table_file(tmp_path, "file,score\n" + "".join(f"{i},{c}\n" for i, c in enumerate(cells)))
    )
    values = table.numbers("score")
    np.testing.assert_array_equal(values, [1, -2.5, 1000, *[np.nan] * 4])
    for cell, says in {
        "0,5": "decimals with a point",
        "high": "no finite number",
        "inf": "finite",
        "1_0": "'1_0'",
    }.items():
        table = read_table(table_file(tmp_path, f"file;score\n1;2\n2;{cell}\n"))
        with pytest.raises(DataError, match=f"line 3, column 'score'.*{says}"):
            table.numbers("score")


# Files that rows name


def matched(
    root: Path, files: Sequence[str], cells: Sequence[str], on_error: str = "raise"
) -> tuple[list[int], list[str]]:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"picture")
    content = "".join(json.dumps({"file": cell, "row": i}) + "\n" for i, cell in enumerate(cells))
    table = read_table(table_file(root, content, "labels.jsonl"))
    rows, paths = match_files(table, "file", root, on_error)  # type: ignore[arg-type]
    return rows, [path.relative_to(root).as_posix() for path in paths]


def test_names_are_understood_as_people_write_them(tmp_path: Path) -> None:
    files = ["a/1.jpg", "a/2.jpg", "b/00003.jpg", "4.png", "5.jpg", "K\u00fcste.jpg"]
    cells = ["./a/1.jpg", "a\\2.jpg", "b/00003", "x/../4.png", str(tmp_path / "5.jpg"), "Ku\u0308ste.jpg"]
    assert matched(tmp_path, files, cells) == ([0, 1, 2, 3, 4, 5], files)


def test_names_below_one_folder_are_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="vedute")
    files = ["data/images/1.jpg", "data/images/x/2.jpg"]
    assert matched(tmp_path, files, ["1.jpg", "x/2"]) == ([0, 1], files)
    assert "below the folder data/images/" in caplog.text


def test_names_that_fit_several_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"several folders.*large, small.*'large/1\.jpg'"):
        matched(tmp_path, ["large/1.jpg", "small/1.jpg"], ["1.jpg"])


def test_a_name_without_suffix_that_fits_two_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'1' may be 1\.jpg or 1\.png"):
        matched(tmp_path, ["1.jpg", "1.png", "2.jpg"], ["2.jpg", "1"])


def test_rows_without_files_and_files_without_rows_are_both_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files, cells = ["1.jpg", "2.jpg", "10.jpg"], ["1.jpg", "02.jpg", ""]
    with pytest.raises(DataError) as error:
        matched(tmp_path, files, cells)
    message = str(error.value)
    assert "2 of 3 rows" in message and "line 2: '02.jpg' does not exist (there is '2.jpg')" in message
    assert "line 3: no file is named" in message and "on_error skip" in message
    assert "2 image files" in message and "2.jpg, 10.jpg" in message
    assert matched(tmp_path, files, cells, "skip") == ([0], ["1.jpg"])
    assert "2 rows are left out" in caplog.text and "2 image files" in caplog.text


def test_files_without_rows_alone_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert matched(tmp_path, ["1.jpg", "2.jpg", ".3.jpg"], ["2.jpg"]) == ([0], ["2.jpg"])
    assert "1 image files" in caplog.text and "left out: 1.jpg." in caplog.text


def test_no_file_at_all_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 of 2 rows have no image file"):
        matched(tmp_path, ["x.jpg"], ["1.jpg", "2.jpg"], "skip")


def test_names_that_differ_in_case_match_exactly_or_not_at_all(tmp_path: Path) -> None:
    files = ["a.jpg", "A.jpg"]
    if len({(tmp_path / file).write_bytes(b"") or file for file in files}) != len(list(tmp_path.iterdir())):
        pytest.skip("this file system does not tell upper from lower case")
    assert matched(tmp_path, files, files) == ([0, 1], files)
    with pytest.raises(DataError, match=r"'B\.JPG' does not exist, but 'b\.jpg' does \(upper and lower"):
        matched(tmp_path, ["b.jpg"], [*files, "B.JPG"])


@pytest.mark.parametrize("second", ["1.jpg", "./1.jpg", "1"])
def test_a_file_named_twice_is_refused(tmp_path: Path, second: str) -> None:
    with pytest.raises(DataError, match=r"line 3 names 1\.jpg, as labels\.jsonl, line 1 does"):
        matched(tmp_path, ["1.jpg", "2.jpg"], ["1.jpg", "2.jpg", second])


@pytest.mark.parametrize("cell", ["../1.jpg", "a/../../1.jpg", "/etc/passwd", "C:\\pictures\\1.jpg"])
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_names_outside_of_the_folder_are_refused(tmp_path: Path, cell: str, on_error: str) -> None:
    with pytest.raises(DataError, match=r"line 2: .*(lies outside of|leads out of)"):
        matched(tmp_path / "root", ["1.jpg"], ["1.jpg", cell], on_error)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "broken.jpg")
    assert matched(tmp_path, ["a/1.jpg"], ["a/1.jpg"]) == ([0], ["a/1.jpg"])


def test_a_name_no_file_system_takes_is_a_row_without_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        matched(tmp_path, ["1.jpg"], ["1.jpg", "x" * 3000 + ".jpg"])


def test_many_rows_are_matched_fast(tmp_path: Path) -> None:
    content = "file,score\n" + "".join(f"{i:06d}.jpg,{i % 10}\n" for i in range(50_000))
    table = read_table(table_file(tmp_path, content))
    (tmp_path / "000001.jpg").write_bytes(b"")
    rows, _ = match_files(table, "file", tmp_path, "skip")
    assert rows == [1] and table.numbers("score").mean() == 4.5
