"""``upscale`` and ``sample --then`` as a user runs them, with stand-ins for the models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.data.commands import failed
from tests.data.translators import StubTranslator, use_stub
from vedute import checkpoints
from vedute.checkpoints import load_module
from vedute.cli import main
from vedute.data.georeference import Georeference, read_georeference, write_geotiff


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StubTranslator:
    """Stand in the current folder, whose checkpoint ``large.ckpt`` doubles images."""
    monkeypatch.chdir(tmp_path)
    model = StubTranslator(3, 3, scale=2, tile_multiple=4)
    use_stub(monkeypatch, Path(), large=model)
    return model


def picture(height: int = 50, width: int = 70, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return pixels[:, :, 0] if channels == 1 else pixels


def upscale(*options: str) -> int:
    usual = ["--checkpoint", "large.ckpt", "--device", "cpu", "--tile", "32", "--overlap", "16"]
    return main(["upscale", *usual, *options])


def expected(model: StubTranslator, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what the model makes of a whole picture (H, W, 3), in [0, 255]."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % 4), (0, -width % 4), (0, 0)), mode="reflect")
    with torch.inference_mode():
        image = model(torch.from_numpy(padded).permute(2, 0, 1)[None] / 255)[0] * 255
    return image.permute(1, 2, 0).numpy()[: height * 2, : width * 2]  # type: ignore[no-any-return]


def close(path: str, wanted: NDArray[np.float32], levels: float = 0.51) -> bool:
    found = np.asarray(Image.open(path)).astype(np.float32)
    return found.shape == wanted.shape and bool((np.abs(found - wanted) <= levels).all())


def test_an_image_is_enlarged(stub: StubTranslator, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(picture()).save("small.png")
    assert upscale("--input", "small.png", "--output", "large.png", "--factor", "2") == 0
    assert close("large.png", expected(stub, picture()))
    assert "1 image, 2 times as large, in large.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pixels", "remark"),
    [
        (picture(channels=1), "grey repeated as colours"),
        (picture(channels=4), "transparency laid over white"),
        (picture(channels=1).astype(np.uint16) * 257, "16 bits scaled to 8"),
    ],
)
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_other_channels_and_depths_are_converted_and_said(
    stub: StubTranslator,
    pixels: NDArray[np.generic],
    remark: str,
    ending: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if ending == "tif":
        kind = {"photometric": "rgb", "extrasamples": ["unassalpha"]} if pixels.ndim == 3 else {}
        tifffile.imwrite("small.tif", pixels, metadata=None, **kind)
    else:
        Image.fromarray(pixels).save("small.png")
    assert upscale("--input", f"small.{ending}", "--output", "large.png") == 0
    said = capsys.readouterr().out
    assert f"small.{ending}: " in said and remark in said
    if pixels.ndim == 3:
        share = pixels[:, :, 3:] / 255
        plain = np.rint(pixels[:, :, :3] * share + 255 * (1 - share)).astype(np.uint8)
    else:
        plain = np.repeat((pixels // 257 if pixels.dtype == np.uint16 else pixels)[:, :, None], 3, 2)
        plain = plain.astype(np.uint8)
    assert close("large.png", expected(stub, plain), levels=1.01)


def test_the_place_is_kept_with_smaller_pixels(stub: StubTranslator) -> None:
    place = Georeference((0.5, 0.0, 1000.0, 0.0, -0.5, 2000.0))
    write_geotiff(Path("small.tif"), picture(), place)
    assert upscale("--input", "small.tif", "--output", "large.tif", "--georeference", "keep") == 0
    assert read_georeference(Path("large.tif")) == Georeference((0.25, 0.0, 1000.0, 0.0, -0.25, 2000.0))


def test_a_folder_becomes_a_folder(stub: StubTranslator, capsys: pytest.CaptureFixture[str]) -> None:
    Path("small/in").mkdir(parents=True)
    Image.fromarray(picture(seed=1)).save("small/1.jpg", quality=100)
    Image.fromarray(picture(seed=2)).save("small/in/2.png")
    Image.fromarray(picture(channels=1)).save("small/in/3.png")
    tifffile.imwrite("small/4.tif", picture(seed=4))
    write_geotiff(Path("small/5.tif"), picture(seed=5), Georeference((1.0, 0, 0, 0, -1.0, 0)))
    assert upscale("--input", "small", "--output", "large") == 0
    made = sorted(path.relative_to("large").as_posix() for path in Path("large").rglob("*.*"))
    assert made == ["1.png", "4.tif", "5.tif", "in/2.png", "in/3.png"]
    assert close("large/in/2.png", expected(stub, picture(seed=2)), levels=1.6), "seeds count up"
    assert "1 of 5 files: grey repeated" in capsys.readouterr().out
    assert upscale("--input", "small", "--output", "large", "--overwrite", "--format", "jpg") == 0
    assert Image.open("large/1.jpg").size == (140, 100)


def test_floating_point_needs_a_range(stub: StubTranslator, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite("small.tif", picture().astype(np.float32) / 255, photometric="rgb")
    options = ("--checkpoint", "large.ckpt", "--input", "small.tif", "--output", "large.tif")
    assert "--value-range LOW HIGH" in failed(capsys, "upscale", *options)
    assert upscale("--input", "small.tif", "--output", "large.png", "--value-range", "0", "1") == 0
    assert close("large.png", expected(stub, picture()))
    assert "lower and a higher" in failed(capsys, "upscale", *options, "--value-range", "1", "1")
    Image.fromarray(picture()).save("small.png")
    other = ("--checkpoint", "large.ckpt", "--input", "small.png", "--output", "large.png")
    assert "is no TIFF" in failed(capsys, "upscale", *other, "--value-range", "0", "1")


def test_what_cannot_be_enlarged(stub: StubTranslator, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(picture()).save("small.png")
    tifffile.imwrite("two.tif", picture(channels=2), photometric="minisblack", planarconfig="contig")

    def said(source: str, output: str, *rest: str) -> str:
        return failed(
            capsys, "upscale", "--checkpoint", "large.ckpt", "--input", source, "--output", output, *rest
        )

    assert "enlarges 2 times, not 4 times" in said("small.png", "large.png", "--factor", "4")
    assert "has 2 channels, but the model works on 3" in said("two.tif", "large.png")
    tifffile.imwrite("wide.tif", np.zeros((4, 9000), dtype=np.uint8))
    assert "WEBP ends at 16,383" in said("wide.tif", "large.webp")
    stub.scale = 1
    assert "cannot enlarge" in said("small.png", "large.png")
    assert not Path("large.png").exists()


# sample --then


@pytest.fixture
def pipeline(trained: Path, monkeypatch: pytest.MonkeyPatch) -> StubTranslator:
    """Return a stub that ``large.ckpt`` holds, beside a trained run."""
    model = StubTranslator(3, 3, scale=4, tile_multiple=12).eval()
    use_stub(monkeypatch, Path(), large=model)

    def load(path: Path, *rest: object) -> object:
        return model if Path(path).stem == "large" else load_module(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoints, "load_module", load)
    return model


BEST = "runs/tiny/0/checkpoints/best.ckpt"


def test_samples_are_enlarged(pipeline: StubTranslator) -> None:
    options = ["sample", "--checkpoint", BEST, "--condition", "Coast", "--count", "3", "--device", "cpu"]
    assert main([*options, "--output", "small"]) == 0
    assert main([*options, "--output", "large", "--then", "large.ckpt", "--batch-size", "2"]) == 0
    names = sorted(path.name for path in Path("large").glob("*.png"))
    assert len(names) == 3 and sorted(path.name for path in Path("small").glob("*.png")) == names
    assert pipeline.sizes[0] == (2, 36, 36), "sides of 32 are raised to multiples of 12"
    for name in names:
        small = np.pad(np.asarray(Image.open(f"small/{name}")), ((0, 4), (0, 4), (0, 0)), mode="reflect")
        with torch.inference_mode():
            image = pipeline(torch.from_numpy(small).permute(2, 0, 1)[None] / 255)[0, :, :128, :128] * 255
        assert close(f"large/{name}", image.permute(1, 2, 0).numpy(), levels=2)
    assert main([*options, "--output", "grid.png", "--then", "large.ckpt"]) == 0
    assert Image.open("grid.png").width > 3 * 128


def test_what_cannot_come_then(pipeline: StubTranslator, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("sample", "--checkpoint", BEST, "--output", "a.png", "--then", "large.ckpt")
    pipeline.condition_channels = 1
    assert "images of 1 channels" in failed(capsys, *options)
    pipeline.scale = 1
    assert "cannot enlarge" in failed(capsys, *options)
    assert "makes images from classes" in failed(capsys, *options[:-1], BEST)
    assert not Path("a.png").exists()
