"""``prepare``: the cache is filled once, said so, and used by ``fit``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.commands import failed
from tests.data.inspected import data_file, write_faulty_set
from vedute.cli import main


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def test_prepare_says_what_it_did_and_fit_uses_it(
    cache: Path, tiny_config: Path, class_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", "--config", str(tiny_config)]) == 0
    said = capsys.readouterr()
    assert "Preparing landscapes/train" in said.err
    assert "Prepared 36 images in" in said.out and "images/s" in said.out
    assert "20" in said.out and "32 x 32 x 3" in said.out and "prepared now" in said.out
    assert "train 20 (of train), val 8 (of val), test 8 (of test)" in said.out
    folders = sorted((cache / "prepared").glob("[!.]*"))
    assert len(folders) == 3 and all(str(folder) in said.out for folder in folders)
    stamps = [folder.stat().st_mtime_ns for folder in folders]

    assert main(["prepare", "--config", str(tiny_config)]) == 0
    said = capsys.readouterr()
    assert "Preparing" not in said.err and "was there already" in said.out and "nothing was done" in said.out

    assert main(["fit", "--config", str(tiny_config), "--trainer.fast_dev_run", "true"]) == 0
    assert "Preparing" not in capsys.readouterr().err
    assert [folder.stat().st_mtime_ns for folder in folders] == stamps


def test_later_options_win(cache: Path, tiny_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--data.image_size", "16", "--data.image_size", "[8, 24]"]
    assert main(["prepare", "--config", str(tiny_config), *sizes]) == 0
    assert "8 x 24 x 3" in capsys.readouterr().out


def test_what_was_left_out_is_said(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = data_file(tmp_path, write_faulty_set(tmp_path / "set"))
    message = failed(capsys, "prepare", "--data", data)
    assert "cut.jpg" in message and "on_error" in message
    assert main(["prepare", "--data", str(data), "--data.on_error", "skip"]) == 0
    said = capsys.readouterr().out
    assert "left out: " in said and "cut.jpg" in said and "text.png" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "needs data"),
        (["--config", "nowhere.yaml"], "There is no file"),
        (["--colour", "red"], "--colour"),
        (["--data"], "needs a value"),
    ],
)
def test_what_prepare_cannot_use(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in failed(capsys, "prepare", *options)


def test_streamed_data_have_nothing_to_prepare(
    cache: Path, tiny_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nothing to prepare" in failed(
        capsys, "prepare", "--config", tiny_config, "--data.residence", "stream"
    )
    assert "unknown" in failed(
        capsys, "prepare", "--config", tiny_config, "--data.rooot", "x"
    ).lower() or "rooot" in failed(capsys, "prepare", "--config", tiny_config, "--data.rooot", "x")
