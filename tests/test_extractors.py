"""Feature extractors by name: what each computes, and what is said where it cannot be made."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import get_model

from tests.data.stubs import StubJudge
from vedute.errors import CheckpointError, ConfigurationError
from vedute.metrics.extractors import Source, make_extractors
from vedute.metrics.features import in_colour, judge_features, network_fingerprint, resize
from vedute.metrics.published_features import (
    _leave_out_last_layer,
    dinov2_features,
    script_features,
    shown_name,
    torchvision_features,
)
from vedute.networks.dinov2 import Dinov2, architecture, fits
from vedute.pretrained import outline

SOURCE = Source(3, (32, 48))
SMALL = "torchvision:squeezenet1_1:random@64"
FILE = "dinov2_vits14_pretrain.pth"


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point to an empty folder of weights and an empty hub cache; return the former."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("VEDUTE_WEIGHTS", str(folder))
    return folder


# Names


def test_what_is_missing_is_a_line_and_the_others_are_made(weights: Path) -> None:
    names = ["inception", "pixels", "details", "dinov2", "torchvision:resnet50", SMALL]
    extractors, left_out = make_extractors(names, SOURCE)
    made = ["pixels", "details", "torchvision_squeezenet1_1_random_64"]
    assert [extractor.name for extractor in extractors] == made
    files = ("weights-inception-2015-12-05-6726825d.pth", FILE, "resnet50-11ad3fa6.pth")
    for line, file in zip(left_out, files, strict=True):
        assert "left out" in line and file in line and str(weights) in line and "\n" not in line
    image = torch.rand(2, 3, 32, 48)
    for extractor in extractors:
        assert extractor.extract(image).shape == (2, extractor.size)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["dinov3"], "no features 'dinov3'. Did you mean dinov2"),
        (["torchvision:resnt50"], "Did you mean resnet50"),
        (["torchvision"], "torchvision:NAME"),
        (["script:absent.pt@64"], "need the file absent.pt: there is none"),
        (["pixels", "dinov2", "pixels"], "'pixels' are asked for twice"),
        (["regressor"], "give --regressor FILE"),
    ],
)
def test_names_that_mean_nothing(names: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_extractors(names, SOURCE)


def test_judges_give_features_under_their_own_names() -> None:
    judges = {"classifier": StubJudge(["a", "b", "c"]), "segmenter": StubJudge(["a", "b", "c"], 4)}
    (extractor,), _ = make_extractors(["classifier"], Source(3, (32, 48), judges))
    assert (extractor.name, extractor.size, extractor.frechet_name) == ("classifier", 3, "fd_classifier")
    with pytest.raises(CheckpointError, match="segmenter takes images with 4 channels, these have 3"):
        make_extractors(["segmenter"], Source(3, (32, 48), judges))


def test_names_of_scores_are_plain() -> None:
    assert shown_name("torchvision:resnet50@96") == "torchvision_resnet50_96"
    assert shown_name("script:some/folder/my net.pt@224") == "script_my_net_224"
    assert shown_name("dinov2") == "dinov2"


# Torchvision


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *(("resnet18", 512), ("squeezenet1_1", 512), ("vgg11", 4096), ("alexnet", 4096), ("vit_b_16", 768)),
        *(("densenet121", 1024), ("mobilenet_v3_small", 1024), ("swin_t", 768), ("convnext_tiny", 768)),
        *(("efficientnet_b0", 1280), ("shufflenet_v2_x0_5", 1024), ("googlenet", 1024), ("maxvit_t", 512)),
        *(("inception_v3", 2048), ("mnasnet0_5", 1280)),
    ],
)
def test_the_last_layer_is_left_out_of_every_kind_of_network(name: str, size: int) -> None:
    network = outline(name)
    _leave_out_last_layer(network)
    side = 299 if name == "inception_v3" else 224
    with torch.device("meta"):
        assert network(torch.zeros(2, 3, side, side)).shape == (2, size)


def test_published_weights_are_used_with_their_colours_and_size(weights: Path) -> None:
    network = get_model("squeezenet1_1", weights=None).eval()
    torch.save(network.state_dict(), weights / "squeezenet1_1-b8a52dc0.pth")
    extractor = torchvision_features("squeezenet1_1")
    image = torch.rand(2, 3, 40, 40)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    given = (resize(image, (224, 224)) - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    with torch.no_grad():
        expected = network.features(given).mean(dim=(2, 3))
    torch.testing.assert_close(extractor.extract(image), expected)
    assert extractor.resizing.endswith("224x224") and extractor.name == "torchvision_squeezenet1_1"
    assert extractor.weights != torchvision_features("squeezenet1_1:random@64").weights


def test_a_size_that_a_network_cannot_take_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="takes no images of 8x8 pixels"):
        torchvision_features("squeezenet1_1:random@8")


def test_features_do_not_depend_on_the_batch_or_on_autocast() -> None:
    extractor = torchvision_features("squeezenet1_1:random@64")
    image = torch.rand(70, 3, 24, 24)
    whole = extractor.extract(image)
    single = torch.cat([extractor.extract(part) for part in image.split(9)])
    torch.testing.assert_close(whole, single, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(extractor.extract(image), whole)
    assert not whole.requires_grad and not whole.is_inference() and whole.dtype == torch.float32


def test_grey_and_four_channels_become_colours() -> None:
    image = torch.rand(2, 4, 4, 4)
    assert torch.equal(in_colour(image), image[:, :3])
    for channels in (1, 2):
        assert torch.equal(in_colour(image[:, :channels]), image[:, :1].expand(-1, 3, -1, -1))
    extractor = torchvision_features("squeezenet1_1:random@64")
    assert torch.equal(extractor.extract(image), extractor.extract(image[:, :3]))


# TorchScript


class Statistics(nn.Module):
    """Means and deviations of each channel."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([image.mean(dim=(2, 3)), image.std(dim=(2, 3))], dim=1)


