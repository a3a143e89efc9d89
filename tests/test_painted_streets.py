"""Painted streets: the archive's layout, deterministic, and countries that can be told apart."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vedute.data.painted.streets import STREET_COUNTRIES, paint_street, painted_streets
from vedute.errors import ConfigurationError

SIZE = (32, 32)


def test_the_layout_is_the_archives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path))
    root = painted_streets(SIZE, {"train": 16, "test": 8})
    for part, count in (("train", 16), ("test", 8)):
        with (root / f"{part}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["id", "latitude", "longitude", "country"]
        assert len(rows) == count == len({row["id"] for row in rows})
        assert {row["country"] for row in rows} == set(STREET_COUNTRIES)
        assert {bool(row["latitude"]) for row in rows} == {True, False}
        files = {path.stem: path for path in (root / "images" / part).glob("??/*.jpg")}
        assert files.keys() == {row["id"] for row in rows}
        with Image.open(next(iter(files.values()))) as picture:
            assert picture.size == SIZE
    assert painted_streets(SIZE, {"train": 16, "test": 8}) == root


def test_the_same_seed_paints_the_same_street_whatever_was_painted_before() -> None:
    first = paint_street("JP", 3, SIZE)
    others = [paint_street(country, 3, SIZE) for country in STREET_COUNTRIES]
    assert np.array_equal(first, paint_street("JP", 3, SIZE))
    assert all(
        (first != other).any()
        for country, other in zip(STREET_COUNTRIES, others, strict=True)
        if country != "JP"
    )
    assert (first != paint_street("JP", 4, SIZE)).any()


@pytest.mark.parametrize("size", [(8, 8), (24, 64), (64, 24), (33, 47)])
def test_any_size_can_be_painted(size: tuple[int, int]) -> None:
    for country in STREET_COUNTRIES:
        picture = paint_street(country, 1, size)
        assert picture.shape == (*size, 3) and picture.dtype == np.uint8
        assert picture.std() > 10


def test_the_same_street_is_shown_at_every_size() -> None:
    for country in STREET_COUNTRIES:
        large = Image.fromarray(paint_street(country, 5, (64, 64))).resize((16, 16), Image.Resampling.BOX)
        small = Image.fromarray(paint_street(country, 5, (32, 32))).resize((16, 16), Image.Resampling.BOX)
        difference = np.asarray(large, dtype=float) - np.asarray(small, dtype=float)
        assert np.abs(difference).mean() < 25


def test_countries_can_be_told_apart() -> None:
    """A linear map from 8x8 thumbnails names most countries of unseen pictures."""

    def thumbnails(seeds: range) -> tuple[np.ndarray, np.ndarray]:
        pictures = [paint_street(country, seed, SIZE) for seed in seeds for country in STREET_COUNTRIES]
        small = (
            np.stack(pictures).reshape(len(pictures), 8, 4, 8, 4, 3).mean((2, 4)).reshape(len(pictures), -1)
        )
        return np.column_stack([small / 255, np.ones(len(small))]), np.tile(np.arange(8), len(seeds))

    features, labels = thumbnails(range(50))
    ridge = features.T @ features + 0.5 * np.eye(features.shape[1])
    weights = np.linalg.solve(ridge, features.T @ np.eye(8)[labels])
    unseen, truth = thumbnails(range(1000, 1016))
    assert ((unseen @ weights).argmax(1) == truth).mean() > 0.6


def test_known_differences_are_there() -> None:
    def mean(country: str, rows: slice) -> np.ndarray:
        pictures = [paint_street(country, seed, SIZE)[rows] for seed in range(12)]
        return np.stack(pictures).mean((0, 1, 2))

    ground = slice(24, 32)
    red = {country: mean(country, ground) for country in STREET_COUNTRIES}
    # Red earth: Australia's ground is the reddest. Norway's and Japan's are not.
    assert max(red, key=lambda country: red[country][0] - red[country][2]) == "AU"
    assert all(red[country][0] - red[country][2] < 25 for country in ("NO", "JP"))
    # Big sky: the top of America's and Australia's pictures is bluer than that of Italy's streets.
    sky = {country: mean(country, slice(8, 16)) for country in ("AU", "US", "IT")}
    assert min(sky["AU"][2] - sky["AU"][0], sky["US"][2] - sky["US"][0]) > sky["IT"][2] - sky["IT"][0]


@pytest.mark.parametrize(
    ("country", "seed", "size"), [("XX", 0, SIZE), ("no", 0, SIZE), ("NO", -1, SIZE), ("NO", 0, (4, 32))]
)
def test_what_cannot_be_painted_is_refused(country: str, seed: int, size: tuple[int, int]) -> None:
    with pytest.raises(ConfigurationError):
        paint_street(country, seed, size)


def test_counts_must_be_positive() -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        painted_streets(SIZE, {"train": 0})
