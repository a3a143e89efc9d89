"""From pixels to what is stored: geometry, decoded arrays, masks."""

from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.data.image_bytes import EXACT, PAD, SIDE, STRETCH, close
from tests.data.landscapes import encoded, tiny_landscape
from vedute.data.decoding import ImageBatch, Preparation, decode_image, resize_images
from vedute.data.pixels import as_mask, with_channels
from vedute.errors import ConfigurationError, DataError

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
