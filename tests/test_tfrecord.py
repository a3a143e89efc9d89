"""TFRecord files and image folders: what is written is read, and what is broken is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from tfrecord.reader import tfrecord_loader
from tfrecord.writer import TFRecordWriter

from tests.data.landscapes import shared_data, tiny_examples, write_tiny_class_folders
from vedute.data.image_files import FileSource, class_folder_source, image_files
from vedute.data.source import natural_order
from vedute.data.tfrecord import TFRecordSource, count_records, read_records, write_records
from vedute.errors import DataError

Values = dict[str, tuple[object, str]]


def write_foreign(path: Path, *examples: Values) -> Path:
    """Write with the tfrecord package's own writer, which knows lists and every kind of value."""
    writer = TFRecordWriter(str(path))
    for example in examples:
        writer.write(example)
    writer.close()
    return path


def flip(path: Path, position: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def record_end(path: Path, number: int) -> int:
    """Return the byte at which record ``number`` ends (16 bytes of framing each)."""
    lengths = [len(data) + 16 for data in read_records(path)]
    return sum(lengths[: number + 1])


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "Train" / "7.tfrecord"
    write_records(path, tiny_examples(5))
    return path


@pytest.mark.parametrize("compress", [False, True])
def test_what_is_written_is_read(tmp_path: Path, compress: bool) -> None:
    examples = tiny_examples(300, labels=[3, 1])
    path = tmp_path / "Train" / "0.tfrecord"
    write_records(path, examples, compress=compress)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == compress
    source = TFRecordSource([path])
    records = [record for part in source.parts() for record in part.records()]
    assert [record.payload for record in records] == [example["image"] for example in examples]
    assert [record.label for record in records] == [3, 1] * 150
    assert records[299].origin == "Train/0.tfrecord, record 299"
    assert count_records(path) == len(source) == len(list(read_records(path))) == 300
    assert source.labels().tolist() == [3, 1] * 150 and source.labels().dtype == np.int64


def test_the_tfrecord_package_reads_what_we_write(shard: Path) -> None:
    loaded = list(tfrecord_loader(str(shard), None, {"image": "byte", "label": "int"}))
    assert [int(example["label"][0]) for example in loaded] == [0, 1, 2, 3, 4]
    assert bytes(loaded[2]["image"]) == tiny_examples(5)[2]["image"]


@pytest.mark.parametrize("compress", [False, True])
def test_equal_examples_give_equal_files(tmp_path: Path, compress: bool) -> None:
    for name in ("a.tfrecord", "b.tfrecord"):
        write_records(tmp_path / name, tiny_examples(3), compress=compress)
    assert (tmp_path / "a.tfrecord").read_bytes() == (tmp_path / "b.tfrecord").read_bytes()


def test_many_one_record_files_become_few_parts_in_natural_order(tmp_path: Path) -> None:
    examples = tiny_examples(300)
    for number, example in enumerate(examples):
        write_records(tmp_path / f"{number}.tfrecord", [example])
    source = TFRecordSource(sorted(tmp_path.iterdir(), key=natural_order))
    assert len(source) == 300
    assert len(source.parts()) == 3
    records = [record for part in source.parts() for record in part.records()]
    assert [record.payload for record in records] == [example["image"] for example in examples]
    assert records[12].origin.endswith("/12.tfrecord, record 0")


def test_one_damaged_record_is_named_and_the_others_are_read(shard: Path) -> None:
    flip(shard, record_end(shard, 1) + 12 + 40)  # in the data of record 2
    with pytest.raises(DataError, match=r"Train/7\.tfrecord, record 2: the checksum .* data does not match"):
        list(read_records(shard))
    assert len(list(read_records(shard, verify=False))) == count_records(shard) == 5
    (part,) = TFRecordSource([shard]).parts()
    entries = list(part.read())
    assert [isinstance(entry, DataError) for entry in entries] == [False, False, True, False, False]
    with pytest.raises(DataError, match="record 2"):
        TFRecordSource([shard]).labels()


def test_a_damaged_length_ends_the_file(shard: Path) -> None:
    flip(shard, record_end(shard, 2) + 3)
    with pytest.raises(
        DataError, match=r"Train/7\.tfrecord, record 3: the checksum .* length does not match"
    ):
        count_records(shard)
    source = TFRecordSource([shard])
    assert len(source.broken()) == 1
    assert [isinstance(entry, DataError) for entry in source.parts()[0].read()] == [False] * 3 + [True]
    assert len(source) == 4


def test_every_truncation_of_the_last_record_is_found(shard: Path) -> None:
    whole = shard.read_bytes()
    start = record_end(shard, 3)
    for size in [*range(start + 1, start + 20), len(whole) - 4, len(whole) - 1]:
        shard.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"Train/7\.tfrecord, record 4: the file is truncated"):
            count_records(shard)
        with pytest.raises(DataError, match="record 4: the file is truncated"):
            list(read_records(shard))
        assert len(TFRecordSource([shard]).broken()) == 1
    shard.write_bytes(whole[:start])  # at the end of a record there is nothing to see
    assert count_records(shard) == 4


def test_a_truncated_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "0.tfrecord"
    write_records(path, tiny_examples(20), compress=True)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"0\.tfrecord, record \d+ cannot be read.*truncated or damaged"):
        count_records(path)


