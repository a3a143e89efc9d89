"""LPIPS: read from AlexNet's published file, equal to torchmetrics' own where that has the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import get_model

from vedute.errors import CheckpointError
from vedute.metrics.features import MissingWeightsError
from vedute.metrics.lpips import perceptual_difference

FILE = "alexnet-owt-7be5be79.pth"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("VEDUTE_WEIGHTS", raising=False)
    return tmp_path


def test_it_is_that_of_torchmetrics_with_the_same_weights(folder: Path) -> None:
    from torchmetrics.image import LearnedPerceptualImagePatchSimilarity

    state = get_model("alexnet", weights=None).state_dict()
    torch.save(state, folder / FILE)
    (folder / "hub" / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(state, folder / "hub" / "hub" / "checkpoints" / FILE)  # where torchmetrics looks
    theirs = LearnedPerceptualImagePatchSimilarity("alex", normalize=True)
    image, other = torch.rand(2, 3, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    difference = perceptual_difference(folder)
    found = difference(image, other)
    assert found.shape == (3,) and (found > 0).all()
    assert float(found.mean()) == pytest.approx(float(theirs(image, other)), rel=1e-4)
    assert difference(image, image).abs().max() < 1e-6
    grey = image[:, :1]
    assert torch.equal(difference(grey, other), difference(grey.expand(-1, 3, -1, -1), other))


def test_absent_and_other_weights_are_told(folder: Path) -> None:
    with pytest.raises(MissingWeightsError, match=FILE) as absent:
        perceptual_difference(folder)
    assert "\n" not in str(absent.value)
    torch.save(get_model("squeezenet1_1", weights=None).state_dict(), folder / FILE)
    with pytest.raises(CheckpointError, match="does not hold the weights of alexnet"):
        perceptual_difference(folder)
