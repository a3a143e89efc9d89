"""The painted landscapes: what a data set needs of them, through its public functions."""

import io
import logging
import multiprocessing
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vedute.data.painted.landscapes import (
    LANDSCAPE_TYPES,
    paint_landscape,
    painted_landscapes,
    write_painted_landscapes,
)
from vedute.data.tfrecord import TFRecordSource
from vedute.errors import ConfigurationError, VeduteError

TINY = {"Train": 130, "Valid": 10, "Test": 5}  # two files in Train


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_painted_landscapes(tmp_path_factory.mktemp("painted"), (16, 24), TINY, seed=3, workers=2)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.tfrecord"))}


def examples_in(folder: Path, part: str) -> list[tuple[bytes, int]]:
    source = TFRecordSource(sorted((folder / "TFrecords" / part).glob("*.tfrecord")))
    records = [record for piece in source.parts() for record in piece.records()]
    return [(record.payload, record.label) for record in records if record.label is not None]


def features(image: np.ndarray) -> np.ndarray:
    """Return the picture on 8 x 8 cells, flat, in [0, 1]."""
    height, width, channels = image.shape
    return (image / 255.0).reshape(8, height // 8, 8, width // 8, channels).mean(axis=(1, 3)).ravel()


@pytest.mark.parametrize("kind", LANDSCAPE_TYPES)
@pytest.mark.parametrize("size", [(64, 64), (32, 80), (45, 21), (8, 8)])
def test_any_size_is_painted_as_asked(kind: str, size: tuple[int, int]) -> None:
    for seed in range(3):
        image = paint_landscape(kind, seed, size)
        assert image.shape == (*size, 3)
        assert image.dtype == np.uint8


@pytest.mark.parametrize("kind", LANDSCAPE_TYPES)
def test_a_seed_always_gives_the_same_picture_by_name_and_by_label(kind: str) -> None:
    first = paint_landscape(kind, 11, (32, 32))
    assert np.array_equal(first, paint_landscape(kind, 11, (32, 32)))
    assert np.array_equal(first, paint_landscape(LANDSCAPE_TYPES.index(kind), 11, (32, 32)))
    assert not np.array_equal(first, paint_landscape(kind, 12, (32, 32)))


@pytest.mark.parametrize("kind", LANDSCAPE_TYPES)
def test_a_seed_shows_the_same_scene_at_every_size(kind: str) -> None:
    small = np.stack([features(paint_landscape(kind, seed, (32, 32))) for seed in range(6)])
    large = np.stack([features(paint_landscape(kind, seed, (96, 96))) for seed in range(6)])
    distances = np.abs(small[:, None] - large[None]).mean(axis=2)  # (6, 6)
    assert np.diag(distances).max() < 0.06
    assert (distances.argmin(axis=1) == np.arange(6)).all()


@pytest.mark.parametrize("kind", LANDSCAPE_TYPES)
def test_pictures_of_a_type_vary_and_none_is_empty(kind: str) -> None:
    pictures = np.stack([features(paint_landscape(kind, seed, (32, 32))) for seed in range(40)])
    distances = np.sqrt(((pictures[:, None] - pictures[None]) ** 2).mean(axis=2))
    apart = distances[~np.eye(len(pictures), dtype=bool)]
    assert apart.min() > 0.02
    assert np.median(apart) > 0.12
    assert pictures.std(axis=1).min() > 0.015  # no picture is one even colour
    brightness = pictures.mean(axis=1)
    assert brightness.max() - brightness.min() > 0.25  # dark and bright hours


def test_types_can_be_told_apart_but_not_by_their_mean_colour_alone() -> None:
    def draw(start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.tile(np.arange(5), count)
        seeds = np.repeat(np.arange(start, start + count), 5)
        pictures = [paint_landscape(int(k), int(s), (32, 32)) for k, s in zip(labels, seeds, strict=True)]
        return np.stack([features(picture) for picture in pictures]), labels

    def accuracy(known: np.ndarray, asked: np.ndarray, strength: float) -> float:
        """Fit a ridge regression of the one-hot labels and return its accuracy on unseen pictures."""
        known, asked = (np.c_[part, np.ones(len(part))] for part in (known, asked))
        weights = np.linalg.solve(
            known.T @ known + strength * np.eye(known.shape[1]), known.T @ np.eye(5)[labels]
        )
        return float(((asked @ weights).argmax(axis=1) == true).mean())

    (known, labels), (asked, true) = draw(0, 60), draw(1000, 30)
    by_place = accuracy(known, asked, 3.0)
    by_colour = accuracy(known.reshape(-1, 64, 3).mean(axis=1), asked.reshape(-1, 64, 3).mean(axis=1), 1e-3)
    assert by_place > 0.7  # chance is 0.2
    assert by_colour < by_place - 0.1


def test_records_have_the_schema_and_every_file_is_balanced(written: Path) -> None:
    for part, count in TINY.items():
        examples = examples_in(written, part)
        assert len(examples) == count
        assert Counter(label for _, label in examples) == dict.fromkeys(range(5), count // 5)
    payload, _ = examples_in(written, "Train")[0]
    with Image.open(io.BytesIO(payload)) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (24, 16))
    assert len(list((written / "TFrecords" / "Train").glob("*.tfrecord"))) == 2


def test_no_picture_is_in_two_parts(written: Path) -> None:
    payloads = [payload for part in TINY for payload, _ in examples_in(written, part)]
    assert len(set(payloads)) == len(payloads)


def test_the_bytes_do_not_depend_on_the_number_of_workers(written: Path, tmp_path: Path) -> None:
    alone = write_painted_landscapes(tmp_path / "alone", (16, 24), TINY, seed=3, workers=1)
    assert files_in(alone) == files_in(written)
    other = write_painted_landscapes(tmp_path / "other", (16, 24), TINY, seed=4, workers=1)
    assert files_in(other).keys() == files_in(written).keys()
    assert all(files_in(other)[name] != data for name, data in files_in(written).items())


def test_the_cache_is_filled_once_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path))
    with caplog.at_level(logging.INFO, logger="vedute"):
        folder = painted_landscapes((16, 16), {"Train": 5})
    assert [record.message for record in caplog.records if "Painted" in record.message]
    assert folder.is_relative_to(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert painted_landscapes((16, 16), {"Train": 5}) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    others = [
        painted_landscapes((16, 16), {"Train": 6}),
        painted_landscapes((16, 16), {"Train": 5}, seed=1),
        painted_landscapes((16, 24), {"Train": 5}),
    ]
    assert len({folder, *others}) == 4


def test_what_a_killed_process_left_is_painted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path))
    folder = painted_landscapes((16, 16), {"Train": 5})
    whole = files_in(folder)
    folder.rename(folder.with_name(f".{folder.name}.0123.partial"))
    assert painted_landscapes((16, 16), {"Train": 5}) == folder
    assert files_in(folder) == whole
    assert not list(folder.parent.glob("*.partial"))