quiet = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")  # deprecated, still widely used


def script(path: Path, network: nn.Module, shape: tuple[int, ...] = (2, 3, 32, 48)) -> Path:
    torch.jit.save(torch.jit.trace(network.eval(), torch.rand(shape)), path)
    return path


@quiet
def test_a_script_is_used_as_it_is(tmp_path: Path) -> None:
    file = script(tmp_path / "statistics.pt", Statistics())
    (extractor,), left_out = make_extractors([f"script:{file}"], SOURCE)
    image = torch.rand(5, 3, 32, 48)
    torch.testing.assert_close(extractor.extract(image), Statistics()(image))
    assert (extractor.name, extractor.size, extractor.resizing) == ("script_statistics", 6, "none")
    assert len(extractor.weights) == 16 and not left_out


@quiet
def test_scripts_that_return_maps_or_need_colours_or_a_size(tmp_path: Path) -> None:
    maps = script(tmp_path / "maps.pt", nn.Conv2d(3, 7, 3, stride=2))
    assert script_features(maps, (1, 32, 48)).size == 7, "grey images are repeated for a colour network"
    grey = script(tmp_path / "grey.pt", nn.Conv2d(1, 7, 3), (2, 1, 32, 48))
    assert script_features(grey, (1, 32, 48)).size == 7
    fixed = script(tmp_path / "fixed.pt", nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5)), (2, 3, 8, 8))
    with pytest.raises(CheckpointError, match=r"script:FILE\.pt@224"):
        script_features(fixed, (3, 32, 48))
    (extractor,), _ = make_extractors([f"script:{fixed}@8"], SOURCE)
    assert extractor.size == 5 and extractor.name == "script_fixed_8" and "8x8" in extractor.resizing


