"""``translate`` as a user runs it, with a stand-in for the model."""

from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from datamodules.aerial import AerialDataModule
from tests.data.commands import failed
from tests.data.translators import StubTranslator, use_stub
from vedute.cli import main
from vedute.data.georeference import Georeference, read_georeference, write_geotiff

PLACE = Georeference((0.5, 0.0, 1000.0, 0.0, -0.5, 2000.0), nodata="0")
KEYS = (1, 1, 0, 1, 1024, 0, 1, 1)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StubTranslator:
    """Stand in the current folder, whose checkpoint ``city.ckpt`` is the stub."""
    monkeypatch.chdir(tmp_path)
    model = StubTranslator(tile_multiple=8)
    use_stub(monkeypatch, Path(), city=model)
    return model


def houses(height: int = 70, width: int = 90, seed: int = 0) -> NDArray[np.uint8]:
    blocks = np.random.default_rng(seed).random((-(-height // 5), -(-width // 5))) < 0.4
    return (blocks.repeat(5, 0).repeat(5, 1)[:height, :width] * 255).astype(np.uint8)


def save(path: str, mask: NDArray[np.generic]) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)
    return Path(path)


def translate(*options: str) -> int:
    usual = ["--checkpoint", "city.ckpt", "--device", "cpu", "--tile", "32", "--overlap", "16"]
    return main(["translate", *usual, *options])


def expected(model: StubTranslator, mask: NDArray[np.uint8], seed: int = 0) -> NDArray[np.float32]:
    """Return what the model makes of a whole mask, (H, W, 3) in [0, 255]."""
    padded = np.pad(mask, ((0, -mask.shape[0] % 8), (0, -mask.shape[1] % 8)), mode="reflect")
    with torch.inference_mode():
        image = model(torch.from_numpy(padded / np.float32(255))[None, None])[0] + 0.001 * seed
    return (image * 255).permute(1, 2, 0).numpy()[: mask.shape[0], : mask.shape[1]]  # type: ignore[no-any-return]


def manifest() -> list[dict[str, str]]:
    with Path("new/manifest.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def close(path: str | Path, wanted: NDArray[np.float32]) -> bool:
    found = np.asarray(Image.open(path)).astype(np.float32)
    return found.shape == wanted.shape and bool((np.abs(found - wanted) <= 0.51).all())


# Files


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
def test_a_mask_becomes_an_image(
    stub: StubTranslator, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = houses()
    save("mask.png", mask)
    assert translate("--input", "mask.png", "--output", f"new/city.{ending}", "--seed", "3") == 0
    if ending != "webp":  # which loses a little
        assert close(f"new/city.{ending}", expected(stub, mask, 3))
    assert Image.open(f"new/city.{ending}").size == (90, 70)
    assert "1 image in new" in capsys.readouterr().out
    assert [path.name for path in Path("new").iterdir()] == [f"city.{ending}"]


@pytest.mark.parametrize(
    "stored",
    [
        np.uint8(1) * (houses() > 0),
        houses().astype(np.uint16) * 257,
        houses() > 0,
    ],
)
@pytest.mark.parametrize("options", [{"tile": (32, 48)}, {"rowsperstrip": 7}, {"compression": "deflate"}])
def test_tiff_masks_of_every_kind_mean_the_same(
    stub: StubTranslator, stored: NDArray[np.generic], options: dict[str, object]
) -> None:
    tifffile.imwrite("mask.tif", stored, photometric="minisblack", metadata=None, **options)
    assert translate("--input", "mask.tif", "--output", "city.png") == 0
    assert close("city.png", expected(stub, houses()))


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (8, 8), (33, 31)])
def test_any_size(stub: StubTranslator, size: tuple[int, int]) -> None:
    save("mask.png", houses(*size))
    assert translate("--input", "mask.png", "--output", "city.png") == 0
    assert Image.open("city.png").size == (size[1], size[0])


def test_the_place_on_the_ground_is_kept(stub: StubTranslator) -> None:
    place = Georeference(PLACE.transform, KEYS, nodata="0")
    write_geotiff(Path("mask.tif"), houses()[:, :, None], place)
    assert translate("--input", "mask.tif", "--output", "city.tif", "--georeference", "keep") == 0
    kept = read_georeference(Path("city.tif"))
    assert kept == Georeference(PLACE.transform, KEYS), "and black is no missing value any more"
    assert translate("--input", "mask.tif", "--output", "bare.tif") == 0
    assert read_georeference(Path("bare.tif")) is None


def test_images_of_colours_are_translated_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    model = StubTranslator(3, 1)
    use_stub(monkeypatch, Path(), city=model)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    save("edges.png", pixels)
    assert translate("--input", "edges.png", "--output", "grey.png") == 0
    with torch.inference_mode():
        image = model(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)[0, 0] * 255
    assert close("grey.png", image.numpy())


# A training set


def test_a_folder_becomes_a_training_set(stub: StubTranslator, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        save(f"forged/a/town{number}.png", houses(40, 40, number))
    tifffile.imwrite("forged/large.tif", houses(70, 70))
    assert translate("--input", "forged", "--output", "new", "--seed", "5") == 0
    rows = manifest()
    assert [row["file"] for row in rows] == [
        *(f"images/a/town{number}.png" for number in range(3)),
        "images/large.tif",
    ]
    assert [row["mask"] for row in rows][2:] == ["masks/a/town2.png", "masks/large.tif"]
    assert [row["seed"] for row in rows] == ["5", "6", "7", "8"]
    digest = hashlib.sha256(Path("city.ckpt").read_bytes()).hexdigest()
    assert {(row["checkpoint"], row["sha256"]) for row in rows} == {("city.ckpt", digest)}
    assert close("new/images/a/town1.png", expected(stub, houses(40, 40, 1), 6))
    assert Path("new/masks/a/town1.png").read_bytes() == Path("forged/a/town1.png").read_bytes()
    assert "4 images, their masks and manifest.csv in new" in capsys.readouterr().out
    data = AerialDataModule(root="new", image_size=32, batch_size=1)
    assert data.size("train") >= 1 and data.batch("train", [0]).condition.image is not None


def test_what_was_made_before_a_damaged_file_is_a_set(
    stub: StubTranslator, capsys: pytest.CaptureFixture[str]
) -> None:
    save("forged/1.png", houses())
    content = save("forged/2.png", houses()).read_bytes()
    Path("forged/2.png").write_bytes(content[: len(content) * 2 // 3])
    message = failed(
        capsys,
        *("translate", "--checkpoint", "city.ckpt", "--input", "forged", "--output", "new"),
        *("--device", "cpu"),
    )
    assert "2.png" in message and "damaged" in message
    assert [row["file"] for row in manifest()] == ["images/1.png"]
    assert sorted(path.name for path in Path("new/images").iterdir()) == ["1.png"]


# Statistics and memory


def test_colours_do_not_depend_on_the_tile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    use_stub(monkeypatch, Path(), city=StubTranslator(norm=nn.InstanceNorm2d(8)))
    mask = houses(256, 256)
    mask[:, :128] = 0  # a field beside a town
    save("mask.png", mask)
    assert translate("--input", "mask.png", "--output", "tiles.png") == 0
    assert translate("--input", "mask.png", "--output", "whole.png", "--tile", "256") == 0
    tiles, whole = (np.asarray(Image.open(f"{name}.png")).astype(int) for name in ("tiles", "whole"))
    assert np.abs(tiles - whole)[:, 16:120].mean() < 3 and np.abs(tiles - whole)[:, 136:].mean() < 3


def test_less_is_tried_when_memory_runs_out(stub: StubTranslator, capsys: pytest.CaptureFixture[str]) -> None:
    save("forged/1.png", houses())
    save("forged/2.png", houses(seed=1))
    stub.largest = 32 * 32
    assert translate("--input", "forged", "--output", "new", "--batch-size", "2", "--tile", "64") == 0
    said = capsys.readouterr()
    assert said.err.count("Out of memory") == 2, "what fits is kept for the next file"
    assert "tiles of 32 overlapping by 16" in said.out
    assert close("new/images/2.png", expected(stub, houses(seed=1), 1))


def _peak() -> int:
    """Return the peak of this process's resident memory in bytes, since it was last reset."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="resets the peak of the memory")
def test_memory_does_not_grow_with_the_height(stub: StubTranslator) -> None:
    for name, height in (("small", 300), ("large", 40_000)):
        tifffile.imwrite(f"{name}.tif", houses(height, 100), compression="deflate", rowsperstrip=64)
    assert translate("--input", "small.tif", "--output", "small_city.tif", "--tile", "128") == 0
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    assert translate("--input", "large.tif", "--output", "large_city.tif", "--tile", "128") == 0
    assert _peak() - before < 6e6, "the output has 12 MB, as floats 48"
    with tifffile.TiffFile("large_city.tif") as file:
        assert file.pages.first.shape == (40_000, 100, 3)


# Bad input


def test_what_cannot_be_translated(
    stub: StubTranslator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save("mask.png", houses())
    save("forged/mask.png", houses())
    save("full/old.png", houses())
    Path("empty").mkdir()
    tifffile.imwrite("bare.tif", houses())

    def said(source: str, output: str, *rest: str) -> str:
        options = ("--checkpoint", "city.ckpt", "--input", source, "--output", output, "--device", "cpu")
        return failed(capsys, "translate", *options, *rest)

    assert "none.png does not exist" in said("none.png", "a.png")
    assert "holds no images" in said("empty", "new")
    assert "is not empty" in said("forged", "full") and "--overwrite" in said("forged", "full")
    assert "the input is not replaced" in said("mask.png", "mask.png")
    assert "would be read next time" in said("forged", "forged/new")
    assert "give a file's name" in said("mask.png", "city") and "is a folder" in said("mask.png", "full")
    assert "contradicts" in said("mask.png", "a.png", "--format", "tif")
    assert "needs TIFF" in said("mask.png", "a.png", "--georeference", "keep")
    assert "no GeoTIFF tags" in said("bare.tif", "a.tif", "--georeference", "keep")
    assert "from 0 to 16" in said("mask.png", "a.png", "--tile", "32", "--overlap", "20")
    assert "at least 0" in said("mask.png", "a.png", "--overlap=-1")
    save("forged/mask.jpg", houses())
    assert "would both become" in said("forged", "new")
    stub.scale = 2
    assert "use 'upscale'" in said("mask.png", "a.png")
    stub.condition_kind = "class"
    assert "makes images from classes" in said("mask.png", "a.png")
    assert not Path("a.png").exists() and not Path("new").exists()


def test_unusual_masks_are_said(stub: StubTranslator, capsys: pytest.CaptureFixture[str]) -> None:
    grey = houses()
    grey[10:20] = 100
    save("grey.png", grey)
    assert translate("--input", "grey.png", "--output", "city.png") == 0
    assert "1 of 1 masks hold grey" in capsys.readouterr().out
    grey[10:20] = 0
    assert close("city.png", expected(stub, grey))
    Path("text.png").write_text("no image")
    assert "text.png" in failed(
        capsys, "translate", "--checkpoint", "city.ckpt", "--input", "text.png", "--output", "a.png"
    )
