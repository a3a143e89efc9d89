"""The painted pictures: equal for equal seeds, and as varied as their description says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vedute.data.image_files import image_files
from vedute.data.painted.pictures import painted_pictures
from vedute.errors import ConfigurationError


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VEDUTE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return painted_pictures((16, 16), count=120)


def test_sizes_shapes_folders_and_formats_vary(sample: Path) -> None:
    files = image_files(sample)
    assert len(files) == 120 and (sample / "about.txt").is_file()
    assert len({path.parent for path in files}) == 8 and any(path.parent == sample for path in files)
    kinds: dict[tuple[str | None, str], int] = {}
    sizes = []
    for path in files:
        with Image.open(path) as image:
            kinds[image.format, image.mode] = kinds.get((image.format, image.mode), 0) + 1
            sizes.append(image.size)
    assert kinds.pop(("JPEG", "RGB")) == 108
    assert kinds == {("PNG", "RGB"): 3, ("GIF", "P"): 3, ("JPEG", "L"): 3, ("JPEG", "CMYK"): 3}
    aspects = np.array([width / height for width, height in sizes])
    assert len(set(sizes)) > 40 and aspects.min() < 0.8 and aspects.max() > 2
    assert min(min(size) for size in sizes) >= 25 and max(max(size) for size in sizes) <= 800


def test_turned_pictures_stand_upright_when_their_exif_is_applied(sample: Path) -> None:
    orientations = {
        path.name: Image.open(path).getexif().get(0x0112)
        for path in image_files(sample)
        if Image.open(path).getexif()
    }
    assert sorted(orientations) == ["IMG_0029.jpg", "IMG_0069.jpg", "IMG_0109.jpg"]
    assert set(orientations.values()) <= {3, 6, 8}


def test_equal_seeds_paint_equal_pictures(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path))
    again = painted_pictures((16, 16), count=30)  # fewer, and so in other pieces
    for path in image_files(again):
        assert path.read_bytes() == (sample / path.relative_to(again)).read_bytes()
    other = painted_pictures((16, 16), count=10, seed=1)
    assert {path.read_bytes() for path in image_files(other)}.isdisjoint(
        path.read_bytes() for path in image_files(again)
    )
    assert painted_pictures((16, 16), count=10, seed=1) == other


def test_larger_images_get_larger_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path))
    for path in image_files(painted_pictures((64, 64), count=12)):
        with Image.open(path) as image:
            assert min(image.size) >= 100 and max(image.size) <= 800


@pytest.mark.parametrize("options", [{"count": 0}, {"seed": -1}, {"image_size": (4, 4)}])
def test_samples_that_cannot_be_painted_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        painted_pictures(**options)  # type: ignore[arg-type]
