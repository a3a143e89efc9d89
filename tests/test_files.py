"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from vedute.errors import VeduteError
from vedute.files import whole


def test_a_file_appears_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with whole(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_a_folder_replaces_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    for name in ("a", "b"):
        with whole(path) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert [p.name for p in path.iterdir()] == ["b"]


def test_a_full_disk_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(VeduteError, match="disk is full"), whole(tmp_path / "file"):
        raise OSError(errno.ENOSPC, "No space left on device")
