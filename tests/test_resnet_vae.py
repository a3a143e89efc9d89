"""The rated-cars network: weights from a file once, and a checkpoint that brings its own."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from lightning_modules.base import GenerativeModule
from lightning_modules.cvae import CVAE
from vedute.checkpoints import load_module
from vedute.cli import main
from vedute.errors import CheckpointError
from vedute.networks.resnet_vae import ResNetVAE

ROOT = Path(__file__).parents[1]
CONFIG = str(ROOT / "configs" / "cvae_cars.yaml")
FILE = "resnet18-f37072fd.pth"
SMALL = {"latent_size": 4, "decoder_widths": (8, 16)}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder of weights; torch's cache is empty as well."""
    monkeypatch.setenv("VEDUTE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def test_weights_on_the_machine_are_taken(places: Path) -> None:
    torch.manual_seed(1)
    published = resnet18()
    torch.save(published.state_dict(), places / FILE)
    network = ResNetVAE((32, 32), 3, 2, **SMALL)  # type: ignore[arg-type]
    stem = network.stem.get_submodule("0")
    assert isinstance(stem, torch.nn.Conv2d) and torch.equal(stem.weight, published.conv1.weight)
    own = dict(published.named_parameters())["layer4.1.conv2.weight"]
    assert torch.equal(dict(network.named_parameters())["stages.3.1.conv2.weight"], own)


def test_absent_weights_are_one_warning_and_a_start_from_scratch(places: Path) -> None:
    with pytest.warns(UserWarning, match=f"from scratch.*{FILE}") as caught:
        ResNetVAE((32, 32), 3, 2, **SMALL)  # type: ignore[arg-type]
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ResNetVAE((32, 32), 3, 2, weights="random", **SMALL)  # type: ignore[arg-type]


def test_weights_of_another_network_are_refused(places: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, places / FILE)
    with pytest.raises(CheckpointError, match="does not hold the weights of resnet18"):
        ResNetVAE((32, 32), 3, 2, **SMALL)  # type: ignore[arg-type]


def test_a_checkpoint_needs_no_weights_file_and_does_not_warn(places: Path, tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), places / FILE)
    short = "--trainer.max_epochs 1 --trainer.limit_train_batches 1 --trainer.limit_val_batches 1"
    small = "--data.image_size 32 --data.batch_size 8 --trainer.enable_progress_bar false"
    options = [*short.split(), *small.split(), "--trainer.default_root_dir", str(tmp_path)]
    options += ["--model.network.init_args.latent_size", "4"]
    assert main(["fit", "--config", CONFIG, *options]) == 0
    (places / FILE).unlink()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*from scratch.*")
        path = tmp_path / "runs" / "cvae_cars" / "0" / "checkpoints" / "last.ckpt"
        module = load_module(path, GenerativeModule)
    assert isinstance(module, CVAE) and isinstance(module.network, ResNetVAE)
    assert all(tensor.isfinite().all() for tensor in module.state_dict().values())


@pytest.mark.parametrize("weights", ["file", "null"])
def test_checkpoints_outlive_the_file_of_their_weights(places: Path, tmp_path: Path, weights: str) -> None:
    file = tmp_path / "own.pth" if weights == "file" else places / FILE
    torch.save(resnet18().state_dict(), file)
    short = "--trainer.limit_train_batches 1 --trainer.limit_val_batches 1 --trainer.limit_test_batches 1"
    short += " --trainer.limit_predict_batches 1 --trainer.enable_progress_bar false"
    small = "--trainer.max_epochs 1 --data.image_size 32 --data.batch_size 8"
    options = [*small.split(), "--trainer.default_root_dir", str(tmp_path)]
    options += ["--model.network.init_args.latent_size", "4"]
    if weights == "file":  # else null
        options += ["--model.network.init_args.weights", str(file)]
    assert main(["fit", "--config", CONFIG, *short.split(), *options]) == 0
    file.unlink()
    run = tmp_path / "runs" / "cvae_cars" / "0"
    checkpoint = ["--ckpt_path", str(run / "checkpoints" / "last.ckpt"), *short.split()]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*from scratch.*")
        for verb in ("validate", "test", "predict"):
            assert main([verb, *checkpoint]) == 0, verb
        assert main(["fit", *checkpoint, "--trainer.max_epochs", "2"]) == 0
    with pytest.warns(UserWarning, match="from scratch") if weights == "null" else nullcontext():
        again = main(["fit", "--config", CONFIG, *short.split(), *options])
    assert again == (0 if weights == "null" else 2)  # a new run starts without them
