"""Places on the ground survive reading, cutting, scaling and writing; other software agrees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.data.aerial import pattern, write_tiff
from tests.data.landscapes import shared_data
from vedute.data.georeference import Georeference, read_georeference, write_geotiff
from vedute.data.tiff import TiffImage
from vedute.errors import DataError

UTM = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32618)
NORTH_UP = Georeference((0.5, 0.0, 101985.25, 0.0, -0.5, 2826915.5), UTM, text="WGS 84 / UTM zone 18N|")
TURNED = Georeference((0.4, 0.3, 1000.0, 0.3, -0.4, 2000.0), UTM, (298.257,), nodata="0")
POINTS = Georeference(NORTH_UP.transform, (*UTM[:11], 2, *UTM[12:]))


@pytest.mark.parametrize("place", [NORTH_UP, TURNED, POINTS])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_is_written_is_read(tmp_path: Path, place: Georeference, channels: int) -> None:
    pixels = pattern(channels=channels).reshape(40, 56, channels)
    write_geotiff(tmp_path / "a" / "b.tif", pixels, place)
    assert read_georeference(tmp_path / "a" / "b.tif") == place
    with TiffImage(tmp_path / "a" / "b.tif") as image:
        assert np.array_equal(image.read((0, 40), (0, 56)), pixels)
        assert image.alpha == (channels in (2, 4))


def test_a_large_picture_is_written_in_tiles(tmp_path: Path) -> None:
    pixels = pattern(1100, 1030)
    write_geotiff(tmp_path / "a.tif", pixels, NORTH_UP)
    assert tifffile.TiffFile(tmp_path / "a.tif").pages.first.is_tiled
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), pixels)


def test_without_a_place_none_is_written(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "a.tif", pattern(), None)
    assert read_georeference(tmp_path / "a.tif") is None


def test_a_window_lies_where_it_was_cut() -> None:
    for place in (NORTH_UP, TURNED):
        piece = place.window(10, 20)
        assert piece.position(3, 4) == pytest.approx(place.position(13, 24))
        assert piece.keys == place.keys


def test_a_scaled_picture_covers_the_same_ground() -> None:
    for place in (NORTH_UP, TURNED):
        smaller = place.scaled(286 / 1000, 143 / 1000)
        assert smaller.position(0, 0) == pytest.approx(place.position(0, 0))
        assert smaller.position(286, 143) == pytest.approx(place.position(1000, 1000))
    with pytest.raises(ValueError, match="cannot be scaled"):
        NORTH_UP.scaled(0, 1)


def test_cutting_and_scaling_commute() -> None:
    one = TURNED.window(100, 50).scaled(0.5, 0.25)
    two = TURNED.scaled(0.5, 0.25).window(50, 12.5)
    assert one.transform == pytest.approx(two.transform)


def test_damaged_tags_are_an_error(tmp_path: Path) -> None:
    tags = [(33550, 12, 1, (0.5,), True), (33922, 12, 6, (0.0,) * 6, True)]
    path = write_tiff(tmp_path / "a.tif", pattern(), extratags=tags)
    with pytest.raises(DataError, match=r"a.tif has damaged GeoTIFF tags"):
        read_georeference(path)
    (tmp_path / "b.tif").write_bytes(b"no")
    with pytest.raises(DataError, match=r"b.tif is no TIFF"):
        read_georeference(tmp_path / "b.tif")


def test_ground_control_points_are_said_not_to_be_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(), extratags=[(33922, 12, 12, tuple(range(12)), True)])
    assert read_georeference(path) is None
    assert "ground control points" in caplog.text


def test_real_files_keep_their_place(tmp_path: Path) -> None:
    folder = shared_data("geotiff")
    place = read_georeference(folder / "RGB.byte.tif")
    assert place is not None
    assert place.transform == (300.0379266750948, 0.0, 101985.0, 0.0, -300.041782729805, 2826915.0)
    assert place.text.startswith("WGS 84 / UTM zone 18N") and place.nodata == "0"
    for name in ("rgb1", "RGB.byte", "byte", "green", "float", "alpha"):
        place = read_georeference(folder / f"{name}.tif")
        write_geotiff(tmp_path / f"{name}.tif", pattern(), place)
        assert read_georeference(tmp_path / f"{name}.tif") == place


def test_rasterio_agrees(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    for number, place in enumerate((NORTH_UP, TURNED, POINTS)):
        path = tmp_path / f"{number}.tif"
        write_geotiff(path, pattern(), place)
        with rasterio.open(path) as file:
            assert tuple(file.transform)[:6] == pytest.approx(place.transform)
            assert file.crs.to_epsg() == 32618
            assert np.array_equal(np.moveaxis(file.read(), 0, -1), pattern())
    for path in sorted(shared_data("geotiff").glob("*.tif")):
        mine = read_georeference(path)
        with rasterio.open(path) as file:
            assert mine is not None and tuple(file.transform)[:6] == pytest.approx(mine.transform)
            crs = file.crs
        write_geotiff(tmp_path / path.name, pattern(), mine)
        with rasterio.open(tmp_path / path.name) as file:
            assert file.crs == crs
