"""``inspect``: the page, the numbers and the warnings, on sets with known faults."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.cars import tiny_scores, write_tiny_cars
from tests.data.commands import failed
from tests.data.inspected import busy_picture, data_file, inspected, save, write_faulty_set
from tests.data.landscapes import shared_data
from vedute.data.facts import facts_of
from vedute.data.image_files import FileSource
from vedute.data.source import Record
from vedute.data.survey import survey, thumbnails
from vedute.errors import DataError


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("faulty")
    data = data_file(folder, write_faulty_set(folder / "set"))
    return folder / "report", inspected(folder / "report", "--data", data)


def names(pair: dict[str, Any]) -> list[str]:
    return [image["origin"] for image in pair["images"]]


# What is found


def test_leaks_are_found_and_come_first(faulty: tuple[Path, dict[str, Any]]) -> None:
    equal, near = faulty[1]["duplicates"]["equal"], faulty[1]["duplicates"]["near"]
    assert (equal["leaks"], equal["inside"]) == (1, 1) and (near["leaks"], near["inside"]) == (1, 0)
    assert names(equal["pairs"][0]) == ["Forest/0.jpg", "Forest/1.jpg"] and equal["pairs"][0]["leak"]
    assert equal["pairs"][0]["splits"] == [["train"], ["test"]]
    assert names(equal["pairs"][1]) == ["Coast/2.jpg", "Coast/double.jpg"] and not equal["pairs"][1]["leak"]
    assert names(near["pairs"][0]) == ["Coast/1.jpg", "Coast/0.jpg"]
    assert near["pairs"][0]["splits"] == [["train"], ["val"]] and near["pairs"][0]["distance"] <= 4
    levels = [warning["level"] for warning in faulty[1]["warnings"]]
    texts = " ".join(warning["text"] for warning in faulty[1]["warnings"])
    assert levels.count("error") == 3
    assert "nearly equal images is spread over train and val" in texts
    assert "equal images is spread over train and test" in texts


def test_broken_files_are_listed_and_stop_nothing(faulty: tuple[Path, dict[str, Any]]) -> None:
    numbers = faulty[1]
    assert numbers["parts"]["train"]["records"] == 12 and numbers["parts"]["train"]["unreadable"] == 2
    reasons = [entry["reason"] for entry in numbers["unreadable"]]
    assert "cut.jpg" in reasons[0] and "text.png" in reasons[1] and "no image" in reasons[1]
    page = (faulty[0] / "index.html").read_text(encoding="utf-8")
    assert "Records that cannot be used" in page and "text.png" in page


def test_counts_are_right(faulty: tuple[Path, dict[str, Any]]) -> None:
    numbers = faulty[1]
    assert numbers["classes"] == {
        "coast": {"train": 6, "val": 2, "test": 2},
        "forest": {"train": 4, "val": 2, "test": 2},
    }
    assert {split: entry["images"] for split, entry in numbers["splits"].items()} == {
        "train": 10,
        "val": 4,
        "test": 4,
    }
    assert numbers["left_out"] == {"train": 2, "val": 0, "test": 0}
    assert numbers["kinds"] == [{"format": "JPEG", "mode": "RGB", "bits": 8, "images": 18}]
    assert numbers["sizes"]["height"]["median"] == 48 and numbers["sizes"]["width"]["max"] == 96
    assert sum(count for *_, count in numbers["sizes"]["commonest"]) == 18


def test_the_page_is_whole_and_needs_no_network(faulty: tuple[Path, dict[str, Any]]) -> None:
    page = (faulty[0] / "index.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and page.endswith("</html>\n")
    assert "http:" not in page and "https:" not in page
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)"', page))
    sections = re.findall(r"<h2[^>]*>([^<]*)", page)
    assert sections[:2] == ["Warnings", "Leaks between splits"]
    assert page.count('class="pair"') == 3
    assert sorted(path.name for path in (faulty[0] / "sheets").iterdir()) == ["coast.png", "forest.png"]
    with Image.open(faulty[0] / "sheets" / "coast.png") as sheet:
        assert sheet.width > 300


def test_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = data_file(tmp_path, write_faulty_set(tmp_path / "set"))
    inspected(tmp_path / "report", "--data", data)
    said = capsys.readouterr().out
    assert "train 10" in said and "18 can" not in said
    assert "20 records in" in said and "2 cannot be used" in said and "index.html" in said
    assert said.index("error:") < said.index("warning:")


def test_two_inspections_are_equal(faulty: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    data = data_file(tmp_path, faulty[0].parent / "set")
    assert inspected(tmp_path / "again", "--data", data) == faulty[1]
    for name in ("index.html", "sheets/coast.png"):
        assert (tmp_path / "again" / name).read_bytes() == (faulty[0] / name).read_bytes()


def test_a_limit_looks_at_some_and_prepares_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faulty: tuple[Path, dict[str, Any]]
) -> None:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path / "cache"))
    data = data_file(tmp_path, faulty[0].parent / "set")
    numbers = inspected(tmp_path / "report", "--data", data, "--limit", "3")
    assert {part: entry["seen"] for part, entry in numbers["parts"].items()} == dict.fromkeys(
        ("train", "val", "test"), 3
    )
    assert numbers["limit"] == 3 and any("--limit" in warning["text"] for warning in numbers["warnings"])
    assert not (tmp_path / "cache" / "prepared").exists()


def test_data_that_training_refuses_are_shown_all_the_same(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for number in range(3):
        save(busy_picture(number), root / "Training Data" / "Coast" / f"{number}.png")
    numbers = inspected(tmp_path / "report", "--data", data_file(tmp_path, root))
    assert numbers["parts"]["train"]["readable"] == 3
    if not numbers["splits"]:
        assert "as they are" in numbers["warnings"][0]["text"]


def test_scores_are_shown_in_the_raters_units(tmp_path: Path) -> None:
    root = write_tiny_cars(tmp_path / "cars", tiny_scores(40))
    options = ["--data", "datamodules.cars.CarsDataModule", "--data.root", root, "--data.image_size", "32"]
    numbers = inspected(tmp_path / "report", *options)
    scores = numbers["scores"]
    assert scores["raters"] and numbers["classes"] is None
    for rater in scores["raters"]:
        statistics = scores["statistics"][rater]
        assert 0 <= statistics["min"] <= statistics["mean"] <= statistics["max"] <= 9
    matrix = np.array(scores["correlation"], dtype=float)
    assert np.allclose(np.diag(matrix), 1) and np.allclose(matrix, matrix.T)
    assert (tmp_path / "report" / "sheets" / f"{scores['raters'][0].lower()}-highest.png").is_file()


# Single records


def bytes_of(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (bytes_of(Image.new("L", (9, 7)), "PNG"), ("PNG", "grey", 8)),
        (bytes_of(Image.fromarray(np.zeros((7, 9), np.uint16)), "PNG"), ("PNG", "grey", 16)),
        (bytes_of(Image.new("1", (9, 7)), "PNG"), ("PNG", "black and white", 1)),
        (bytes_of(Image.new("P", (9, 7)), "GIF"), ("GIF", "palette", 8)),
        (bytes_of(Image.new("RGBA", (9, 7)), "WEBP"), ("WEBP", "RGB, alpha", 8)),
        (bytes_of(Image.new("CMYK", (9, 7)), "JPEG"), ("JPEG", "CMYK", 8)),
        (bytes_of(Image.fromarray(np.zeros((7, 9), np.uint16)), "TIFF"), ("TIFF", "grey", 16)),
    ],
)
def test_kinds_of_files(payload: bytes, expected: tuple[str, str, int]) -> None:
    kind, row = facts_of(Record(payload, None, "x"))
    assert (kind.format, kind.mode, kind.bits) == expected or kind.format == expected[0] == "GIF"
    assert (row["width"], row["height"], row["bytes"]) == (9, 7, len(payload))
    assert row["contrast"] == 0


def test_records_of_pixels_and_masks() -> None:
    mask = np.zeros((8, 10, 1), dtype=np.uint8)
    mask[:2] = 255
    kind, row = facts_of(Record(np.zeros((8, 10, 4), dtype=np.uint8), None, "x", mask))
    assert kind.format == "pixels" and row["foreground"] == pytest.approx(0.25) and not row["unclear_mask"]
    with pytest.raises(DataError, match="mask is 8 x 10"):
        facts_of(Record(np.zeros((4, 10, 3), dtype=np.uint8), None, "x", mask))


def test_thumbnails_keep_shapes_and_tint_masks(tmp_path: Path) -> None:
    image = save(np.full((40, 80, 3), 100, dtype=np.uint8), tmp_path / "image.png")
    mask = np.zeros((40, 80), dtype=np.uint8)
    mask[:, :40] = 255
    source = FileSource([image], None, [save(mask, tmp_path / "mask.png")])
    small = thumbnails(source, [0], 64)[0].picture
    assert small.size == (128, 64)
    pixels = np.asarray(small).astype(int)
    assert (pixels[32, 120] == 100).all() and pixels[32, 8, 0] > 150 and pixels[32, 8, 2] < 60


def test_a_survey_keeps_the_order_whatever_the_threads(tmp_path: Path) -> None:
    paths = [save(busy_picture(number, 16 + number), tmp_path / f"{number}.png") for number in range(200)]
    found = survey(FileSource(paths), workers=4)
    assert found.facts["number"].tolist() == list(range(200))
    assert found.facts["width"].tolist() == [16 + number for number in range(200)]
    some = survey(FileSource(paths), limit=20, seed=3)
    assert some.seen == 20 and some.total == 200 and (np.diff(some.facts["number"]) > 0).all()
    assert (some.facts["width"] == 16 + some.facts["number"]).all()


# Mistakes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "needs data"),
        (["--data.root", "somewhere"], "needs data"),
        (["--data", "configs/data/landscape.yaml"], "There is no file"),
        (["--config", "nowhere.yaml"], "There is no file"),
        (["--near", "40", "--data", "x.yaml"], "--near must lie in"),
        (["--limit", "0", "--data", "x.yaml"], "at least 1"),
        (["--colour", "red", "--data", "x.yaml"], "--colour"),
    ],
)
def test_what_inspect_cannot_use(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in failed(capsys, "inspect", *options)


def test_mistakes_about_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = data_file(tmp_path, tmp_path / "missing")
    assert "does not exist" in failed(capsys, "inspect", "--data", data)
    assert "rooot" in failed(capsys, "inspect", "--data", data, "--data.rooot", "x")
    assert "image_size" in failed(capsys, "inspect", "--data", data, "--data.image_size", "0")
    (tmp_path / "file").touch()
    assert "is a file" in failed(capsys, "inspect", "--data", data, "--output", tmp_path / "file")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no landscapes" in failed(capsys, "inspect", "--data", data, "--data.root", empty)
    assert "no part 'data'" in failed(capsys, "inspect", "--config", data)
    for number in range(3):
        broken = tmp_path / "broken" / "Training Data" / "Coast" / f"{number}.jpg"
        broken.parent.mkdir(parents=True, exist_ok=True)
        broken.write_bytes(b"no picture")
    assert "None of the records" in failed(
        capsys, "inspect", "--data", data, "--data.root", tmp_path / "broken"
    )


# Real files


def test_real_photos_of_many_sizes(tmp_path: Path) -> None:
    root = shared_data("pictures")
    numbers = inspected(
        tmp_path, "--data", "configs/data/pictures.yaml", "--data.root", root, "--limit", "60"
    )
    assert numbers["parts"]["train"]["seen"] == 60 and numbers["sizes"]["width"]["max"] > 100
    assert numbers["classes"] is None and numbers["scores"] is None
