"""From files and arrays to pixels: a test for each rule, with files that Pillow or a few lines here write."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from PIL import Image, features

from tests.data.landscapes import encoded, tiny_landscape
from vedute.data import image_bytes
from vedute.data.decoding import ImageBatch, Preparation, decode_image, resize_images
from vedute.data.image_bytes import read_file
from vedute.data.pixels import as_mask, upright, with_channels
from vedute.errors import ConfigurationError, DataError

SIDE = 32
EXACT = Preparation((SIDE, SIDE))
PAD, STRETCH = (Preparation((SIDE, SIDE), resize=mode) for mode in ("pad", "stretch"))


def flat(mode: str, colour: object, size: tuple[int, int] = (SIDE, SIDE), **options: object) -> bytes:
    """Return a file of one colour."""
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, **{"format": "PNG", **options})  # type: ignore[arg-type]
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def deep_png(values: NDArray[np.uint16], transparent: bytes = b"") -> bytes:
    """Return a PNG with 16 bits per channel, (h, w, 1 to 4), which Pillow cannot write."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
        + (chunk(b"tRNS", transparent) if transparent else b"")
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def deep(*values: int) -> NDArray[np.uint16]:
    return np.broadcast_to(np.array(values, dtype=np.uint16), (SIDE, SIDE, len(values)))


def deep_tiff(*values: int) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, deep(*values), photometric="rgb")
    return buffer.getvalue()


def close(pixels: NDArray[np.uint8], expected: ArrayLike, by: float = 1) -> bool:
    return bool(np.abs(pixels.astype(int) - np.asarray(expected)).max() <= by)


# Colour


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param(flat("L", 100), (100, 100, 100), id="grey"),
        pytest.param(flat("L", 100, format="JPEG"), (100, 100, 100), id="grey JPEG"),
        pytest.param(flat("1", 1), (255, 255, 255), id="one bit, white"),
        pytest.param(flat("1", 0), (0, 0, 0), id="one bit, black"),
        pytest.param(flat("1", 1, format="TIFF", compression="group4"), (255, 255, 255), id="fax TIFF"),
        pytest.param(flat("RGB", (10, 20, 30), format="TIFF"), (10, 20, 30), id="TIFF"),
        pytest.param(flat("RGB", (10, 20, 30), format="BMP"), (10, 20, 30), id="BMP"),
        pytest.param(flat("RGB", (10, 20, 30), format="WEBP", lossless=True), (10, 20, 30), id="WebP"),
        pytest.param(flat("RGB", (10, 20, 30), format="PPM"), (10, 20, 30), id="PPM"),
        pytest.param(flat("RGB", (200, 100, 0), format="GIF"), (200, 100, 0), id="GIF"),
        pytest.param(flat("LAB", (128, 128, 128), format="TIFF"), (119, 119, 119), id="LAB"),
        pytest.param(flat("YCbCr", (100, 128, 128), format="TIFF"), (100, 100, 100), id="YCbCr TIFF"),
        pytest.param(flat("CMYK", (0, 255, 255, 0), format="TIFF"), (255, 0, 0), id="CMYK TIFF"),
        pytest.param(
            flat("CMYK", (0, 255, 255, 0), format="JPEG", quality=100), (254, 0, 0), id="CMYK JPEG (inverted)"
        ),
    ],
)
def test_every_colour_space_becomes_rgb(payload: bytes, expected: tuple[int, int, int]) -> None:
    pixels = decode_image(payload, EXACT)
    assert pixels.shape == (SIDE, SIDE, 3) and pixels.dtype == np.uint8
    assert close(pixels, expected)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read() -> None:
    assert close(decode_image(flat("RGB", (90, 90, 90), format="AVIF"), EXACT), 90, by=2)


