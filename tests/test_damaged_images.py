"""Files that are no images, that lie, or that are very large."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.data.image_bytes import EXACT, chunk, flat
from tests.data.landscapes import encoded, tiny_landscape
from vedute.data import image_bytes
from vedute.data.decoding import ImageBatch, Preparation, decode_image
from vedute.data.image_bytes import read_file
from vedute.errors import DataError

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
