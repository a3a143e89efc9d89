"""The prepared cache: right pixels, written once, whole or not at all."""

from __future__ import annotations

import io
import os
import pickle
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.data.landscapes import encoded, shared_data, tiny_examples, tiny_landscape, write_tiny_landscapes
from vedute.data.cache import Preparation, PreparedImages, prepare
from vedute.data.decoding import ImageBatch
from vedute.data.image_files import FileSource, image_files
from vedute.data.source import natural_order
from vedute.data.tfrecord import TFRecordSource, write_records
from vedute.errors import ConfigurationError, DataError, VeduteError

SIZE = Preparation(image_size=(32, 32))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grow by one entry for each image that is decoded."""
    calls: list[int] = []
    add = ImageBatch.add

    def counted(batch: ImageBatch, payload: bytes, mask: bytes | None = None) -> None:
        calls.append(len(payload))
        add(batch, payload, mask)

    monkeypatch.setattr(ImageBatch, "add", counted)
    return calls


def write_payloads(path: Path, *payloads: bytes) -> TFRecordSource:
    write_records(path, [{"image": payload, "label": row} for row, payload in enumerate(payloads)])
    return TFRecordSource([path])


def pixels(prepared: PreparedImages) -> NDArray[np.uint8]:
    """Return all prepared images, (N, H, W, C)."""
    return prepared.gather(torch.arange(len(prepared))).permute(0, 2, 3, 1).numpy()


def prepare_one(tmp_path: Path, payload: bytes, preparation: Preparation) -> NDArray[np.uint8]:
    """Prepare a single image and return its pixels (H, W, C)."""
    source = write_payloads(tmp_path / "one" / "0.tfrecord", payload)
    return np.array(
        pixels(prepare(source, preparation, name="one", cache=tmp_path / "cache", progress=False))[0]
    )


def unfinished(cache: Path) -> list[str]:
    return [path.name for path in (cache / "prepared").iterdir() if path.name.endswith(".partial")]


def finished(cache: Path) -> list[Path]:
    return [path for path in (cache / "prepared").iterdir() if path.is_dir() and path.name[0] != "."]


def bilinear(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR))


# Pixels


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_pixels_are_pillows_antialiased_bilinear_ones(tmp_path: Path, image_format: str) -> None:
    payload = encoded(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8), image_format)
    pixels = prepare_one(tmp_path, payload, Preparation((32, 24), resize="stretch"))
    picture = np.asarray(Image.open(io.BytesIO(payload)).convert("RGB"))
    assert pixels.shape == (32, 24, 3)
    assert np.abs(pixels.astype(int) - bilinear(picture, (32, 24))).max() <= 1


def test_the_largest_centred_piece_is_kept(tmp_path: Path) -> None:
    picture = np.zeros((32, 96, 3), dtype=np.uint8)
    picture[:, 32:64] = 200  # the middle square
    assert (prepare_one(tmp_path, encoded(picture, "PNG"), SIZE) == 200).all()
    tall = prepare_one(tmp_path, encoded(np.ascontiguousarray(picture.transpose(1, 0, 2)), "PNG"), SIZE)
    assert (tall == 200).all()
    squeezed = prepare_one(tmp_path, encoded(picture, "PNG"), Preparation((32, 32), resize="stretch"))
    assert squeezed[:, 0].max() == 0 and squeezed[0, 16, 0] == 200


def test_a_picture_of_the_wanted_size_is_untouched(tmp_path: Path) -> None:
    picture = tiny_landscape(2, 0)
    assert np.array_equal(prepare_one(tmp_path, encoded(picture, "PNG"), SIZE), picture)


def flat(mode: str, colour: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (32, 32), colour).save(buffer, **{"format": "PNG", **options})  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (flat("L", 100), (100, 100, 100)),
        (flat("L", 100, format="JPEG"), (100, 100, 100)),
        (flat("1", 1), (255, 255, 255)),
        (flat("I;16", 51400), (200, 200, 200)),  # 200 * 257
        (flat("RGBA", (255, 0, 0, 0)), (255, 255, 255)),  # fully transparent: the white behind it
        (flat("RGBA", (200, 100, 0, 255)), (200, 100, 0)),
        (flat("LA", (0, 51)), (204, 204, 204)),  # a fifth of black over white
        (flat("P", 0, transparency=0), (255, 255, 255)),
        (flat("CMYK", (0, 255, 255, 0), format="JPEG", quality=100), (254, 0, 0)),
        (flat("RGB", (10, 20, 30), format="TIFF"), (10, 20, 30)),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(
    tmp_path: Path, payload: bytes, expected: tuple[int, int, int]
) -> None:
    assert np.abs(prepare_one(tmp_path, payload, SIZE).astype(int) - expected).max() <= 1


def test_one_channel_is_luma(tmp_path: Path) -> None:
    for payload in (flat("RGB", (0, 255, 0)), flat("RGB", (0, 255, 0), format="JPEG", quality=100)):
        pixels = prepare_one(tmp_path, payload, Preparation((32, 32), channels=1))
        assert pixels.shape == (32, 32, 1)
        assert np.abs(pixels.astype(int) - 150).max() <= 1  # 0.587 * 255


def test_pixels_without_a_known_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"record 0: .*32-bit pixels, which have no known range"):
        prepare_one(tmp_path, flat("F", 0.5, format="TIFF"), SIZE)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_orientation_in_exif_is_applied(tmp_path: Path, image_format: str) -> None:
    picture = np.zeros((32, 32, 3), dtype=np.uint8)
    picture[:8] = 255  # as stored, white at the top; turned by 90 degrees clockwise, at the right
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, image_format, exif=exif)
    pixels = prepare_one(tmp_path, buffer.getvalue(), SIZE)
    assert pixels[:, 26:].min() > 240 and pixels[:, :20].max() < 15


@pytest.mark.parametrize(
    "options", [{"image_size": (0, 32)}, {"channels": 5}, {"resize": "left"}, {"image_size": (32,)}]
)
def test_impossible_preparations_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Preparation(**{"image_size": (32, 32), **options})  # type: ignore[arg-type]


# Reading


def test_images_and_labels_come_in_the_order_of_the_source(tmp_path: Path, cache: Path) -> None:
    examples = tiny_examples(300, labels=[4, 1, 0], image_format="PNG")
    write_records(tmp_path / "0.tfrecord", examples[:290])
    write_records(tmp_path / "1.tfrecord", examples[290:])
    source = TFRecordSource([tmp_path / "0.tfrecord", tmp_path / "1.tfrecord"])
    prepared = prepare(source, SIZE, name="a", cache=cache, workers=3, progress=False)
    assert len(prepared) == 300 and prepared.shape == (300, 32, 32, 3)
    assert prepared.labels.tolist() == [4, 1, 0] * 100 and prepared.labels.dtype == np.int64
    for row in (0, 127, 128, 289, 290, 299):
        assert np.array_equal(pixels(prepared)[row], tiny_landscape([4, 1, 0][row % 3], row))


@pytest.fixture
def prepared(tmp_path: Path, cache: Path) -> PreparedImages:
    write_records(tmp_path / "0.tfrecord", tiny_examples(10, image_format="PNG"))
    return prepare(TFRecordSource([tmp_path / "0.tfrecord"]), SIZE, name="a", cache=cache, progress=False)


def test_gather_gives_the_rows_in_memory_of_its_own(prepared: PreparedImages) -> None:
    rows = [7, 0, 7]
    batch = prepared.gather(torch.tensor(rows))
    assert batch.shape == (3, 3, 32, 32) and batch.dtype == torch.uint8
    assert batch.is_contiguous(memory_format=torch.channels_last)
    expected = np.stack([tiny_landscape(row % 5, row) for row in rows]).transpose(0, 3, 1, 2)
    assert np.array_equal(batch.numpy(), expected)
    assert torch.equal(batch, prepared.gather(np.array(rows)))
    batch.zero_()
    assert prepared.gather(torch.tensor([7])).sum() > 0
    with pytest.raises(IndexError):
        prepared.gather(torch.tensor([10]))


def test_pickling_sends_the_folder_and_not_the_pixels(prepared: PreparedImages) -> None:
    data = pickle.dumps(prepared)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert (
        np.array_equal(pixels(again), pixels(prepared)) and again.labels.tolist() == prepared.labels.tolist()
    )


def test_labels_of_a_source_without_labels_are_minus_one(tmp_path: Path, cache: Path) -> None:
    write_records(tmp_path / "0.tfrecord", tiny_examples(3))
    source = TFRecordSource([tmp_path / "0.tfrecord"], label_feature=None)
    assert prepare(source, SIZE, name="a", cache=cache, progress=False).labels.tolist() == [-1] * 3


# Written once, and again when something has changed


def test_the_second_time_nothing_is_decoded(tmp_path: Path, cache: Path, decoded: list[int]) -> None:
    root = write_tiny_landscapes(tmp_path / "set") / "TFrecords" / "Train"

    def run(preparation: Preparation = SIZE) -> PreparedImages:
        source = TFRecordSource(sorted(root.iterdir(), key=natural_order))
        return prepare(source, preparation, name="a", cache=cache, progress=False)

    first = run()
    assert len(decoded) == 40
    assert run().folder == first.folder and len(decoded) == 40
    other = run(Preparation((16, 16)))
    assert other.folder != first.folder and len(decoded) == 80
    assert run().shape == (40, 32, 32, 3) and len(decoded) == 80  # both stay


def test_a_relative_path_finds_the_same_cache(
    tmp_path: Path, cache: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_records(tmp_path / "0.tfrecord", tiny_examples(2))
    prepare(TFRecordSource([tmp_path / "0.tfrecord"]), SIZE, name="a", cache=cache, progress=False)
    monkeypatch.chdir(tmp_path)
    prepare(TFRecordSource([Path("0.tfrecord")]), SIZE, name="a", cache=cache, progress=False)
    assert len(decoded) == 2


def test_a_changed_file_is_prepared_anew(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "0.tfrecord"
    before = write_payloads(path, flat("RGB", (1, 1, 1)))
    old = prepare(before, SIZE, name="a", cache=cache, progress=False)
    status = path.stat()
    after = write_payloads(path, flat("RGB", (2, 2, 2)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    new = prepare(after, SIZE, name="a", cache=cache, progress=False)
    assert new.folder == old.folder
    assert pixels(new).max() == 2
    assert len(finished(cache)) == 1 and not unfinished(cache)


def cut_images(folder: Path) -> None:
    os.truncate(folder / "images-00000.npy", 1000)


def cut_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"format": 1,')


def lose_labels(folder: Path) -> None:
    (folder / "labels.npy").unlink()


@pytest.mark.parametrize("damage", [cut_images, cut_manifest, lose_labels])
def test_a_damaged_cache_is_written_anew(
    tmp_path: Path, cache: Path, damage: Callable[[Path], None], decoded: list[int]
) -> None:
    source = write_payloads(tmp_path / "0.tfrecord", flat("RGB", (3, 3, 3)))
    damage(prepare(source, SIZE, name="a", cache=cache, progress=False).folder)
    assert (pixels(prepare(source, SIZE, name="a", cache=cache, progress=False)) == 3).all()
    assert len(decoded) == 2


def test_progress_is_one_line_and_a_bar(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_payloads(tmp_path / "0.tfrecord", flat("RGB", (3, 3, 3)))
    prepare(source, SIZE, name="landscapes/train", cache=cache)
    said = capsys.readouterr().err
    assert "Preparing landscapes/train: 1 records to 32 x 32" in said and "images/s" in said
    prepare(source, SIZE, name="landscapes/train", cache=cache)
    assert capsys.readouterr().err == ""


# Broken records


GOOD = flat("RGB", (3, 3, 3))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"GIF? no", r"no image in any known format \(7 bytes, starting 47 49 46 3f"),
        (b"", r"no image in any known format \(0 bytes, starting nothing"),
        (encoded(tiny_landscape(0, 0))[:300], "a damaged image"),
        (encoded(tiny_landscape(0, 0), "PNG")[:300], "a damaged image"),
        (b"\xff\xd8\xff", "no image in any known format"),
    ],
)
def test_a_payload_that_is_no_image_is_named(
    tmp_path: Path, cache: Path, payload: bytes, reason: str
) -> None:
    source = write_payloads(tmp_path / "Train" / "0.tfrecord", GOOD, payload, GOOD)
    with pytest.raises(
        DataError, match=rf"Train/0\.tfrecord, record 1: the payload is {reason}.*on_error to skip"
    ):
        prepare(source, SIZE, name="a", cache=cache, progress=False)
    assert not finished(cache) and not unfinished(cache)


def test_skipping_counts_and_lists_and_keeps_the_rest_in_order(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    payloads = [flat("RGB", (row % 256, row // 256, 0)) for row in range(400)]
    bad = [0, 5, 130, 131, 399]
    for row in bad:
        payloads[row] = b"broken"
    source = write_payloads(tmp_path / "0.tfrecord", *payloads)
    prepared = prepare(source, SIZE, name="a", cache=cache, on_error="skip", workers=3)
    good = [row for row in range(400) if row not in bad]
    assert prepared.labels.tolist() == good
    assert (pixels(prepared)[:, 0, 0, :2].astype(int) @ [1, 256]).tolist() == good
    assert [line.split(": ")[0].split("record ")[1] for line in prepared.skipped] == [str(row) for row in bad]
    said = capsys.readouterr().err
    assert "5 broken records were skipped, 395 are used" in said and "record 130" in said
    # The same cache serves the next skipping run, and is refused to one that does not skip.
    again = prepare(source, SIZE, name="a", cache=cache, on_error="skip", progress=False)
    assert again.skipped == prepared.skipped
    with pytest.raises(DataError, match=r"record 0: .* 4 more records are broken"):
        prepare(source, SIZE, name="a", cache=cache, progress=False)


def test_broken_files_are_refused_before_anything_is_decoded(
    tmp_path: Path, cache: Path, decoded: list[int]
) -> None:
    write_records(tmp_path / "0.tfrecord", tiny_examples(5))
    write_records(tmp_path / "1.tfrecord", tiny_examples(5))
    (tmp_path / "1.tfrecord").write_bytes((tmp_path / "1.tfrecord").read_bytes()[:-10])
    source = TFRecordSource([tmp_path / "0.tfrecord", tmp_path / "1.tfrecord"])
    with pytest.raises(DataError, match=r"1\.tfrecord, record 4: the file is truncated"):
        prepare(source, SIZE, name="a", cache=cache, progress=False)
    assert decoded == []
    prepared = prepare(source, SIZE, name="a", cache=cache, on_error="skip", progress=False)
    assert len(prepared) == 9 and len(prepared.skipped) == 1


def test_a_checksum_that_does_not_match_is_named(tmp_path: Path, cache: Path) -> None:
    source = write_payloads(tmp_path / "0.tfrecord", GOOD, GOOD)
    data = bytearray((tmp_path / "0.tfrecord").read_bytes())
    data[-10] ^= 4
    (tmp_path / "0.tfrecord").write_bytes(data)
    with pytest.raises(DataError, match=r"0\.tfrecord, record 1: the checksum .CRC32C"):
        prepare(source, SIZE, name="a", cache=cache, progress=False)


def test_nothing_usable_is_an_error(tmp_path: Path, cache: Path) -> None:
    write_records(tmp_path / "0.tfrecord", [], compress=True)  # uncompressed it would be an empty file
    with pytest.raises(DataError, match=r"no records in its files .*0\.tfrecord"):
        prepare(TFRecordSource([tmp_path / "0.tfrecord"]), SIZE, name="a", cache=cache, progress=False)
    source = write_payloads(tmp_path / "1.tfrecord", b"x", b"y")
    with pytest.raises(DataError, match="none of the 2 records can be used"):
        prepare(source, SIZE, name="a", cache=cache, on_error="skip", progress=False)
    with pytest.raises(DataError, match=r"gone\.tfrecord cannot be read"):
        prepare(TFRecordSource([tmp_path / "gone.tfrecord"]), SIZE, name="a", cache=cache, progress=False)
    assert not finished(cache) and not unfinished(cache)


# Full disks, kills, several processes


def test_a_disk_without_room_is_refused_before_decoding(
    tmp_path: Path, cache: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_payloads(tmp_path / "0.tfrecord", GOOD)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 3071}))
    with pytest.raises(VeduteError, match="but only 0 MB are free"):
        prepare(source, SIZE, name="a", cache=cache, progress=False)
    assert decoded == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 3072}))
    prepare(source, SIZE, name="a", cache=cache, progress=False)


@pytest.fixture
def small_files() -> Iterator[None]:
    """Let no file grow beyond 100,000 bytes: what a full disk looks like to a writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, cache: Path, small_files: None) -> None:
    source = write_payloads(tmp_path / "0.tfrecord", *[GOOD] * 200)  # 614,400 bytes of pixels
    with pytest.raises(VeduteError, match="could not be written"):
        prepare(source, SIZE, name="a", cache=cache, progress=False)
    assert not finished(cache) and not unfinished(cache)


