"""Windows of TIFF files: every kind of file reads as tifffile reads it whole; damaged ones are refused."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.data.aerial import pattern, write_tiff
from tests.data.landscapes import shared_data
from vedute.data import tiff
from vedute.data.image_bytes import decode_file
from vedute.data.source import Pixels
from vedute.data.tiff import TiffImage
from vedute.data.tiff_masks import mask_meaning, mask_pixels
from vedute.data.tiff_values import check_values, image_pixels, samples_for
from vedute.errors import DataError

KINDS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "strips": ({}, {}),
    "one strip": ({}, {"rowsperstrip": 40}),
    "big endian": ({"dtype": "uint16"}, {"byteorder": ">"}),
    "big TIFF": ({}, {"bigtiff": True}),
    "tiles": ({}, {"tile": (16, 32)}),
    "grey": ({"channels": 1}, {}),
    "grey with alpha": ({"channels": 2}, {"extrasamples": ["unassalpha"], "planarconfig": "contig"}),
    "four channels": ({"channels": 4}, {}),
    "six channels": ({"channels": 6}, {"tile": (16, 16)}),
    "planes": ({}, {"planarconfig": "separate"}),
    "planes in tiles": ({}, {"planarconfig": "separate", "tile": (16, 16), "compression": "deflate"}),
    "16 bit": ({"dtype": "uint16"}, {}),
    "float": ({"dtype": "float32"}, {"compression": "deflate", "predictor": 3}),
    "one bit": ({"channels": 1, "dtype": "bool"}, {}),
    "deflate": ({}, {"compression": "deflate", "predictor": 2}),
    "lzw": ({}, {"compression": "lzw", "predictor": 2}),
    "packbits": ({}, {"compression": "packbits"}),
    "zstd": ({}, {"compression": "zstd", "tile": (16, 16)}),
    "jpeg": ({}, {"compression": "jpeg", "tile": (32, 32)}),
}


def write(path: Path, kind: str) -> Path:
    of_values, of_file = KINDS[kind]
    return write_tiff(path, pattern(**of_values), **of_file)  # type: ignore[arg-type]


def read_pixels(path: Path, channels: int = 3, value_range: tuple[float, float] | None = None) -> Pixels:
    with TiffImage(path) as image:
        check_values(image, channels, value_range)
        values = image.read((0, image.height), (0, image.width), samples_for(image, channels))
    return image_pixels(values, image, channels, value_range)


@pytest.mark.parametrize("kind", KINDS)
def test_windows_are_cuts_of_the_whole(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.tif", kind)
    whole = tifffile.imread(path)
    if "planes" in kind:
        whole = np.moveaxis(whole, 0, -1)
    whole = whole.reshape(*whole.shape[:2], -1)
    with TiffImage(path) as image:
        assert (image.height, image.width, image.samples) == whole.shape
        assert image.dtype == whole.dtype
        edges = [0, 1, 15, 16, 17, 33, 40]
        for top, bottom in itertools.combinations(edges, 2):
            for left, right in ((0, 56), (0, 16), (15, 17), (33, 56)):
                assert np.array_equal(image.read((top, bottom), (left, right)), whole[top:bottom, left:right])
        first = image.read((0, 40), (0, 56), samples=1)
        assert np.array_equal(first, whole[:, :, :1])


def test_a_window_decodes_only_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(64, 64), tile=(16, 16), compression="deflate")
    decoded: list[int] = []
    original = TiffImage._decode

    def counting(self: TiffImage, number: int) -> tiff.Values:
        if number not in self._kept:
            decoded.append(number)
        return original(self, number)

    monkeypatch.setattr(TiffImage, "_decode", counting)
    with TiffImage(path) as image:
        image.read((17, 31), (20, 40))
        assert decoded == [5, 6]
        decoded.clear()
        # Bands from top to bottom whose edges cut tiles: each tile is decoded once.
        for top in range(0, 60, 10):
            image.read((top, min(top + 10, 64)), (0, 64))
        image.read((60, 64), (0, 64))
        assert sorted(decoded) == list(range(16))


def test_the_header_alone_is_read_of_a_huge_file(tmp_path: Path) -> None:
    """A sparse file of 3 GB: opening takes no time, a window no memory."""
    path = tmp_path / "huge.tif"
    height, width = 40_000, 25_000
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        rows = np.zeros((1, 8, 3), dtype=np.uint8)
        file.write(rows, photometric="rgb", metadata=None, rowsperstrip=1)
    _patch_tags(path, {256: width, 257: height, 278: height, 279: height * width * 3})
    with path.open("r+b") as file_:
        file_.truncate(path.stat().st_size + height * width * 3)
    with TiffImage(path) as image:
        assert (image.height, image.width) == (height, width)
        assert image.read((39_990, 40_000), (0, 100)).shape == (10, 100, 3)


def _patch_tags(path: Path, values: dict[int, int]) -> None:
    """Overwrite values of tags in place."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        places = {
            code: (page.tags[code].valueoffset, page.tags[code].dtype, page.tags[code].count)
            for code in values
        }
        order = file.byteorder
    data = bytearray(path.read_bytes())
    for code, value in values.items():
        offset, dtype, count = places[code]
        letter = {3: "H", 4: "I", 16: "Q"}[int(dtype)]
        data[offset : offset + struct.calcsize(letter) * count] = struct.pack(
            f"{order}{count}{letter}", *[value] * count
        )
    path.write_bytes(data)


