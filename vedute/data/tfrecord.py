"""Images in TFRecord files: which feature is the image, which the label, and how files become parts.

The `tfrecord <https://github.com/vahidk/tfrecord>`_ package gives the protocol buffers; the framing
around them, with its checksums, is in ``framing.py``. Images are not decoded here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from google.protobuf.message import DecodeError
from tfrecord import example_pb2

from vedute.data.framing import (
    Listing,
    count_records,
    list_records,
    open_records,
    read_frames,
    read_records,
    write_frames,
)
from vedute.data.source import PART_SIZE, Part, Record, Source, short_name
from vedute.errors import DataError

__all__ = ["TFRecordSource", "count_records", "read_example", "read_records", "write_records"]


def _values(feature: example_pb2.Feature) -> Sequence[bytes] | Sequence[int] | Sequence[float]:
    kind = feature.WhichOneof("kind")
    return () if kind is None else getattr(feature, kind).value


def _present(example: example_pb2.Example) -> str:
    names = sorted(example.features.feature)
    return f"it holds {', '.join(names)}" if names else "it holds no features at all"


def _label(example: example_pb2.Example, name: str, origin: str) -> int:
    features = example.features.feature
    if name not in features:
        raise DataError(
            f"{origin} has no label: there is no feature '{name}'; {_present(example)}. "
            "Name the feature with the class number (label_feature), or give null for data without labels."
        )
    values = _values(features[name])
    # A detection set repeats one class for each object; that is still one label for the image.
    if len(values) == 1 or len(set(values)) == 1:
        value = values[0]
        if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
            return int(value)
    found = ", ".join(str(value) for value in values[:4]) + (", ..." if len(values) > 4 else "")
    what = f"holds {found}" if values else "is empty"
    raise DataError(f"{origin}: the label feature '{name}' {what}; one whole class number is needed.")


def read_example(data: bytes, origin: str, image_feature: str, label_feature: str | None) -> Record:
    """Take image and label out of a serialised ``tf.train.Example``. The image is not decoded.

    Args:
        data: The record's data.
        origin: Where it comes from, for messages.
        image_feature: The feature with the image file's bytes.
        label_feature: The feature with the class number; several equal values count as one.
            None: labels are not read.

    Raises:
        DataError: The data are no Example, or a feature is missing or of another kind; lists what there is.
    """
    example = example_pb2.Example()
    try:
        example.ParseFromString(data)
    except DecodeError as error:
        raise DataError(f"{origin} is no tf.train.Example ({error}); only these can be read.") from error
    features = example.features.feature
    if image_feature not in features:
        raise DataError(
            f"{origin} has no image: there is no feature '{image_feature}'; {_present(example)}. "
            "Name the feature with the encoded image (image_feature)."
        )
    values = _values(features[image_feature])
    if len(values) != 1 or not isinstance(values[0], bytes):
        kind = features[image_feature].WhichOneof("kind")
        raise DataError(
            f"{origin}: the image feature '{image_feature}' holds {len(values)} values of kind {kind}; "
            "one encoded image (bytes) is needed."
        )
    label = None if label_feature is None else _label(example, label_feature, origin)
    return Record(values[0], label, origin)


@dataclass(frozen=True)
class _Segment:
    """Consecutive records of one file, read from ``offset``; then ``error`` as one more, if there is one."""

    path: Path
    offset: int
    first: int
    count: int
    error: DataError | None


@dataclass(frozen=True)
class _RecordsPart(Part):
    segments: tuple[_Segment, ...]
    image_feature: str
    label_feature: str | None

    def count(self) -> int:
        return sum(segment.count + (segment.error is not None) for segment in self.segments)

    def read(self, positions: Sequence[int] | None = None) -> Iterator[Record | DataError]:
        # Finding a record takes reading the frames before it, which is cheap beside decoding an image.
        wanted = None if positions is None else set(positions)
        for position, entry in enumerate(self._read_all()):
            if wanted is None or position in wanted:
                yield entry

    def _read_all(self) -> Iterator[Record | DataError]:
        for segment in self.segments:
            yield from self._read_segment(segment)
            if segment.error is not None:
                yield segment.error

    def _read_segment(self, segment: _Segment) -> Iterator[Record | DataError]:
        origin = short_name(segment.path)
        number = segment.first
        try:
            with open_records(segment.path) as stream:
                if segment.offset:
                    stream.seek(segment.offset)
                for frame in islice(read_frames(stream, origin, number, verify=True), segment.count):
                    if isinstance(frame, DataError):
                        yield frame
                    else:
                        yield self._record(frame, f"{origin}, record {number}")
                    number += 1
        except OSError as error:
            yield DataError(f"{origin}, record {number} cannot be read: {error.strerror}.")
            number += 1
        for missing in range(number, segment.first + segment.count):
            yield DataError(f"{origin}, record {missing}: the file has become shorter since it was listed.")

    def _record(self, data: bytes, origin: str) -> Record | DataError:
        try:
            return read_example(data, origin, self.image_feature, self.label_feature)
        except DataError as error:
            return error


def _segments(path: Path, listing: Listing) -> Iterator[_Segment]:
    total = len(listing.offsets)
    # A gzip file can only be read from its start, so it stays in one piece.
    size = PART_SIZE if listing.seekable else max(total, 1)
    for first in range(0, total, size):
        count = min(size, total - first)
        error = listing.error if first + count == total else None
        yield _Segment(path, listing.offsets[first], first, count, error)
    if total == 0 and listing.error is not None:
        yield _Segment(path, 0, 0, 0, listing.error)


class TFRecordSource(Source):
    """Images in TFRecord files: shards of many records, files of one record, or both."""

    def __init__(
        self, files: Sequence[Path], image_feature: str = "image", label_feature: str | None = "label"
    ) -> None:
        """Keep the list of files; none is opened yet.

        Args:
            files: The files; they are read in the given order (``natural_order`` sorts them well).
            image_feature: The feature with the encoded image, such as ``image`` or ``image/encoded``.
            label_feature: The feature with the class number, such as ``label`` or ``image/class/label``.
                None: the records have no labels, or they are not wanted.

        Raises:
            DataError: There are no files.
        """
        if not files:
            raise DataError("A TFRecord source needs at least one file, got none.")
        self._files = [Path(file) for file in files]
        self.image_feature = image_feature
        self.label_feature = label_feature

    def files(self) -> list[Path]:
        """Return the files in the order in which they are read."""
        return list(self._files)

    def settings(self) -> dict[str, str]:
        """Return the names of the features."""
        return {
            "reader": "tfrecord",
            "image_feature": self.image_feature,
            "label_feature": "" if self.label_feature is None else self.label_feature,
        }

    @cached_property
    def _listings(self) -> list[Listing]:
        return [list_records(path) for path in self._files]

    @cached_property
    def _parts(self) -> list[_RecordsPart]:
        parts: list[_RecordsPart] = []
        segments: list[_Segment] = []
        for path, listing in zip(self._files, self._listings, strict=True):
            for segment in _segments(path, listing):
                segments.append(segment)
                if sum(segment.count for segment in segments) >= PART_SIZE:
                    parts.append(_RecordsPart(tuple(segments), self.image_feature, self.label_feature))
                    segments = []
        if segments:
            parts.append(_RecordsPart(tuple(segments), self.image_feature, self.label_feature))
        return parts

    def parts(self) -> Sequence[Part]:
        """Return parts of about ``PART_SIZE`` records: pieces of shards, or many small files."""
        return self._parts

    def shards(self) -> list[int]:
        """Return the number of records in each file, what is wrong with a file counted as one more."""
        return [len(listing.offsets) + (listing.error is not None) for listing in self._listings]

    def broken(self) -> list[DataError]:
        """Return what is wrong with the files' framing: truncated, or no TFRecord files."""
        return [listing.error for listing in self._listings if listing.error is not None]


def write_records(
    path: Path, examples: Iterable[Mapping[str, bytes | int | float]], compress: bool = False
) -> None:
    """Write examples to a TFRecord file, whole or not at all; equal examples give equal files.

    Args:
        path: The file.
        examples: One mapping from feature names to values for each record.
        compress: Compress with gzip.

    Raises:
        VeduteError: The disk is full or the place cannot be written.
    """
    write_frames(
        path, (_example(values).SerializeToString(deterministic=True) for values in examples), compress
    )


def _example(values: Mapping[str, bytes | int | float]) -> example_pb2.Example:
    example = example_pb2.Example()
    for name, value in values.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.float_list.value.append(value)
    return example
