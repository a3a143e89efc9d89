"""The painted cities: in Inria's layout, the same for one seed, and what the masks say are the roofs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from datamodules.aerial import AerialDataModule
from vedute.data.georeference import read_georeference
from vedute.data.painted.aerial import CITY_NAMES, paint, painted_aerial, write_painted_aerial
from vedute.data.painted.aerial_cities import CITIES, scene
from vedute.data.painted.aerial_drawing import draw
from vedute.data.tiff import TiffImage
from vedute.errors import ConfigurationError


def test_a_seed_paints_one_picture() -> None:
    for city in CITY_NAMES:
        (image, mask), (again, _) = paint((city, 1, 64, 0)), paint((city, 1, 64, 0))
        assert image.shape == (64, 64, 3) and mask.shape == (64, 64)
        assert np.array_equal(image, again)
        assert not np.array_equal(image, paint((city, 2, 64, 0))[0])
        assert not np.array_equal(image, paint((city, 1, 64, 1))[0])
        assert set(np.unique(mask)) == {0, 255}


def test_what_stands_there_does_not_depend_on_the_size() -> None:
    small, large = paint(("gartenau", 1, 64, 0)), paint(("gartenau", 1, 256, 0))
    reduced = large[1].reshape(64, 4, 64, 4).mean(axis=(1, 3)) >= 128
    assert (reduced == (small[1] > 0)).mean() > 0.97


@pytest.mark.parametrize("city", CITIES)
def test_the_mask_is_exactly_the_buildings(city: str) -> None:
    """Without buildings the mask is empty, and nothing but roofs and their shadows has changed."""
    built = scene(city, np.random.default_rng(3))
    image, mask = draw(built, 128, np.random.default_rng(0))
    roofs = list(built.buildings)
    for building in roofs:
        object.__setattr__(building, "colour", (255, 0, 255))
    magenta, same = draw(built, 128, np.random.default_rng(0))
    assert np.array_equal(mask, same)
    changed = np.abs(image.astype(int) - magenta).max(axis=2) > 24
    edge = np.zeros_like(changed)
    inside = mask > 0
    for down, right in itertools.product((-1, 0, 1), repeat=2):
        edge |= np.roll(inside, (down, right), (0, 1)) != inside
    assert not (changed & ~inside & ~edge).any()
    assert (changed[inside & ~edge]).mean() > 0.8  # chimneys, panels and machines have their own colours
    built.buildings.clear()
    assert not draw(built, 128, np.random.default_rng(0))[1].any()


def test_cities_differ_in_how_much_is_built() -> None:
    built = {city: np.mean([paint((city, n, 64, 0))[1] for n in (1, 2, 3)]) / 255 for city in CITY_NAMES}
    assert built["tannhain"] < built["almdorf"] < built["gartenau"] < built["rasterburg"] < built["altenfeld"]
    assert built["tannhain"] > 0.01 and built["altenfeld"] < 0.8


def test_the_folder_is_in_inrias_layout(tmp_path: Path) -> None:
    write_painted_aerial(tmp_path, 64, 2, 0, workers=1)
    names = sorted(path.name for path in (tmp_path / "train" / "images").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "train" / "gt").iterdir())
    assert names == sorted(f"{city}{number}.tif" for city in CITY_NAMES for number in (1, 2))
    for name in names:
        place = read_georeference(tmp_path / "train" / "images" / name)
        assert place is not None and place.transform[0] == 200 / 64
        assert place == read_georeference(tmp_path / "train" / "gt" / name)
        assert TiffImage(tmp_path / "train" / "gt" / name).samples == 1


def test_the_sample_is_painted_once_and_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path))
    data = AerialDataModule(image_size=32, batch_size=4, split=2)
    assert sum(data.size(split) for split in ("train", "val", "test")) == 20 * 4  # type: ignore[arg-type]
    folder = painted_aerial((32, 32), 2)
    assert folder.parent.parent == tmp_path and (folder / "train" / "gt").is_dir()
    stamp = (folder / "train").stat().st_mtime_ns
    assert painted_aerial((32, 32), 2) == folder and (folder / "train").stat().st_mtime_ns == stamp


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        painted_aerial((32, 32), per_city=0)