def test_a_file_of_another_kind_is_no_tfrecord_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.tfrecord"
    path.write_text("These are not the records you are looking for.")
    with pytest.raises(DataError, match=r"notes\.tfrecord, record 0.*may be no TFRecord file"):
        count_records(path)
    with gzip.open(path, "wb") as file:
        file.write(b"These are not the records you are looking for.")
    with pytest.raises(DataError, match="may be no TFRecord file"):
        count_records(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.tfrecord cannot be read: No such file"):
        list(read_records(tmp_path / "gone.tfrecord"))
    with pytest.raises(DataError, match="at least one file"):
        TFRecordSource([])


def test_a_file_that_shrinks_after_it_was_listed_is_reported(shard: Path) -> None:
    source = TFRecordSource([shard])
    assert len(source) == 5
    shard.write_bytes(shard.read_bytes()[: record_end(shard, 1)])
    entries = list(source.parts()[0].read())
    assert [isinstance(entry, DataError) for entry in entries] == [False, False, True, True, True]
    assert "record 4" in str(entries[4])


def first_error(path: Path, **features: str | None) -> str:
    with pytest.raises(DataError) as caught:
        TFRecordSource([path], **features).labels()  # type: ignore[arg-type]
    return str(caught.value)


def test_missing_features_are_reported_with_those_that_exist(tmp_path: Path) -> None:
    path = write_foreign(
        tmp_path / "a.tfrecord", {"image/encoded": (b"x", "byte"), "image/width": (3, "int")}
    )
    message = first_error(path)
    assert "a.tfrecord, record 0 has no image: there is no feature 'image'" in message
    assert "it holds image/encoded, image/width" in message and "image_feature" in message
    message = first_error(path, image_feature="image/encoded")
    assert "record 0 has no label: there is no feature 'label'" in message
    assert "it holds image/encoded, image/width" in message and "label_feature" in message
    source = TFRecordSource([path], image_feature="image/encoded", label_feature=None)
    assert source.labels().tolist() == [-1]
    assert [record.label for record in source.parts()[0].records()] == [None]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (([2, 2, 2], "int"), 2),  # objects of one class
        (([4.0], "float"), 4),
        (([1, 3], "int"), "holds 1, 3; one whole class number is needed"),
        (([], "int"), "is empty; one whole class number is needed"),
        (([b"coast"], "byte"), "holds b'coast'; one whole class number is needed"),
        (([0.5], "float"), "holds 0.5; one whole class number is needed"),
        (([float("nan")], "float"), "holds nan; one whole class number is needed"),
    ],
)
def test_a_label_is_one_whole_number(tmp_path: Path, label: tuple[object, str], expected: int | str) -> None:
    path = write_foreign(tmp_path / "a.tfrecord", {"image": (b"x", "byte"), "class": label})
    source = TFRecordSource([path], label_feature="class")
    if isinstance(expected, int):
        assert source.labels().tolist() == [expected]
    else:
        with pytest.raises(DataError, match=expected):
            source.labels()


def test_an_image_feature_without_bytes_is_refused(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "a.tfrecord", {"image": ([1, 2, 3], "int"), "label": (1, "int")})
    assert "'image' holds 3 values of kind int64_list; one encoded image (bytes) is needed" in first_error(
        path
    )


def test_image_folders_give_their_class(tmp_path: Path) -> None:
    root = write_tiny_class_folders(tmp_path) / "Training Data"
    (root / "Coast" / ".hidden.jpg").write_bytes(b"")
    (root / "Coast" / "Thumbs.db").write_bytes(b"")
    (root / "Coast" / "10.JPG").write_bytes(b"last")
    source = class_folder_source(root, ["Forest", "Coast"], [2, 0])
    assert source.labels().tolist() == [2] * 8 + [0] * 9
    records = [record for part in source.parts() for record in part.records()]
    assert [record.label for record in records] == source.labels().tolist()
    assert records[-1].payload == b"last" and records[-1].origin == "Coast/10.JPG"
    assert len(source) == len(list(source.files())) == 17
    unlabelled = FileSource(image_files(root / "Forest"), [-1] * len(image_files(root / "Forest")))
    assert [record.label for record in unlabelled.parts()[0].records()] == [None] * 8


def test_a_missing_or_empty_class_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "Coast").mkdir()
    with pytest.raises(DataError, match=r"Coast holds no image; looked for files named .*\.jpg"):
        class_folder_source(tmp_path, ["Coast"], [0])
    with pytest.raises(DataError, match="Desert does not exist"):
        class_folder_source(tmp_path, ["Desert"], [1])


def test_real_photos_in_shards_and_one_record_per_file_are_read() -> None:
    for name, count in (("landscapes", 5207), ("landscapes-one-record-per-file", 120)):
        files = sorted((shared_data(name) / "TFrecords" / "Train").iterdir(), key=natural_order)
        source = TFRecordSource(files)
        assert len(source) == count
        assert sorted(set(source.labels().tolist())) == [0, 2, 3, 4]


def test_foreign_records_are_read_by_the_names_of_their_features() -> None:
    folder = shared_data("tfrecords-foreign")
    for name, count in (("train", 23), ("test", 6)):
        path = folder / f"{name}.tfrecord"
        source = TFRecordSource([path], "image/encoded", "image/object/class/label")
        assert source.labels().tolist() == [0] * count
    assert "image/object/class/label" in first_error(path, image_feature="image/encoded")
