"""Bad files in every format, as a person meets them: one message and exit code 2, or skipped and listed.

Bad tables are in test_bad_tables.py, bad tar shards in test_bad_shards.py, bad records in test_bad_input.py.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datamodules.cars import CarsDataModule
from tests.data.aerial import tiny_image, tiny_mask, write_inria, write_tiff
from tests.data.cars import tiny_scores, write_tiny_cars
from tests.data.commands import failed
from tests.data.image_folder import write_class_folders, write_image, write_mask
from tests.data.landscapes import write_tiny_class_folders
from tests.data.pictures import write_tiny_pictures
from tests.data.sets import OPTIONS, ROOT, SETS, command, first_image, prepared
from vedute.cli import main
from vedute.data.image_files import image_files
from vedute.data.tiles import Windows


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def unfinished(cache: Path) -> list[Path]:
    return [*(cache / "prepared").glob(".*.partial")]


def splits(printed: str) -> str:
    return next(line for line in printed.splitlines() if line.startswith("Splits:"))


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def make_huge(path: Path) -> None:
    """Make a file 3 GB long; it takes no room on the disk."""
    with path.open("r+b") as file:
        file.truncate(3 * 10**9)


DAMAGES = {
    "zero bytes": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no image\n" * 20),
    "truncated": truncate,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", SETS)
def test_a_damaged_file_is_named_or_skipped_and_listed(
    kind: str, damage: str, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = SETS[kind](tmp_path / "data")
    path = first_image(root)
    DAMAGES[damage](path)
    assert f"{path.parent.name}/{path.name}" in failed(capsys, *command("prepare", kind, root))
    assert not [*cache.glob("prepared/[!.]*train*")] and not unfinished(cache)
    if kind != "shards":  # a tar file is damaged as a whole
        lines = prepared(capsys, kind, root, "--data.on_error", "skip").splitlines()
        (left_out,) = [line for line in lines if line.startswith("  left out: ")]
        assert f"{path.parent.name}/{path.name}" in left_out


@pytest.mark.parametrize("kind", SETS)
def test_roots_without_data_are_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "does not exist" in failed(capsys, *command("prepare", kind, tmp_path / "gone"))
    (tmp_path / "file").write_bytes(b"")
    assert "is no folder" in failed(capsys, *command("prepare", kind, tmp_path / "file"))
    (tmp_path / "empty").mkdir()
    said = failed(capsys, *command("prepare", kind, tmp_path / "empty"))
    assert str(tmp_path / "empty") in said and ("Check data.root" in said or "data.table" in said)


@pytest.mark.parametrize("kind", SETS)
def test_what_is_no_image_changes_nothing(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = SETS[kind](tmp_path / "data")
    expected = splits(prepared(capsys, kind, root))
    path = first_image(root)
    folder, suffix = path.parent, path.suffix
    (root / "loop").symlink_to(root)
    (folder / "up").symlink_to(folder.parent)
    (folder / f"self{suffix}").symlink_to(folder / f"self{suffix}")
    (folder / f"broken{suffix}").symlink_to("nowhere")
    (folder / f"folder{suffix}").mkdir()
    os.mkfifo(folder / f"pipe{suffix}")  # opening it would wait for ever
    for name in (f".hidden{suffix}", f"._{path.name}", ".DS_Store"):
        (folder / name).write_bytes(b"no image")
    for name in ("._scores.csv", "._labels.csv", "._train.csv"):
        (root / name).write_bytes(b"\0")
    assert splits(prepared(capsys, kind, root)) == expected


def test_a_link_upwards_gives_a_class_no_images_of_others(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path, {"cat": 2, "dog": 3})
    (root / "cat" / "up").symlink_to(root)
    assert len(image_files(root / "cat")) == 2
    assert len(image_files(root)) == 5
    (tmp_path / "link").symlink_to(root / "dog")
    assert len(image_files(tmp_path / "link")) == 3, "the folder itself may be a link"


@pytest.mark.parametrize("kind", ["pictures", "tfrecords", "class folders", "shards"])
def test_file_names_that_are_no_utf8(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = SETS[kind](tmp_path / "data")
    path = first_image(root)
    odd = Path(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9" + os.fsencode(path.suffix)))
    try:
        path.rename(odd)
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    prepared(capsys, kind, root)
    assert main([*command("inspect", kind, root), "--output", str(tmp_path / "report")]) == 0
    capsys.readouterr()
    if kind != "shards":
        odd.write_bytes(b"bad")
        assert "caf\\xe9" in failed(capsys, *command("prepare", kind, root))
        printed = prepared(capsys, kind, root, "--data.on_error", "skip")
        assert "caf\\xe9" in printed and printed.encode("utf-8"), "a terminal can show it"


def test_a_class_folder_that_is_no_utf8_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = SETS["folders"](tmp_path / "data")
    try:
        (root / "cat").rename(os.fsdecode(os.fsencode(root) + b"/c\xe9"))
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    assert "'c\\xe9'" in failed(capsys, *command("prepare", "folders", root))


@pytest.mark.parametrize("kind", ["pictures", "class folders", "folders", "table", "cars", "street view"])
def test_an_image_of_three_gigabytes_is_refused_before_anything_is_decoded(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = SETS[kind](tmp_path / "data")
    path = first_image(root)
    make_huge(path)
    assert main(command("prepare", kind, root)) == 2
    said = capfd.readouterr().err
    assert f"{path.name} has 3,000 MB; image files of at most 512 MB" in said
    assert "/train: " not in said.replace("error: ", ""), "no progress of training images was shown"


def test_rows_of_windows_that_are_large_together_are_averaged() -> None:
    """A 3-GB TIFF cut 5 x 5: one window is small enough, five beside each other are not."""
    assert Windows(split=5, wanted_size=(36, 36)).reduction(6200, 6400) > 1
    assert Windows(split=5, wanted_size=(36, 36)).reduction(1000, 1000) == 1, "Inria's images"


def test_a_tiff_that_lies_is_one_message_without_the_librarys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = write_inria(tmp_path / "data")
    truncate(root / "train" / "gt" / "austin2.tif")
    with caplog.at_level(logging.WARNING, "vedute"):
        said = failed(capsys, *command("prepare", "aerial", root))
    assert "gt/austin2.tif claims 48 x 48 pixels" in said and "truncated" in said
    assert not [record for record in caplog.records if record.name.startswith("tifffile")]


@pytest.mark.parametrize("what", ["file", "folder", "root"])
@pytest.mark.parametrize("kind", SETS)
def test_what_may_not_be_read_is_never_passed_over_in_silence(
    kind: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = SETS[kind](tmp_path / "data")
    image = first_image(root)
    closed = {"file": image, "folder": image.parent, "root": root}[what]
    mode = closed.stat().st_mode
    closed.chmod(0)
    try:
        if os.access(closed, os.R_OK):
            pytest.skip("this user may read everything")
        said = failed(capsys, *command("prepare", kind, root))
    finally:
        closed.chmod(mode)
    assert "cannot be read" in said or "Check data.root" in said or "no landscapes" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data.image_size", "0"], "must be one or two positive numbers"),
        (["--data.image_size", "1000000"], "1 to 16384 pixels"),
        (["--data.batch_size", "0"], "at least 1"),
        (["--data.validation_share", ".nan"], "must lie in (0, 1)"),
    ],
)
def test_numbers_that_cannot_be(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_tiny_pictures(tmp_path / "data", 5)
    assert said in failed(capsys, *command("prepare", "pictures", root, *options))


@pytest.mark.parametrize("kind", ["class folders", "folders", "street view", "shards"])
def test_a_classifier_refuses_a_single_class(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = SETS[kind](tmp_path / "data")
    chosen = {"class folders": "classes=[coast]", "folders": "classes=[cat]", "shards": "classes=['0']"}
    config = ["--config", str(ROOT / "configs" / "classifier_landscapes.yaml")]
    _, *options = command("fit", kind, root, f"--data.{chosen.get(kind, 'countries=[NO]')}")
    said = failed(capsys, "fit", *config, *options, "--trainer.default_root_dir", tmp_path)
    assert "at least two classes" in said and not (tmp_path / "runs").exists()


# Changed files


def anew(printed: str) -> bool:
    """Whether something was prepared."""
    return "Everything was prepared already" not in printed


@pytest.mark.parametrize("kind", SETS)
def test_a_changed_file_is_prepared_anew(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = SETS[kind](tmp_path / "data")
    assert anew(prepared(capsys, kind, root)) and not anew(prepared(capsys, kind, root))
    path = first_image(root)
    others = [other for other in sorted(path.parent.glob(f"[!.]*{path.suffix}")) if other != path]
    path.write_bytes(others[0].read_bytes())
    assert anew(prepared(capsys, kind, root)) and not anew(prepared(capsys, kind, root))


def test_changed_masks_are_prepared_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_inria(tmp_path / "aerial")
    options = ("--data.split", "2")
    assert anew(prepared(capsys, "aerial", root, *options))
    write_tiff(root / "train" / "gt" / "austin1.tif", 255 - tiny_mask(tiny_image(1)))
    assert anew(prepared(capsys, "aerial", root, *options))
    root = tmp_path / "table"
    for number in range(20):
        write_image(root / f"{number}.png", number)
        write_mask(root / "masks" / f"{number}.png", 5)
    rows = [f"{number}.png,{'ab'[number % 2]},masks/{number}.png" for number in range(20)]
    (root / "labels.csv").write_text("\n".join(["file,kind,mask", *rows]))
    options = ("--data.mask_column", "mask")
    assert anew(prepared(capsys, "table", root, *options))
    write_mask(root / "masks" / "3.png", 9)
    assert anew(prepared(capsys, "table", root, *options))


def test_a_changed_score_is_used_without_preparing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = tiny_scores(30)
    root = write_tiny_cars(tmp_path / "data", scores)
    prepared(capsys, "cars", root)
    table = root / "scores.csv"
    changed = [[9.0 - score for score in row] for row in scores]
    lines = [f"{row}.png," + ",".join(map(str, cells)) for row, cells in enumerate(changed)]
    table.write_text("\n".join([table.read_text().splitlines()[0], *lines]))
    assert not anew(prepared(capsys, "cars", root))
    data = CarsDataModule(root=root, image_size=32)
    vectors = data.vectors("train")
    assert vectors is not None
    rows = data.records("train")[1]
    seen = vectors.double().numpy() * data.condition_scale + data.condition_mean
    assert np.allclose(seen, np.array(changed)[rows], atol=1e-4)


_KILLED = """
import os, signal, sys
from vedute.cli import main
from vedute.data.building import Build
Build._manifest = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # all is written but the last file
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_kill_while_preparing_leaves_nothing_that_is_taken_for_a_cache(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_tiny_class_folders(tmp_path / "data")
    args = command("prepare", "class folders", root)
    killed = subprocess.run([sys.executable, "-c", _KILLED, *args], cwd=ROOT, check=False, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    assert len(unfinished(cache)) == 1 and not [*cache.glob("prepared/[!.]*")]
    assert "40 (of train), val 10 (of val)" in prepared(capsys, "class folders", root)
    assert not unfinished(cache) and len([*cache.glob("prepared/[!.]*")]) == 3


def test_every_data_configuration_is_tried() -> None:
    tried = {f"{options[1]}.yaml" for options in OPTIONS.values()}
    assert tried == {path.name for path in (ROOT / "configs" / "data").glob("*.yaml")}