SLOW_WRITER = """
import os, sys, time
from pathlib import Path
from vedute.data.cache import Preparation, prepare
from vedute.data.decoding import ImageBatch
from vedute.data.image_files import FileSource, image_files

add = ImageBatch.add
def slowly(batch, payload, mask=None):
    os.write(1, b"decoding\\n")  # one call: threads do not mix their lines
    time.sleep(0.2)
    add(batch, payload, mask)
ImageBatch.add = slowly
source = FileSource(image_files(Path(sys.argv[1])), [3] * len(image_files(Path(sys.argv[1]))))
prepare(source, Preparation((32, 32)), name="a", cache=Path(sys.argv[2]), progress=False)
"""


def test_who_waits_for_a_killed_writer_takes_over(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for row in range(200):
        (folder / f"{row}.png").write_bytes(encoded(tiny_landscape(3, row), "PNG"))
    source = FileSource(image_files(folder), [3] * len(image_files(folder)))
    command = [sys.executable, "-c", SLOW_WRITER, str(folder), str(cache)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "decoding\n"
        results: list[PreparedImages] = []
        waiting = threading.Thread(
            target=lambda: results.append(prepare(source, SIZE, name="a", cache=cache))
        )
        waiting.start()
        waiting.join(timeout=0.5)
        assert waiting.is_alive() and not finished(cache) and len(unfinished(cache)) == 1
        writer.kill()
    waiting.join(timeout=30)
    assert len(results[0]) == 200 and np.array_equal(pixels(results[0])[199], tiny_landscape(3, 199))
    assert "waiting for another process" in capsys.readouterr().err
    # What the killed writer has left is gone after the next preparation of anything.
    prepare(source, Preparation((16, 16)), name="b", cache=cache, progress=False)
    assert not unfinished(cache) and len(finished(cache)) == 2


def test_several_at_once_write_once(tmp_path: Path, cache: Path, decoded: list[int]) -> None:
    write_records(tmp_path / "0.tfrecord", tiny_examples(150))
    results: list[PreparedImages] = []

    def run() -> None:
        source = TFRecordSource([tmp_path / "0.tfrecord"])
        results.append(prepare(source, SIZE, name="a", cache=cache, progress=False))

    ranks = [threading.Thread(target=run) for _ in range(4)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(timeout=60)
    assert len(results) == 4 and {result.folder for result in results} == {results[0].folder}
    assert len(decoded) == 150


# Real files


def test_real_photos_are_prepared(cache: Path) -> None:
    files = sorted((shared_data("landscapes") / "TFrecords" / "Valid").iterdir(), key=natural_order)
    prepared = prepare(TFRecordSource(files), SIZE, name="real", cache=cache, progress=False)
    assert prepared.shape == (500, 32, 32, 3)
    assert 60 < pixels(prepared).mean() < 190 and pixels(prepared).std() > 30
    assert np.bincount(prepared.labels, minlength=5)[[0, 2, 3, 4]].min() > 50


def test_foreign_jpeg_records_are_prepared(cache: Path) -> None:
    path = shared_data("tfrecords-foreign") / "train.tfrecord"
    source = TFRecordSource([path], "image/encoded", "image/object/class/label")
    prepared = prepare(source, Preparation((18, 32)), name="foreign", cache=cache, progress=False)
    assert prepared.shape == (23, 18, 32, 3) and pixels(prepared).std() > 10


def test_real_photos_of_many_sizes_are_prepared(cache: Path) -> None:
    source = FileSource(
        image_files(shared_data("pictures")), [-1] * len(image_files(shared_data("pictures")))
    )
    prepared = prepare(source, SIZE, name="pictures", cache=cache, progress=False)
    assert prepared.shape == (200, 32, 32, 3) and prepared.skipped == []