def test_ycck_is_told_by_adobes_marker() -> None:
    """Pillow writes CMYK; the marker's last byte says that the same numbers are YCCK."""
    payload = flat("CMYK", (200, 127, 127, 0), format="JPEG", quality=100)
    place = payload.index(b"Adobe") + 11
    assert payload[place] == 0
    ycck = payload[:place] + b"\x02" + payload[place + 1 :]
    assert close(decode_image(ycck, EXACT), 200, by=2)


def test_palettes_are_looked_up() -> None:
    picture = tiny_landscape(1, 0)
    indexed = Image.fromarray(picture).quantize(64)
    for image_format in ("PNG", "GIF", "TIFF", "BMP"):
        buffer = io.BytesIO()
        indexed.save(buffer, image_format)
        assert np.array_equal(decode_image(buffer.getvalue(), EXACT), np.asarray(indexed.convert("RGB")))


def test_grey_from_colour_is_luma() -> None:
    grey = Preparation((SIDE, SIDE), channels=1)
    for payload in (flat("RGB", (0, 255, 0)), flat("RGB", (0, 255, 0), format="JPEG", quality=100)):
        pixels = decode_image(payload, grey)
        assert pixels.shape == (SIDE, SIDE, 1)
        assert close(pixels, 150)  # 0.587 * 255


# Depth


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param(flat("I;16", 51400), (200, 200, 200), id="grey PNG"),  # 200 * 257
        pytest.param(flat("I;16", 51400, format="TIFF"), (200, 200, 200), id="grey TIFF"),
        pytest.param(deep_png(deep(51400)), (200, 200, 200), id="grey PNG by hand"),
        pytest.param(deep_png(deep(25700, 51400, 65535)), (100, 200, 255), id="RGB PNG"),
        pytest.param(deep_png(deep(25700, 51400, 0, 65535)), (100, 200, 0), id="RGBA PNG"),
        pytest.param(b"P5 32 32 65535 " + deep(51400).astype(">u2").tobytes(), (200, 200, 200), id="PGM"),
        pytest.param(
            b"P5 32 32 1023 " + deep(1023).astype(">u2").tobytes(), (255, 255, 255), id="10-bit PGM"
        ),
    ],
)
def test_16_bits_are_scaled_by_their_full_range(payload: bytes, expected: tuple[int, int, int]) -> None:
    assert close(decode_image(payload, EXACT), expected)


def test_16_bit_rgb_tiff_is_read() -> None:
    assert close(decode_image(deep_tiff(25700, 51400, 65535), EXACT), (100, 200, 255))


def test_one_grey_of_a_16_bit_picture_may_be_transparent() -> None:
    values = deep(257 * 10).copy()
    values[:16] = 1234
    pixels = decode_image(deep_png(values, transparent=struct.pack(">H", 1234)), EXACT)
    assert (pixels[:16] == 255).all() and (pixels[16:] == 10).all()


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_known_range_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match=r"32-bit pixels, which have no known range; convert"):
        decode_image(flat(mode, 1, format="TIFF"), EXACT)


# Transparency


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param(flat("RGBA", (255, 0, 0, 0)), (255, 255, 255), id="nothing but white"),
        pytest.param(flat("RGBA", (200, 100, 0, 255)), (200, 100, 0), id="opaque"),
        pytest.param(flat("RGBA", (200, 100, 0, 51)), (244, 224, 204), id="a fifth"),
        pytest.param(flat("LA", (0, 51)), (204, 204, 204), id="grey"),
        pytest.param(flat("P", 0, transparency=0), (255, 255, 255), id="palette"),
        pytest.param(flat("P", 0, format="GIF", transparency=0), (255, 255, 255), id="GIF"),
        pytest.param(flat("L", 7, transparency=7), (255, 255, 255), id="one grey"),
        pytest.param(flat("RGB", (1, 2, 3), transparency=(1, 2, 3)), (255, 255, 255), id="one colour"),
    ],
)
def test_transparent_parts_show_white(payload: bytes, expected: tuple[int, int, int]) -> None:
    assert close(decode_image(payload, EXACT), expected)
    grey = decode_image(payload, Preparation((SIDE, SIDE), channels=1))
    assert close(grey, np.dot(expected, [0.299, 0.587, 0.114]), by=2)