@quiet
def test_scripts_that_are_none(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read as TorchScript"):
        script_features(broken, (3, 32, 48))
    state = tmp_path / "state.pt"
    torch.save({"weight": torch.zeros(2)}, state)
    with pytest.raises(CheckpointError, match="cannot be read as TorchScript"):
        script_features(state, (3, 32, 48))
    flat = script(tmp_path / "flat.pt", nn.Flatten(0))
    with pytest.raises(CheckpointError, match=r"returns \(9216,\) for 2 images") as told:
        script_features(flat, (3, 32, 48))
    assert "\n" not in str(told.value)


# DINOv2


def published_names(width: int, depth: int) -> dict[str, Tensor]:
    """Return random weights under the names and with the shapes of the published files."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1370, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    layers = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
    layers |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
    for block in range(depth):
        for name, shape in layers.items():
            shapes[f"blocks.{block}.{name}.weight"] = shape
            shapes[f"blocks.{block}.{name}.bias"] = shape[:1]
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"blocks.{block}.{name}"] = (width,)
    generator = torch.Generator().manual_seed(0)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def reference(state: dict[str, Tensor], image: Tensor, depth: int) -> Tensor:
    """Compute DINOv2's class token another way: PyTorch's own attention, positions by hand."""
    width = state["cls_token"].shape[-1]
    patches = F.unfold(image, 14, stride=14).transpose(1, 2)  # (N, T, 588)
    tokens = patches @ state["patch_embed.proj.weight"].flatten(1).T + state["patch_embed.proj.bias"]
    rows, columns = image.shape[2] // 14, image.shape[3] // 14
    grid = state["pos_embed"][0, 1:].T.reshape(1, width, 37, 37)
    scale = ((rows + 0.1) / 37, (columns + 0.1) / 37)
    positions = F.interpolate(grid, scale_factor=scale, mode="bicubic")[0].flatten(1).T
    start = (state["cls_token"] + state["pos_embed"][:, :1]).expand(len(image), -1, -1)
    x = torch.cat([start, tokens + positions], dim=1)

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (width,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    for block in range(depth):
        part = f"blocks.{block}"
        attention = nn.MultiheadAttention(width, width // 64, batch_first=True)
        names = {"in_proj_weight": "qkv.weight", "in_proj_bias": "qkv.bias"}
        names |= {"out_proj.weight": "proj.weight", "out_proj.bias": "proj.bias"}
        attention.load_state_dict({mine: state[f"{part}.attn.{theirs}"] for mine, theirs in names.items()})
        h = norm(x, f"{part}.norm1")
        x = x + state[f"{part}.ls1.gamma"] * attention(h, h, h, need_weights=False)[0]
        h = norm(x, f"{part}.norm2")
        h = F.gelu(h @ state[f"{part}.mlp.fc1.weight"].T + state[f"{part}.mlp.fc1.bias"])
        x = x + state[f"{part}.ls2.gamma"] * (
            h @ state[f"{part}.mlp.fc2.weight"].T + state[f"{part}.mlp.fc2.bias"]
        )
    return norm(x[:, 0], "norm")


@torch.no_grad()
def test_dinov2_computes_what_its_published_weights_mean() -> None:
    state = published_names(128, 3)
    assert architecture(state) == (128, 3) and fits(state)
    network = Dinov2(128, 3).eval()
    network.load_state_dict(state)
    for size in ((28, 42), (224, 224)):
        image = torch.randn(2, 3, *size)
        torch.testing.assert_close(network(image), reference(state, image, 3), rtol=1e-4, atol=1e-4)
    full = torch.randn(1, 3, 518, 518)  # the grid of the file: positions as they are
    tokens = network.patch_embed(full)
    assert tokens.shape == (1, 1369, 128) and network._positions(37, 37) is network.pos_embed


@pytest.mark.parametrize(
    ("width", "depth", "count"), [(384, 12, 22_056_576), (768, 12, 86_580_480), (1024, 24, 304_368_640)]
)
def test_dinov2_has_the_published_number_of_weights(width: int, depth: int, count: int) -> None:
    with torch.device("meta"):
        network = Dinov2(width, depth)
    assert sum(weight.numel() for weight in network.parameters()) == count


def test_dinov2_from_its_file(weights: Path) -> None:
    state = published_names(384, 12)
    torch.save(state, weights / FILE)
    (extractor,), left_out = make_extractors(["dinov2"], Source(1, (32, 48)))
    image = torch.rand(3, 1, 32, 48)
    features = extractor.extract(image)
    assert features.shape == (3, 384) and extractor.frechet_name == "fd_dinov2" and not left_out
    small = F.interpolate(
        image.expand(-1, 3, -1, -1), size=(224, 224), mode="bicubic", antialias=True, align_corners=False
    )
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    given = (small.clamp(0, 1) - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    torch.testing.assert_close(features, reference(state, given, 12), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(extractor.extract(image[1:2]), features[1:2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["registers", "another size", "damaged", "no weights"])
def test_other_files_than_dinov2s_are_refused(weights: Path, kind: str) -> None:
    state = published_names(64, 2)
    if kind == "registers":
        state["register_tokens"] = torch.zeros(1, 4, 64)
        assert not fits(state)
    torch.save([1, 2] if kind == "no weights" else state, weights / FILE)
    if kind == "damaged":
        (weights / FILE).write_bytes((weights / FILE).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=FILE) as told:
        dinov2_features()
    assert "leave dinov2 out" in str(told.value)


# Fingerprints


def test_fingerprints_follow_the_weights() -> None:
    torch.manual_seed(0)
    first = nn.Linear(3, 2)
    before = network_fingerprint(first)
    assert before == network_fingerprint(first) and len(before) == 16
    with torch.no_grad():
        first.weight[0, 0] += 1e-3
    assert network_fingerprint(first) != before
    stub = judge_features(StubJudge(["a", "b", "c"]))
    assert stub.weights == "" and dataclasses.replace(stub, weights="a").weights == "a"