def _ask(_: int) -> Path:
    return painted_landscapes((16, 16), {"Train": 20})


def test_processes_that_ask_at_once_get_one_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path))
    with multiprocessing.get_context("fork").Pool(3) as pool:  # pool workers are daemons: they paint alone
        folders = pool.map(_ask, range(3), chunksize=1)
    assert len(set(folders)) == 1
    assert len(examples_in(folders[0], "Train")) == 20


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, examples: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vedute.data.tfrecord.write_records", refuse)
    with pytest.raises(VeduteError, match="disk is full"):
        write_painted_landscapes(tmp_path, (16, 16), {"Train": 5}, workers=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["a file", "a file/below"])
def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "a file").write_text("not a folder")
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path / place))
    with pytest.raises(VeduteError, match="VEDUTE_CACHE"):
        painted_landscapes((16, 16), {"Train": 5})


def test_wrong_values_are_refused_before_anything_is_painted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ConfigurationError, match=r"'volcano'.*coast, desert, forest, glacier, mountain"):
        paint_landscape("volcano", 0)
    for label in (-1, 5):
        with pytest.raises(ConfigurationError, match="label 0 to 4"):
            paint_landscape(label, 0)
    with pytest.raises(ConfigurationError, match="seed"):
        paint_landscape("coast", -1)
    with pytest.raises(ConfigurationError, match="64x4 pixels"):
        paint_landscape("coast", 0, (64, 4))
    with pytest.raises(ConfigurationError, match="at least 1 picture"):
        painted_landscapes((16, 16), {"Train": 0})
    with pytest.raises(ConfigurationError, match="seed"):
        painted_landscapes((16, 16), {"Train": 5}, seed=-1)
    assert list(tmp_path.iterdir()) == []