def test_alpha_is_kept_where_it_is_wanted() -> None:
    def pixel(payload: bytes, channels: int) -> list[int]:
        pixels = decode_image(payload, Preparation((SIDE, SIDE), channels))
        assert pixels.shape == (SIDE, SIDE, channels)
        return list(map(int, pixels[3, 3]))

    assert pixel(flat("RGBA", (200, 100, 0, 60)), 4) == pytest.approx([200, 100, 0, 60], abs=3)
    assert pixel(flat("RGB", (200, 100, 0)), 4) == [200, 100, 0, 255]
    assert pixel(flat("L", 9), 4) == [9, 9, 9, 255]
    assert pixel(flat("LA", (9, 255)), 4) == [9, 9, 9, 255]
    assert pixel(flat("LA", (100, 60)), 2) == pytest.approx([100, 60], abs=3)
    assert pixel(flat("L", 9), 2) == [9, 255]
    assert pixel(flat("RGB", (0, 255, 0)), 2) == [150, 255]
    assert pixel(flat("P", 0, transparency=0), 4)[3] == 0


def test_hidden_colours_do_not_shine_through_when_resizing() -> None:
    """Half of the picture is transparent, with an ugly colour below."""
    picture = np.zeros((4 * SIDE, 4 * SIDE + 2, 4), dtype=np.uint8)
    picture[:, :65] = (0, 200, 0, 255)
    picture[:, 65:] = (255, 0, 255, 0)
    pixels = decode_image(encoded(picture, "PNG"), Preparation((SIDE, SIDE), 4))
    shown = pixels[pixels[..., 3] > 20][:, :3]
    assert close(shown, (0, 200, 0), by=4)
    assert 0 < np.mean(pixels[..., 3]) < 255 and len(np.unique(pixels[..., 3])) > 2


