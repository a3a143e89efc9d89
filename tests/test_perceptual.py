"""Perceptual losses: layers by name, the network outside the model, and what must be told early."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model

from vedute.cli import main
from vedute.errors import CheckpointError, ConfigurationError
from vedute.losses.perceptual import Perceptual
from vedute.networks.layers import default_layers, layer_names
from vedute.pretrained import outline, published

SQUEEZE = "squeezenet1_1"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with random weights under the published names."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name in (SQUEEZE, "resnet18"):
        torch.save(get_model(name, weights=None).state_dict(), folder / published(name)[0].file)
    return folder


@pytest.fixture(autouse=True)
def places(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use that folder, and no hub cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("VEDUTE_WEIGHTS", str(weights))


def pair(channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    image, target = torch.rand(2, 3, channels, 40, 40, generator=generator)
    return image.requires_grad_(), target


@pytest.mark.parametrize("distance", ["squared", "absolute", "unit"])
@pytest.mark.parametrize("network", [SQUEEZE, "resnet18"])
def test_one_value_per_sample_with_gradient(network: str, distance: str) -> None:
    loss = Perceptual(network, distance=distance)  # type: ignore[arg-type]
    loss.check((40, 40), 3)
    image, target = pair()
    values = loss(image, target)
    assert values.shape == (3,) and values.dtype == torch.float32 and (values > 0).all()
    (gradient,) = torch.autograd.grad(values.sum(), image)
    assert gradient.isfinite().all() and (gradient.flatten(1).norm(dim=1) > 0).all()
    assert loss(target, target).abs().max() < 1e-6
    alone = torch.cat([loss(image[n : n + 1], target[n : n + 1]) for n in range(3)])
    assert torch.allclose(values, alone, rtol=1e-3)


def test_the_distance_is_the_mean_squared_error_of_the_features() -> None:
    loss = Perceptual("resnet18", layers={"layer1": 2.0, "layer2": 0.5})
    image, target = pair()
    network = get_model("resnet18", weights=None)
    network.load_state_dict(loss_state("resnet18"))
    network.eval()
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    def features(images: Tensor) -> tuple[Tensor, Tensor]:
        h = network.maxpool(network.relu(network.bn1(network.conv1((images - mean) / deviation))))
        first = network.layer1(h)
        return first, network.layer2(first)

    expected = sum(
        weight * (one - other).square().flatten(1).mean(dim=1)
        for weight, one, other in zip((2.0, 0.5), features(image), features(target), strict=True)
    )
    assert isinstance(expected, Tensor) and torch.allclose(loss(image, target), expected, rtol=1e-4)


def test_each_layer_has_its_own_weight_whatever_the_order_and_the_names() -> None:
    image, target = pair()
    single = {
        name: Perceptual("resnet18", layers=[name])(image, target) for name in ("conv1", "layer1", "layer2")
    }
    expected = 3 * single["layer2"] + 0.5 * single["layer1"] + 7 * single["conv1"]
    given = {"layer2": 3.0, "conv1": 7.0, "layer1": 0.5}  # not in the order of the network
    assert torch.allclose(Perceptual("resnet18", layers=given)(image, target), expected, rtol=1e-4)
    twice = Perceptual(
        "resnet18", layers={"layer2": 3.0, "layer1": 0.5, "layer1.1": 0.25, "layer1.1.relu_1": 0}
    )
    twice.check((40, 40), 3)
    expected = 3 * single["layer2"] + 0.75 * single["layer1"]
    assert torch.allclose(twice(image, target), expected, rtol=1e-4)


def loss_state(name: str) -> dict[str, Tensor]:
    import os

    state: dict[str, Tensor] = torch.load(
        Path(os.environ["VEDUTE_WEIGHTS"]) / published(name)[0].file, weights_only=True
    )
    return state


def test_layers_of_vgg_by_the_names_of_its_paper() -> None:
    for network, blocks in (("vgg16", (2, 2, 3, 3, 3)), ("vgg19", (2, 2, 4, 4, 4))):
        names = layer_names(outline(network))
        for block, count in enumerate(blocks, 1):
            assert f"relu{block}_{count}" in names and f"relu{block}_{count + 1}" not in names
        assert names["conv1_1"] == "features.0" and names["pool1"] == "features.4"
        assert names["logits"] == names["classifier"] == "classifier.6"
        last = f"relu3_{blocks[2]}"
        found = default_layers(outline(network), (3, 224, 224))
        assert found == [names[name] for name in ("relu1_2", "relu2_2", last)]
    assert layer_names(outline("vgg16_bn"))["norm1_1"] == "features.1"


def test_a_convolution_is_not_overwritten_by_the_relu_after_it() -> None:
    loss = Perceptual(SQUEEZE, layers=["features.0", "features.1"])
    extractor = loss._frozen.on(torch.device("cpu"))
    found = extractor(torch.rand(1, 3, 32, 32))
    assert found["features.0"].min() < 0
    assert torch.equal(found["features.0"].relu(), found["features.1"])


def test_what_a_network_says_of_classes_is_a_layer() -> None:
    loss = Perceptual(SQUEEZE, layers=["logits"], distance="unit")
    image, target = pair()
    assert loss(image, target).shape == (3,)


def test_only_what_is_needed_is_kept() -> None:
    loss = Perceptual("resnet18", layers=["layer1"])
    kept = sum(parameter.numel() for parameter in loss._frozen.on(torch.device("cpu")).parameters())
    assert kept < 200_000, "11.7 million in all"


class Holder(nn.Module):
    def __init__(self, loss: Perceptual) -> None:
        super().__init__()
        self.loss = loss
        self.layer = nn.Conv2d(3, 3, 1)


def test_the_network_is_no_part_of_the_model() -> None:
    loss = Perceptual(SQUEEZE)
    model = Holder(loss).train()
    image, target = pair()
    loss(model.layer(image), target).sum().backward()
    assert set(dict(model.named_parameters())) == set(model.state_dict()) == {"layer.weight", "layer.bias"}
    network = loss._frozen.on(torch.device("cpu"))
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    twin = copy.deepcopy(model)
    assert torch.equal(twin.loss(image, target), loss(image, target))


def test_a_network_first_used_in_a_validation_can_be_trained_with() -> None:
    loss = Perceptual(SQUEEZE)
    image, target = pair()
    with torch.inference_mode():
        loss(image, target)
    loss(image, target).sum().backward()
    assert image.grad is not None


def test_autocast_computes_features_in_bfloat16_and_distances_in_float32() -> None:
    loss, (image, target) = Perceptual(SQUEEZE), pair()
    with torch.autocast("cpu", torch.bfloat16):
        values = loss(image, target)
    values.sum().backward()
    assert values.dtype == torch.float32 and image.grad is not None
    assert torch.allclose(values, loss(image, target), rtol=0.05)
    assert loss(image.detach().bfloat16(), target.bfloat16()).dtype == torch.float32


def test_the_target_gets_no_gradient() -> None:
    loss, (image, target) = Perceptual(SQUEEZE), pair()
    target.requires_grad_()
    loss(image, target).sum().backward()
    assert target.grad is None


@pytest.mark.parametrize(("channels", "shown"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (4, [0, 1, 2])])
def test_images_of_other_channels(channels: int, shown: list[int]) -> None:
    loss = Perceptual(SQUEEZE)
    loss.check((40, 40), channels)
    image, target = pair(channels)
    assert torch.allclose(loss(image, target), loss(image[:, shown], target[:, shown]), rtol=1e-5)


def test_random_features_are_possible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VEDUTE_WEIGHTS", str(tmp_path))
    image, target = pair()
    values = [Perceptual(SQUEEZE, weights="random")(image, target) for _ in range(2)]
    assert torch.equal(*values)


def test_constructing_needs_no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VEDUTE_WEIGHTS", str(tmp_path))
    loss = Perceptual("vgg16")
    with pytest.raises(ConfigurationError, match=r"vgg16-397923af.pth \(528 MB\)"):
        loss.check((64, 64), 3)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: Perceptual("vgg61"), r"no network 'vgg61'. Did you mean"),
        (lambda: Perceptual("vgg16", layers=["relu3_4"]), r"no layer 'relu3_4'. Did you mean relu3_3"),
        (lambda: Perceptual("resnet18", layers=["stage"]), r"It has conv1"),
        (lambda: Perceptual(SQUEEZE, layers={"features.1": -1.0}), "features.1 must be"),
        (lambda: Perceptual(SQUEEZE, layers=[]), "a layer"),
        (lambda: Perceptual(SQUEEZE, weight=-1.0), "weight of Perceptual"),
        (lambda: Perceptual(SQUEEZE, distance="cosine"), "squared, absolute, unit"),  # type: ignore[arg-type]
        (lambda: Perceptual("vgg16", weights="best.ckpt"), "brings its own network"),
        (lambda: Perceptual("classifier"), "needs a checkpoint"),
        (lambda: Perceptual(SQUEEZE).check((8, 8), 3), "8x8"),
        (lambda: Perceptual(SQUEEZE, weights="none.pth").check((40, 40), 3), "neither a file nor published"),
    ],
)
def test_bad_options_are_told(build: Callable[[], object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        build()


def test_weights_of_another_architecture_are_told(weights: Path) -> None:
    loss = Perceptual(SQUEEZE, weights=str(weights / published("resnet18")[0].file))
    with pytest.raises(CheckpointError, match="but of resnet18"):
        loss.check((40, 40), 3)


@pytest.fixture(scope="module")
def judge(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a classifier for an epoch; return its checkpoint."""
    folder = tmp_path_factory.mktemp("judge")
    arguments = ["--data.root", str(class_folders), "--data.image_size", "32", "--data.batch_size", "4"]
    arguments += ["--model.network.init_args.widths", "[8, 16]", "--trainer.default_root_dir", str(folder)]
    arguments += ["--trainer.max_epochs", "1", "--trainer.precision", "32-true"]
    config = str(Path(__file__).parents[1] / "configs" / "classifier_landscapes.yaml")
    assert main(["fit", "--config", config, *arguments]) == 0
    return folder / "runs" / "classifier_landscapes" / "0" / "checkpoints" / "last.ckpt"


