"""The pictures datamodule: any folder of pictures, through ``fit`` and by itself."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.pictures import PicturesDataModule
from tests.data.commands import failed
from tests.data.landscapes import encoded, shared_data
from tests.data.pictures import picture_file, write_tiny_pictures
from vedute.checkpoints import load_datamodule
from vedute.cli import main
from vedute.data.decoding import Preparation, decode_image
from vedute.errors import DataError

CONFIG = Path(__file__).parents[1] / "configs" / "vae_pictures.yaml"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path / "cache"))
    caplog.set_level(logging.INFO, logger="vedute")


def test_promises_of_pictures_without_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = PicturesDataModule(root=write_tiny_pictures(tmp_path / "set"), image_size=16)
    assert (data.image_size, data.image_channels) == ((16, 16), 3)
    assert (data.condition_kind, data.condition_names, data.condition_channels) == ("none", [], 0)
    assert [data.size(split) for split in ("train", "val", "test")] == [24, 3, 3]
    assert data.train_size == 24
    batch = data.batch("train", [0, 5])
    assert batch.image.shape == (2, 3, 16, 16) and batch.condition.vector is None
    assert "30 pictures; passed over files of other kinds: 2 .txt, 1 without a suffix" in caplog.text


def test_every_picture_is_in_one_split_as_it_is_decoded(tmp_path: Path) -> None:
    root = write_tiny_pictures(tmp_path / "set")
    data = PicturesDataModule(root=root, image_size=16)
    paths = sorted(
        (path for path in root.rglob("*.*") if path.suffix.lower() != ".txt" and "/." not in str(path)),
        key=lambda path: int(path.stem),
    )
    expected = {decode_image(path.read_bytes(), Preparation((16, 16))).tobytes() for path in paths}
    assert len(expected) == 30
    found = [
        (image * 255).round().byte().permute(1, 2, 0).contiguous().numpy().tobytes()
        for split in ("train", "val", "test")
        for image in data.batch(split, slice(None)).image
    ]
    assert len(found) == 30 and set(found) == expected


def test_splits_are_drawn_by_seed(tmp_path: Path) -> None:
    root = write_tiny_pictures(tmp_path / "set")

    def validation(**options: object) -> torch.Tensor:
        return PicturesDataModule(root=root, image_size=16, **options).batch("val", slice(None)).image

    assert torch.equal(validation(seed=1), validation(seed=1))
    assert not torch.equal(validation(seed=1), validation(seed=2))
    assert len(validation(validation_share=0.5)) > 10


def test_pictures_become_of_one_size_as_asked(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200
    for number in range(10):
        (root / f"{number}.png").write_bytes(encoded(wide, "PNG"))
    means = {}
    for resize in ("crop", "pad", "stretch"):
        data = PicturesDataModule(root=root, image_size=(12, 12), resize=resize, image_channels=1)
        means[resize] = float(data.batch("train", [0]).image.mean() * 255)
    assert means["crop"] == pytest.approx(200, abs=1)
    assert means["stretch"] == pytest.approx(200 / 3, abs=3)
    assert means["pad"] == pytest.approx(200 / 9, abs=3)


def test_alpha_is_a_channel_where_it_is_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    for number in range(10):
        Image.new("RGBA", (16, 16), (255, 0, 0, 128)).save(root / f"{number}.png")
    data = PicturesDataModule(root=root, image_size=16, image_channels=4)
    pixel = data.batch("train", [0]).image[0, :, 3, 3] * 255
    assert pixel.tolist() == pytest.approx([255, 0, 0, 128], abs=1)
    white = PicturesDataModule(root=root, image_size=16).batch("train", [0]).image[0, :, 3, 3] * 255
    assert white.tolist() == pytest.approx([255, 127, 127], abs=1)


def test_names_that_differ_only_in_case_are_two_pictures(tmp_path: Path) -> None:
    root = tmp_path / "set"
    (root / "x").mkdir(parents=True)
    for name in ("a.jpg", "A.jpg", "a.JPG", "x/a.jpg"):
        (root / name).write_bytes(picture_file(len(name)))
    if len(list(root.rglob("*.[jJ]*"))) < 4:
        pytest.skip("this file system takes the names for one")
    data = PicturesDataModule(root=root, image_size=16)
    assert sum(data.size(split) for split in ("train", "val", "test")) == 4


def test_loops_of_links_end(tmp_path: Path) -> None:
    root = write_tiny_pictures(tmp_path / "set")
    (root / "b" / "again").symlink_to(root, target_is_directory=True)
    (root / "broken.jpg").symlink_to(root / "nowhere.jpg")
    data = PicturesDataModule(root=root, image_size=16)
    assert data.train_size == 24


# What goes wrong


def test_a_folder_without_pictures_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match=r"holds no pictures.*\.jpg.*no files at all\. Check data\.root"):
        _ = PicturesDataModule(root=tmp_path / "set").train_size
    for number in range(7):
        (tmp_path / "set" / f"{number}.s{number % 6}").touch()
    with pytest.raises(DataError, match=r"other files: 2 \.s0, .*, 1 others"):
        _ = PicturesDataModule(root=tmp_path / "set").train_size


def test_a_broken_picture_is_named_or_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_tiny_pictures(tmp_path / "set")
    (root / "a" / "cut.jpg").write_bytes(picture_file(3, size=(60, 60))[:600])
    (root / "empty.png").touch()
    with (root / "large.tif").open("wb") as file:
        file.truncate(3 * 10**9)  # sparse: takes no room
    command = ["fit", "--config", str(CONFIG), "--data.root", str(root), "--data.image_size", "16"]
    message = failed(capsys, *command, "--trainer.default_root_dir", str(tmp_path))
    assert "cut.jpg" in message or "empty.png" in message or "large.tif" in message
    assert "on_error" in message
    data = PicturesDataModule(root=root, image_size=16, on_error="skip")
    assert data.train_size == 24
    skipped = " ".join(data.prepared()["train"].skipped)
    for said in ("a/cut.jpg: the payload is a damaged image", "empty.png is empty", "large.tif has 3,000 MB"):
        assert said in skipped


@pytest.mark.parametrize(("name", "said"), [("one.jpg", "is no folder"), ("nowhere", "does not exist")])
def test_a_root_that_is_no_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    (tmp_path / "one.jpg").write_bytes(picture_file(0))
    message = failed(capsys, "fit", "--config", CONFIG, "--data.root", tmp_path / name)
    assert said in message and "data.root" in message


# Through the command line


def test_fit_on_pictures_of_ones_own(tmp_path: Path) -> None:
    root = write_tiny_pictures(tmp_path / "set")
    options = "--data.image_size 32 --data.batch_size 8 --data.resize pad --trainer.max_epochs 1"
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", "--config", str(CONFIG), "--data.root", str(root), *options.split(), *quiet]) == 0
    checkpoint = tmp_path / "runs" / "vae_pictures" / "0" / "checkpoints" / "last.ckpt"
    data = load_datamodule(checkpoint)
    assert isinstance(data, PicturesDataModule)
    assert data.preparation().resize == "pad" and data.size("test") == 3
    picture = tmp_path / "grid.png"
    assert main(["sample", "--checkpoint", str(checkpoint), "--count", "4", "--output", str(picture)]) == 0
    assert Image.open(picture).width >= 64


def test_real_pictures_of_many_sizes_are_prepared() -> None:
    data = PicturesDataModule(root=shared_data("pictures"), image_size=32)
    assert sum(data.size(split) for split in ("train", "val", "test")) == 200
    assert data.prepared()["train"].skipped == []
    assert 0.2 < float(data.batch("train", slice(None)).image.mean()) < 0.8
