"""Aerial images: tiles agree with their masks, splits never share ground, wrong pairs are named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.aerial import AerialDataModule
from tests.data.aerial import (
    THRESHOLD,
    pattern,
    tiny_image,
    tiny_mask,
    write_inria,
    write_pair,
    write_tiff,
    write_web_map,
)
from tests.data.landscapes import shared_data
from vedute.batch import Batch
from vedute.cli import main
from vedute.data import tiles
from vedute.data.aerial_layout import Picture, find_areas, ground_groups, pictures
from vedute.data.source import Record
from vedute.data.tiles import TileSource, Windows
from vedute.errors import ConfigurationError, DataError

ROOT = Path(__file__).parents[1]


def aerial(root: Path, **options: Any) -> AerialDataModule:
    return AerialDataModule(**{"root": root, "image_size": 16, "batch_size": 2, **options})


def images_of(data: AerialDataModule, split: str) -> list[str]:
    """The pictures whose tiles are in a split."""
    part, records = data.records(split)  # type: ignore[arg-type]
    assert part == "train"
    numbers = data.sources()["train"].known_labels()
    assert numbers is not None
    return sorted({data._pictures[number].image.stem for number in numbers[records]})


def tile_records(images: Sequence[Path], masks: Sequence[Path] | None, **windows: Any) -> list[Record]:
    return [
        record for part in TileSource(images, masks, Windows(**windows)).parts() for record in part.records()
    ]


# Windows.


@pytest.mark.parametrize("split", [1, 2, 3, 5])
@pytest.mark.parametrize("suffixes", ["tif tif", "png png", "tif png", "png tif"])
def test_windows_tile_the_picture_without_gap(tmp_path: Path, split: int, suffixes: str) -> None:
    image, kinds = tiny_image(0), suffixes.split()
    paths = [tmp_path / f"{name}.{kind}" for name, kind in zip(("image", "mask"), kinds, strict=True)]
    for path, pixels in zip(paths, (image, tiny_mask(image)), strict=True):
        write_tiff(path, pixels) if path.suffix == ".tif" else Image.fromarray(pixels).save(path)
    if split == 1 and "png" in kinds:
        return  # files are handed on as they are
    records = tile_records(paths[:1], paths[1:], split=split)
    assert len(records) == split**2 and {record.label for record in records} == {0}
    for kind, whole in (("payload", image), ("mask", tiny_mask(image)[:, :, None])):
        pieces = [getattr(record, kind) for record in records]
        rows = [np.concatenate(pieces[row * split : (row + 1) * split], axis=1) for row in range(split)]
        assert np.array_equal(np.concatenate(rows), whole)


def test_some_windows_are_the_same_as_all(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(), tile=(16, 16))
    part = TileSource([path], None, Windows(split=3)).parts()[0]
    every = list(part.records())
    some = list(part.read([1, 5, 6]))
    for position, record in zip([1, 5, 6], some, strict=True):
        assert isinstance(record, Record)
        assert record.origin == every[position].origin and np.array_equal(
            record.payload, every[position].payload
        )


def test_files_that_are_not_cut_come_as_bytes(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    image, mask = tmp_path / "images" / "a.jpg", tmp_path / "masks" / "a.png"
    (record,) = tile_records([image], [mask])
    assert record.payload == image.read_bytes() and record.mask == mask.read_bytes()


def test_huge_windows_are_averaged_while_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.asarray(pattern(400, 500), dtype=np.uint8)
    paths = [
        write_tiff(tmp_path / "a.tif", image),
        write_tiff(tmp_path / "b.tif", image[:, :, 0] // 128 * 255),
    ]
    monkeypatch.setattr(tiles, "_WHOLE_BYTES", 1000)
    monkeypatch.setattr(tiles, "_STEP_BYTES", 20_000)
    (record,) = tile_records(paths[:1], paths[1:], wanted_size=(20, 20))
    assert isinstance(record.payload, np.ndarray) and isinstance(record.mask, np.ndarray)
    assert record.payload.shape == (80, 100, 3) and record.mask.shape == (80, 100, 1)
    blocks = image.reshape(80, 5, 100, 5, 3).mean(axis=(1, 3))
    assert np.abs(record.payload - blocks).max() <= 1
    assert set(np.unique(record.mask)) <= {0, 255}


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    paths = [
        write_tiff(tmp_path / "a.tif", pattern()),
        write_tiff(tmp_path / "b.tif", pattern(41, channels=1)),
    ]
    source = TileSource(paths[:1], paths[1:], Windows(split=2))
    message = r"b.tif is 41 x 56 pixels, its image .*a.tif 40 x 56"
    with pytest.raises(DataError, match=message):
        next(source.parts()[0].records())
    assert len(source.broken()) == 1 and len(list(source.parts()[0].read())) == 4


def test_a_picture_smaller_than_the_grid_is_named(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", pattern(3, 56))
    with pytest.raises(DataError, match=r"3 x 56 pixels: too small for data.split 4"):
        tile_records([path], None, split=4)


# The data set.


def test_tiles_and_masks_stay_together(tmp_path: Path) -> None:
    data = aerial(write_inria(tmp_path), split=2, load_size=24, image_size=20)
    assert data.condition_kind == "image" and data.condition_channels == 1 and data.image_size == (20, 20)
    assert sum(data.size(split) for split in ("train", "val", "test")) == 3 * 4 * 4  # type: ignore[arg-type]
    for cut in (data.batch("train", slice(None)), augmented(data)):
        assert cut.image.shape[1:] == (3, 20, 20) and cut.condition.image is not None
        assert cut.condition.image.unique().tolist() == [0, 1]
        # The tiles are stored pixel for pixel (48 / 2 = 24), so the mask follows from the image exactly.
        assert torch.equal(cut.condition.image, (cut.image[:, :1] * 255 > THRESHOLD).float())


def augmented(data: AerialDataModule) -> Batch:
    """A batch of whole stored tiles as training cuts and turns it."""
    from vedute.augment import HorizontalFlip
    from vedute.augment.crop import random_crop
    from vedute.augment.rotation import Rotate90, VerticalFlip

    stored = aerial(data._root, split=2, load_size=24, image_size=24).batch("train", slice(None))  # type: ignore[arg-type]
    batch = random_crop(stored, (20, 20))
    for augmentation in (HorizontalFlip(), VerticalFlip(), Rotate90()):
        batch = augmentation(batch)
    assert not torch.equal(batch.image, stored.image[..., 2:22, 2:22])
    return batch


def test_without_condition_masks_are_not_needed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_inria(tmp_path)
    data = aerial(root, condition="none")
    assert data.condition_kind == "none" and data.condition_channels == 0
    assert data.batch("train", [0]).condition.image is None
    (root / "train" / "gt").rename(root / "train" / "elsewhere")
    assert aerial(root, condition="none").size("train") == data.size("train")
    with pytest.raises(DataError, match=r"no folder of masks beside it.*data.condition"):
        aerial(root).size("train")


def test_the_stored_size_leaves_room_for_crops(tmp_path: Path) -> None:
    assert aerial(tmp_path, image_size=256).stored_size == (286, 286)
    assert aerial(tmp_path, image_size=(128, 256)).stored_size == (143, 286)
    with pytest.raises(ConfigurationError, match=r"data.load_size .12 x 12. must be at least"):
        aerial(tmp_path, load_size=12)


@pytest.mark.parametrize(
    ("options", "validation", "test"),
    [
        ({"validation_cities": ["Vienna"]}, "vienna 1 2 3 4", None),
        ({"validation_numbers": "1-2"}, "austin 1 2, tyrol-w 1 2, vienna 1 2", None),
        ({"validation_numbers": [4], "test_cities": ["vienna"], "validation_cities": ["austin", "tyrol-w"]},
         "austin 4, tyrol-w 4", "vienna 1 2 3 4"),
        ({"validation_numbers": "1", "test_numbers": "2, 3"}, "austin 1, tyrol-w 1, vienna 1",
         "austin 2 3, tyrol-w 2 3, vienna 2 3"),
    ],
)  # fmt: skip
def test_cities_and_numbers_are_held_out(
    tmp_path: Path, options: dict[str, Any], validation: str, test: str | None
) -> None:
    data = aerial(write_inria(tmp_path), split=2, **options)

    def names(text: str) -> set[str]:
        pieces = [piece.split() for piece in text.split(",") if piece]
        return {f"{city}{number}" for city, *numbers in pieces for number in numbers}

    every = {f"{city}{number}" for city in ("austin", "tyrol-w", "vienna") for number in range(1, 5)}
    held_out = names(validation) | names(test or "")
    assert set(images_of(data, "val")) == names(validation)
    assert set(images_of(data, "test")) == names(test or validation)
    assert set(images_of(data, "train")) == every - held_out


def test_drawn_splits_keep_the_tiles_of_a_picture_together(tmp_path: Path) -> None:
    root = write_inria(tmp_path)
    drawn = [images_of(aerial(root, split=3), split) for split in ("train", "val", "test")]
    assert sum(map(len, drawn)) == len(set().union(*drawn)) == 12 and all(drawn)
    assert drawn == [images_of(aerial(root, split=2), split) for split in ("train", "val", "test")]
    assert drawn != [images_of(aerial(root, split=2, seed=1), split) for split in ("train", "val", "test")]


def test_web_map_tiles_of_one_ground_stay_together(tmp_path: Path) -> None:
    data = aerial(write_web_map(tmp_path))
    places = []
    for split in ("train", "val", "test"):
        tiles_ = [tuple(map(int, name.split("-"))) for name in images_of(data, split)]
        places.append({(x >> (zoom - 18), y >> (zoom - 18)) for x, y, zoom in tiles_})
        assert {zoom for *_, zoom in tiles_} == {19, 20}
    assert sum(map(len, places)) == len(set().union(*places)) == 12
    by_area = aerial(data._root, validation_cities=["north"])  # type: ignore[arg-type]
    assert all(name.startswith(("1", "2")) for name in images_of(by_area, "val"))
    assert by_area.size("val") == by_area.size("train") == 30


def test_ground_is_grouped_at_the_coarsest_zoom_of_an_area() -> None:
    def tile(city: str, x: int, y: int, zoom: int) -> Picture:
        return Picture(Path(f"{x}"), None, city, None, (x, y, zoom))

    found = [tile("a", 8, 8, 10), tile("a", 9, 9, 10), tile("a", 10, 8, 10), tile("a", 35, 35, 12)]
    found += [
        tile("b", 8, 8, 10),
        Picture(Path("x"), None, "", None, None),
        Picture(Path("y"), None, "", None, None),
    ]
    assert ground_groups(found).tolist() == [0, 0, 1, 0, 2, 3, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_cities": ["viena"]}, r"no city 'viena'. Did you mean 'vienna'\? There are: austin"),
        (
            {"test_numbers": "3-9"},
            "data.test_numbers: no image has the number 5. The images have numbers from 1 to 4",
        ),
        ({"validation_numbers": "one"}, "'one' are no numbers. Write e.g. '1-5'"),
        (
            {"validation_numbers": "1-2", "test_cities": ["austin"]},
            "validate and test: austin1.tif, austin2.tif",
        ),
        ({"validation_numbers": "1-2", "test_numbers": "3-4"}, "leave no image for training"),
        ({"split": 0}, "data.split must be at least 1"),
        ({"value_range": [5, 5]}, "data.value_range must be a lower and a higher value"),
        ({"image_folder": "images"}, "together, or neither"),
    ],
)
def test_wrong_options_are_said_before_any_work(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        aerial(write_inria(tmp_path), **options).size("train")


# Layouts.


def test_every_layout_is_found(tmp_path: Path) -> None:
    inria = find_areas(write_inria(tmp_path / "a" / "AerialImageDataset").parent)
    assert list(inria) == ["train"] and inria["train"][0].masks is not None
    write_pair(tmp_path / "b", "one")
    assert [area.name for area in find_areas(tmp_path / "b")["train"]] == [""]
    web = find_areas(write_web_map(tmp_path / "c", blocks=1))
    assert [area.name for area in web["train"]] == ["north", "south"]
    for part in ("train", "val", "test"):
        write_pair(tmp_path / "d" / part, "one")
    assert list(find_areas(tmp_path / "d")) == ["train", "val", "test"]
    other = tmp_path / "e"
    write_pair(other, "one")
    (other / "images").rename(other / "rgb")
    (other / "masks").rename(other / "houses")
    with pytest.raises(DataError, match=r"holds no aerial images. Looked there"):
        find_areas(other)
    assert aerial(other, image_folder="rgb", mask_folder="houses").sources()["train"]
    with pytest.raises(DataError, match=r"nir is no folder"):
        find_areas(other, ("nir", "houses"))


def test_images_without_masks_in_test_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        find_areas(write_inria(tmp_path))
    assert "2 images without masks, which are not used" in caplog.text


def test_pairs_that_do_not_match_are_all_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a1", "b1", "c1", "d1"):
        write_pair(tmp_path, name)
    (tmp_path / "masks" / "a1.png").unlink()
    (tmp_path / "images" / "b1.jpg").unlink()
    (tmp_path / "masks" / "c1.png").rename(tmp_path / "masks" / "C1.png")
    areas = find_areas(tmp_path)["train"]
    with pytest.raises(DataError) as caught:
        pictures(areas, True, "raise")
    for expected in (
        "2 images without mask",
        "a1",
        "2 masks without image",
        "b1",
        "c1 (there is 'C1'",
        "on_error",
    ):
        assert expected in str(caught.value)
    assert [picture.image.stem for picture in pictures(areas, True, "skip")] == ["d1"]
    assert "2 images without mask" in caplog.text


def test_two_files_of_one_name_are_an_error(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    Image.fromarray(tiny_image(0)).save(tmp_path / "images" / "a.png")
    with pytest.raises(DataError, match=r"Files of one name .*: a.jpg and a.png"):
        pictures(find_areas(tmp_path)["train"], True, "raise")


def test_hidden_files_and_loops_of_links_do_not_count(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    (tmp_path / "images" / ".b.jpg").write_bytes(b"")
    (tmp_path / "images" / "loop").symlink_to(tmp_path / "images")
    assert [picture.image.name for picture in pictures(find_areas(tmp_path)["train"], True, "raise")] == [
        "a.jpg"
    ]


def test_a_broken_file_is_named_or_skipped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = write_inria(tmp_path)
    broken = root / "train" / "images" / "austin2.tif"
    broken.write_bytes(broken.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"austin2.tif claims 48 x 48 pixels"):
        aerial(root, split=2).size("train")
    data = aerial(root, split=2, on_error="skip")
    assert sum(data.size(split) for split in ("train", "val", "test")) == 11 * 4  # type: ignore[arg-type]
    assert "austin2.tif" in capfd.readouterr().err


def test_deep_tiffs_take_their_value_range(tmp_path: Path) -> None:
    for number in range(1, 5):
        values = (pattern(32, 32, dtype="float32", seed=number) * 2047).astype(np.uint16)
        write_tiff(tmp_path / "images" / f"a{number}.tif", values)
    dark = aerial(tmp_path, condition="none", image_size=32, load_size=32)
    bright = aerial(tmp_path, condition="none", image_size=32, load_size=32, value_range=[0, 2047])
    assert float(dark.batch("train", [0]).image.max()) < 0.04
    assert float(bright.batch("train", [0]).image.mean()) == pytest.approx(0.5, abs=0.1)


# Real files.


@pytest.mark.parametrize(
    "options",
    ["", "inria-layout --data.validation_cities [zanzibar]", "--data.test_cities [nepal] --data.split 1"],
)
def test_real_images_train(options: str, tmp_path: Path) -> None:
    folder, _, rest = options.partition(" ") if options.startswith("inria") else ("", "", options)
    root = shared_data("aerial") / folder
    small = "--data.image_size 32 --data.batch_size 8 --trainer.limit_train_batches 2 --trainer.max_epochs 1"
    short = f"--trainer.limit_val_batches 1 --trainer.default_root_dir {tmp_path} {rest}"
    config = str(ROOT / "configs" / "vae_aerial.yaml")
    assert main(["fit", "--config", config, "--data.root", str(root), *small.split(), *short.split()]) == 0