# Orientation


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_exif_is_applied(orientation: int, image_format: str) -> None:
    """Pillow turns the same picture; all eight ways look different."""
    picture = np.zeros((48, 32, 3), dtype=np.uint8)
    picture[:16] = (255, 0, 0)
    picture[:, :8] = (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    options: dict[str, Any] = (
        {"quality": 95, "subsampling": 0} if image_format == "JPEG" else {"lossless": True}
    )
    Image.fromarray(picture).save(buffer, image_format, exif=exif, **options)
    methods = [None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180]
    methods += [Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270]
    methods += [Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90]
    method = methods[orientation - 1]
    turned = Image.fromarray(picture)
    expected = np.asarray(turned if method is None else turned.transpose(method))
    size = expected.shape[:2]
    assert close(decode_image(buffer.getvalue(), Preparation((size[0], size[1]))), expected, by=40)
    assert np.array_equal(upright(picture, orientation), expected)


def test_exif_alone_does_not_cost_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    payload = flat("RGB", (90, 90, 90), format="JPEG", exif=exif)
    expected = decode_image(payload, EXACT)
    monkeypatch.setattr(Image, "open", None)
    if image_bytes._simplejpeg is not None:
        assert np.array_equal(decode_image(payload, EXACT), expected)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_ignored() -> None:
    payload = flat("RGB", (90, 90, 90), format="JPEG", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff junk")
    assert close(decode_image(payload, EXACT), 90)


# Several frames


@pytest.mark.parametrize("image_format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_frames_the_first_is_taken(image_format: str) -> None:
    first, second = (Image.new("RGB", (SIDE, SIDE), colour) for colour in ((200, 0, 0), (0, 0, 200)))
    buffer = io.BytesIO()
    first.save(buffer, image_format, save_all=True, append_images=[second, second])
    assert close(decode_image(buffer.getvalue(), EXACT), (200, 0, 0), by=8)


# Geometry


def stripes(height: int, width: int) -> NDArray[np.uint8]:
    """Return three upright stripes, the middle one bright and square if the picture is 1 to 3."""
    picture = np.full((height, width, 3), 60, dtype=np.uint8)
    picture[:, width // 3 : 2 * width // 3] = 200
    return picture


def test_crop_keeps_the_largest_centred_piece() -> None:
    wide = stripes(32, 96)
    assert (decode_image(encoded(wide, "PNG"), EXACT) == 200).all()
    assert (decode_image(np.ascontiguousarray(wide.transpose(1, 0, 2)), EXACT) == 200).all()


def test_pad_keeps_the_whole_picture_between_black_bars() -> None:
    pixels = decode_image(encoded(stripes(32, 96), "PNG"), PAD)
    filled = np.flatnonzero(pixels.max(axis=(1, 2)))
    assert filled.tolist() == list(range(10, 21))  # 32 / 3 = 10.7 rows, in the middle
    assert close(pixels[12:19, 14:18], 200) and close(pixels[12:19, :8], 60)
    tall = decode_image(np.ascontiguousarray(stripes(32, 96).transpose(1, 0, 2)), PAD)
    assert np.array_equal(tall, pixels.transpose(1, 0, 2))
    extreme = decode_image(np.full((2, 2000, 3), 9, np.uint8), PAD)
    assert (extreme.max(axis=(1, 2)) == 9).sum() == 1  # at least one row


def test_stretch_distorts() -> None:
    pixels = decode_image(stripes(32, 96), STRETCH)
    assert close(pixels[:, 13:19], 200) and close(pixels[:, :8], 60)


def test_a_batch_mixes_sizes_kinds_and_channels_in_order() -> None:
    pictures = [tiny_landscape(kind, 0) for kind in range(4)]
    payloads: list[bytes | NDArray[np.uint8]] = [
        encoded(pictures[0], "PNG"),
        pictures[1],
        encoded(np.repeat(np.repeat(pictures[2], 2, 0), 2, 1), "PNG"),
        np.repeat(np.repeat(pictures[3], 3, 0), 3, 1),
        pictures[1],
    ]
    for preparation in (EXACT, PAD, STRETCH):
        batch = ImageBatch(preparation)
        for payload in payloads:
            batch.add(payload)
        with pytest.raises(DataError):
            batch.add(b"nothing")
        taken = batch.take()
        assert taken.shape == (5, SIDE, SIDE, 3)
        for row, payload in enumerate(payloads):
            assert np.array_equal(taken[row], decode_image(payload, preparation))
        assert batch.take().shape == (0, SIDE, SIDE, 3)


def test_resize_images_takes_all_sizes() -> None:
    images = [np.full((side, 7, 3), side, np.uint8) for side in (5, 5, 9)]
    resized = resize_images(images, (4, 4))
    assert resized.shape == (3, 4, 4, 3) and resized[:, 0, 0, 0].tolist() == [5, 5, 9]


@pytest.mark.parametrize(
    "options",
    [{"image_size": (0, 32)}, {"channels": 5}, {"channels": 0}, {"resize": "left"}, {"image_size": (32,)}],
)
def test_impossible_preparations_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Preparation(**{"image_size": (32, 32), **options})  # type: ignore[arg-type]


# Decoded arrays


def test_arrays_are_taken_with_one_to_four_channels() -> None:
    rng = np.random.default_rng(0)
    for channels in (1, 2, 3, 4):
        array = rng.integers(0, 256, (SIDE, SIDE, channels), dtype=np.uint8)
        assert np.array_equal(decode_image(array, Preparation((SIDE, SIDE), channels)), array)
    grey = np.full((SIDE, SIDE, 1), 80, np.uint8)
    assert (decode_image(grey, EXACT) == 80).all()
    assert decode_image(np.full((SIDE, SIDE, 3), 80, np.uint8), Preparation((SIDE, SIDE), 1)).max() == 80


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 8), np.uint8), "expected"),
        (np.zeros((8, 8, 3), np.uint16), "uint16"),
        (np.zeros((8, 0, 3), np.uint8), "expected"),
        (np.zeros((8, 8, 5), np.uint8), "1 to 4"),
        (np.zeros((8, 8, 4), np.uint8), "4 channels where 3 are wanted"),
    ],
)
def test_arrays_that_are_no_images_are_refused(array: NDArray[np.uint8], message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_image(array, EXACT)


def test_channels_in_every_direction() -> None:
    for have in (1, 2, 3, 4):
        for want in (1, 2, 3, 4):
            pixels = np.full((5, 6, have), 255, np.uint8)
            result = with_channels(pixels, want)
            assert result.shape == (5, 6, want) and (result == 255).all() and result.dtype == np.uint8


# Masks


def cross() -> NDArray[np.uint8]:
    """Return (32, 32) of 0 and 1."""
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[12:20] = mask[:, 12:20] = 1
    return mask


def prepare_mask(
    mask: bytes | NDArray[np.uint8], preparation: Preparation | None = None
) -> tuple[NDArray[np.uint8], int]:
    """Return the stored mask (H, W), and how many masks were unclear."""
    batch = ImageBatch(preparation or Preparation((SIDE, SIDE), mask=True))
    batch.add(np.zeros((SIDE, SIDE, 3), np.uint8), mask)
    taken = batch.take()
    assert taken.shape[3] == 4
    return taken[0, :, :, 3], batch.unclear_masks


def palette_file(values: NDArray[np.uint8], colours: list[int]) -> bytes:
    image = Image.new("P", values.shape[::-1])
    image.putdata(values.ravel().tolist())
    image.putpalette(colours)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def red(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = np.zeros((*mask.shape, 3), np.uint8)
    picture[..., 0] = 255 * mask
    return picture


def tiff(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(encoded(cross(), "PNG"), id="0 and 1"),
        pytest.param(encoded(255 * cross(), "PNG"), id="0 and 255"),
        pytest.param(encoded(cross().astype(bool), "PNG"), id="one bit"),
        pytest.param(tiff(cross().astype(np.uint16) * 65535), id="16 bits"),
        pytest.param(tiff(cross().astype(np.uint16) * 255), id="0 and 255 in 16 bits"),
        pytest.param(tiff(cross().astype(np.int32)), id="32-bit integers"),
        pytest.param(tiff(cross().astype(np.float32)), id="float"),
        pytest.param(encoded(red(cross()), "PNG"), id="red on black"),
        pytest.param(palette_file(cross(), [0, 0, 0, 128, 0, 0]), id="colour palette"),
        pytest.param(palette_file(1 - cross(), [255, 255, 255, 0, 0, 0]), id="grey palette, white first"),
        pytest.param(
            encoded(np.dstack([np.full((SIDE, SIDE), 255, np.uint8), 255 * cross()]), "PNG"), id="by alpha"
        ),
        pytest.param(255 * cross()[:, :, None], id="array"),
        pytest.param(cross()[:, :, None], id="array of 0 and 1"),
    ],
)
def test_every_kind_of_mask_becomes_0_and_255(mask: bytes | NDArray[np.uint8]) -> None:
    stored, unclear = prepare_mask(mask)
    assert np.array_equal(stored, 255 * cross()) and unclear == 0


def test_values_between_are_cut_at_one_half_and_counted() -> None:
    values = np.zeros((SIDE, SIDE, 1), np.uint8)
    values[:8], values[8:16], values[16:24] = 127, 128, 255
    stored, unclear = prepare_mask(values)
    assert stored[:8].max() == 0 and stored[8:24].min() == 255 and stored[24:].max() == 0
    assert unclear == 1


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_masks_go_the_way_of_their_image(resize: Literal["crop", "pad", "stretch"]) -> None:
    """The image shows what the mask says, at another size and aspect ratio."""
    mask = np.zeros((90, 150, 1), np.uint8)
    mask[20:70, 30:80] = 255
    batch = ImageBatch(Preparation((24, 32), resize=resize, mask=True))
    for image, other in (
        (np.repeat(mask, 3, 2), mask),
        (encoded(np.repeat(mask, 3, 2), "PNG"), encoded(mask[:, :, 0], "PNG")),
    ):
        batch.add(image, other)
    taken = batch.take()
    assert taken.shape == (2, 24, 32, 4) and np.array_equal(taken[0], taken[1])
    assert np.array_equal(taken[0, :, :, 3] == 255, taken[0, :, :, 0] >= 128)
    assert set(np.unique(taken[..., 3])) == {0, 255}


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (None, "an image without a mask"),
        (
            encoded(cross()[:30], "PNG"),
            r"32 x 32 pixels .* with a mask of 30 x 32; the two must be of one size",
        ),
        (b"", "whose mask is no image"),
        (encoded(cross(), "PNG")[:60], "whose mask is a damaged image"),
        (tiff(cross().astype(np.int32) * 70000), "whose mask is values from 0 to 70000"),
        (tiff(np.full((SIDE, SIDE), np.nan, np.float32)), "values from nan"),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask: bytes | None, message: str) -> None:
    batch = ImageBatch(Preparation((SIDE, SIDE), mask=True))
    with pytest.raises(DataError, match=message):
        batch.add(np.zeros((SIDE, SIDE, 3), np.uint8), mask)
    assert batch.take().shape == (0, SIDE, SIDE, 4)


