"""``inspect`` where scores are missing, and where training refuses the data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from datamodules.landscapes import LandscapesDataModule
from tests.data.cars import tiny_scores, write_tiny_cars
from tests.data.commands import failed
from tests.data.inspected import (
    busy_picture,
    data_file,
    inspected,
    save,
    write_faulty_set,
    write_table_set,
)
from vedute.data.source import Source

CARS = "datamodules.cars.CarsDataModule"
TABLE = [
    "--data", "datamodules.image_folder.ImageFolderDataModule", "--data.class_column", "kind",
    "--data.image_size", "32",
]  # fmt: skip


def statistics(scores: list[list[float]], column: int) -> dict[str, float]:
    """Return what inspect says of a rater, from the table itself."""
    own = np.array([row[column] for row in scores], dtype=float)
    known = own[np.isfinite(own)]
    return {
        "min": known.min(),
        "mean": known.mean(),
        "max": known.max(),
        "deviation": known.std(),
        "missing": len(own) - len(known),
    }


@pytest.mark.parametrize("missing", ["mean", "error"])
def test_missing_scores_are_counted_and_change_no_statistics(tmp_path: Path, missing: str) -> None:
    scores = tiny_scores(40)
    for row in range(12):
        scores[row][0] = np.nan
    scores[20][1] = np.nan
    cells = [["" if np.isnan(score) else score for score in row] for row in scores]
    root = write_tiny_cars(tmp_path / "cars", cells)
    numbers = inspected(
        tmp_path / "report", "--data", CARS, "--data.root", root, "--data.image_size", "32",
        "--data.missing", missing,
    )  # fmt: skip
    for column, rater in enumerate(numbers["scores"]["raters"]):
        found = numbers["scores"]["statistics"][rater]
        assert found == pytest.approx(statistics(scores, column), rel=1e-4), rater
    both = np.array([row[:2] for row in scores])
    both = both[np.isfinite(both).all(axis=1)]
    assert numbers["scores"]["correlation"][0][1] == pytest.approx(np.corrcoef(both.T)[0, 1], abs=1e-3)
    texts = [warning["text"] for warning in numbers["warnings"]]
    assert any("Moira has no score for 12 of 40 images" in text for text in texts)
    first = numbers["warnings"][0]
    assert (first["level"] == "error" and "as they are" in first["text"]) == (missing == "error")


def test_scores_equal_to_the_mean_are_not_missing(tmp_path: Path) -> None:
    scores = [[5.0, float(row % 10), 5.0 + (-1) ** row] for row in range(40)]
    scores += [[5.0, 4.5, 5.0]] * 4
    root = write_tiny_cars(tmp_path / "cars", scores)
    options: list[str | Path] = [
        "--data",
        CARS,
        "--data.root",
        root,
        "--data.image_size",
        "32",
        "--data.missing",
        "mean",
    ]
    numbers = inspected(tmp_path / "report", *options)
    assert [one["missing"] for one in numbers["scores"]["statistics"].values()] == [0, 0, 0]


# Data that a data set refuses


@pytest.mark.parametrize("missing", ["error", "drop"])
def test_a_score_outside_the_range_is_shown(tmp_path: Path, missing: str) -> None:
    scores = tiny_scores(40)
    scores[3][1] = 99.0
    root = write_tiny_cars(tmp_path / "cars", scores)
    numbers = inspected(
        tmp_path / "report", "--data", CARS, "--data.root", root, "--data.image_size", "32",
        "--data.missing", missing,
    )  # fmt: skip
    first = numbers["warnings"][0]
    assert (
        first["level"] == "error" and "Training cannot use these data as they are: 1 score" in first["text"]
    )
    assert "line 5: Ferdinando 99" in first["text"]
    assert numbers["scores"]["statistics"]["Ferdinando"]["max"] == 99
    assert "Ferdinando 99" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_a_row_without_a_class_is_listed_and_stops_nothing(tmp_path: Path) -> None:
    root = write_table_set(tmp_path / "set", {4: ""})
    numbers = inspected(tmp_path / "report", *TABLE, "--data.root", root)
    first = numbers["warnings"][0]
    assert first["level"] == "error" and "line 6" in first["text"] and "no split" in first["text"]
    assert sum(sum(splits.values()) for splits in numbers["classes"].values()) >= 19
    assert list(numbers["classes"]) == ["coast", "forest"]


def test_a_row_without_its_file_is_listed_and_stops_nothing(tmp_path: Path) -> None:
    root = write_table_set(tmp_path / "set")
    (root / "images" / "7.png").unlink()
    save(busy_picture(99), root / "images" / "extra.png")
    numbers = inspected(tmp_path / "report", *TABLE, "--data.root", root)
    texts = " ".join(warning["text"] for warning in numbers["warnings"])
    assert "line 9" in texts and "7.png" in texts and "extra.png" in texts
    assert numbers["parts"]["train"]["readable"] == 19


def test_all_image_files_are_shown_where_the_table_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_table_set(tmp_path / "set")
    with (root / "labels.csv").open("a", encoding="utf-8") as file:
        file.write("1.png,coast,and,more\n")
    save(busy_picture(3), root / "images" / "copy.png")
    (root / "images" / "cut.png").write_bytes(b"\x89PNG")
    numbers = inspected(tmp_path / "report", *TABLE, "--data.root", root)
    first = numbers["warnings"][0]
    assert first["level"] == "error" and "4 cells" in first["text"] and "all image files" in first["text"]
    assert numbers["parts"]["train"]["records"] == 22 and numbers["parts"]["train"]["unreadable"] == 1
    assert numbers["duplicates"]["equal"]["inside"] == 1
    assert not numbers["splits"] and numbers["classes"] is None and numbers["scores"] is None
    assert capsys.readouterr().out.count("error: Training cannot use") == 1
    for image in (root / "images").iterdir():
        image.unlink()
    assert "4 cells" in failed(capsys, "inspect", *TABLE, "--data.root", root)


def test_wrong_options_are_no_wrong_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_tiny_cars(tmp_path / "cars", tiny_scores(12))
    options: list[str | Path] = ["--data", CARS, "--data.root", root, "--data.raters", "[Moiro]"]
    assert "Did you mean 'Moira'" in failed(capsys, "inspect", *options)


def test_the_records_are_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []
    find = LandscapesDataModule.find_sources

    def counted(data: LandscapesDataModule, root: Path) -> Mapping[str, Source]:
        calls.append(root)
        return find(data, root)

    monkeypatch.setattr(LandscapesDataModule, "find_sources", counted)
    inspected(tmp_path / "report", "--data", data_file(tmp_path, write_faulty_set(tmp_path / "set")))
    assert len(calls) == 1