# Values and channels.


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_bits_are_scaled_by_their_full_range(tmp_path: Path, dtype: str) -> None:
    values = pattern(dtype=dtype)
    pixels = read_pixels(write_tiff(tmp_path / "a.tif", values))
    largest = np.iinfo(np.dtype(dtype)).max
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.floor(values.astype(float) * 255 / largest + 0.5))


def test_a_value_range_becomes_black_to_white(tmp_path: Path) -> None:
    values = np.array([[[0, 100, 200], [300, 65535, 150]]], dtype=np.uint16).repeat(4, 0)
    pixels = read_pixels(write_tiff(tmp_path / "a.tif", values), value_range=(100, 300))
    assert pixels[0].tolist() == [[0, 0, 128], [255, 255, 64]]
    floats = np.array([[[0, 0.5, 1], [np.nan, 2, -1]]], dtype=np.float32).repeat(4, 0)
    pixels = read_pixels(write_tiff(tmp_path / "b.tif", floats), value_range=(0, 1))
    assert pixels[0].tolist() == [[0, 128, 255], [0, 255, 0]]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint32", "int16"])
def test_values_without_a_known_range_are_an_error(tmp_path: Path, dtype: str) -> None:
    path = write_tiff(tmp_path / "a.tif", np.ones((8, 8), dtype))
    with pytest.raises(DataError, match=f"{dtype} pixels, whose range is not known.*value_range"):
        read_pixels(path, channels=1)


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    values = pattern(channels=1, dtype="bool")
    path = write_tiff(tmp_path / "a.tif", values)
    assert np.array_equal(read_pixels(path, 1)[:, :, 0], values * 255)
    path = write_tiff(tmp_path / "b.tif", values, photometric="miniswhite")
    assert np.array_equal(read_pixels(path, 1)[:, :, 0], ~values * 255)


@pytest.mark.parametrize(
    ("present", "wanted"), [(1, 1), (1, 3), (3, 1), (3, 3), (4, 1), (4, 3), (4, 4), (6, 3), (6, 4), (3, 2)]
)
def test_channels_become_what_is_wanted(tmp_path: Path, present: int, wanted: int) -> None:
    values = pattern(channels=present).reshape(40, 56, present)
    options = {"extrasamples": ["unspecified"] * (present - 3)} if present > 3 else {}
    pixels = read_pixels(write_tiff(tmp_path / "a.tif", values.squeeze(), **options), wanted)
    if wanted == 1 and present >= 3:
        luma = values[:, :, :3] @ np.array([0.299, 0.587, 0.114])
        assert np.abs(pixels[:, :, 0] - luma).max() <= 0.6
    elif present == 1:
        assert np.array_equal(pixels, values.repeat(wanted, 2))
    else:
        assert np.array_equal(pixels, values[:, :, :wanted])


