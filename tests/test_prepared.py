"""Prepared images in several files, with masks, with labels that change; and the same decoded on demand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.landscapes import encoded, tiny_landscape
from vedute.data.cache import Preparation, PreparedImages, prepare
from vedute.data.image_files import FileSource, image_files
from vedute.data.streaming import DecodedImages
from vedute.errors import DataError

COUNT = 700  # six parts of up to 128
SIZE = Preparation((8, 8))


def colour(row: int) -> np.ndarray:
    return np.full((8, 8, 3), (row % 256, row // 256, 7), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for row in range(COUNT):
        (folder / f"{row}.png").write_bytes(encoded(colour(row), "PNG"))
    for row in (5, *range(256, 512), 699):  # one file of the cache has nothing else
        (folder / f"{row}.png").write_bytes(b"broken")
    return folder


def numbers(images: torch.Tensor) -> list[int]:
    """Return which pictures these are."""
    return (images[:, 0, 0, 0].int() + 256 * images[:, 1, 0, 0].int()).tolist()


@pytest.mark.parametrize("shard_size", [256, 16384])
def test_files_and_what_is_left_out_change_no_image(folder: Path, tmp_path: Path, shard_size: int) -> None:
    source = FileSource(image_files(folder), np.arange(COUNT))
    prepared = prepare(
        source, SIZE, name="a", cache=tmp_path, on_error="skip", shard_size=shard_size, progress=False
    )
    kept = [row for row in range(COUNT) if row not in (5, *range(256, 512), 699)]
    assert prepared.shards == ([255, 187] if shard_size == 256 else [442])
    assert len(list(prepared.folder.glob("images-*.npy"))) == len(prepared.shards)
    assert prepared.records.tolist() == prepared.labels.tolist() == kept
    order = np.random.default_rng(0).permutation(len(kept))
    assert numbers(prepared.gather(order)) == [kept[row] for row in order]
    assert prepared.gather(order).is_contiguous(memory_format=torch.channels_last)
    assert len(prepared.gather(torch.arange(0))) == 0
    with pytest.raises(IndexError):
        prepared.gather(torch.tensor([0, len(kept)]))


def test_other_labels_of_the_same_files_need_no_preparation(folder: Path, tmp_path: Path) -> None:
    def run(labels: np.ndarray) -> PreparedImages:
        source = FileSource(image_files(folder), labels)
        return prepare(source, SIZE, name="a", cache=tmp_path, on_error="skip", progress=False)

    first = run(np.arange(COUNT))
    before = first.folder.stat().st_mtime_ns
    second = run(np.arange(COUNT)[::-1])
    assert second.folder == first.folder and second.folder.stat().st_mtime_ns == before
    assert (second.labels == COUNT - 1 - first.labels).all()


def write_pairs(folder: Path, masks: list[np.ndarray]) -> FileSource:
    """Write pictures with these masks."""
    for row, mask in enumerate(masks):
        for name, pixels in (("images", tiny_landscape(0, row, (16, 16))), ("masks", mask)):
            (folder / name).mkdir(exist_ok=True)
            (folder / name / f"{row}.png").write_bytes(encoded(pixels, "PNG"))
    return FileSource(image_files(folder / "images"), None, image_files(folder / "masks"))


def test_masks_lie_behind_the_image_and_are_black_or_white(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = np.zeros((16, 16), dtype=np.uint8)
    half[:, 8:] = 255
    grey = np.linspace(0, 255, 256).astype(np.uint8).reshape(16, 16)
    source = write_pairs(tmp_path, [half, half // 255, grey])
    prepared = prepare(source, Preparation((16, 16), mask=True), name="pairs", cache=tmp_path / "cache")
    assert prepared.shape == (3, 16, 16, 4) and prepared.unclear_masks == 1
    assert "1 masks hold more than two values" in capsys.readouterr().err
    masks = prepared.gather(torch.arange(3))[:, 3].numpy()
    assert (masks[0] == half).all() and (masks[1] == half).all() and (masks[2] == 255 * (grey >= 128)).all()


def test_a_mask_of_another_size_is_an_error(tmp_path: Path) -> None:
    source = write_pairs(tmp_path, [np.zeros((16, 16), dtype=np.uint8), np.zeros((8, 16), dtype=np.uint8)])
    with pytest.raises(DataError, match=r"1\.png.*mask"):
        prepare(
            source, Preparation((8, 8), mask=True), name="pairs", cache=tmp_path / "cache", progress=False
        )


def test_decoding_on_demand_gives_the_prepared_pixels(tmp_path: Path) -> None:
    grey = np.linspace(0, 255, 256).astype(np.uint8).reshape(16, 16)
    source = write_pairs(tmp_path, [grey, grey.T, grey[::-1]] * 3)
    preparation = Preparation((8, 12), mask=True)
    prepared = prepare(source, preparation, name="pairs", cache=tmp_path / "cache", progress=False)
    rows = torch.tensor([7, 0, 0, 3, 8])
    streamed = DecodedImages(source, preparation)
    assert len(streamed) == 9 and torch.equal(streamed.gather(rows), prepared.gather(rows))
