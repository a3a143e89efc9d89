"""The datamodule for anybody's images: class folders and tables, and all that can be wrong with them."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from datamodules.image_folder import ImageFolderDataModule
from tests.data.commands import failed
from tests.data.image_folder import (
    simple_rows,
    write_class_folders,
    write_image,
    write_mask,
    write_set,
    write_table,
)
from tests.data.landscapes import shared_data
from vedute.cli import main
from vedute.errors import ConfigurationError, DataError

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "classifier_image_folder.yaml"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path / "cache"))
    caplog.set_level(logging.INFO, logger="vedute")


def folder(root: Path, **options: object) -> ImageFolderDataModule:
    return ImageFolderDataModule(root=str(root), image_size=16, **options)


def levels(data: ImageFolderDataModule, split: str) -> list[int]:
    """Read back which images a split holds."""
    return (data.batch(split, slice(None)).image[:, 0, 5, 5] * 255).round().int().tolist()


def vectors(data: ImageFolderDataModule, split: str = "train") -> torch.Tensor:
    vector = data.batch(split, slice(None)).condition.vector
    assert vector is not None
    return vector


SPLITS = ["train"] * 6 + ["val"] * 2 + ["test"] * 2


# Class folders


def test_folders_are_classes_however_deep_the_images_lie(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_class_folders(tmp_path / "set", {"cat": 20, "dog/big": 10, "dog/small": 10, "10 x": 20})
    write_image(root / ".hidden" / "1.png", 0)
    data = folder(root)
    assert (data.condition_kind, data.condition_names) == ("class", ["10 x", "cat", "dog"])
    assert [data.size(split) for split in ("train", "val", "test")] == [48, 6, 6]
    wanted = {0: 1, 1: 2, 2: 2, 3: 0}
    for split in ("train", "val", "test"):
        assert [wanted[level] for level in levels(data, split)] == data.labels(split).tolist()
    assert "Training images of each class: 10 x 16, cat 16, dog 16." in caplog.text
    assert folder(root, classes=["DOG", "cat"]).condition_names == ["cat", "dog"]


@pytest.mark.parametrize("below", ["", "archive/archive"])
def test_split_folders_are_kept(tmp_path: Path, below: str) -> None:
    counts = {
        f"{part}/{name}/more": n for part, n in (("train", 8), ("Valid", 3), ("test", 2)) for name in "ab"
    }
    write_class_folders(tmp_path / "set" / below, counts)
    data = folder(tmp_path / "set")
    assert [data.size(split) for split in ("train", "val", "test")] == [16, 6, 4]
    assert data.condition_names == ["a", "b"]
    assert levels(data, "val") == [2] * 3 + [3] * 3


def test_classes_may_be_called_like_splits(tmp_path: Path) -> None:
    data = folder(write_class_folders(tmp_path / "set", {"train": 20, "bus": 20}))
    assert data.condition_names == ["bus", "train"]


def test_images_without_labels_name_the_datamodule_for_them(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "loose", {".": 3})
    with pytest.raises(DataError, match=r"3 images \(0\.png.*no folders and no table.*PicturesDataModule"):
        _ = folder(tmp_path / "loose").train_size
    write_class_folders(tmp_path / "one", {"images": 3})
    with pytest.raises(DataError, match=r"one class is no label.*PicturesDataModule"):
        _ = folder(tmp_path / "one").train_size
    write_class_folders(tmp_path / "both", {"a": 3, "b": 3, ".": 1})
    with pytest.raises(DataError, match=r"1 images lie beside the class folders.*0\.png"):
        _ = folder(tmp_path / "both").train_size
    write_class_folders(tmp_path / "split", {"train/a": 3, "train/b": 3, "val/a": 1, "val": 1})
    with pytest.raises(DataError, match=r"1 images lie beside the class folders.*val"):
        _ = folder(tmp_path / "split").train_size


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({"train": 3, "test": 3}, r"test, train: splits, but no folder 'train' with a folder for each class"),
        ({"val/a": 3, "test/b": 3}, r"splits, but no folder 'train'"),
        ({"images": 3, "masks": 3}, r"images, masks: no classes.*AerialDataModule"),
    ],
)
def test_folders_that_are_no_classes_are_refused(tmp_path: Path, counts: dict[str, int], says: str) -> None:
    with pytest.raises(DataError, match=says):
        _ = folder(write_class_folders(tmp_path / "set", counts)).train_size


def test_links_in_a_circle_dotfiles_and_empty_files_do_no_harm(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"a": 20, "b": 20})
    (root / "a" / "loop").symlink_to(root, target_is_directory=True)
    (root / "a" / ".cache.png").write_bytes(b"x")
    (root / "a" / "Thumbs.db").write_bytes(b"x")
    assert folder(root).train_size == 32
    (root / "b" / "empty.png").touch()
    with pytest.raises(DataError, match=r"b/empty\.png"):
        _ = folder(root).train_size
    data = folder(root, on_error="skip")
    assert data.train_size == 32 and levels(data, "train") == data.labels("train").tolist()


def test_class_folders_that_differ_in_case_are_refused(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"train/Cat": 3, "train/dog": 3, "val/cat": 1})
    with pytest.raises(DataError, match=r"'Cat' and 'cat'.*differ only in upper and lower case"):
        _ = folder(root).train_size


def test_empty_roots_name_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "set" / "cat").mkdir(parents=True)
    (tmp_path / "set" / "cat" / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"no image and no table.*\.csv.*\.jpg"):
        _ = folder(tmp_path / "set").train_size


# A table of classes


@pytest.mark.parametrize("values", [["b", "a"], [7, 3, 10], ["7.0", "3.0"], [True, False]])
def test_classes_are_texts_or_numbers_that_need_not_be_contiguous(
    tmp_path: Path, values: Sequence[object]
) -> None:
    root = write_set(tmp_path / "set", simple_rows(60, kind=values))
    data = folder(root, class_column="kind")
    names = {("b", "a"): ["a", "b"], (7, 3, 10): ["3", "7", "10"], ("7.0", "3.0"): ["3", "7"]}
    assert data.condition_names == names.get(tuple(values), ["False", "True"])
    assert data.condition_kind == "class"
    texts = [str(value).removesuffix(".0") for value in values]
    for split in ("train", "val", "test"):
        shown = [texts[level % len(values)] for level in levels(data, split)]
        assert shown == [data.condition_names[label] for label in data.labels(split)]
    assert len(set(np.bincount(data.labels("train")))) == 1


def test_json_lines_serve_as_well(tmp_path: Path) -> None:
    rows = simple_rows(40, kind=["a", "b"])
    root = write_set(tmp_path / "set", rows)
    (root / "labels.csv").unlink()
    (root / "labels.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert folder(root, class_column="kind").condition_names == ["a", "b"]


def test_splits_come_from_their_column(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", simple_rows(40, split=SPLITS, kind=["a", "b"]))
    data = folder(root, class_column="kind")
    assert [data.size(split) for split in ("train", "val", "test")] == [24, 8, 8]
    assert all(
        SPLITS[level % 10] == split for split in ("train", "val", "test") for level in levels(data, split)
    )
    drawn = folder(root, class_column="kind", validation_share=0.25)
    assert all(SPLITS[level % 10] == "train" for split in ("train", "val") for level in levels(drawn, split))
    assert levels(drawn, "test") == levels(data, "test")
    ignored = folder(root, class_column="kind", ignore_columns=["split"])
    assert ignored.size("train") == 32


@pytest.mark.parametrize("given", [["Training", "testing"], ["train"]])
def test_splits_that_the_column_leaves_out_are_drawn_from_training(tmp_path: Path, given: list[str]) -> None:
    root = write_set(tmp_path / "set", simple_rows(40, part=given, kind=["a", "a", "b", "b"]))
    data = folder(root, class_column="kind", split_column="part")
    splits = {split: set(levels(data, split)) for split in ("train", "val", "test")}
    assert set.union(*splits.values()) == set(range(40))
    assert sum(map(len, splits.values())) == 40
    if len(given) > 1:
        assert splits["test"] == set(range(1, 40, 2))


def test_a_class_filter_and_dropped_rows_leave_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_set(tmp_path / "set", simple_rows(40, kind=["a", "b", "c", ""]))
    with pytest.raises(DataError, match=r"the class \(kind\) is missing in 10 of 40 rows \(line 5, 9.*drop"):
        _ = folder(root, class_column="kind").train_size
    data = folder(root, class_column="kind", missing="drop", classes=["c", "a"])
    assert data.condition_names == ["a", "c"]
    assert {level % 4 for level in levels(data, "train")} == {0, 2}
    assert "10 rows of labels.csv lack the class (kind) and are left out" in caplog.text
    assert "30 of 40 rows are used. Columns that are not used: none." in caplog.text
    with pytest.raises(ConfigurationError, match=r"data\.classes: Unknown class 'x'"):
        _ = folder(root, class_column="kind", missing="drop", classes=["x"]).train_size


# Probabilities, scores, masks


def test_probabilities_are_soft_and_fuzzy_labels(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", simple_rows(40, cat=[0.7, 0.1], dog=[0.3, 0.4]))
    data = folder(root, probability_columns=["dog", "cat"])
    assert (data.condition_kind, data.condition_names) == ("class", ["dog", "cat"])
    wanted = torch.tensor([[0.3, 0.7], [0.4, 0.1]])
    torch.testing.assert_close(vectors(data), wanted[[level % 2 for level in levels(data, "train")]])
    assert data.labels("train").tolist() == [1 - level % 2 for level in levels(data, "train")]


def test_probabilities_are_checked_and_may_be_missing(tmp_path: Path) -> None:
    def made(a: Sequence[object], b: Sequence[object], **options: object) -> ImageFolderDataModule:
        root = write_set(tmp_path / "set", simple_rows(40, a=a, b=b))
        return folder(root, probability_columns=["a", "b"], **options)

    with pytest.raises(DataError, match=r"line 3: the probabilities sum to 1\.1"):
        _ = made([0.5, 0.6], [0.5, 0.5]).train_size
    with pytest.raises(DataError, match=r"line 3, column 'b': 50 is no probability"):
        _ = made([0.5, 0.5], [0.5, 50]).train_size
    with pytest.raises(DataError, match="is missing in 20 of 40 rows"):
        _ = made([0.5, 0], [0.5, 0]).train_size
    with pytest.raises(ConfigurationError, match="'mean' is for"):
        made([0.5], [0.5], missing="mean")
    data = made([0.5, 0, ""], [0.5004, 0, 1], missing="drop")
    assert {level % 3 for level in levels(data, "train")} == {0}
    assert (vectors(data).sum(dim=1) <= 1 + 1e-6).all()


def test_scores_are_standardised_over_the_training_images(tmp_path: Path) -> None:
    rows = simple_rows(40, split=SPLITS, taste=[1, 2, 3, 4, 5, 6, 70, 80, 9, 9], size=[5, 7])
    data = folder(write_set(tmp_path / "set", rows), score_columns=["taste", "size"])
    assert (data.condition_kind, data.condition_names) == ("score", ["taste", "size"])
    vector = vectors(data)
    torch.testing.assert_close(vector.mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(vector.std(dim=0, correction=0), torch.ones(2), atol=1e-5, rtol=0)
    back = vectors(data, "val") * torch.tensor(data.condition_scale) + torch.tensor(data.condition_mean)
    wanted = [[float(rows[level]["taste"]), float(rows[level]["size"])] for level in levels(data, "val")]
    torch.testing.assert_close(back, torch.tensor(wanted))
    assert data.condition_range == [1, 80, 5, 7]


def test_scores_have_a_range_and_may_be_missing(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", simple_rows(40, taste=[1, 2, ""], size=[5, "", ""]))
    both = {"score_columns": ["taste", "size"]}
    with pytest.raises(DataError, match=r"outside of the range 0 to 4: labels\.csv, line 2: size 5"):
        _ = folder(root, **both, missing="drop", score_range=[0, 4]).train_size
    with pytest.raises(DataError, match=r"26 rows.* without all scores.*line 3 \(size\).*or mean"):
        _ = folder(root, **both).train_size
    data = folder(root, score_columns=["taste"], ignore_columns=["size"], missing="drop", score_range=[0, 4])
    assert data.condition_range == [0, 4] and {level % 3 for level in levels(data, "train")} == {0, 1}
    write_table(root / "labels.csv", simple_rows(40, taste=[1, 2, 3, ""], size=[5, "", 6, ""]))
    filled = folder(root, **both, missing="mean")
    shown = np.array(levels(filled, "train")) % 4
    assert set(shown) == {0, 1, 2}  # a row without any score is left out
    assert (vectors(filled)[:, 1].numpy()[shown == 1] == 0).all()
    for wrong in ([4, 0], [1]):
        with pytest.raises(ConfigurationError, match="score_range must be"):
            _ = folder(root, **both, missing="mean", score_range=wrong).train_size


def test_masks_come_alone_or_beside_a_vector(tmp_path: Path) -> None:
    rows = simple_rows(40, kind=["a", "b"])
    for row in rows:
        row["mask"] = f"masks/{row['file']}"
    root = write_set(tmp_path / "set", rows)
    alone = folder(root, mask_column="mask", ignore_columns=["kind"])
    assert (alone.condition_kind, alone.condition_names, alone.condition_channels) == ("image", [], 1)
    beside = folder(root, mask_column="mask", class_column="kind")
    assert (beside.condition_kind, beside.condition_channels) == ("class", 1)
    for data in (alone, beside):
        mask = data.batch("train", slice(None)).condition.image
        assert mask is not None and mask.shape == (32, 1, 16, 16)
        assert set(mask.unique().tolist()) == {0.0, 1.0}
        assert (mask[:, 0, 0].sum(dim=1).int() - 1).tolist() == [
            level % 15 for level in levels(data, "train")
        ]
    write_table(root / "labels.csv", [*rows[:-1], {**rows[-1], "mask": "../outside.png"}])
    ignored = folder(root, class_column="kind", ignore_columns=["*"])
    assert ignored.condition_channels == 0 and ignored.train_size == 32


def test_masks_of_another_folder_may_have_the_names_of_their_images(tmp_path: Path) -> None:
    rows = [{"file": f"images/{i}.png", "mask": f"masks/{i}.png"} for i in range(20)]
    root = write_set(tmp_path / "set", rows)
    assert folder(root, mask_column="mask").size("train") == 16


# Labels that are not used, or asked for and missing


def test_labels_that_nobody_uses_are_listed_with_the_option_for_each(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(1, 9, 40).round(2).tolist()
    rows = simple_rows(40, kind=["a", "b"], stars=[1, 2, 3], taste=values, p_x=[0.25, 0.5], p_y=[0.5, 0.1])
    for row in rows:
        row.update(mask=f"m/{row['file']}", note=f"seen on day {row['file']}")
    root = write_set(tmp_path / "set", rows)
    with pytest.raises(DataError) as error:
        _ = folder(root).train_size
    message = str(error.value)
    for part in (
        "p_x, p_y (probabilities: --data.probability_columns '[p_x, p_y]')",
        "kind (2 different texts: --data.class_column kind)",
        "stars (3 different numbers: --data.score_columns '[stars]', or --data.class_column stars",
        "different numbers: --data.score_columns '[taste]')",
        "mask (names of images: --data.mask_column mask)",
        "note (40 different texts",
        "--data.ignore_columns '[kind, stars, taste, p_x, p_y, mask, note]'",
        "'[\"*\"]'",
    ):
        assert part in message
    ignore = ["stars", "taste", "p_x", "p_y", "mask"]
    with pytest.raises(DataError, match=r"a column that no option uses: note.*'\[stars, taste.*note\]'"):
        _ = folder(root, class_column="kind", ignore_columns=ignore).train_size
    assert folder(root, class_column="kind", ignore_columns=[*ignore, "note"]).train_size == 32


def test_a_single_column_is_not_guessed_either(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", simple_rows(40, kind=["a", "b"]))
    with pytest.raises(DataError, match=r"--data\.class_column kind"):
        _ = folder(root).train_size
    assert folder(root, ignore_columns=["*"]).condition_kind == "none"


def test_a_table_without_labels_is_no_condition(tmp_path: Path) -> None:
    data = folder(write_set(tmp_path / "set", simple_rows(40, split=SPLITS)))
    assert (data.condition_kind, data.size("val")) == ("none", 8)


@pytest.mark.parametrize("option", ["class_column", "mask_column", "split_column", "file_column"])
def test_columns_asked_for_and_missing_suggest_the_nearest(tmp_path: Path, option: str) -> None:
    root = write_set(tmp_path / "set", simple_rows(40, kind=["a", "b"]))
    with pytest.raises(DataError, match=r"labels\.csv has no column 'kin'\. Did you mean 'kind'"):
        _ = folder(root, **{option: "kin"}).train_size
    with pytest.raises(DataError, match=r"no column 'kin'"):
        _ = folder(root, score_columns=["kin"]).train_size
    with pytest.raises(DataError, match=r"no column 'kin'"):
        _ = folder(root, class_column="kind", ignore_columns=["kin"]).train_size


def test_labels_asked_for_without_a_table_are_refused(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"a": 3, "b": 3})
    with pytest.raises(
        DataError, match=r"Columns are named \(kind\).*no table.*each folder of images is a class"
    ):
        _ = folder(root, class_column="kind").train_size


def test_options_that_exclude_each_other_are_refused_at_once(tmp_path: Path) -> None:
    for options, says in (
        ({"class_column": "a", "score_columns": ["b"]}, "class_column and data.score_columns are given"),
        ({"class_column": "a", "mask_column": "a"}, "'a' has two roles"),
        ({"class_column": "a", "ignore_columns": ["a"]}, "'a' has two roles"),
        ({"probability_columns": ["a"]}, "names one column"),
        ({"score_columns": ["a"], "classes": ["b"]}, "leave out columns instead"),
        ({"score_range": [0, 1]}, "needs data.score_columns"),
        ({"table": "folders", "class_column": "a"}, "takes folders as classes"),
    ):
        with pytest.raises(ConfigurationError, match=says):
            folder(tmp_path, **options)


def test_a_table_wins_over_class_folders_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"file": f"{'xy'[i % 2]}/{i}.png", "kind": "ab"[i // 20]} for i in range(40)]
    root = write_set(tmp_path / "set", rows)
    assert folder(root, class_column="kind").condition_names == ["a", "b"]
    assert "names of folders are no classes beside a table" in caplog.text
    assert folder(root, table="folders").condition_names == ["x", "y"]


def test_of_several_tables_one_must_be_chosen(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", simple_rows(40, kind=["a", "b"]))
    write_table(root / "other.csv", simple_rows(40, sort=["c", "d"]))
    (root / ".hidden.csv").write_text("")
    with pytest.raises(
        DataError, match=r"several tables: labels\.csv, other\.csv.*--data\.table labels\.csv"
    ):
        _ = folder(root, class_column="kind").train_size
    assert folder(root, class_column="sort", table="other.csv").condition_names == ["c", "d"]
    with pytest.raises(DataError, match=r"othr\.csv does not exist.*labels\.csv, other\.csv"):
        _ = folder(root, class_column="sort", table="othr.csv").train_size


@pytest.mark.parametrize(
    ("values", "typed", "kept"),
    [
        ([7, 3, 10], "[3, 10]", ["3", "10"]),
        (["NO", "SE", "yes"], "[NO, se]", ["NO", "SE"]),
        (["007", "1e3", "x"], "[7, 1e3]", ["1e3", "007"]),
    ],
)
def test_classes_are_chosen_as_they_are_typed(
    tmp_path: Path, values: list[object], typed: str, kept: list[str]
) -> None:
    root = write_set(tmp_path / "set", simple_rows(60, kind=values))
    small = "--data.image_size 32 --data.batch_size 8 --trainer.max_epochs 1 --trainer.limit_train_batches 1"
    places = ["--data.root", str(root), "--trainer.default_root_dir", str(tmp_path / "out")]
    options = ["--trainer.enable_progress_bar", "false", "--data.classes", typed]
    assert main(["fit", "--config", str(CONFIG), *small.split(), *places, *options]) == 0
    assert folder(root, class_column="kind", classes=yaml.safe_load(typed)).condition_names == kept


def test_a_class_that_yaml_reads_as_two_is_refused(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", simple_rows(60, kind=["no", "off", "on"]))
    with pytest.raises(ConfigurationError, match=r"False may be no or off.*double quotes"):
        _ = folder(root, class_column="kind", classes=[False, True]).train_size
    assert folder(root, class_column="kind", classes=["no", True]).condition_names == ["no", "on"]


def test_the_advice_quotes_names_that_yaml_would_misread(tmp_path: Path) -> None:
    root = write_set(
        tmp_path / "set", simple_rows(60, **{"1": [0.5, 3.7], "no": ["a", "b"], "a, b": ["c", "d"]})
    )
    with pytest.raises(DataError) as error:
        _ = folder(root).train_size
    assert """'["1", "no", "a, b"]'""" in str(error.value)


def test_columns_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    for values, says in (
        ([f"x{i}" for i in range(40)], "40 different values in 40 rows"),
        (["a"], "classes need at least two"),
        (["a", "A"], "differ only in upper and lower case"),
    ):
        root = write_set(tmp_path / "set", simple_rows(40, kind=values))
        with pytest.raises(DataError, match=says):
            _ = folder(root, class_column="kind").train_size


def test_wrong_splits_are_refused(tmp_path: Path) -> None:
    for values, says in (
        (["train", "holdout"], "line 3: 'holdout' in the column 'split' is no split"),
        (["val", "test"], "no row of the column 'split' says 'train'"),
        (["train", ""], r"the split \(split\) is missing in 20"),
    ):
        root = write_set(tmp_path / "set", simple_rows(40, split=values, kind=["a", "b"]))
        with pytest.raises(DataError, match=says):
            _ = folder(root, class_column="kind").train_size


def test_other_labels_need_no_new_preparation(tmp_path: Path) -> None:
    rows = simple_rows(40, kind=["a", "b"], taste=list(range(40)))
    root = write_set(tmp_path / "set", rows)
    assert folder(root, class_column="kind", ignore_columns=["taste"]).train_size == 32
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    write_table(root / "labels.csv", [{**row, "kind": "ba"[i % 2]} for i, row in enumerate(rows)])
    data = folder(root, class_column="kind", ignore_columns=["taste"])
    assert [1 - level % 2 for level in levels(data, "train")] == data.labels("train").tolist()
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}


# As a person meets it


def fit(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    small = (
        "--data.image_size 32 --data.batch_size 8 --trainer.max_epochs 1 --trainer.enable_progress_bar false"
    )
    places = ["--data.root", root, "--trainer.default_root_dir", root.parent / "out"]
    message = failed(capsys, "fit", "--config", CONFIG, *small.split(), *places, *options)
    assert not (root.parent / "out" / "runs").exists()
    return message


def two_kinds(tmp_path: Path) -> Path:
    rows = [{**row, "mask": f"masks/{row['file']}"} for row in simple_rows(40, kind=["a", "b"])]
    return write_set(tmp_path / "set", rows)


def test_rows_without_files_and_files_without_rows_are_both_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = two_kinds(tmp_path)
    (root / "003.png").rename(root / "003b.png")
    (root / "007.png").unlink()
    message = fit(root, capsys)
    assert "2 of 40 rows have no image file" in message and "labels.csv, line 5: '003.png'" in message
    assert "1 image files" in message and "003b.png" in message and "masks/" not in message
    assert folder(root, class_column="kind", ignore_columns=["*"], on_error="skip").train_size == 30


def test_broken_images_are_named_or_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = two_kinds(tmp_path)
    (root / "003.png").write_bytes(b"")
    assert "003.png" in fit(root, capsys)
    data = folder(root, class_column="kind", ignore_columns=["*"], on_error="skip")
    shown = {split: levels(data, split) for split in ("train", "val", "test")}
    assert sorted(level for numbers in shown.values() for level in numbers) == [
        level for level in range(40) if level != 3
    ]
    for split, numbers in shown.items():
        assert [level % 2 for level in numbers] == data.labels(split).tolist()


def test_masks_of_another_size_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = two_kinds(tmp_path)
    write_mask(root / "masks" / "005.png", 3, size=(16, 12))
    message = fit(root, capsys, "--data.mask_column", "mask")
    assert "005.png" in message and "12" in message


def test_masks_with_values_between_are_cut_at_one_half_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = two_kinds(tmp_path)
    path = write_mask(root / "masks" / "000.png", 8)
    grey = np.full((16, 16), 127, dtype=np.uint8)
    grey[:, :5], grey[:, 5:8] = 255, 128
    Image.fromarray(grey).save(path)
    data = folder(root, mask_column="mask", ignore_columns=["kind"])
    for split in ("train", "val", "test"):
        for level, mask in zip(
            levels(data, split), data.batch(split, slice(None)).condition.image, strict=True
        ):
            if level == 0:
                assert mask[0, 0].tolist() == [1.0] * 8 + [0.0] * 8
    assert "1 masks hold more than two values" in " ".join(capsys.readouterr().err.split())


def test_missing_masks_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = two_kinds(tmp_path)
    (root / "masks" / "005.png").unlink()
    message = fit(root, capsys, "--data.mask_column", "mask")
    assert "1 rows have no mask file" in message and "line 7" in message
    skipped = folder(root, mask_column="mask", ignore_columns=["kind"], on_error="skip")
    assert 5 not in levels(skipped, "train") + levels(skipped, "val") + levels(skipped, "test")


def test_a_score_outside_the_range_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_set(tmp_path / "set", simple_rows(40, taste=[*range(1, 11), 11]))
    options = [
        "--data.class_column",
        "null",
        "--data.score_columns",
        "[taste]",
        "--data.score_range",
        "[1, 10]",
    ]
    message = fit(root, capsys, *options)
    assert "labels.csv, line 12: taste 11" in message


def test_labels_that_nobody_uses_are_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = fit(two_kinds(tmp_path), capsys, "--data.ignore_columns", "null")
    assert "--data.mask_column mask" in message


def test_the_advised_option_works_as_it_is_shown(tmp_path: Path) -> None:
    root = two_kinds(tmp_path)
    small = "--data.image_size 32 --data.batch_size 8 --trainer.max_epochs 1 --trainer.limit_train_batches 2"
    places = ["--data.root", str(root), "--trainer.default_root_dir", str(tmp_path / "out")]
    options = ["--trainer.enable_progress_bar", "false", "--data.ignore_columns", '["*"]']
    assert main(["fit", "--config", str(CONFIG), *small.split(), *places, *options]) == 0


# The painted sample, and real files


def test_every_kind_of_label_of_the_painted_sample(tmp_path: Path) -> None:
    kinds = ["coast", "desert", "forest", "glacier", "mountain"]
    shares = [f"p_{kind}" for kind in kinds]
    every = {"ignore_columns": ["*"], "image_size": 32}
    classes = ImageFolderDataModule(class_column="kind", **every)
    assert classes.condition_names == kinds
    assert [classes.size(split) for split in ("train", "val", "test")] == [200, 50, 50]
    soft = ImageFolderDataModule(probability_columns=shares, **every)
    assert soft.condition_names == kinds
    assert (soft.labels("test") == classes.labels("test")).mean() > 0.9
    scores = ImageFolderDataModule(score_columns=["warmth", "brightness"], **every)
    batch = scores.batch("train", slice(None))
    warmth = batch.image[:, 0].mean(dim=(1, 2)) - batch.image[:, 2].mean(dim=(1, 2))
    assert torch.corrcoef(torch.stack([warmth, vectors(scores)[:, 0]]))[0, 1] > 0.999
    masks = ImageFolderDataModule(mask_column="mask", **every)
    batch = masks.batch("train", slice(None))
    bright, white = batch.image.mean(dim=1), batch.condition.image
    assert white is not None
    inside = [
        image[mask > 0.5].mean() > image[mask < 0.5].mean()
        for image, mask in zip(bright, white[:, 0], strict=True)
    ]
    assert all(inside)
    folders = ImageFolderDataModule(root=str(masks.paint_sample() / "images"), image_size=32)
    assert folders.condition_names == kinds


def test_real_pictures_of_many_sizes_with_a_table(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    (root / "images").symlink_to(shared_data("pictures"), target_is_directory=True)
    names = sorted(path.stem for path in (root / "images").iterdir())
    write_table(root / "labels.csv", [{"file": name, "stars": 1 + i % 7} for i, name in enumerate(names)])
    data = ImageFolderDataModule(
        root=str(root), score_columns=["stars"], score_range=[1, 7], image_size=(32, 48)
    )
    assert [data.size(split) for split in ("train", "val", "test")] == [160, 20, 20]
    assert data.batch("train", [0]).image.shape == (1, 3, 32, 48)


def test_real_aerial_images_with_masks(tmp_path: Path) -> None:
    source = shared_data("aerial") / "kampala"
    root = tmp_path / "set"
    root.mkdir()
    for name in ("images", "masks"):
        (root / name).symlink_to(source / name, target_is_directory=True)
    images = {path.stem: path.name for path in (source / "images").iterdir()}
    masks = {path.stem: path.name for path in (source / "masks").iterdir()}
    rows = [{"file": f"images/{images[stem]}", "mask": f"masks/{masks[stem]}"} for stem in sorted(images)][
        :40
    ]
    write_table(root / "pairs.csv", rows)
    data = ImageFolderDataModule(root=str(root), mask_column="mask", image_size=64)
    assert data.condition_kind == "image" and data.train_size == 32
    mask = data.batch("train", slice(None)).condition.image
    assert mask is not None and 0.005 < mask.mean() < 0.9