@pytest.mark.parametrize("present", [2, 4])
@pytest.mark.parametrize("wanted", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_transparency_is_that_of_other_files(tmp_path: Path, present: int, wanted: int, dtype: str) -> None:
    values = np.asarray(pattern(channels=present, dtype="float32"))
    values[:8, :, -1], values[8:16, :, -1] = 0, 1
    stored = np.rint(values * np.iinfo(dtype).max).astype(dtype)
    options = {"extrasamples": ["unassalpha"], "planarconfig": "contig"}
    pixels = read_pixels(write_tiff(tmp_path / "a.tif", stored, **options), wanted)
    png = io.BytesIO()
    Image.fromarray(np.rint(values * 255).astype(np.uint8)).save(png, "PNG")
    assert np.abs(pixels.astype(int) - decode_file(png.getvalue(), wanted)).max() <= 1
    if wanted in (1, 3):
        assert pixels[:8].min() == 255


def test_premultiplied_colours_are_divided(tmp_path: Path) -> None:
    values = np.zeros((8, 3, 4), dtype=np.uint8)
    values[:, 0], values[:, 1], values[:, 2] = (50, 100, 0, 100), (9, 8, 7, 255), 0
    path = write_tiff(tmp_path / "a.tif", values, extrasamples=["assocalpha"])
    assert read_pixels(path, 4)[0].tolist() == [[128, 255, 0, 100], [9, 8, 7, 255], [0, 0, 0, 0]]
    assert np.abs(read_pixels(path)[0].astype(int) - [[205, 255, 155], [9, 8, 7], [255] * 3]).max() <= 1


def test_transparency_of_many_channels_and_deep_values(tmp_path: Path) -> None:
    values = np.full((8, 9, 5), 50, dtype=np.uint8)
    values[:, :3, 4], values[:, 3:, 4] = 0, 255
    path = write_tiff(tmp_path / "a.tif", values, extrasamples=["unspecified", "unassalpha"])
    for wanted in (1, 3, 4):  # 4: with infrared
        pixels = read_pixels(path, wanted)
        assert pixels.shape[2] == wanted and pixels[:, :3].min() == 255 and (pixels[:, 3:] == 50).all()
    deep = np.full((8, 9, 4), 2047, dtype=np.uint16)  # 11 bits, but for the transparency
    deep[:, :3, 3], deep[:, 3:, 3], deep[:, :, 0] = 0, 65535, 0
    path = write_tiff(tmp_path / "b.tif", deep, extrasamples=["unassalpha"])
    pixels = read_pixels(path, value_range=(0, 2047))
    assert pixels[:, :3].min() == 255 and (pixels[:, 3:] == (0, 255, 255)).all()
    infrared = write_tiff(tmp_path / "c.tif", deep, extrasamples=["unspecified"])
    assert (read_pixels(infrared, value_range=(0, 2047)) == (0, 255, 255)).all()


@pytest.mark.parametrize(("present", "wanted"), [(3, 4), (1, 4), (1, 2)])
def test_missing_channels_are_an_error(tmp_path: Path, present: int, wanted: int) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(channels=present))
    with pytest.raises(DataError, match=f"{present} channels, {wanted} are wanted"):
        read_pixels(path, wanted)


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 256, (40, 56), dtype=np.uint8)
    colours = np.random.default_rng(1).integers(0, 256, (3, 256)).astype(np.uint16)
    path = write_tiff(tmp_path / "a.tif", numbers, photometric="palette", colormap=colours * 257)
    assert np.array_equal(read_pixels(path, 3), np.moveaxis(colours[:, numbers], 0, -1))


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    values = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [0, 255, 255, 0]]], np.uint8).repeat(
        8, 0
    )
    path = write_tiff(tmp_path / "a.tif", values, photometric="separated")
    assert read_pixels(path, 3)[0].tolist() == [[255, 255, 255], [0, 255, 255], [0, 0, 0], [255, 0, 0]]


def test_unknown_colours_are_an_error(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(), photometric="cielab")
    with pytest.raises(DataError, match="photometric interpretation 8"):
        read_pixels(path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "bool", "int16"])
