"""What a value of a mask means is a property of its file: cut or whole, every pixel keeps its meaning."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from datamodules.aerial import AerialDataModule
from datamodules.pictures import PicturesDataModule
from tests.data.aerial import pattern, tiny_image, write_pair, write_tiff
from vedute.data import tiff_masks, tiles
from vedute.data.aerial_layout import find_areas, ground_groups, pictures, web_map_tile
from vedute.data.decoding import ImageBatch, Preparation
from vedute.data.image_bytes import decode_file, decode_mask
from vedute.data.pixels import finished_mask
from vedute.data.source import Pixels, Record
from vedute.data.tiff import TiffImage, Values
from vedute.data.tiles import TileSource, Windows
from vedute.errors import ConfigurationError, DataError

SIDE = 48


def stored_mask(mask: Path, **windows: Any) -> tuple[Pixels, int]:
    """The mask (H, W, 1) put together from the windows as they are stored, and how many were unclear."""
    image = write_tiff(mask.parent / "image.tif", tiny_image(0, SIDE))
    options = Windows(**windows)
    pieces, unclear = [], 0
    for record in TileSource([image], [mask], options).parts()[0].read():
        assert isinstance(record, Record) and isinstance(record.payload, np.ndarray)
        batch = ImageBatch(Preparation(record.payload.shape[:2], mask=True))  # type: ignore[arg-type]
        batch.add(record.payload, record.mask)
        pieces.append(batch.take()[0, :, :, 3:])
        unclear += batch.unclear_masks
    split = options.split
    rows = [np.concatenate(pieces[row * split : (row + 1) * split], axis=1) for row in range(split)]
    return np.concatenate(rows), unclear


def quarters(*values: int, dtype: str = "uint8") -> NDArray[Any]:
    """A mask of four quarters."""
    one, two, three, four = (np.full((SIDE // 2, SIDE // 2), value, dtype) for value in values)
    return np.block([[one, two], [three, four]])


CASES = {
    "classes": (quarters(0, 1, 1, 2), {}, (0, 0, 0, 0), 3),
    "some ones": (quarters(255, 1, 0, 0), {}, (1, 0, 0, 0), 1),
    "zero and one": (quarters(1, 0, 0, 1), {}, (1, 0, 0, 1), 0),
    "zero and 255": (quarters(255, 0, 0, 255), {}, (1, 0, 0, 1), 0),
    "no foreground": (quarters(0, 0, 0, 0), {}, (0, 0, 0, 0), 0),
    "all foreground": (quarters(255, 255, 255, 255), {}, (1, 1, 1, 1), 0),
    "16 bits": (quarters(65535, 1, 255, 40_000, dtype="uint16"), {}, (1, 0, 0, 1), 3),
    "16 bits up to 255": (quarters(255, 1, 0, 200, dtype="uint16"), {}, (1, 0, 0, 1), 2),
    "white is zero": (quarters(0, 255, 255, 255), {"photometric": "miniswhite"}, (1, 0, 0, 0), 0),
    "white is zero, 16 bits": (
        quarters(0, 65535, 65535, 0, dtype="uint16"), {"photometric": "miniswhite"}, (1, 0, 0, 1), 0,
    ),
    "all is white": (quarters(0, 0, 0, 0), {"photometric": "miniswhite"}, (1, 1, 1, 1), 0),
    "classes as white is zero": (quarters(1, 0, 0, 0), {"photometric": "miniswhite"}, (1, 0, 0, 0), 0),
    "one bit, white is zero": (
        quarters(1, 0, 0, 0, dtype="bool"), {"photometric": "miniswhite"}, (0, 1, 1, 1), 0,
    ),
    "float": (quarters(1, 0, 0, 1, dtype="float32"), {}, (1, 0, 0, 1), 0),
}  # fmt: skip


@pytest.mark.parametrize("split", [1, 2, 3])
@pytest.mark.parametrize("case", CASES)
def test_values_mean_the_same_in_every_window(
    tmp_path: Path, case: str, split: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, options, expected, unclear = CASES[case]
    monkeypatch.setattr(tiles, "_STEP_BYTES", 500)  # many bands to a window
    monkeypatch.setattr(tiff_masks, "_SCAN_BYTES", 500)
    path = write_tiff(tmp_path / "mask.tif", values, **options)
    mask, found = stored_mask(path, split=split)
    assert np.array_equal(mask[:, :, 0], quarters(*expected) * 255)
    assert found == unclear if split == 2 else bool(found) == bool(unclear)
    # The same file as bytes, as data sets of loose files read it.
    decoded = decode_mask(path.read_bytes())
    assert np.array_equal((decoded.pixels >= 128) * 255, mask) and decoded.unclear == bool(unclear)


@pytest.mark.parametrize("split", [1, 2])
def test_png_masks_are_cut_as_they_are(tmp_path: Path, split: int) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(quarters(255, 1, 0, 0)).save(path)
    mask, unclear = stored_mask(path, split=split)
    assert np.array_equal(mask[:, :, 0], quarters(255, 0, 0, 0)) and unclear == 1


@pytest.mark.parametrize(
    ("colours", "expected"),
    [
        ([(255, 255, 255), (0, 0, 0), (255, 255, 255)], (1, 0, 0, 0)),  # greys count by their colours
        ([(0, 0, 0), (255, 255, 255), (255, 255, 255)], (0, 1, 1, 1)),
        ([(255, 255, 255), (200, 0, 0), (0, 0, 0)], (0, 1, 1, 1)),  # others by their number
    ],
)
def test_palettes_are_judged_by_all_their_colours_in_use(
    tmp_path: Path, colours: list[tuple[int, int, int]], expected: tuple[int, ...]
) -> None:
    palette = np.zeros((3, 256), np.uint16)
    palette[:, :3] = np.array(colours).T * 257
    values = quarters(0, 1, 1, 1)
    path = write_tiff(tmp_path / "mask.tif", values, photometric="palette", colormap=palette)
    for split in (1, 2):
        mask, unclear = stored_mask(path, split=split)
        assert np.array_equal(mask[:, :, 0], quarters(*expected) * 255) and unclear == 0


@pytest.mark.parametrize("kind", ["tif", "png"])
def test_averaged_masks_are_counted_as_unclear_only_if_the_file_is(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "_WHOLE_BYTES", 1000)
    values = np.asarray(pattern(SIDE, SIDE, 1), dtype=np.uint8) // 128 * np.uint8(255)
    for unclear in (False, True):
        values[5, 7] = unclear  # a single 1, which averages to nothing
        path = tmp_path / f"{unclear}.{kind}"
        write_tiff(path, values) if kind == "tif" else Image.fromarray(values).save(path)
        mask, found = stored_mask(path, split=2, wanted_size=(3, 3))
        assert mask.shape == (24, 24, 1) and set(np.unique(mask).tolist()) == {0, 255}
        assert found == unclear


def test_a_scan_stops_when_the_meaning_is_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_masks, "_SCAN_BYTES", 8 * SIDE)  # a strip
    rows: list[int] = []
    original = TiffImage.read

    def counting(self: TiffImage, rows_: tuple[int, int], columns: tuple[int, int]) -> Values:
        rows.append(rows_[0])
        return original(self, rows_, columns)

    monkeypatch.setattr(TiffImage, "read", counting)
    path = write_tiff(tmp_path / "a.tif", quarters(0, 0, 255, 0))
    assert tiff_masks.mask_meaning(path).scale.full == 255 and rows == [0, 8, 16, 24]
    tiff_masks.mask_meaning(path)
    assert len(rows) == 4  # remembered
    assert tiff_masks.mask_meaning(write_tiff(path, quarters(0, 1, 1, 1))).scale.full == 1  # another file


def test_a_damaged_strip_breaks_its_own_windows_only(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "mask.tif", quarters(1, 0, 0, 1), compression="deflate")
    with TiffImage(path) as image:
        offset, count = image._offsets[-1], image._counts[-1]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = b"\xa5" * count
    path.write_bytes(data)
    image_path = write_tiff(tmp_path / "image.tif", tiny_image(0, SIDE))
    records = list(TileSource([image_path], [path], Windows(split=2)).parts()[0].read())
    assert [isinstance(record, DataError) for record in records] == [False, False, True, True]
    first = records[0]
    assert isinstance(first, Record) and isinstance(first.mask, np.ndarray) and first.mask.min() == 255


def test_decoded_masks_are_not_scaled() -> None:
    ones = np.ones((4, 4, 1), np.uint8)
    assert finished_mask(ones).pixels is ones and finished_mask(ones).unclear
    assert not finished_mask(255 * ones).unclear
    for wrong in (ones[:, :, 0], ones.astype(np.uint16), np.ones((4, 4, 3), np.uint8)):
        with pytest.raises(DataError, match=r"expected \(height, width, 1\) and uint8"):
            finished_mask(wrong)


def test_shares_do_not_depend_on_the_split(tmp_path: Path) -> None:
    for number in range(1, 5):
        write_tiff(tmp_path / "images" / f"a{number}.tif", tiny_image(number, SIDE))
        write_tiff(tmp_path / "masks" / f"a{number}.tif", quarters(255, 1, 0, 0))
    shares = []
    for split in (1, 2, 4):
        data = AerialDataModule(root=tmp_path, split=split, image_size=SIDE // split, load_size=SIDE // split)
        masks = [
            data.batch(part, slice(None)).condition.image  # type: ignore[arg-type]
            for part in ("train", "val", "test")
        ]
        pixels = np.concatenate([mask.numpy().ravel() for mask in masks if mask is not None])
        shares.append(float(pixels.mean()))
    assert shares == [0.25] * 3


# Transparency and value ranges, as the data sets read them.


def test_transparent_tiffs_are_white_in_every_data_set(tmp_path: Path) -> None:
    for number in range(1, 5):
        clear = np.zeros((32, 32, 4), np.uint8)
        write_tiff(tmp_path / "images" / f"a{number}.tif", clear, extrasamples=["unassalpha"])
    options: dict[str, Any] = {"image_size": 32}
    aerial = AerialDataModule(root=tmp_path, condition="none", load_size=32, **options)
    loose = PicturesDataModule(root=tmp_path, **options)
    assert float(aerial.batch("train", [0]).image.min()) == 1
    assert float(loose.batch("train", [0]).image.min()) == 1


def test_16_bit_white_is_zero_pictures_are_inverted(tmp_path: Path) -> None:
    path = write_tiff(
        tmp_path / "a.tif", quarters(0, 65535, 0, 257, dtype="uint16"), photometric="miniswhite"
    )
    assert np.array_equal(decode_file(path.read_bytes(), 1)[:, :, 0], quarters(255, 0, 255, 254))


def test_a_value_range_is_refused_for_what_is_no_tiff(tmp_path: Path) -> None:
    write_tiff(tmp_path / "images" / "a1.tif", tiny_image(0, SIDE))
    png = io.BytesIO()
    Image.fromarray(quarters(1, 2, 3, 4, dtype="uint16")).save(png, "PNG")
    (tmp_path / "images" / "a2.png").write_bytes(png.getvalue())
    data = AerialDataModule(root=tmp_path, condition="none", image_size=8, value_range=(0, 2047))
    with pytest.raises(ConfigurationError, match=r"value_range is for TIFF files only, and images/a2.png"):
        data.size("train")


# Names of tiles.


@pytest.mark.parametrize(
    ("stem", "tile"),
    [
        ("1277182-1083841-21", (1277182, 1083841, 21)),
        ("512_400_10", (512, 400, 10)),
        ("2019-05-11", None),
        ("2019-12-31", None),
        ("2019-05-12", None),
        ("1024-400-10", None),
        ("300-400-9", None),
        ("300-400-25", None),
        ("austin12", None),
    ],
)
def test_only_what_can_be_a_tile_is_one(stem: str, tile: tuple[int, int, int] | None) -> None:
    assert web_map_tile(stem) == tile


def test_dates_are_pictures_of_their_own(tmp_path: Path) -> None:
    days = [f"2019-05-{day:02}" for day in range(11, 25)]
    for day in days:
        write_pair(tmp_path, day)
    found = pictures(find_areas(tmp_path)["train"], True, "raise")
    assert [(picture.number, picture.tile) for picture in found] == [(day, None) for day in range(11, 25)]
    assert len(set(ground_groups(found).tolist())) == len(days)


def test_tiles_count_only_if_all_images_are_tiles(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        write_pair(tmp_path, f"{638588 + number}-541925-20")
    areas = find_areas(tmp_path)["train"]
    for masks in (True, False):
        assert all(picture.tile is not None for picture in pictures(areas, masks, "raise"))
    assert not caplog.records
    write_pair(tmp_path, "overview")
    assert not any(picture.tile for picture in pictures(areas, True, "raise"))
    assert "1 of 4 names do not: overview.jpg" in caplog.text