def test_a_classifier_of_ones_own_is_a_source(judge: Path, weights: Path) -> None:
    loss = Perceptual("classifier", weights=str(judge))
    loss.check((32, 32), 3)
    found = loss._frozen.on(torch.device("cpu"))(torch.rand(1, 3, 32, 32))
    assert [tuple(value.shape[1:]) for value in found.values()] == [(8, 16, 16), (16, 8, 8)]
    image, target = pair()
    values = loss(image, target)
    values.sum().backward()
    assert values.shape == (3,) and image.grad is not None and image.grad.isfinite().all()
    assert not list(loss.parameters()) and not loss.state_dict()

    late = Perceptual("classifier", layers={"stages.1": 2.0, "stem": 3.0}, weights=str(judge))
    parts = [Perceptual("classifier", [name], str(judge))(image, target) for name in ("stages.1", "stem")]
    assert torch.allclose(late(image, target), 2 * parts[0] + 3 * parts[1], rtol=1e-4)
    named = Perceptual("classifier", layers={"stem": 1.0}, weights=str(judge))
    assert not torch.allclose(named(image, target), values)
    with pytest.raises(ConfigurationError, match=r"no layer 'stages.9'. Did you mean stages.1"):
        Perceptual("classifier", layers=["stages.9"], weights=str(judge)).check((32, 32), 3)
    with pytest.raises(ConfigurationError, match="4 channels"):
        loss.check((32, 32), 4)
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        Perceptual("classifier", weights="nowhere.ckpt").check((32, 32), 3)


def test_a_generator_is_no_classifier(trained: Path) -> None:
    loss = Perceptual("classifier", weights=str(trained / "runs/tiny/0/checkpoints/last.ckpt"))
    with pytest.raises(CheckpointError, match="needs a classifier"):
        loss.check((32, 32), 3)
