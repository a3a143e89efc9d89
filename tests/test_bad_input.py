"""Bad data, as a person meets it: one clear message, exit code 2, before any training.

Bad checkpoints and conditions are in test_checkpoints.py and test_cli_verbs.py.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.data.landscapes import tiny_examples, write_tiny_landscapes
from vedute.cli import main
from vedute.data.tfrecord import write_records

CONFIG = str(Path(__file__).parents[1] / "configs" / "cvae_landscapes.yaml")
SMALL = "--data.image_size 32 --data.batch_size 8 --trainer.max_epochs 1 --trainer.enable_progress_bar false"


def fit(root: Path, folder: Path, *extra: str) -> int:
    places = ["--data.root", str(root), "--trainer.default_root_dir", str(folder)]
    return main(["fit", "--config", CONFIG, *SMALL.split(), *places, *extra])


def first_file(root: Path) -> Path:
    return root / "TFrecords" / "Train" / "0.tfrecord"


def replace_record(root: Path, example: dict[str, bytes | int]) -> None:
    """Make ``example`` the third record of the first training file."""
    write_records(first_file(root), [*tiny_examples(2), example, *tiny_examples(13)])


def truncate(root: Path) -> None:
    path = first_file(root)
    path.write_bytes(path.read_bytes()[:-10])


def flip_a_bit(root: Path) -> None:
    path = first_file(root)
    content = bytearray(path.read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    second = 8 + 4 + length + 4  # length, its checksum, payload, its checksum
    content[second + 12 + 100] ^= 1
    path.write_bytes(content)


class Case(NamedTuple):
    """What is done to a good data set, the options beside it, and what the message says."""

    damage: Callable[[Path], object]
    options: tuple[str, ...]
    says: tuple[str, ...]


def nothing(root: Path) -> None:
    """Leave the data set as it is: the option is wrong."""


CASES = {
    "missing root": Case(shutil.rmtree, (), ("does not exist",)),
    "empty root": Case(lambda root: shutil.rmtree(root / "TFrecords"), (), ("*.tfrecord", "Training Data")),
    "truncated file": Case(truncate, (), ("0.tfrecord", "record 1")),
    "checksum": Case(flip_a_bit, (), ("0.tfrecord", "record 1", "checksum")),
    "record without image": Case(lambda r: replace_record(r, {"label": 0}), (), ("record 2", "image")),
    "record without label": Case(
        lambda r: replace_record(r, {"image": tiny_examples(1)[0]["image"]}), (), ("record 2", "label")
    ),
    "payload that is no image": Case(
        lambda r: replace_record(r, {"image": b"no image", "label": 0}),
        (),
        ("0.tfrecord", "record 2", "skip"),
    ),
    "label outside the names": Case(
        lambda r: replace_record(r, {"image": tiny_examples(1)[0]["image"], "label": 9}),
        (),
        ("9", "record 2"),
    ),
    "unknown class": Case(nothing, ("--data.classes", "[coats]"), ("coats", "coast")),
    "size the network cannot take": Case(nothing, ("--data.image_size", "40"), ("40x40", "32 or 48")),
    "batch larger than the data": Case(nothing, ("--data.batch_size", "1000"), ("1000", "40 images")),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_data_is_one_clear_message_before_training(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    root = write_tiny_landscapes(tmp_path / "data")
    case.damage(root)
    assert fit(root, tmp_path, *case.options) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message and "error: " in message
    missing = [part for part in case.says if part not in message.replace("\n", " ")]
    assert not missing, f"{missing} is not said in: {message}"
    assert not any(tmp_path.glob("runs/*/*")), "no run is left behind"


def test_broken_images_are_skipped_and_listed_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_tiny_landscapes(tmp_path / "data")
    replace_record(root, {"image": b"no image", "label": 0})
    assert fit(root, tmp_path, "--data.on_error", "skip", "--trainer.limit_train_batches", "1") == 0
    printed = capsys.readouterr()
    assert "0.tfrecord, record 2" in printed.err + printed.out


def test_a_cache_on_a_full_disk_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 0))  # type: ignore[attr-defined]
    assert fit(write_tiny_landscapes(tmp_path / "data"), tmp_path) == 2
    message = capsys.readouterr().err
    assert "disk" in message.lower() and "VEDUTE_CACHE" in message
    assert not [path for path in (tmp_path / "cache").rglob("*.npy")]
