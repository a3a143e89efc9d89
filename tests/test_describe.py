"""``describe``: counts against hand-computed ones, the data flow, the drawing, the verb."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from vedute.cli import main
from vedute.data.painted.landscapes import write_painted_landscapes
from vedute.networks.residual_vae import ResidualVAE
from vedute.networks.street_view import StreetViewVAE
from vedute.networks.wide_vae import WidePlusVAE
from vedute.report.drawing import draw_networks
from vedute.report.flow import Flow, network_flow
from vedute.report.layers import network_layers
from vedute.report.layout import Layout


class Everything(nn.Module):
    """Each kind of layer once; a dense layer used twice, a frozen one, one that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 2, 3, stride=2, padding=1, output_padding=1)
        self.dense = nn.Linear(32, 32)
        self.frozen = nn.Linear(32, 3).requires_grad_(False)
        self.unused = nn.Linear(7, 7)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        h = self.up(self.norm(self.grouped(self.conv(image))))  # (N, 2, 16, 16)
        h, _ = self.attention(h[:, 0], h[:, 0], h[:, 0], need_weights=False)
        h = h.flatten(1).unflatten(1, (8, 32))
        return self.frozen(self.dense(self.dense(h))), h


def test_multiply_adds_shapes_and_weights_are_the_hand_computed_ones() -> None:
    network = Everything()
    described = network_layers("network", network, (torch.rand(1, 4, 16, 16),))
    layers = {layer.name: layer for layer in described.layers}
    # One multiply-add per kernel entry, input channel and output entry (transposed: input entry).
    assert layers["conv"].multiply_adds == 9 * 4 * 8 * (8 * 8)
    assert layers["grouped"].multiply_adds == 9 * 4 * 8 * (8 * 8)
    assert layers["up"].multiply_adds == 9 * 8 * 2 * (8 * 8)
    assert layers["dense"].multiply_adds == 2 * 8 * 32 * 32
    assert layers["frozen"].multiply_adds == 8 * 32 * 3
    projections, products = 4 * 16 * 16 * 16, 2 * 16 * 16 * 16
    attention = [layer.multiply_adds for name, layer in layers.items() if name.startswith("attention")]
    assert sum(attention) == projections + products
    assert layers["norm"].multiply_adds == 0
    assert (layers["up"].inputs, layers["up"].outputs) == ([(8, 8, 8)], [(2, 16, 16)])
    assert (layers["conv"].weights, layers["grouped"].weights) == (8 * 4 * 9 + 8, 8 * 4 * 9)
    assert (layers["dense"].calls, layers["unused"].calls) == (2, 0)
    assert (layers["frozen"].weights, layers["frozen"].frozen_weights) == (0, 32 * 3 + 3)
    trainable = [weights.numel() for weights in network.parameters() if weights.requires_grad]
    assert described.weights == sum(trainable)
    assert described.multiply_adds == sum(layer.multiply_adds for layer in described.layers)


def test_describing_leaves_the_network_as_it_was() -> None:
    network = Everything().train()
    network.norm.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network_layers("network", network, (torch.rand(1, 4, 16, 16),))
    network_flow(network, (torch.rand(1, 4, 16, 16),))
    assert network.training and network.conv.training and not network.norm.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.conv._forward_hooks and not network.conv._forward_pre_hooks
    assert network.conv.weight.requires_grad


def example(network: nn.Module, size: int, condition_size: int) -> tuple[Tensor, Tensor]:
    device = next(network.parameters()).device
    return torch.zeros(1, 3, size, size, device=device), torch.zeros(1, condition_size, device=device)


