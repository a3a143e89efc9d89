"""ESRGAN's network: sizes, weight counts, and files with the names that were published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from vedute.checkpoints import load_checkpoint
from vedute.cli import main
from vedute.errors import CheckpointError, ConfigurationError
from vedute.networks.published_rrdb import load_published
from vedute.networks.rrdb import RRDB
from vedute.report.grid import to_pil

SMALL: dict[str, Any] = {"width": 8, "blocks": 2, "growth": 4}
NOTHING = torch.zeros(1, 0)


def small(scale: int = 4, channels: int = 3, **options: Any) -> RRDB:
    network = RRDB((32, 32), channels, channels, 0, scale=scale, **{**SMALL, **options})  # type: ignore[arg-type]
    return network.eval()


def first_names(weights: dict[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Return weights under the names of ESRGAN's first files, written out by hand."""
    names = {
        "conv_first": "model.0",
        "conv_body": f"model.1.sub.{blocks}",
        "conv_up1": "model.3",
        "conv_up2": "model.6",
        "conv_hr": "model.8",
        "conv_last": "model.10",
    }
    renamed = {}
    for name, value in weights.items():
        module, _, kind = name.rpartition(".")
        if module.startswith("body."):
            _, block, dense, conv = module.split(".")
            renamed[f"model.1.sub.{block}.RDB{dense[-1]}.{conv}.0.{kind}"] = value
        else:
            renamed[f"{names[module]}.{kind}"] = value
    return renamed


def later_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the names of ESRGAN's later files."""
    names = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}
    renamed = {}
    for name, value in weights.items():
        first, rest = name.split(".", 1)
        if first == "body":
            renamed[f"RRDB_trunk.{rest.replace('rdb', 'RDB')}"] = value
        else:
            renamed[f"{names.get(first, first)}.{rest}"] = value
    return renamed


def test_the_published_layouts_have_their_numbers_of_weights() -> None:
    with torch.device("meta"):
        networks = [RRDB((256, 256), 3, 3, 0, scale=scale) for scale in (4, 2)]  # type: ignore[arg-type]
        few = RRDB((256, 256), 3, 3, 0, blocks=6)
    counts = [sum(weights.numel() for weights in network.parameters()) for network in (*networks, few)]
    assert counts == [16_697_987, 16_703_171, 4_467_779]


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_become_as_much_larger_as_was_said(scale: int, channels: int) -> None:
    network = small(scale, channels)
    for height, width in ((network.multiple, network.multiple), (6, 10)):
        large = network(torch.rand(2, channels, height, width), NOTHING.expand(2, 0))
        assert large.shape == (2, channels, scale * height, scale * width)
        assert large.min() >= 0 and large.max() <= 1 and large.dtype == torch.float32


def test_pixels_out_of_range_are_pulled_back_in_training() -> None:
    network = small().train()
    nn.init.constant_(network.conv_last.bias, 3.0)  # type: ignore[arg-type]
    large = network(torch.rand(1, 3, 8, 8), NOTHING)
    assert large.min() > 1
    large.mean().backward()
    assert network.conv_first.weight.grad is not None and network.conv_first.weight.grad.abs().sum() > 0
    assert network.eval()(torch.rand(1, 3, 8, 8), NOTHING).max() == 1


def test_a_condition_vector_changes_the_image() -> None:
    network = RRDB((32, 32), 3, 3, 2, **SMALL).eval()
    assert network.film is not None
    nn.init.normal_(network.film.project.weight)
    image = torch.rand(1, 3, 8, 8)
    first, second = (network(image, torch.tensor([label])) for label in ([1.0, 0.0], [0.0, 1.0]))
    assert (first - second).abs().max() > 1e-4


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="2 or 4 times"):
        small(3)
    with pytest.raises(ConfigurationError, match="multiples of 4"):
        RRDB((30, 32), 3, 3, 0)
    with pytest.raises(ConfigurationError, match="at least 1"):
        small(blocks=0)
    with pytest.raises(ConfigurationError, match="multiples of 2, got 5x8"):
        small(2)(torch.rand(1, 3, 5, 8), NOTHING)


@pytest.mark.parametrize("form", ["first", "later", "ours", "params", "params_ema", "parallel"])
def test_published_files_give_the_same_images(form: str, tmp_path: Path) -> None:
    published, network = small(), small()
    weights = dict(published.state_dict())
    forms: dict[str, object] = {
        "first": first_names(weights, blocks=2),
        "later": later_names(weights),
        "ours": weights,
        "params": {"params": weights},
        "params_ema": {"params": small().state_dict(), "params_ema": weights},
        "parallel": {f"module.{name}": value for name, value in weights.items()},
    }
    torch.save(forms[form], tmp_path / "published.pth")
    load_published(network, tmp_path / "published.pth")
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(network(image, NOTHING), published(image, NOTHING))


