"""Embedding through the command line, and the projections and pictures of vectors."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.image_folder import ImageFolderDataModule
from lightning_modules.base import GenerativeModule
from vedute.checkpoints import load_datamodule, load_module
from vedute.cli import main
from vedute.cli.embed import _in_their_unit
from vedute.errors import ConfigurationError
from vedute.promises import as_image_data
from vedute.report.latent_map import Colouring, map_picture
from vedute.report.projection import principal_components, umap_points

CHECKPOINT = Path("runs/tiny/0/checkpoints/last.ckpt")


def embed(*options: str) -> int:
    return main(["embed", "--checkpoint", str(CHECKPOINT), "--device", "cpu", *options])


def test_a_split_becomes_vectors_with_all_that_belongs_to_them(trained: Path) -> None:
    assert embed("--split", "all", "--batch-size", "5", "--output", "vectors.npz") == 0
    found = np.load("vectors.npz", allow_pickle=False)
    vectors = found["vectors"]
    assert vectors.dtype == np.float32 and vectors.shape == (36, 4)
    assert found["images"].dtype == np.uint8 and found["images"].shape == (36, 32, 32, 3)
    assert found["splits"].tolist() == ["train"] * 20 + ["val"] * 8 + ["test"] * 8
    assert found["condition_names"].tolist() == ["coast", "forest"] and found["condition_kind"] == "class"
    assert (found["conditions"].argmax(axis=1) == (found["classes"] == "forest")).all()
    for split in ("train", "val", "test"):
        own = found["splits"] == split
        assert found["rows"][own].tolist() == list(range(own.sum()))
    model = load_module(CHECKPOINT, GenerativeModule)
    data = load_datamodule(CHECKPOINT)
    with torch.inference_mode():
        expected = model.embed(as_image_data(data).batch("test", [0, 7]))
    assert torch.allclose(torch.from_numpy(vectors[[28, 35]]), expected, atol=1e-5)
    with Image.open("vectors.png") as picture:
        assert min(picture.size) > 300


def test_file_names_lead_to_the_images(trained: Path, class_folders: Path) -> None:
    assert embed("--split", "val", "--images", "full", "--map", "none", "--output", "val.npz") == 0
    assert not Path("val.png").exists()
    found = np.load("val.npz", allow_pickle=False)
    for name, label, image in zip(found["files"], found["classes"], found["images"], strict=True):
        path = class_folders / str(name)
        assert path.is_file() and path.parent.name.lower() == label
        with Image.open(path) as original:
            assert abs(np.asarray(original).mean() - image.mean()) < 6


def test_a_folder_of_pictures_is_read_like_training_data(trained: Path, class_folders: Path) -> None:
    folder = class_folders / "Testing Data"
    options = ("--input", str(folder), "--thumbnail", "8", "--batch-size", "3", "--map", "none")
    assert embed(*options, "--output", "some.npz") == 0
    assert embed("--split", "test", "--map", "none", "--output", "split.npz") == 0
    some, split = (np.load(name, allow_pickle=False) for name in ("some.npz", "split.npz"))
    assert some["images"].shape == (8, 8, 8, 3) and some["files"][0] == "Coast/0.png"
    assert some["classes"].tolist() == ["coast"] * 4 + ["forest"] * 4
    order = [split["files"].tolist().index(f"Testing Data/{name}") for name in some["files"]]
    assert np.allclose(some["vectors"], split["vectors"][order], atol=1e-5)
    assert embed(*options, "--condition", "Forest", "--output", "forest.npz", "--images", "none") == 0
    forest = np.load("forest.npz", allow_pickle=False)
    assert set(forest["classes"].tolist()) == {"forest"} and "images" not in forest.files


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is optional")
def test_parquet_holds_a_row_per_image(trained: Path) -> None:
    parquet = importlib.import_module("pyarrow.parquet")
    assert embed("--output", "vectors.parquet", "--map", "pca") == 0
    table = parquet.read_table("vectors.parquet")
    assert table.num_rows == 8 and len(table["vector"][0].as_py()) == 4
    assert table["image"][0].as_py().startswith(b"\x89PNG")
    assert json.loads(table.schema.metadata[b"vedute"])["condition_names"] == ["coast", "forest"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--output", "vectors.csv"), ("vectors.csv", ".npz", ".parquet")),
        (("--input", "nowhere"), ("--input", "nowhere", "does not exist")),
        (("--input", ".", "--data.root", "."), ("--data.root", "--input")),
        (("--condition", "Caost"), ("Caost", "Did you mean 'coast'")),
    ],
)
def test_what_cannot_be_embedded_is_told(
    trained: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert embed(*options) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert not list(Path().glob("vectors*"))


def test_absent_packages_are_named_before_the_work(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    assert embed("--output", "vectors.parquet") == 2
    assert "pip install pyarrow" in capsys.readouterr().err
    assert embed("--map", "umap") == 2
    assert "pip install umap-learn" in capsys.readouterr().err


def test_principal_components_find_the_directions_of_variance() -> None:
    torch.manual_seed(0)
    scales = torch.tensor([0.1, 3.0, 0.1, 1.0, 0.0])
    vectors = torch.randn(500, 5) * scales + 7
    points, shares = principal_components(vectors)
    assert torch.allclose(points[:, 0], vectors[:, 1] - vectors[:, 1].mean(), atol=0.2), "with its own sign"
    assert torch.allclose(shares, torch.tensor([0.9, 0.1]), atol=0.02)
    assert torch.equal(principal_components(vectors)[0], points)
    flat, none = principal_components(torch.ones(4, 1))
    assert torch.equal(flat, torch.zeros(4, 2)) and torch.equal(none, torch.zeros(2))


def test_principal_components_of_very_many_dimensions_agree_with_those_of_few() -> None:
    torch.manual_seed(0)
    few = torch.randn(40, 6) * torch.tensor([5.0, 3.0, 1.0, 0.5, 0.5, 0.5])
    many = torch.nn.functional.pad(few, (0, 3000))
    for one, other in zip(principal_components(few), principal_components(many), strict=True):
        assert torch.allclose(one, other, atol=1e-3)


def test_scores_are_those_that_were_given() -> None:
    given = np.array([[9, 1.25e-4], [0, 3e-4], [4, 2e-4]])
    mean, scale = given.mean(axis=0), given.std(axis=0)
    vectors = ((given - mean) / scale).astype(np.float32)
    assert np.array_equal(_in_their_unit(vectors, mean.tolist(), scale.tolist()), given.astype(np.float32))


def test_a_umap_of_too_few_vectors_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "umap", object())
    with pytest.raises(ConfigurationError, match="at least 8"):
        umap_points(torch.zeros(3, 2))


@pytest.mark.parametrize("kind", ["classes", "many classes", "scores", "none", "one point"])
def test_maps_are_drawn_of_all_kinds_of_conditions(kind: str) -> None:
    random = np.random.default_rng(0)
    count = 1 if kind == "one point" else 600
    points = random.normal(size=(count, 2)).astype(np.float32)
    scores = random.integers(0, 10, (count, 7)).astype(np.float32)
    scores[0, 0] = np.nan
    colouring = {
        "classes": Colouring(classes=[f"class {row % 5}" for row in range(count)]),
        "many classes": Colouring(classes=[f"class {row % 84}" for row in range(count)]),
        "scores": Colouring(scores=scores, names=list("ABCDEFG")),
    }.get(kind, Colouring())
    images = random.integers(0, 255, (count, 6, 8, 4 if kind == "scores" else 1), dtype=np.uint8)
    picture = map_picture(points, ("x", "y"), "title", colouring, images)
    colours = len(set(picture.resize((150, 80)).getdata()))
    assert picture.width > 500 and colours > (2 if kind == "one point" else 20)


def test_file_names_of_a_stranger_folder_stay_whole(class_folders: Path) -> None:
    data = ImageFolderDataModule(root=class_folders / "Training Data", image_size=16, residence="stream")
    names = {name for split in ("train", "val", "test") for name in data.file_names(split)}
    assert names == {f"{folder}/{number}.png" for folder in ("Coast", "Forest") for number in range(10)}