def test_street_view_network_on_the_meta_device() -> None:
    with torch.device("meta"):
        network = StreetViewVAE((128, 128), 3, 84)
    described = network_layers("network", network, example(network, 128, 84))
    assert described.weights == 14_186_531
    convolutions = 9 * (3 * 32 * 64**2 + 32 * 64 * 32**2 + 64 * 128 * 16**2 + 128 * 256 * 8**2)
    upward = (256 * 256 * 8**2, 256 * 128 * 8**2, 128 * 64 * 16**2, 64 * 32 * 32**2, 32 * 3 * 64**2)
    dense = 2 * 84 * 256 + (16384 + 256) * 256 + 2 * 256 * 256 + 512 * 16384
    assert described.multiply_adds == convolutions + 9 * sum(upward) + dense


def feeding(flow: Flow, path: str) -> set[str]:
    """Return the titles and paths of the nodes that feed the block at ``path``."""
    node = next(node for node in flow.nodes if node.path == path)
    return {flow.nodes[source].path or flow.nodes[source].title for source in node.sources}


def test_flow_shows_latents_and_where_the_condition_enters() -> None:
    network = StreetViewVAE((16, 16), 3, 5)
    flow = network_flow(network, example(network, 16, 5))
    assert feeding(flow, "encoder.0.0") == {"image"}
    assert feeding(flow, "hidden.0") == {"encoder.3.0", "conditioning"}
    assert feeding(flow, "expand.0") == {"z", "conditioning"}
    latent = next(node for node in flow.nodes if node.role == "sample")
    assert {flow.nodes[source].path for source in latent.sources} == {"mu", "logvar"}
    assert latent.shape == (256,)
    aside = {node.path or node.title for node, main in zip(flow.nodes, flow.main, strict=True) if not main}
    assert aside == {"condition", "conditioning"}
    first = next(node for node in flow.nodes if node.path == "encoder.0.0")
    assert first.details == ["BatchNorm2d", "LeakyReLU"]
    assert sum(node.weights for node in flow.nodes) == sum(p.numel() for p in network.parameters())


def test_an_unconditional_network_has_no_condition_in_its_flow() -> None:
    network = ResidualVAE((32, 32), 3, 0)
    flow = network_flow(network, example(network, 32, 0))
    assert all(flow.main)
    assert [node.title for node in flow.nodes if node.role == "input"] == ["image"]


class Block(nn.Module):
    """A convolution under a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.conv(x))


class Trunk(nn.Module):
    """Repeated blocks under a long skip, as in super-resolution networks."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.Sequential(*(Block() for _ in range(5)))
        self.leave = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        h = self.enter(image)
        return self.leave(h + self.blocks(h))


def test_equal_blocks_in_a_row_are_one_and_skips_meet_in_a_sum() -> None:
    flow = network_flow(Trunk(), (torch.rand(1, 3, 8, 8),))
    assert [(node.title, node.count) for node in flow.nodes if node.role == "block"] == [("Block", 5)]
    assert next(node.weights for node in flow.nodes if node.role == "block") == 5 * (4 * 4 * 9 + 4)
    total = next(node for node in flow.nodes if node.role == "join")
    assert total.title == "+"
    assert {flow.nodes[source].path for source in total.sources} == {"enter", "blocks.0"}
    assert feeding(flow, "leave") == {"+"}


@pytest.mark.parametrize("kind", [StreetViewVAE, ResidualVAE, WidePlusVAE])
def test_boxes_do_not_overlap_and_stand_on_the_page(kind: type[ResidualVAE]) -> None:
    with torch.device("meta"):
        network = kind((32, 32), 3, 5)
    flow = network_flow(network, example(network, 32, 5))
    layout = Layout(flow, [(1.3, 1.0)] * len(flow.nodes))
    assert len(layout.boxes) == len(flow.nodes)
    for one, other in combinations(layout.boxes.values(), 2):
        apart = one.right < other.left or other.right < one.left
        assert apart or one.top < other.bottom or other.top < one.bottom
    for box in layout.boxes.values():
        assert box.left >= -1e-9 and box.right <= layout.width + 1e-9
        assert box.bottom >= -1e-9 and box.top <= layout.height + 1e-9