def test_weights_in_half_precision_are_loaded_as_float32(tmp_path: Path) -> None:
    weights = {name: value.half() for name, value in small().state_dict().items()}
    torch.save(weights, tmp_path / "half.pth")
    network = small()
    load_published(network, tmp_path / "half.pth")
    assert network.conv_first.weight.dtype == torch.float32
    assert torch.equal(network.conv_first.weight, weights["conv_first.weight"].float())


def test_a_condition_is_left_as_it_is(tmp_path: Path) -> None:
    torch.save(small().state_dict(), tmp_path / "published.pth")
    network = RRDB((32, 32), 3, 3, 2, **SMALL)
    load_published(network, tmp_path / "published.pth")
    assert network.film is not None and network.film.project.weight.abs().sum() == 0


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"scale": 2}, "scale 2 instead of 4"),
        ({"width": 16}, "width 16 instead of 8"),
        ({"blocks": 3}, "blocks 3 instead of 2"),
        ({"growth": 6}, "growth 6 instead of 4"),
        ({"channels": 1}, "input channels 1 instead of 3; output channels 1 instead of 3"),
    ],
)
def test_a_file_of_another_network_is_refused(other: dict[str, int], message: str, tmp_path: Path) -> None:
    torch.save(small(**other).state_dict(), tmp_path / "other.pth")
    network = small()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_published(network, tmp_path / "other.pth")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_files_that_hold_no_such_network_are_refused(tmp_path: Path) -> None:
    network = small()
    with pytest.raises(CheckpointError, match="There is no file"):
        load_published(network, tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(CheckpointError, match="damaged"):
        load_published(network, tmp_path / "text.pth")
    torch.save(nn.Linear(2, 2), tmp_path / "code.pth")
    with pytest.raises(CheckpointError, match="could execute code"):
        load_published(network, tmp_path / "code.pth")
    for content in ([1, 2], {"weight": torch.zeros(2)}, {"params": 3}):
        torch.save(content, tmp_path / "foreign.pth")
        with pytest.raises(CheckpointError, match="no RRDB network"):
            load_published(network, tmp_path / "foreign.pth")
    weights = first_names(dict(network.state_dict()), blocks=2)
    for kind in ("weight", "bias"):  # an x2 file of that generation has one doubling less
        weights[f"model.5.{kind}"] = weights.pop(f"model.6.{kind}")
    torch.save(weights, tmp_path / "x2.pth")
    with pytest.raises(CheckpointError, match="not for 4 times"):
        load_published(network, tmp_path / "x2.pth")
    missing = {name: value for name, value in network.state_dict().items() if "rdb2" not in name}
    torch.save(missing, tmp_path / "missing.pth")
    with pytest.raises(CheckpointError, match=r"in \d+ places, the first body.0.rdb2"):
        load_published(network, tmp_path / "missing.pth")


def test_a_published_file_enlarges_without_any_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = small(scale=2)
    torch.save({"params_ema": network.state_dict()}, tmp_path / "published.pth")
    pixels = torch.randint(256, (3, 20, 36), dtype=torch.uint8)
    to_pil(pixels / 255).save(tmp_path / "small.png")
    command = [
        "upscale",
        "--checkpoint",
        str(tmp_path / "published.pth"),
        "--input",
        str(tmp_path / "small.png"),
    ]
    assert main([*command, "--output", str(tmp_path / "large.png")]) == 0
    with torch.inference_mode():
        expected = network(pixels[None] / 255, NOTHING)[0]
    made = np.asarray(Image.open(tmp_path / "large.png")).transpose(2, 0, 1) / 255
    assert made.shape == (3, 40, 72)
    assert np.abs(made - expected.numpy()).max() < 1.5 / 255


def test_training_begins_with_a_published_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "published.pth"
    torch.save(small(scale=4).state_dict(), file)
    config = str(Path(__file__).parents[1] / "configs" / "esrgan_pictures.yaml")
    sizes = [f"--model.network.init_args.{name}={value}" for name, value in SMALL.items()]
    given = ["fit", "--config", config, *sizes, "--data.image_size", "32", "--initial_weights", str(file)]
    still = ["--model.optimizer.lr", "0", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]
    folder = ["--trainer.default_root_dir", str(tmp_path), "--trainer.enable_progress_bar", "false"]
    assert main([*given, *still, *folder, "--model.discriminator.init_args.width", "4"]) == 0
    kept = load_checkpoint(tmp_path / "runs" / "esrgan_pictures" / "0" / "checkpoints" / "last.ckpt")
    for name, value in torch.load(file, weights_only=True).items():
        assert torch.equal(value, kept["state_dict"][f"network.{name}"]), name  # type: ignore[index]
    capsys.readouterr()
    assert main([*given, *still, *folder, "--model.network.init_args.width", "4"]) == 2
    assert "width 8 instead of 4" in capsys.readouterr().err
