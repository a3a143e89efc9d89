"""Street-view data: the archive's layout, countries as people write them, caps, and every bad input."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml

from datamodules.street_view import StreetViewDataModule
from tests.data.commands import failed
from tests.data.landscapes import shared_data
from tests.data.street_view import TINY, write_metadata, write_tiny_street_view
from vedute.cli import main
from vedute.countries import country_names
from vedute.data.street_view_csv import read_rows
from vedute.data.street_view_index import list_files, match, open_index
from vedute.errors import ConfigurationError, DataError

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "cvae_street_view.yaml"
SMALL = "--data.image_size 32 --data.batch_size 4 --trainer.limit_train_batches 2"
SHORT = "--trainer.max_epochs 1 --trainer.limit_val_batches 1 --trainer.enable_progress_bar false"


def tiny(root: Path, **options: object) -> StreetViewDataModule:
    return StreetViewDataModule(root=root, image_size=16, batch_size=4, **options)


def trained_countries(tmp_path: Path, *options: str | Path) -> list[str]:
    """Train two steps and return the condition names in the checkpoint."""
    from vedute.checkpoints import load_checkpoint

    given = [str(option) for option in options]
    output = ["--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", *given, *SMALL.split(), *SHORT.split(), *output]) == 0
    (checkpoint,) = tmp_path.glob("runs/*/0/checkpoints/last.ckpt")
    names: list[str] = load_checkpoint(checkpoint)["hyper_parameters"]["condition_names"]
    return names


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tiny_street_view(tmp_path / "data")


# The layout.


def test_shipped_parts_are_splits_and_countries_the_condition(root: Path) -> None:
    data = tiny(root)
    assert data.condition_kind == "class"
    assert data.condition_names == ["Ivory Coast", "Norway", "United States"]
    assert (data.size("train"), data.size("val"), data.size("test")) == (33, 3, 36)
    # Each photo has the colour of its country: image and label belong together.
    batch = data.batch("train", slice(None))
    colours = batch.image.mean((2, 3)).numpy()
    labels = data.labels("train")
    for number in range(3):
        assert colours[labels == number].std(0).max() < 0.02
    assert batch.condition.vector is not None
    assert (batch.condition.vector.argmax(1).numpy() == labels).all()


def test_images_default_to_the_references_size(root: Path) -> None:
    assert StreetViewDataModule(root=root).image_size == (128, 128)


@pytest.mark.parametrize("name", ["train", "test", "metadata"])
@pytest.mark.parametrize("split_folders", [True, False])
def test_a_lone_csv_is_split(name: str, split_folders: bool, tmp_path: Path) -> None:
    data = tiny(write_tiny_street_view(tmp_path, {name: TINY}, split_folders=split_folders))
    sizes = [data.size("train"), data.size("val"), data.size("test")]
    assert sum(sizes) == 36 and min(sizes) >= 3
    for split in ("train", "val", "test"):
        assert set(data.labels(split)) == {0, 1, 2}


def test_splits_are_the_same_for_the_same_seed_only(tmp_path: Path) -> None:
    root = write_tiny_street_view(tmp_path, {"all": {"NO": 40, "US": 40}})
    first, again, other = (tiny(root, seed=seed).records("test")[1].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_parts_may_share_their_folders_and_no_file_is_listed_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_tiny_street_view(tmp_path, split_folders=False)
    with caplog.at_level(logging.WARNING):
        indices = open_index(root)
    assert {part: len(index) for part, index in indices.items()} == {"train": 36, "test": 36}
    assert not caplog.records


def test_numbered_folders_may_lie_beside_the_csv(tmp_path: Path) -> None:
    root = write_tiny_street_view(tmp_path, {"test": TINY})
    for folder in (root / "images" / "test").iterdir():
        folder.rename(root / folder.name)
    (root / "images" / "test").rmdir()
    (root / "images").rmdir()
    assert len(open_index(root)["train"]) == 36


def test_a_folder_above_is_found(root: Path) -> None:
    assert open_index(root.parent).keys() == {"train", "test"}


def test_more_columns_quotes_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    text = 'ID,region,Country,"latitude"\n7,"a, ""b""\nc",NO,\n\n9,,"US",1.5\n'
    path.write_text(text, encoding="utf-8-sig")
    rows = read_rows(path)
    codes = list(country_names())
    assert rows.ids.tolist() == [7, 9]
    assert [codes[number] for number in rows.countries] == ["NO", "US"]


def test_namibia_is_a_country_and_kosovo_too(tmp_path: Path) -> None:
    root = write_tiny_street_view(tmp_path, {"train": {"NA": 3, "XK": 3}})
    assert tiny(root).condition_names == ["Kosovo", "Namibia"]


def test_countries_may_be_written_out_in_the_csv(tmp_path: Path) -> None:
    root = write_tiny_street_view(tmp_path, {"train": {"no": 5, "Côte d'Ivoire": 5, "US": 5}})
    assert tiny(root).condition_names == ["Ivory Coast", "Norway", "United States"]


def test_without_condition_the_data_have_none(root: Path) -> None:
    data = tiny(root, condition="none", countries=["NO"])
    assert (data.condition_kind, data.condition_names, data.train_size) == ("none", [], 11)


# Which countries.


def test_countries_are_kept_by_any_name(root: Path) -> None:
    assert tiny(root, countries=["Ivory Coast", "usa"]).condition_names == ["Ivory Coast", "United States"]
    assert tiny(root, countries=[False]).condition_names == ["Norway"]


@pytest.mark.parametrize("written", ["[US, NO]", "[US, 'NO']", "[US, no]", "[USA, Norway]"])
def test_no_is_norway_in_yaml(written: str, root: Path, tmp_path: Path) -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    text = yaml.safe_dump(config).replace("countries: null", f"countries: {written}")
    assert written in text
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    assert trained_countries(tmp_path, "--config", path, "--data.root", root) == ["Norway", "United States"]


def test_countries_can_be_given_on_the_command_line(root: Path, tmp_path: Path) -> None:
    options = ["--config", CONFIG, "--data.root", root, "--data.countries", "[US, Ivory Coast, NO]"]
    assert trained_countries(tmp_path, *options) == ["Ivory Coast", "Norway", "United States"]


def test_an_unknown_country_gets_a_suggestion_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--config", CONFIG, "--data.root", tmp_path / "nowhere"]
    message = failed(capsys, "fit", *options, "--data.countries", "[US, Norwegen]")
    assert "Unknown country 'Norwegen'" in message and "'Norway' (NO)" in message


def test_a_country_without_photos_is_an_error_that_names_those_with_some(root: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"no training photo of Japan. It has: Ivory Coast 12, Norway 12"
    ):
        _ = tiny(root, countries=["NO", "Japan"]).train_size


@pytest.mark.parametrize(
    "options",
    [{"countries": []}, {"countries": [True]}, {"images_per_country": 0}, {"minimum_per_country": 0}],
)
def test_options_out_of_range_are_refused(options: Mapping[str, object], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"data.{next(iter(options))}"):
        tiny(tmp_path, **options)


def test_caps_are_drawn_by_seed_and_a_higher_one_adds_photos(tmp_path: Path) -> None:
    root = write_tiny_street_view(tmp_path, {"train": {"NO": 30, "US": 5}, "test": {"NO": 20, "US": 20}})

    def paths(**options: object) -> set[Path]:
        return set(tiny(root, **options).find_sources(root)["train"].files())

    few, more, other = (
        paths(images_per_country=6),
        paths(images_per_country=9),
        paths(images_per_country=6, seed=1),
    )
    assert (len(few), len(more)) == (11, 14)  # the USA have five
    assert few < more and few != other and few == paths(images_per_country=6)
    assert few & paths(images_per_country=6, countries=["NO"]) == paths(
        images_per_country=6, countries=["NO"]
    )
    assert tiny(root, images_per_country=6).size("test") == 12


def test_countries_below_the_minimum_are_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_tiny_street_view(tmp_path, {"train": {"NO": 10, "US": 4, "JP": 9}, "test": TINY})
    with caplog.at_level(logging.WARNING):
        data = tiny(root, minimum_per_country=5)
        assert data.condition_names == ["Japan", "Norway"]
    assert "fewer than 5 training photos: United States 4" in caplog.text
    assert data.size("test") == 12  # Norway's: the others have no training photos
    with pytest.raises(ConfigurationError, match="no country has 50 training photos"):
        _ = tiny(root, minimum_per_country=50).train_size


# Bad input.


def test_rows_without_photos_and_photos_without_rows_are_counted_and_named(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = sorted((root / "images" / "train").glob("*/*.jpg"))[:5]
    for path in gone:
        path.unlink()
    extra = root / "images" / "train" / "00"
    for name in ("5.jpg", "007.jpg", "notes.txt", ".hidden.jpg", "9.jpg.part"):
        (extra / name).write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        index = open_index(root)["train"]
    assert len(index) == 31
    assert "5 of 36 rows of train.csv have no photo" in caplog.text
    assert sum(path.stem in caplog.text for path in gone) == 3
    assert "1 photos in" in caplog.text and ": 5." in caplog.text
    assert "3 files in" in caplog.text and "notes.txt" in caplog.text and "hidden" not in caplog.text


def test_a_part_without_photos_is_left_out(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in (root / "images" / "train").glob("*/*.jpg"):
        path.unlink()
    with caplog.at_level(logging.WARNING):
        assert len(open_index(root)["train"]) == 36
    assert "Only test.csv has photos" in caplog.text
    (root / "images" / "train").rename(root / "elsewhere")
    with caplog.at_level(logging.WARNING):
        assert len(open_index(root)["train"]) == 36
    assert "train.csv is not used" in caplog.text


def test_no_photo_at_all_is_an_error(tmp_path: Path) -> None:
    write_metadata(tmp_path / "train.csv", [["1", "", "", "NO"]])
    with pytest.raises(DataError, match=r"No photo of train.csv .*Looked for <id>.jpg"):
        open_index(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "has no CSV file. Looked there and one level below for train.csv"),
        (["a.csv", "b.csv"], "several CSV files and no train.csv: a.csv, b.csv"),
    ],
)
def test_missing_metadata_are_an_error(names: list[str], message: str, tmp_path: Path) -> None:
    for name in names:
        write_metadata(tmp_path / name, [])
    with pytest.raises(DataError, match=message):
        open_index(tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            ["image", "lat", "lon", "nation"],
            "no column id and none called country. It has: image, lat, lon, nation",
        ),
        (["id;latitude;longitude;country"], "It has: id;latitude;longitude;country.*separated by commas"),
        ([], "It has: nothing"),
    ],
)
def test_other_columns_are_an_error_that_lists_them(columns: list[str], message: str, tmp_path: Path) -> None:
    path = write_metadata(tmp_path / "train.csv", [["1", "2", "3", "NO"]], columns)
    with pytest.raises(DataError, match=message):
        read_rows(path)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["12.0", "", "", "NO"], "line 4: the id '12.0' is no whole number"),
        (["", "", "", "NO"], "line 4: the id '' is no whole number"),
        (["-3", "", "", "NO"], "line 4: the id '-3' is no whole number"),
        (["9" * 30, "", "", "NO"], "line 4: the id '9999.*' is no whole number"),
        (["12", "", "", "ZZ"], "line 4: Unknown country 'ZZ'"),
        (["12", "", "", "Norwegen"], "line 4: Unknown country 'Norwegen'.*Did you mean 'Norway'"),
        (["12", ""], "line 4: the row has 2 cells, the header more"),
    ],
)
def test_wrong_rows_are_named_by_line_or_skipped(
    cells: list[str], message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = [["10", "1", "2", "NO"], ["11", '"a\nb"', "", "US"]]  # the quoted cell takes two lines
    path = write_metadata(tmp_path / "train.csv", [good[0], ["13", "", "", "US"], cells, good[1]])
    with pytest.raises(DataError, match=f"train.csv, {message}"):
        read_rows(path)
    with caplog.at_level(logging.WARNING):
        assert read_rows(path, on_error="skip").ids.tolist() == [10, 13, 11]
    assert "has 1 wrong rows" in caplog.text


def test_lines_count_line_breaks_within_quotes(tmp_path: Path) -> None:
    rows = [["1", '"a\nb\nc"', "", "NO"], ["x", "", "", "NO"]]
    with pytest.raises(DataError, match="line 5: the id 'x'"):
        read_rows(write_metadata(tmp_path / "train.csv", rows))


def test_rows_without_country_are_left_out(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = root / "train.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",US", ","), encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert tiny(root).condition_names == ["Ivory Coast", "Norway"]
    assert "12 rows of train.csv have no country" in caplog.text


def test_duplicate_ids_are_an_error_with_lines(tmp_path: Path) -> None:
    rows = [
        ["1", "", "", "NO"],
        ["2", "", "", "NO"],
        ["1", "", "", "US"],
        ["2", "", "", "NO"],
        ["3", "", "", "NO"],
    ]
    with pytest.raises(DataError, match=r"2 ids more than once: 1, 2\. The first is on lines 2, 4"):
        read_rows(write_metadata(tmp_path / "train.csv", rows))


def test_a_photo_in_two_places_is_an_error(root: Path) -> None:
    path = next((root / "images" / "train" / "00").glob("*.jpg"))
    (root / "images" / "train" / "01" / path.name).write_bytes(b"")
    with pytest.raises(DataError, match=f"1 photos lie in two places, e.g. .*{path.name} and .*{path.name}"):
        open_index(root)


def test_a_photo_in_two_parts_is_an_error_or_left_out_of_the_later(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [read_rows(root / "train.csv")] * 2
    with pytest.raises(DataError, match=r"36 photos of train\.csv are in another part too"):
        match(rows, list_files(root / "images"))
    with caplog.at_level(logging.WARNING):
        first, second = match(rows, list_files(root / "images"), "skip")
    assert (len(first), len(second)) == (36, 0) and "left out of it" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,country\n1,\xff\xfe\n", "is not UTF-8 text"),
        (b'id,country\n1,NO\n2,"' + b"x" * 200_000, "A quotation mark may be missing"),
        (b"id,country\n", "holds no row with an id and a country"),
        (b"", "It has: nothing"),
    ],
)
def test_damaged_files_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_rows(path)
    assert "train.csv" in str(error.value)


def test_loops_of_links_end_and_links_elsewhere_are_followed(root: Path, tmp_path: Path) -> None:
    images = root / "images" / "train"
    (images / "00" / "loop").symlink_to(images, target_is_directory=True)
    (images / "00").rename(tmp_path / "other-disk")
    (images / "00").symlink_to(tmp_path / "other-disk", target_is_directory=True)
    (images / "01" / "99.jpg").symlink_to(tmp_path / "nowhere.jpg")
    files = list_files(images)
    assert len(files.ids) == 36 and files.others == ["99.jpg"]


def test_a_broken_photo_is_named_or_skipped(root: Path) -> None:
    path = next((root / "images" / "train" / "00").glob("*.jpg"))
    path.write_bytes(b"")
    with pytest.raises(DataError, match=path.name):
        _ = tiny(root).train_size
    assert tiny(root, on_error="skip").size("train") + tiny(root, on_error="skip").size("val") == 35


# Size.


def test_the_index_takes_little_memory_and_paths_are_made_on_demand(tmp_path: Path) -> None:
    count = 60_000
    codes = list(country_names())
    rows = [[str(10**14 + 7 * row), "", "", codes[row % 200]] for row in range(count)]
    path = write_metadata(tmp_path / "train.csv", rows)
    del rows
    read_rows(path)  # names of countries, imports
    tracemalloc.start()
    read = read_rows(path)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(read.ids) == count
    assert kept < 14 * count  # 8 bytes an id, 2 a country, and what arrays keep in reserve
    assert peak < 14 * count + 20e6  # a chunk of rows, and the sorted ids


def test_paths_are_a_sequence(root: Path) -> None:
    index = open_index(root)["train"]
    paths = index.paths()
    listed = [paths[row] for row in range(len(paths))]
    assert all(path.is_file() for path in listed)
    assert [int(path.stem) for path in listed] == index.ids.tolist() == sorted(index.ids.tolist())
    assert list(paths[3:7]) == listed[3:7] and list(paths) == listed and paths[-1] == listed[-1]
    taken = index.take(np.array([5, 2]))
    assert list(taken.paths()) == [listed[5], listed[2]]


# Real photos.


def test_real_photos_train(tmp_path: Path) -> None:
    folder = shared_data("street_view")
    names = trained_countries(tmp_path, "--config", CONFIG, "--data.root", folder)
    assert len(names) == 48 and names == sorted(names)
    data = tiny(folder)
    assert sum(data.size(split) for split in ("train", "val", "test")) == 71


def test_the_painted_sample_can_be_used_by_country(tmp_path: Path) -> None:
    options = ["--config", CONFIG, "--data.countries", "[Japan, NO]", "--data.images_per_country", "10"]
    assert trained_countries(tmp_path, *options) == ["Japan", "Norway"]
