"""From files to pixels: colour, depth, transparency, orientation; a test for each rule."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from tests.data.image_bytes import EXACT, SIDE, close, deep, deep_png, deep_tiff, flat
from tests.data.landscapes import encoded, tiny_landscape
from vedute.data import image_bytes
from vedute.data.decoding import Preparation, decode_image
from vedute.data.pixels import upright
from vedute.errors import DataError

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
