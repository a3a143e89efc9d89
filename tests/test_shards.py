"""Tar shards: read like any other data set, or streamed."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.landscapes import LandscapesDataModule
from datamodules.shards import ShardsDataModule
from tests.data.commands import failed
from tests.data.landscapes import CLASS_NAMES, encoded, tiny_landscape, write_tiny_landscapes
from tests.data.shards import write_shards
from vedute.cli import main
from vedute.data.source import Record
from vedute.data.tar_shards import TarSource
from vedute.errors import DataError

pytest.importorskip("webdataset")
ROOT = Path(__file__).parents[1]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return write_shards(tmp_path / "shards")


def open_shards(root: Path, **options: object) -> ShardsDataModule:
    return ShardsDataModule(root=root, image_size=32, batch_size=8, **options)


def test_any_record_can_be_read_from_its_place(shards: Path) -> None:
    source = TarSource(sorted((shards / "train").glob("*.tar")), ["cls", "json.kind"])
    assert len(source) == 60 and source.shards() == [16, 16, 16, 12]
    read = [entry for entry in source.read([3, 15, 16, 59]) if isinstance(entry, Record)]
    assert [record.label for record in read] == [3, 15, 16, 59]
    for record in read:
        assert record.payload == encoded(tiny_landscape(record.label % 5, record.label))
    assert source.field("cls")[:6] == ["0", "1", "2", "3", "4", "0"]
    assert source.field("json.kind")[:2] == ["Coast", "Desert"]


@pytest.mark.parametrize("label", ["cls", "json.kind"])
def test_prepared_and_streamed_batches_are_equal(shards: Path, label: str) -> None:
    names = list(CLASS_NAMES) if label == "cls" else None
    prepared = open_shards(shards, label=label, class_names=names)
    streamed = open_shards(shards, label=label, class_names=names, residence="stream")
    assert prepared.condition_names == streamed.condition_names == list(CLASS_NAMES)
    for split in ("train", "val", "test"):
        rows = torch.arange(prepared.size(split)).flip(0)
        one, two = prepared.batch(split, rows), streamed.batch(split, rows)
        assert torch.equal(one.image, two.image) and torch.equal(one.condition.vector, two.condition.vector)
    assert not streamed.prepared()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_streamed_epoch_is_exact(shards: Path, workers: int) -> None:
    data = open_shards(shards, residence="stream", shuffle="shards", num_workers=workers)
    loader = data.train_dataloader()
    batches = list(loader)
    assert len(loader) == len(batches) == 60 // 8
    seen = torch.cat([batch.index for batch in batches]).tolist()
    assert len(set(seen)) == 56
    expected = np.stack([tiny_landscape(row % 5, row) for row in seen[:8]]).astype(float)
    found = batches[0].image.permute(0, 2, 3, 1).numpy().astype(float)
    assert np.abs(found - expected).mean() < 4  # JPEG


def test_scores_come_from_json(shards: Path) -> None:
    data = open_shards(shards, label=None, scores=["json.brightness"])
    assert data.condition_kind == "score" and data.condition_names == ["brightness"]
    vector = data.batch("train", slice(None)).condition.vector
    assert vector.mean().item() == pytest.approx(0, abs=1e-5)
    scores = vector[:, 0] * data.condition_scale[0] + data.condition_mean[0]
    pictures = [tiny_landscape(row % 5, row).mean() for row in range(60)]
    assert scores.numpy() == pytest.approx(np.array(pictures), rel=1e-4)


def test_a_broken_image_stops_a_stream_or_is_stood_in_for(
    shards: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = sorted((shards / "train").glob("*.tar"))[0]
    with tarfile.open(path, "a") as tar:
        (shards / "bad.jpg").write_bytes(b"\xff\xd8\xff nothing")
        tar.add(shards / "bad.jpg", "zzz.jpg")
        (shards / "bad.cls").write_text("1")
        tar.add(shards / "bad.cls", "zzz.cls")
    row = 16
    with pytest.raises(DataError, match=r"zzz.*leave broken images out"):
        open_shards(shards, residence="stream").batch("train", [row])
    batch = open_shards(shards, residence="stream", on_error="skip").batch("train", [row, row + 1])
    assert torch.equal(batch.image[0], batch.image[1]) and "zzz" in caplog.text
    # The stand-in comes with its own label and index.
    assert torch.equal(batch.condition.vector[0], batch.condition.vector[1])
    assert batch.index.tolist() == [row + 1, row + 1]


def test_bad_shards_are_refused(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = f"--data={ROOT / 'configs/data/shards.yaml'}"
    config = f"--config={ROOT / 'configs/cvae_shards.yaml'}"

    def message(*options: str) -> str:
        return failed(capsys, "fit", config, data, f"--data.root={shards}", *options)

    assert "no 'json.colour'" in message("--data.label=json.colour")
    assert "members end in: cls, jpg, json" in message("--data.label=txt")
    assert "cannot both" in message("--data.scores=[json.brightness]")
    assert "holds something that is no number" in message("--data.label=null", "--data.scores=[json.kind]")
    assert "has no mask" in message("--data.mask=mask.png")
    assert "need data.label" in message("--data.label=null", "--data.classes=[cat]")
    assert "a name twice" in message("--data.class_names=[a, b, A]")
    (tmp_path / "zip" / "train").mkdir(parents=True)
    with tarfile.open(tmp_path / "zip" / "train" / "0.tar", "w:gz"):
        pass
    assert "no plain tar file" in message(f"--data.root={tmp_path / 'zip'}")
    cut = sorted((shards / "val").glob("*.tar"))[0]
    cut.write_bytes(cut.read_bytes()[:1300])
    assert "damaged" in message()
    (tmp_path / "empty").mkdir()
    assert "holds no shards" in message(f"--data.root={tmp_path / 'empty'}")


def test_the_index_is_kept_and_follows_the_file(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted((shards / "train").glob("*.tar"))
    assert len(TarSource(paths)) == 60
    monkeypatch.setattr(tarfile, "open", lambda *_: pytest.fail("listed again"))
    assert len(TarSource(paths)) == 60
    monkeypatch.undo()
    paths[0].write_bytes(paths[1].read_bytes())
    assert len(TarSource([paths[0], paths[3]])) == 28


def test_fit_streams_shards(shards: Path, tmp_path: Path) -> None:
    config = ROOT / "configs" / "cvae_shards.yaml"
    small = "--data.image_size 32 --data.batch_size 8 --data.num_workers 0 --trainer.max_epochs 1"
    options = [*small.split(), "--data.root", str(shards), "--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", "--config", str(config), *options, "--trainer.enable_progress_bar", "false"]) == 0


def test_extensions_may_be_written_in_any_case_and_with_a_dot(shards: Path) -> None:
    assert open_shards(shards, label=".CLS").condition_names == ["0", "1", "2", "3", "4"]


def test_classes_may_be_chosen_by_number(shards: Path) -> None:
    data = open_shards(shards, classes=[1, "3"])
    assert data.condition_names == ["1", "3"] and data.size("train") == 24


def test_a_streamed_set_leaves_out_records_that_cannot_be_read_at_all(tmp_path: Path) -> None:
    root = write_tiny_landscapes(tmp_path, {"Train": 40, "Valid": 10})
    path = root / "TFrecords" / "Train" / "1.tfrecord"
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(bytes(data))
    options = {"root": root, "image_size": 32, "on_error": "skip"}
    prepared = LandscapesDataModule(**options)
    streamed = LandscapesDataModule(**options, residence="stream", shuffle="shards")
    assert prepared.size("train") == streamed.size("train")
    assert (prepared.records("train")[1] == streamed.records("train")[1]).all()
    rows = slice(None)
    assert torch.equal(prepared.batch("train", rows).image, streamed.batch("train", rows).image)
    with pytest.raises(DataError):
        LandscapesDataModule(root=root, image_size=32, residence="stream").size("train")
