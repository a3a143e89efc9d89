"""The landscapes datamodule, and through it what every image datamodule promises."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch import nn

from datamodules.base import ImageDataModule
from datamodules.landscapes import LandscapesDataModule
from tests.data.landscapes import shared_data
from vedute.augment import CutOut, Grayscale, HorizontalFlip, Kornia
from vedute.batch import Batch
from vedute.data.order import BatchOrder
from vedute.data.tfrecord import write_records
from vedute.errors import ConfigurationError, DataError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path / "cache"))
    caplog.set_level(logging.INFO, logger="vedute")


def png(number: int) -> bytes:
    """Encode a small image that tells its number by its red and green, on noise that survives no blur."""
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = number % 256, number // 256, 100
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def numbers(batch: Batch) -> list[int]:
    """Read the numbers of images back."""
    pixels = (batch.image[:, :2, 5, 5] * 255).round().long()
    return (pixels[:, 0] + 256 * pixels[:, 1]).tolist()


def write_part(folder: Path, labels: Sequence[int], first: int = 0) -> None:
    """Write one record per file (the archive's way) with images numbered from ``first``."""
    folder.mkdir(parents=True)
    for position, label in enumerate(labels):
        record = {"image": png(first + position), "label": label}
        write_records(folder / f"{position}.tfrecord", [record])


def write_set(root: Path, train: Sequence[int], val: Sequence[int] = (), test: Sequence[int] = ()) -> Path:
    write_part(root / "Train", train)
    if val:
        write_part(root / "Valid", val, first=1000)
    if test:
        write_part(root / "Test", test, first=2000)
    return root


def all_numbers(data: ImageDataModule, split: str) -> list[int]:
    return numbers(data.batch(split, slice(None)))


def landscapes(root: Path, **options: object) -> LandscapesDataModule:
    return LandscapesDataModule(root=str(root), image_size=16, **options)


ALL = [0, 1, 2, 3, 4]


def test_promises_on_a_full_set(tmp_path: Path) -> None:
    data = landscapes(write_set(tmp_path / "set", ALL * 4, ALL * 2, ALL))
    assert data.image_size == (16, 16)
    assert data.image_channels == 3
    assert data.condition_kind == "class"
    assert data.condition_names == ["coast", "desert", "forest", "glacier", "mountain"]
    assert (data.condition_size, data.train_size) == (5, 20)
    assert [data.size(split) for split in ("train", "val", "test")] == [20, 10, 5]
    assert data.labels("val").tolist() == ALL * 2
    batch = data.batch("val", [7, 0])
    assert numbers(batch) == [1007, 1000]
    assert batch.image.dtype == torch.float32 and batch.image.shape == (2, 3, 16, 16)
    torch.testing.assert_close(batch.image[:, 2], torch.full((2, 16, 16), 100 / 255))
    assert batch.condition.vector.argmax(1).tolist() == [2, 0]
    assert batch.index.tolist() == [7, 0]


def test_size_may_differ_by_side_and_channels_may_be_one(tmp_path: Path) -> None:
    data = LandscapesDataModule(
        root=write_set(tmp_path / "set", ALL, ALL), image_size=(8, 24), image_channels=1
    )
    assert data.image_size == (8, 24)
    assert data.batch("train", [0]).image.shape == (1, 1, 8, 24)


def test_a_hole_in_the_label_map_gives_the_classes_that_exist(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = landscapes(write_set(tmp_path / "set", [0, 2, 3, 4], [4, 3, 2, 0]))
    assert data.condition_names == ["coast", "forest", "glacier", "mountain"]
    assert data.labels("val").tolist() == [3, 2, 1, 0]
    assert data.batch("val", [0]).condition.vector.tolist() == [[0, 0, 0, 1]]
    assert "no image of: desert" in caplog.text


def test_a_class_filter_renumbers_in_the_order_of_the_map_and_keeps_names(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", ALL * 3, ALL)
    data = landscapes(root, classes=["Glacier", "desert"])
    assert data.condition_names == ["desert", "glacier"]
    assert data.train_size == 6
    assert data.labels("train").tolist() == [0, 1] * 3
    assert all_numbers(data, "val") == [1001, 1003]


def test_an_unknown_class_suggests_the_nearest(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", [0, 2], [0, 2])
    with pytest.raises(ConfigurationError, match=r"Unknown class 'glaciar'\. Did you mean 'glacier'"):
        _ = landscapes(root, classes=["glaciar"]).condition_names
    with pytest.raises(ConfigurationError, match=r"no image of 'desert'\. It has: coast, forest"):
        _ = landscapes(root, classes=["desert"]).condition_names
    with pytest.raises(ConfigurationError, match=r"data\.classes is empty"):
        _ = landscapes(root, classes=[]).condition_names


def test_a_label_outside_the_names_names_the_record(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", [0, 1, 7, 2], ALL)
    with pytest.raises(DataError, match=r"2\.tfrecord.*has the label 7, which has no name.*4 mountain"):
        _ = landscapes(root).train_size


def test_class_names_and_features_of_foreign_sets(tmp_path: Path) -> None:
    root = tmp_path / "foreign"
    root.mkdir()
    for name in ("train-0", "test-0"):
        records = [{"image/encoded": png(i), "image/class/label": 1 + i % 2} for i in range(8)]
        write_records(root / f"{name}.tfrecord", records)
    options = {"image_feature": "image/encoded", "label_feature": "image/class/label"}
    data = landscapes(root, class_names={"1": "cat", "2": "dog"}, validation_share=0.5, **options)
    assert data.condition_names == ["cat", "dog"]
    assert [data.size(split) for split in ("train", "val", "test")] == [4, 4, 8]
    assert landscapes(root, class_names=["none", "cat", "dog"], **options).condition_names == ["cat", "dog"]
    unlabelled = landscapes(root, image_feature="image/encoded", label_feature=None)
    assert (unlabelled.condition_kind, unlabelled.condition_names) == ("none", [])
    assert unlabelled.batch("train", [0]).condition.vector is None
    with pytest.raises(ConfigurationError, match="a name twice"):
        landscapes(root, class_names=["cat", "Cat"])


# Layouts


@pytest.mark.parametrize(
    "below", ["", "TFrecords", "Landscape Classification/Landscape Classification/TFrecords"]
)
def test_records_are_found_as_the_archive_unpacks(tmp_path: Path, below: str) -> None:
    write_set(tmp_path / "set" / below, ALL * 2, ALL, ALL)
    assert landscapes(tmp_path / "set").train_size == 10


def test_shards_directly_in_the_root_are_accepted(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    for shard in range(2):
        records = [{"image": png(100 * shard + i), "label": i % 5} for i in range(50)]
        write_records(root / f"{shard:05d}.tfrecord", records)
    data = landscapes(root)
    assert [data.size(split) for split in ("train", "val", "test")] == [80, 10, 10]


def write_class_folders(root: Path, names: Sequence[str] = ("Coast", "Desert", "Forest")) -> None:
    for part, count in (("Training Data", 4), ("Validation Data", 2), ("Testing Data", 1)):
        for label, name in enumerate(names):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{name}-{i}.png").write_bytes(png(10 * label + i))


@pytest.mark.parametrize("below", ["", "Landscape Classification/Landscape Classification"])
def test_class_folders_are_read_where_there_are_no_records(tmp_path: Path, below: str) -> None:
    write_class_folders(tmp_path / "set" / below)
    data = landscapes(tmp_path / "set")
    assert data.condition_names == ["coast", "desert", "forest"]
    assert [data.size(split) for split in ("train", "val", "test")] == [12, 6, 3]
    assert all(number // 10 == label for number, label in
               zip(all_numbers(data, "train"), data.labels("train"), strict=True))  # fmt: skip


def test_records_come_first_where_both_are_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_class_folders(tmp_path / "set")
    write_set(tmp_path / "set" / "TFrecords", ALL * 2, ALL)
    assert landscapes(tmp_path / "set").train_size == 10
    assert "reading the TFRecords" in caplog.text


def test_a_class_folder_without_a_class_suggests_the_nearest(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "set", ["Coast", "Dessert"])
    with pytest.raises(DataError, match=r"'Dessert'\. Did you mean 'desert'"):
        _ = landscapes(tmp_path / "set").train_size


def test_roots_without_data_name_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        _ = landscapes(tmp_path / "nowhere").train_size
    (tmp_path / "empty" / "some" / "folder").mkdir(parents=True)
    with pytest.raises(DataError, match=r"Train, Valid, Test with \*\.tfrecord.*Training Data"):
        _ = landscapes(tmp_path / "empty").train_size
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is no folder"):
        _ = landscapes(tmp_path / "file").train_size
    write_set(tmp_path / "half", ALL)
    (tmp_path / "half" / "Valid").mkdir()
    with pytest.raises(DataError, match="Valid holds no file named"):
        _ = landscapes(tmp_path / "half").train_size


# Splits


@pytest.mark.parametrize("shipped", ["train", "train val", "train test", "train val test"])
@pytest.mark.parametrize("share", [None, 0.25])
def test_splits_are_disjoint_complete_and_drawn_evenly_from_the_classes(
    tmp_path: Path, shipped: str, share: float | None
) -> None:
    val, test = ALL * 2 if "val" in shipped else [], ALL if "test" in shipped else []
    root = write_set(tmp_path / "set", ALL * 20, val, test)
    data = landscapes(root, validation_share=share)
    splits = {split: all_numbers(data, split) for split in ("train", "val", "test")}
    assert not set(splits["train"]) & (set(splits["val"]) | set(splits["test"]))
    own_test = "test" in shipped or "val" not in shipped or share is not None
    assert set(splits["val"]).isdisjoint(splits["test"]) == own_test
    from_train = {number for numbers in splits.values() for number in numbers if number < 1000}
    assert from_train == set(range(100))
    if share is not None or "val" not in shipped:
        assert len(splits["val"]) == round(100 * (share or 0.1))
        assert set(np.bincount(data.labels("val"))) == {len(splits["val"]) // 5}
    else:
        assert splits["val"] == list(range(1000, 1010))
    if "test" in shipped:
        assert splits["test"] == list(range(2000, 2005))
    elif "val" in shipped:
        assert splits["test"] == list(range(1000, 1010))
    else:
        assert np.bincount(data.labels("test")).tolist() == [2] * 5
    again = landscapes(root, validation_share=share)
    assert {split: all_numbers(again, split) for split in splits} == splits


def test_another_seed_draws_other_splits_and_a_filter_draws_the_same(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", ALL * 20)
    first, other = landscapes(root), landscapes(root, seed=1)
    assert set(all_numbers(first, "val")) != set(all_numbers(other, "val"))
    coast = {number for number in all_numbers(first, "val") if number % 5 == 0}
    assert set(all_numbers(landscapes(root, classes=["coast"]), "val")) == coast


def test_impossible_shares_are_refused(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", ALL, ALL)
    for share in (0.0, 1.0, -0.1):
        with pytest.raises(ConfigurationError, match=r"validation_share must lie in \(0, 1\)"):
            _ = landscapes(root, validation_share=share).train_size


# Loading and augmentation


class Recorder(LightningModule):
    """Remembers the batches that reach the training and the validation step."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.train_batches: list[Batch] = []
        self.val_batches: list[Batch] = []

    def training_step(self, batch: Batch) -> torch.Tensor:
        self.train_batches.append(batch)
        return self.layer(torch.ones(1)).sum()

    def validation_step(self, batch: Batch) -> None:
        self.val_batches.append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data: ImageDataModule, epochs: int = 1, **options: object) -> Recorder:
    module = Recorder()
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", num_sanity_val_steps=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, **options,
    )  # fmt: skip
    trainer.fit(module, data)
    return module


def test_training_batches_are_float_full_and_shuffled_and_validation_is_complete(tmp_path: Path) -> None:
    data = landscapes(write_set(tmp_path / "set", ALL * 5, ALL * 2), batch_size=8)
    module = fit(data, epochs=2)
    assert [len(batch) for batch in module.train_batches] == [8] * 6
    for batch in module.train_batches:
        assert batch.image.dtype == torch.float32 and batch.image.max() <= 1 and batch.target is None
        assert numbers(batch) == batch.index.tolist()
        assert batch.image.is_contiguous(memory_format=torch.channels_last)
    assert numbers(module.train_batches[0]) != numbers(module.train_batches[3])
    assert [number for batch in module.val_batches[1:3] for number in numbers(batch)] == list(
        range(1000, 1010)
    )


@pytest.mark.parametrize("residence", ["memory", "device"])
def test_residence_changes_no_batch(tmp_path: Path, residence: str) -> None:
    root = write_set(tmp_path / "set", ALL * 5, ALL)
    disk = fit(landscapes(root, batch_size=8))
    other = fit(landscapes(root, batch_size=8, residence=residence))
    pairs = zip(disk.train_batches + disk.val_batches, other.train_batches + other.val_batches, strict=True)
    for expected, batch in pairs:
        assert torch.equal(expected.image, batch.image)
        assert torch.equal(expected.condition.vector, batch.condition.vector)
        assert torch.equal(expected.index, batch.index)


def test_augmentation_happens_in_training_only_and_the_target_can_stay_original(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", ALL * 2, ALL)
    module = fit(landscapes(root, batch_size=10, augmentations=[CutOut(1.0)], target="original"))
    batch = module.train_batches[0]
    masked = (batch.image == 0).all(dim=1)
    assert masked.flatten(1).any(dim=1).all()
    assert numbers(Batch(batch.target)) == batch.index.tolist()
    torch.testing.assert_close(batch.condition.vector.sum(1), 1 - masked.float().mean(dim=(1, 2)))
    for batch in module.val_batches:
        assert not (batch.image == 0).all(dim=1).any()
        assert batch.target is None
        assert torch.equal(batch.condition.vector.sum(1), torch.ones(len(batch)))


def test_an_augmented_target_is_the_image_itself(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", ALL * 2, ALL)
    module = fit(landscapes(root, batch_size=10, augmentations=[Grayscale(1.0)]))
    batch = module.train_batches[0]
    assert batch.target is None
    torch.testing.assert_close(batch.image[:, 0], batch.image[:, 2])


def test_an_extended_set_grows_and_every_copy_comes_once_an_epoch(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", ALL * 2, ALL)
    data = landscapes(
        root,
        batch_size=10,
        augmentations=[Grayscale(), CutOut()],
        augmentation_mode="extend",
        target="original",
    )
    assert (data.train_size, data.size("train"), len(data.labels("train"))) == (110, 10, 10)
    batches = fit(data).train_batches
    assert len(batches) == 11
    index = torch.cat([batch.index for batch in batches])
    assert index.bincount().tolist() == [11] * 10
    image, target = (
        torch.cat([batch.image for batch in batches]),
        torch.cat([batch.target for batch in batches]),
    )
    assert numbers(Batch(target)) == index.tolist()
    cut = (image == 0).all(dim=1).flatten(1).any(dim=1)
    grey = (image[:, 0] == image[:, 2]).all(dim=(1, 2)) & ~cut
    assert (cut.sum(), grey.sum()) == (90, 10)
    fuzzy = torch.cat([batch.condition.vector for batch in batches]).sum(1)
    assert (fuzzy[cut] < 1).all() and (fuzzy[~cut] == 1).all()
    from kornia.augmentation import RandomVerticalFlip

    for augmentations in ([], [HorizontalFlip(), Kornia(RandomVerticalFlip())]):
        with pytest.raises(ConfigurationError, match="fixed number of copies"):
            landscapes(root, augmentations=augmentations, augmentation_mode="extend")


def test_a_batch_without_a_trainer_becomes_float_and_is_not_augmented(tmp_path: Path) -> None:
    data = landscapes(write_set(tmp_path / "set", ALL, ALL), batch_size=5, augmentations=[CutOut(1.0)])
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert batch.image.dtype == torch.float32
    assert numbers(batch) == batch.index.tolist()


def test_a_batch_larger_than_the_training_split_fails_before_training(tmp_path: Path) -> None:
    data = landscapes(write_set(tmp_path / "set", ALL * 2, ALL), batch_size=11)
    assert data.train_size == 10  # the promises hold: only training is impossible
    with pytest.raises(DataError, match="batch of 11 is larger than the training split of 10"):
        data.setup("fit")
    data.setup("test")


def test_overfitting_repeats_the_same_batches(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", ALL * 5, ALL)
    batches = fit(landscapes(root, batch_size=5), epochs=2, overfit_batches=2).train_batches
    assert [batch.index.tolist() for batch in batches[:2]] == [batch.index.tolist() for batch in batches[2:]]


def test_hyperparameters_rebuild_the_data_from_a_checkpoint_loaded_as_weights_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "set", ALL * 4, ALL)
    monkeypatch.chdir(tmp_path)
    data = LandscapesDataModule(
        root=Path("set"),
        image_size=(8, 16),
        batch_size=4,
        classes=["coast", "forest"],
        augmentations=[CutOut()],
    )
    trainer = Trainer(max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    trainer.fit(Recorder(), data)
    trainer.save_checkpoint("last.ckpt")
    checkpoint = torch.load("last.ckpt", weights_only=True)
    monkeypatch.chdir("/")
    again = LandscapesDataModule(**checkpoint["datamodule_hyper_parameters"])
    assert again.condition_names == ["coast", "forest"]
    assert torch.equal(again.batch("val", [1]).image, data.batch("val", [1]).image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, "image_size"),
        ({"image_size": (8, 8, 8)}, "image_size"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"num_workers": -1}, "num_workers"),
        ({"residence": "device", "num_workers": 2}, "num_workers to 0"),
        ({"label_feature": None, "classes": ["coast"]}, "label_feature"),
    ],
)
def test_options_out_of_range_are_refused_at_once(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LandscapesDataModule(**options)


def test_workers_gather_the_same(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", ALL * 5, ALL)
    alone = landscapes(root, batch_size=8).train_dataloader()
    helped = landscapes(root, batch_size=8, num_workers=2).train_dataloader()
    for expected, batch in zip(alone, helped, strict=True):
        assert torch.equal(expected.image, batch.image) and torch.equal(expected.index, batch.index)


def test_kornia_transforms_work_as_augmentations(tmp_path: Path) -> None:
    from kornia.augmentation import RandomVerticalFlip

    root = write_set(tmp_path / "set", ALL * 2, ALL)
    batch = fit(landscapes(root, batch_size=10, augmentations=[Kornia(RandomVerticalFlip())])).train_batches[
        0
    ]
    assert numbers(batch) == batch.index.tolist()  # single-coloured images look the same either way up


def test_a_broken_image_is_named_or_left_out(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", ALL * 2, ALL)
    write_records(root / "Train" / "3.tfrecord", [{"image": b"no image", "label": 3}])
    with pytest.raises(DataError, match=r"3\.tfrecord, record 0"):
        _ = landscapes(root).train_size
    data = landscapes(root, on_error="skip")
    assert all_numbers(data, "train") == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert data.labels("train").tolist() == [0, 1, 2, 4, 0, 1, 2, 3, 4]


DISTRIBUTED = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from lightning.pytorch import Trainer
from tests.test_landscapes import Recorder, landscapes, numbers

module, data = Recorder(), landscapes(sys.argv[2], batch_size=6)
trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, num_sanity_val_steps=0,
                  logger=False, enable_checkpointing=False, enable_progress_bar=False)
trainer.fit(module, data)
seen = {"train": [batch.index.tolist() for batch in module.train_batches],
        "val": [numbers(batch) for batch in module.val_batches]}
Path(sys.argv[3], f"{trainer.global_rank}.json").write_text(json.dumps(seen))
"""


@pytest.mark.slow
def test_two_processes_prepare_once_and_are_given_the_planned_shards(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", ALL * 8, ALL * 5)
    script = tmp_path / "distributed.py"
    script.write_text(DISTRIBUTED)
    here = str(Path(__file__).parents[1])
    subprocess.run([sys.executable, str(script), here, str(root), str(tmp_path)], check=True, timeout=300)
    seen = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for rank in range(2):
        order = BatchOrder(40, 6, training=True, shuffle="full", rank=rank, ranks=2)
        planned = list(order)
        order.set_epoch(1)
        assert seen[rank]["train"] == planned + list(order)
    for epoch in (slice(0, 3), slice(3, 6)):
        batches = [batch for rank in range(2) for batch in seen[rank]["val"][epoch]]
        assert sorted(number for batch in batches for number in batch) == list(range(1000, 1025))


# Real and painted data


def test_without_a_root_the_painted_sample_is_used_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from vedute.data.painted import landscapes as painted

    counts = {"Train": 20, "Valid": 10, "Test": 10}
    monkeypatch.setattr(
        painted, "painted_landscapes",
        lambda size: painted.write_painted_landscapes(tmp_path / "painted", size, counts),
    )  # fmt: skip
    data = LandscapesDataModule(image_size=(16, 24))
    assert data.condition_names == list(painted.LANDSCAPE_TYPES)
    assert [data.size(split) for split in ("train", "val", "test")] == [20, 10, 10]
    assert "No data.root is given: using the painted sample" in caplog.text
    assert data.batch("train", [0]).image.std() > 0.01


def test_real_landscapes_have_no_desert() -> None:
    data = LandscapesDataModule(root=shared_data("landscapes"), image_size=32)
    assert data.condition_names == ["coast", "forest", "glacier", "mountain"]
    assert (data.size("train"), data.size("val"), data.size("test")) == (5207, 500, 500)
    held = LandscapesDataModule(root=shared_data("landscapes"), image_size=32, validation_share=0.1)
    assert held.size("train") + held.size("val") == 5207
    assert held.size("test") == 500


def test_real_landscapes_of_one_record_a_file() -> None:
    data = LandscapesDataModule(root=shared_data("landscapes-one-record-per-file"), image_size=32)
    assert sum(data.size(split) for split in ("train", "val", "test")) == 160
    assert 0 < data.batch("test", slice(None)).image.mean() < 1
