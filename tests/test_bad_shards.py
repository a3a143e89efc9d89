"""Bad tar shards, as a person meets them: one message that names the file and the sample, before any work."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.data.commands import failed
from tests.data.sets import SETS, command, prepared
from vedute.cli import main
from vedute.data.source import Record
from vedute.data.tar_shards import TarSource
from vedute.errors import DataError

pytest.importorskip("webdataset")
SCORES = ("--data.label", "null", "--data.scores", "[json.brightness]")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return SETS["shards"](tmp_path / "data")


@pytest.fixture
def shard(root: Path) -> Path:
    """A shard of 16 samples, each a cls, a jpg and a json, in this order."""
    return root / "train" / "train-000000.tar"


def member(shard: Path, number: int) -> tarfile.TarInfo:
    with tarfile.open(shard) as tar:
        return tar.getmembers()[number]


def replace(shard: Path, name: str, content: bytes) -> None:
    """Write a shard again with another content of one member."""
    written = io.BytesIO()
    with tarfile.open(shard) as old, tarfile.open(fileobj=written, mode="w") as new:
        for entry in old.getmembers():
            file = old.extractfile(entry)
            assert file is not None
            data = content if entry.name == name else file.read()
            entry.size = len(data)
            new.addfile(entry, io.BytesIO(data))
    shard.write_bytes(written.getvalue())


def test_a_shard_that_was_cut_between_two_samples(
    root: Path, shard: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its members can all be read; only the end mark is missing."""
    shard.write_bytes(shard.read_bytes()[: member(shard, 9).offset])
    assert "train-000000.tar is truncated: it has no end mark" in failed(
        capsys, *command("prepare", "shards", root)
    )


def test_a_shard_that_was_cut_within_a_member(
    root: Path, shard: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard.write_bytes(shard.read_bytes()[: member(shard, 10).offset_data + 100])
    assert "train-000000.tar is no plain tar file, or is damaged" in failed(
        capsys, *command("prepare", "shards", root)
    )


def test_a_damaged_header_ends_no_shard_in_silence(
    root: Path, shard: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(shard.read_bytes())
    offset = member(shard, 9).offset
    content[offset + 3] ^= 0xFF
    shard.write_bytes(content)
    assert f"there is no member at byte {offset:,}" in failed(capsys, *command("prepare", "shards", root))


def test_joined_shards_lose_no_samples_in_silence(
    root: Path, shard: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard.write_bytes(shard.read_bytes() * 2)
    assert "goes on after its end mark" in failed(capsys, *command("prepare", "shards", root))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"cat", "holds numbers, but also 'cat'"),
        (b"-1", "holds numbers, but also '-1'"),
        (b"1.5", "holds numbers, but also '1.5'"),
        (b"9" * 5000, "holds numbers, but also '9999999999"),
        (b"", "1 of 60 samples of train have no 'cls' (the first is train/train-000000.tar, 000002)"),
        (b"\xff", "000002.cls is no UTF-8 text"),
    ],
)
def test_bad_labels(
    content: bytes, says: str, root: Path, shard: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(shard, "000002.cls", content)
    assert says in failed(capsys, *command("prepare", "shards", root))
    assert not [*cache.glob("prepared/*")], "before anything is prepared"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"brightness": NaN}', "000002: the field 'json.brightness' holds something that is no number"),
        (b'{"brightness": -Infinity}', "no number: '-inf'"),
        (b'{"brightness": 1e300}', "numbers up to 1e+30"),
        (b'{"brightness": "light"}', "no number: 'light'"),
        (b'{"brightness": null}', "have no 'json.brightness' (the first is train/train-000000.tar, 000002)"),
        (b"{", "000002.json is no JSON"),
        (b"[" * 100_000, "000002.json is no JSON"),
        (b'{"brightness": ' + b"9" * 5000 + b"}", "000002.json is no JSON"),
        (b"[1]", "000002.json holds no JSON object"),
    ],
)
def test_bad_scores(
    content: bytes, says: str, root: Path, shard: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(shard, "000002.json", content)
    assert says in failed(capsys, *command("prepare", "shards", root, *SCORES))
    assert not [*cache.glob("prepared/*")], "before anything is prepared"


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_a_bad_image_is_named_or_skipped(
    content: bytes, root: Path, shard: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(shard, "000002.jpg", content)
    name = "train/train-000000.tar, 000002"
    assert name in failed(capsys, *command("prepare", "shards", root))
    assert f"left out: {name}" in prepared(capsys, "shards", root, "--data.on_error", "skip")


def write_huge(shard: Path, name: str) -> None:
    """Put a member of 3 GB, which takes no room on the disk, behind the others."""
    last = member(shard, -1)
    end = last.offset_data + -(-last.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    huge = tarfile.TarInfo(name)
    huge.size = 3 * 10**9
    with shard.open("r+b") as file:
        file.seek(end)
        file.write(huge.tobuf())
        file.truncate(end + tarfile.BLOCKSIZE * 3 + huge.size)


def test_an_image_of_three_gigabytes_is_not_read(root: Path, shard: Path) -> None:
    write_huge(shard, "huge.jpg")
    source = TarSource([shard])
    entries = [*source.read([15, 16])]
    assert isinstance(entries[0], Record) and isinstance(entries[1], DataError)
    assert "train-000000.tar, huge has 3,000 MB" in str(entries[1])


def test_a_label_of_three_gigabytes_is_not_read(
    root: Path, shard: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_huge(shard, "000000.cls")
    assert "000000.cls has 3,000 MB" in failed(capsys, *command("prepare", "shards", root))


def test_links_in_a_shard_are_not_followed(root: Path, shard: Path, tmp_path: Path) -> None:
    link = tarfile.TarInfo("link.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    with tarfile.open(shard, "a") as tar:
        tar.addfile(link)
    assert main(command("prepare", "shards", root)) == 0
    assert len(TarSource([shard])) == 16
