"""Published weights: found by their file's name, never downloaded, refused where they do not fit."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from vedute.cli import main
from vedute.errors import CheckpointError, ConfigurationError
from vedute.pretrained import (
    find_weights,
    load_torchvision,
    pretrained_torchvision,
    published,
    weights_follow,
)

NAME = "squeezenet1_1"
FILE = "squeezenet1_1-b8a52dc0.pth"


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point to an empty folder of weights and an empty hub cache; return the former."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("VEDUTE_WEIGHTS", str(folder))
    return folder


def write(path: Path, name: str = NAME) -> nn.Module:
    """Write random weights of a network; return it."""
    network: nn.Module = get_model(name, weights=None).eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), path)
    return network


def test_the_published_names() -> None:
    assert [str(one) for one in published("resnet18")] == ["resnet18-f37072fd.pth (45 MB)"]
    assert [one.file for one in published("vgg16")] == ["vgg16-397923af.pth"], "not the part of a network"
    assert published("resnet50")[0].name == "IMAGENET1K_V2", "torchvision's default comes first"
    assert [round(value, 3) for value in published("vgg19")[0].mean] == [0.485, 0.456, 0.406]


def test_own_folder_before_hub_cache(places: Path, tmp_path: Path) -> None:
    assert find_weights(NAME) is None
    hub = tmp_path / "hub" / "hub" / "checkpoints" / FILE
    write(hub)
    assert find_weights(NAME) == hub
    (places / FILE).touch()
    assert find_weights(NAME) == places / FILE
    assert find_weights(NAME, folder=tmp_path / "elsewhere") == hub
    assert find_weights(NAME, str(hub)) == hub and find_weights(NAME, "IMAGENET1K_V1") == places / FILE


def test_weights_are_those_of_the_file(places: Path) -> None:
    written = write(places / FILE).state_dict()
    for load in (load_torchvision, pretrained_torchvision):
        network = load(NAME)
        assert all(torch.equal(value, written[key]) for key, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in load_torchvision(NAME).parameters())
    frozen = pretrained_torchvision(NAME)
    assert not frozen.training and not any(parameter.requires_grad for parameter in frozen.parameters())
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(frozen(image), load_torchvision(NAME).eval()(image))


def test_an_encoder_without_weights_starts_from_scratch_and_says_so() -> None:
    with pytest.warns(UserWarning) as told:
        load_torchvision("resnet18")
    (message,) = {str(one.message) for one in told}
    assert "from scratch" in message and "resnet18-f37072fd.pth (45 MB)" in message and "\n" not in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_torchvision(NAME, "random")
        with weights_follow():
            load_torchvision(NAME)
        with torch.device("meta"):
            assert next(load_torchvision(NAME).parameters()).is_meta


def test_a_loss_without_weights_is_an_error(places: Path) -> None:
    with pytest.raises(ConfigurationError) as told:
        pretrained_torchvision("vgg16")
    for part in ("vgg16-397923af.pth (528 MB)", str(places), "--weights-dir", "weights: random"):
        assert part in str(told.value)


def test_random_weights_are_the_same_each_time_and_use_no_random_numbers() -> None:
    state = torch.get_rng_state()
    first, second = (pretrained_torchvision(NAME, "random").state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(state, torch.get_rng_state())


def test_another_architecture_is_named(places: Path) -> None:
    write(places / FILE, "resnet18")
    for load in (load_torchvision, pretrained_torchvision):
        with pytest.raises(CheckpointError, match="the weights of squeezenet1_1, but of resnet18"):
            load(NAME)
    torch.save({"weight": torch.zeros(2)}, places / FILE)
    with pytest.raises(CheckpointError, match="another network"):
        load_torchvision(NAME)


def test_files_that_are_none_are_refused(places: Path) -> None:
    (places / FILE).write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_torchvision(NAME)
    torch.save(nn.Linear(2, 2), places / FILE)
    with pytest.raises(CheckpointError, match="more than numbers"):
        load_torchvision(NAME)
    torch.save([1, 2], places / FILE)
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_torchvision(NAME)


def test_old_files_lack_the_counters_of_batch_normalisation(places: Path) -> None:
    network = get_model("resnet18", weights=None)
    state = {key: value for key, value in network.state_dict().items() if "num_batches" not in key}
    torch.save(state, places / "resnet18-f37072fd.pth")
    assert torch.equal(load_torchvision("resnet18").conv1.weight, network.conv1.weight)  # type: ignore[union-attr, arg-type]


def test_old_names_of_densenet(places: Path) -> None:
    network = get_model("densenet121", weights=None)
    state = {
        key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value
        for key, value in network.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    torch.save(state, places / published("densenet121")[0].file)
    load_torchvision("densenet121")


def test_unknown_names_have_near_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"no network 'resnt18'. Did you mean resnet18"):
        load_torchvision("resnt18")
    with pytest.raises(ConfigurationError, match="IMAGENET1K_V1, or random"):
        load_torchvision("resnet18", "imagenet")


def test_doctor_lists_them(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (places / FILE).touch()
    assert main(["doctor", "--weights-dir", str(places)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "squeezenet1_1; not resnet18, vgg16, vgg19" in said and "vgg19-dcbb9e9d.pth (548 MB)" in said