def test_drawing_of_several_networks_is_a_picture(tmp_path: Path) -> None:
    network = StreetViewVAE((16, 16), 3, 5)
    flows = [("first", network_flow(network, example(network, 16, 5)))]
    draw_networks(tmp_path / "one.png", flows)
    flows.append(("second", network_flow(Trunk(), (torch.rand(1, 3, 8, 8),))))
    draw_networks(tmp_path / "two.png", flows)
    draw_networks(tmp_path / "two.svg", flows)
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert one.width > 1000 and two.height > one.height
        colours = {colour for _, colour in one.convert("RGB").getcolors(1 << 24) or []}
        assert {(0xDB, 0xE9, 0xF6), (0xF9, 0xDB, 0xE2), (0xDD, 0xF0, 0xE0)} <= colours
    assert ElementTree.parse(tmp_path / "two.svg").getroot().tag.endswith("svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png", "two.svg"]


CONFIG = "configs/cvae_landscapes.yaml"


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the options of a tiny model on tiny data; the current folder is empty."""
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path / "cache"))
    root = write_painted_landscapes(tmp_path / "data", (32, 32), {"Train": 10, "Valid": 5, "Test": 5})
    config = Path(CONFIG).absolute()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return ["--config", str(config), "--data.root", str(root), "--data.image_size", "32"]


def test_config_is_described_with_overrides_and_nothing_is_trained(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    widths = ["--model.network.init_args.encoder_widths", "[8, 8]"]
    widths += ["--model.network.init_args.decoder_widths", "[8, 8]"]
    assert main(["describe", *options, *widths, "--json", "--output", "net.png"]) == 0
    described = json.loads(capsys.readouterr().out)
    network = described["networks"][0]
    expected = ResidualVAE((32, 32), 3, 5, encoder_widths=(8, 8), decoder_widths=(8, 8))
    assert network["weights"] == sum(weights.numel() for weights in expected.parameters())
    assert network["inputs"] == [[3, 32, 32], [5]]
    assert [path.name for path in Path().iterdir()] == ["net.png"]
    assert main(["describe", *options, *widths]) == 0
    table = capsys.readouterr().out
    assert f"{network['weights']:,}" in table and f"{network['multiply_adds']:,}" in table
    assert "3 x 32 x 32" in table and "to_image" in table


def test_checkpoint_is_described_alone(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--trainer.max_steps", "1", "--trainer.callbacks", "null", "--data.batch_size", "5"]
    quick += ["--model.network.init_args.latent_size", "7"]
    assert main(["fit", *options, *quick]) == 0
    checkpoint = next(Path().rglob("last.ckpt"))
    capsys.readouterr()
    assert main(["describe", "--checkpoint", str(checkpoint), "--json"]) == 0
    network = json.loads(capsys.readouterr().out)["networks"][0]
    assert network["outputs"][0] == [3, 32, 32]
    assert network["outputs"][1:] and all(shape == [7] for shape in network["outputs"][1:])
    assert main(["describe", "--checkpoint", str(checkpoint), "--data.image_size", "64"]) == 2
    assert "as it was trained" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config FILE and --checkpoint FILE"),
        (["--config", CONFIG, "--checkpoint", "x.ckpt"], "--config FILE and --checkpoint FILE"),
        (["--config", CONFIG, "--output", "net.gif"], r"net.gif"),
        (["--config", "configs/cvae_landscape.yaml"], "cvae_landscapes.yaml"),
        (["--config", CONFIG, "--output"], "expected one argument"),
        (["--config", CONFIG, "--modle", "x"], "modle"),
        (["--checkpoint", "missing.ckpt"], "missing.ckpt"),
    ],
)
def test_mistakes_are_one_message(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error and "usage:" not in error


def test_image_size_that_the_network_cannot_take(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", *options, "--data.image_size", "40"]) == 2
    assert "multiple of 16" in capsys.readouterr().err