@pytest.mark.parametrize("highest", [1, 255])
def test_masks_of_zero_and_one_are_foreground_where_one(tmp_path: Path, dtype: str, highest: int) -> None:
    building = pattern(channels=1, dtype="bool")
    if highest == 255 and dtype in ("bool", "float32", "int16"):
        return
    values = (building * highest).astype(dtype)
    with TiffImage(write_tiff(tmp_path / "a.tif", values)) as image:
        mask = mask_pixels(image.read((0, 40), (0, 56)), image, mask_meaning(image.path))
    assert mask.shape == (40, 56, 1)
    assert np.array_equal(mask[:, :, 0], building * 255)


def test_a_mask_below_zero_is_an_error(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(channels=1, dtype="float32") - 0.5)
    with pytest.raises(DataError, match=r"a\.tif is a mask with values from -"):
        mask_meaning(path)


# Files that are wrong.


def test_what_is_no_tiff_is_named(tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("text", b"not a picture at all"), ("cut", b"II*\0\x08\0\0\0")):
        path = tmp_path / f"{name}.tif"
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}.tif is no TIFF, or its header is damaged"):
            TiffImage(path)
    with pytest.raises(DataError, match="cannot be read"):
        TiffImage(tmp_path / "missing.tif")


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_truncated_file_is_refused_when_opened(tmp_path: Path, compression: str | None) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(), compression=compression)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="truncated, or lies about its size"):
        TiffImage(path)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_file_that_claims_more_than_it_holds_is_refused(tmp_path: Path, compression: str | None) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(), compression=compression)
    _patch_tags(path, {257: 60_000})
    with pytest.raises(DataError, match="claims 60000 x 56 pixels in 7,500 strips, but has 5"):
        TiffImage(path)
    _patch_tags(path, {257: 40, 256: 60_000})
    if compression is None:
        with pytest.raises(DataError, match="claims 40 x 60000 pixels, which takes 7,200,000 bytes"):
            TiffImage(path)
    else:
        with TiffImage(path) as image, pytest.raises(DataError, match="strip 0 of 5 cannot be decoded"):
            image.read((0, 8), (0, 100))


def test_missing_strips_are_named(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(), compression="deflate")
    _patch_tags(path, {279: 0})
    with pytest.raises(DataError, match="5 of 5 strips are missing"):
        TiffImage(path)


@pytest.mark.parametrize("compression", ["deflate", "lzw", "zstd", "jpeg"])
def test_garbage_in_a_strip_is_named(tmp_path: Path, compression: str) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(), compression=compression)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        offset, count, row = page.dataoffsets[2], page.databytecounts[2], 2 * page.rowsperstrip
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = b"\xa5" * count
    path.write_bytes(data)
    with TiffImage(path) as image:
        image.read((0, row), (0, 56))  # the others are whole
        with pytest.raises(DataError, match=r"strip 2 of \d cannot be decoded"):
            image.read((row, row + 1), (0, 1))


def test_a_stream_that_ends_early_is_named(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(), compression="deflate")
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages.first.dataoffsets[1], file.pages.first.databytecounts[1]
    short = zlib.compress(bytes(100))
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = short + bytes(count - len(short))
    path.write_bytes(data)
    with TiffImage(path) as image, pytest.raises(DataError, match="strip 1 of 5 cannot be decoded"):
        image.read((8, 16), (0, 56))


def test_a_strip_that_is_too_large_to_decode_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compressed = write_tiff(tmp_path / "a.tif", pattern(), rowsperstrip=40, compression="deflate")
    plain = write_tiff(tmp_path / "b.tif", pattern(), rowsperstrip=40)
    monkeypatch.setattr(tiff, "LARGEST_CHUNK", 4000)
    with pytest.raises(DataError, match="TILED=YES"):
        TiffImage(compressed)
    with TiffImage(plain) as image:  # rows of a file without compression are read one by one
        assert image.read((20, 21), (0, 56)).shape == (1, 56, 3)


def test_real_files_read_as_tifffile_reads_them() -> None:
    for name in ("rgb1", "RGB.byte", "byte", "green", "float", "alpha"):
        path = shared_data("geotiff") / f"{name}.tif"
        whole = tifffile.imread(path)
        whole = whole.reshape(*whole.shape[:2], -1)
        height, width = whole.shape[:2]
        with TiffImage(path) as image:
            rows, columns = (height // 3, height), (width // 4, width // 4 + max(width // 2, 1))
            assert np.array_equal(image.read(rows, columns), whole[slice(*rows), slice(*columns)])