def test_turned_masks_are_upright() -> None:
    values = as_mask(cross()).pixels
    assert values.shape == (SIDE, SIDE, 1) and values.max() == 255


# What is no image, and what lies


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", r"no image in any known format \(0 bytes, starting nothing\)"),
        (b"<html>not found</html>", "no image in any known format"),
        (b"\xff\xd8\xff", "image"),
        (flat("RGB", (1, 2, 3), format="JPEG")[:400], "image"),
        (encoded(tiny_landscape(0, 0), "PNG")[:500], "a damaged image"),
        (encoded(tiny_landscape(0, 0), "JPEG")[:700], "a damaged image .*truncated"),
        (encoded(tiny_landscape(0, 0), "WEBP")[:100], "image"),
        (encoded(tiny_landscape(0, 0), "TIFF")[:900], "image"),
        (encoded(tiny_landscape(0, 0), "GIF")[:900], "a damaged image"),
    ],
)
def test_damaged_files_are_named_as_such(payload: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_image(payload, EXACT)


def test_the_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(flat("RGB", (1, 2, 3)))
    assert (decode_image(read_file(path), EXACT) == (1, 2, 3)).all()


def bomb(side: int) -> bytes:
    """Return a small PNG whose header claims a large picture."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def huge_jpeg() -> bytes:
    """Return a JPEG whose header claims 65,500 pixels a side."""
    payload = bytearray(flat("RGB", (1, 2, 3), format="JPEG"))
    place = payload.index(b"\xff\xc0") + 5
    payload[place : place + 4] = struct.pack(">HH", 65500, 65500)
    return bytes(payload)


def lying_tiff() -> bytes:
    payload = bytearray(flat("RGB", (1, 2, 3), format="TIFF"))
    for tag in (256, 257):  # width and height
        for kind in (3, 4):
            place = payload.find(struct.pack("<HHI", tag, kind, 1))
            if place >= 0:
                payload[place : place + 12] = struct.pack("<HHII", tag, 4, 1, 60000)
    return bytes(payload)


@pytest.mark.parametrize("payload", [bomb(60000), huge_jpeg(), lying_tiff()], ids=["PNG", "JPEG", "TIFF"])
def test_sizes_that_cannot_be_are_refused_without_memory(payload: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="more than 179 million pixels, as its header says"):
        decode_image(payload, EXACT)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB


def test_a_large_claim_with_little_behind_it_is_truncated() -> None:
    with pytest.raises(DataError, match="a damaged image"):
        decode_image(bomb(3000), EXACT)


def test_a_file_of_three_gigabytes_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    with path.open("wb") as file:
        file.truncate(3 * 10**9)  # sparse: takes no room
    with pytest.raises(DataError, match=r"large\.tif has 3,000 MB; image files of at most 512 MB are read"):
        read_file(path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"empty\.png is empty \(0 bytes\)"):
        read_file(tmp_path / "empty.png")
    with pytest.raises(DataError, match=r"away\.png cannot be read: No such file"):
        read_file(tmp_path / "away.png")
    with pytest.raises(DataError, match="is no regular file"):
        read_file(tmp_path)
    (tmp_path / "ü.png").write_bytes(b"x")
    assert read_file(tmp_path / "ü.png") == b"x"


# Large pictures


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat everything above 10,000 pixels as large."""
    monkeypatch.setattr(image_bytes, "_LARGE", 10_000)


def recorded_factors(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the factor by which each picture is reduced at once."""
    factors: list[int] = []
    read = image_bytes._read

    def recorded(file: Image.Image, factor: int) -> NDArray[np.uint8]:
        factors.append(factor)
        return read(file, factor)

    monkeypatch.setattr(image_bytes, "_read", recorded)
    return factors


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_large_pictures_are_reduced_nearly_as_if_read_in_full(
    monkeypatch: pytest.MonkeyPatch, image_format: str, channels: int
) -> None:
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (14, 16, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(rough).resize((1280, 1120), Image.Resampling.BICUBIC))
    payload = encoded(picture, image_format)
    preparation = Preparation((16, 16), channels)
    in_full = decode_image(payload, preparation)
    monkeypatch.setattr(image_bytes, "_LARGE", 10_000)
    factors = recorded_factors(monkeypatch)
    reduced = decode_image(payload, preparation)
    assert factors == [8]
    assert np.abs(reduced.astype(int) - in_full).mean() < 0.5


def test_large_pictures_are_read_in_full_where_they_must_be(
    monkeypatch: pytest.MonkeyPatch, small_is_large: None
) -> None:
    factors = recorded_factors(monkeypatch)
    payload = flat("RGB", (9, 9, 9), (400, 300))
    assert (decode_image(payload, Preparation((64, 64))) == 9).all()  # 4.7 times smaller
    batch = ImageBatch(Preparation((16, 16), mask=True))  # the mask keeps its size
    batch.add(payload, flat("L", 255, (400, 300)))
    assert batch.take()[0, 0, 0].tolist() == [9, 9, 9, 255]
    assert decode_image(payload, Preparation((16, 16), resize="pad")).max() == 9
    assert factors == [1, 1, 2]


def test_large_pictures_come_one_at_a_time(monkeypatch: pytest.MonkeyPatch, small_is_large: None) -> None:
    inside, most = [0], [0]
    read = image_bytes._read

    def counted(file: Image.Image, factor: int) -> NDArray[np.uint8]:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        try:
            return read(file, factor)
        finally:
            inside[0] -= 1

    monkeypatch.setattr(image_bytes, "_read", counted)
    payload = encoded(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8), "PNG")
    threads = [threading.Thread(target=decode_image, args=(payload, EXACT)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1


PEAK = """
import resource, sys
from pathlib import Path
from vedute.data.decoding import Preparation, decode_image
payload = Path(sys.argv[1]).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pixels = decode_image(payload, Preparation((64, 64)))
assert abs(int(pixels.mean()) - 120) <= 1
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_a_picture_of_144_million_pixels_takes_little_memory(tmp_path: Path) -> None:
    Image.new("RGB", (12000, 12000), (120, 120, 120)).save(tmp_path / "large.jpg")
    command = [sys.executable, "-c", PEAK, str(tmp_path / "large.jpg")]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert peak < 100  # MB, where the pixels alone have 432
