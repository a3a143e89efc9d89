"""One tiny data set of each format, for tests that go through all formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.aerial import write_inria
from tests.data.cars import tiny_scores, write_tiny_cars
from tests.data.image_folder import simple_rows, write_class_folders, write_set
from tests.data.landscapes import write_tiny_class_folders, write_tiny_landscapes
from tests.data.pictures import write_tiny_pictures
from tests.data.shards import write_shards
from tests.data.street_view import write_tiny_street_view
from vedute.cli import main

ROOT = Path(__file__).parents[2]

SETS: dict[str, Callable[[Path], Path]] = {
    "pictures": write_tiny_pictures,
    "tfrecords": write_tiny_landscapes,
    "class folders": write_tiny_class_folders,
    "folders": lambda root: write_class_folders(root, {"cat": 20, "dog": 20}),
    "table": lambda root: write_set(root, simple_rows(40, kind=["cat", "dog"])),
    "cars": lambda root: write_tiny_cars(root, tiny_scores(30)),
    "street view": write_tiny_street_view,
    "aerial": write_inria,
    "shards": write_shards,
}
OPTIONS: dict[str, list[str]] = {
    "pictures": ["--data", "pictures"],
    "tfrecords": ["--data", "landscapes"],
    "class folders": ["--data", "landscapes"],
    "folders": ["--data", "image_folder", "--data.class_column", "null"],
    "table": ["--data", "image_folder"],
    "cars": ["--data", "cars"],
    "street view": ["--data", "street_view"],
    "aerial": ["--data", "aerial", "--data.load_size", "36"],
    "shards": ["--data", "shards", "--data.residence", "disk", "--data.num_workers", "0"],
}
"""What ``prepare`` needs for each, before :func:`command` completes the paths."""


def command(verb: str, kind: str, root: Path, *more: str) -> list[str]:
    """Return a command line on a tiny set."""
    option, name, *others = OPTIONS[kind]
    small = ["--data.image_size", "32", "--data.batch_size", "4", "--data.root", str(root)]
    return [verb, option, str(ROOT / "configs" / "data" / f"{name}.yaml"), *others, *small, *more]


def prepared(capsys: pytest.CaptureFixture[str], kind: str, root: Path, *more: str) -> str:
    """Run ``prepare``, which must succeed; return what it printed."""
    capsys.readouterr()
    assert main(command("prepare", kind, root, *more)) == 0
    out: str = capsys.readouterr().out
    return out


def first_image(root: Path) -> Path:
    """Return an image, record file or tar file of the training part."""
    suffixes = (".jpg", ".png", ".tif", ".tfrecord", ".tar")
    files = [path for path in sorted(root.rglob("*")) if path.suffix in suffixes]
    own = [path for path in files if not any(part.startswith(".") for part in path.relative_to(root).parts)]
    return next(path for path in own if "test" not in str(path.relative_to(root)).casefold())
