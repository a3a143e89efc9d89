"""Networks for flow matching: shapes, conditions, independence of rows, derivatives, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import jvp

from vedute.errors import ConditionError, ConfigurationError
from vedute.networks.conditioning import EntryAttention
from vedute.networks.flow import FlowCondition, FlowNetwork, FlowTask, TimeFeatures
from vedute.networks.flow_transformer import FlowTransformer, sine_positions
from vedute.networks.flow_unet import FlowUNet

SMALL: list[tuple[type[FlowNetwork], dict[str, Any]]] = [
    (FlowUNet, {"widths": (8, 16, 20), "embedding_size": 24}),
    (FlowTransformer, {"width": 16, "depth": 2, "heads": 2}),
]
both = pytest.mark.parametrize(("kind", "options"), SMALL)
Kind = type[FlowNetwork]
Options = dict[str, Any]


def stir(network: FlowNetwork) -> FlowNetwork:
    """Give all weights random values: some start at 0, and what they do would not be seen."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(0.1 * torch.randn(weights.shape, generator=generator))
    return network


def full(kind: Kind, options: Options, size: tuple[int, int] = (16, 24), channels: int = 3) -> FlowNetwork:
    """Return a network with random weights that takes a vector, an image, an augmentation and spans."""
    torch.manual_seed(0)
    return stir(kind(FlowTask(size, channels, 5, 2, 3, True), **options)).eval()


def inputs(
    count: int = 4, size: tuple[int, int] = (16, 24), channels: int = 3
) -> tuple[Tensor, Tensor, FlowCondition, Tensor]:
    generator = torch.Generator().manual_seed(2)

    def draw(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    x = torch.randn(count, channels, *size, generator=generator)
    kept = torch.arange(count) % 2 == 0
    return x, draw(), FlowCondition(draw(5), draw(2, *size), kept, draw(3)), draw()


def count(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


@pytest.mark.parametrize(
    ("kind", "options", "weights"),
    [
        (FlowUNet, {}, 5_214_348),
        (FlowUNet, {"widths": [128, 256, 384], "blocks": 2, "embedding_size": 512}, 34_765_388),
        (FlowUNet, {"widths": [192, 384, 576], "blocks": 3, "embedding_size": 768}, 109_743_884),
        (FlowTransformer, {}, 5_503_280),
        (FlowTransformer, {"width": 384, "depth": 12, "heads": 6}, 32_479_856),
        (FlowTransformer, {"width": 768, "depth": 12, "heads": 12}, 129_540_848),
    ],
)
def test_sizes_of_the_docstrings_have_their_weights(kind: Kind, options: Options, weights: int) -> None:
    with torch.device("meta"):
        network = kind(FlowTask((64, 64), 3, 5), **options)
        assert count(network) == weights
        vector = FlowCondition(torch.zeros(2, 5))
        assert network(torch.zeros(2, 3, 64, 64), torch.zeros(2), vector).shape == (2, 3, 64, 64)


@both
@pytest.mark.parametrize(
    ("size", "channels"), [((8, 40), 1), ((24, 16), 2), ((32, 32), 3), ((48, 8), 4), ((8, 8), 12)]
)
def test_states_of_any_aspect_and_channels(
    kind: Kind, options: Options, size: tuple[int, int], channels: int
) -> None:
    network = full(kind, options, size, channels)
    velocity = network(*inputs(3, size, channels))
    assert velocity.shape == (3, channels, *size) and velocity.dtype == torch.float32
    assert velocity.isfinite().all() and velocity.std() > 1e-3
    other = network(*inputs(2, (16, 24), channels))  # not the size that it was built for
    assert other.shape == (2, channels, 16, 24)


@both
def test_the_velocity_starts_at_zero(kind: Kind, options: Options) -> None:
    network = kind(FlowTask((16, 24), 3, 5, 2, 3, True), **options)
    assert not network(*inputs()).any()


@both
def test_a_row_does_not_depend_on_its_batch(kind: Kind, options: Options) -> None:
    network = full(kind, options)
    x, t, condition, span = inputs(6)
    together = network(x, t, condition, span)
    for row in range(6):
        own = slice(row, row + 1)
        alone = network(x[own], t[own], condition[own], span[own])
        assert torch.allclose(alone, together[own], atol=1e-5)


@both
def test_the_null_condition_stands_only_where_a_condition_is_not_kept(kind: Kind, options: Options) -> None:
    network = full(kind, options)
    x, t, condition, span = inputs()
    assert condition.kept is not None and condition.vector is not None and condition.image is not None
    kept, before = condition.kept, network(x, t, condition, span)
    for other in (
        FlowCondition(1 - condition.vector, condition.image, kept, condition.augmentation),
        FlowCondition(condition.vector, 1 - condition.image, kept, condition.augmentation),
    ):
        moved = (network(x, t, other, span) - before).abs().amax(dim=(1, 2, 3))
        assert (moved[kept] > 1e-4).all() and not moved[~kept].any()
    everything = FlowCondition(condition.vector, condition.image, None, condition.augmentation)
    assert torch.allclose(network(x, t, everything, span)[kept], before[kept], atol=1e-5)
    # A vector of zeros and a grey image are conditions, not the lack of one.
    zeros = FlowCondition(
        torch.zeros(4, 5), torch.full_like(condition.image, 0.5), None, condition.augmentation
    )
    assert ((network(x, t, zeros, span) - before).abs().amax(dim=(1, 2, 3)) > 1e-4).all()
    with torch.no_grad():
        network.embedding.null_vector.add_(1)
    moved = (network(x, t, condition, span) - before).abs().amax(dim=(1, 2, 3))
    assert (moved[~kept] > 1e-4).all() and not moved[kept].any()


@both
def test_time_span_and_augmentation_matter_and_zeros_are_their_absence(kind: Kind, options: Options) -> None:
    network = full(kind, options)
    x, t, condition, span = inputs()
    before = network(x, t, condition, span)
    plain = FlowCondition(condition.vector, condition.image, condition.kept)
    for changed in (
        network(x, t + 0.02, condition, span),
        network(x, t, condition, span + 0.02),
        network(x, t, plain, span),
    ):
        assert ((changed - before).abs().amax(dim=(1, 2, 3)) > 1e-5).all()
    zeros = FlowCondition(condition.vector, condition.image, condition.kept, torch.zeros(4, 3))
    assert torch.equal(network(x, t, plain), network(x, t, zeros, torch.zeros(4)))


def test_times_that_differ_a_little_have_features_that_do() -> None:
    features = TimeFeatures()(torch.tensor([0.0, 0.005, 0.5, 0.505, 1.0]))
    assert features.shape == (5, 128) and features.abs().max() <= 1
    distances = (features[:, None] - features[None]).norm(dim=2)
    assert (distances[~torch.eye(5, dtype=torch.bool)] > 0.5).all()


@both
@pytest.mark.parametrize("kernel", ["auto", "plain"])
def test_forward_mode_derivatives_are_those_of_finite_differences(
    kind: Kind, options: Options, kernel: str
) -> None:
    network = full(kind, {**options, "kernel": kernel})
    x, t, condition, span = inputs(2)

    def velocity(x: Tensor, t: Tensor, span: Tensor) -> Tensor:
        value: Tensor = network(x, t, condition, span)
        return value

    tangents = (torch.randn_like(x), torch.ones_like(t), torch.full_like(t, 0.5))
    value, derivative = jvp(velocity, (x, t, span), tangents)[:2]
    assert torch.allclose(value, velocity(x, t, span), atol=1e-5)
    # The loss of average velocities goes back through the value while the derivative is taken.
    value.square().mean().backward()
    assert all(weights.grad is not None and weights.grad.any() for weights in network.parameters())

    @torch.no_grad()
    def moved(step: float) -> Tensor:
        along_x, along_t, along_span = tangents
        return velocity(x + step * along_x, t + step * along_t, span + step * along_span)

    difference = (moved(1e-3) - moved(-1e-3)) / 2e-3
    assert (derivative - difference).norm() < 0.01 * difference.norm()


@both
def test_all_ways_to_attend_give_the_same(kind: Kind, options: Options) -> None:
    fused, plain = (full(kind, {**options, "kernel": kernel}) for kernel in ("auto", "plain"))
    assert torch.allclose(fused(*inputs()), plain(*inputs()), atol=1e-5)


@both
def test_half_precision_is_close_and_float32_comes_out(kind: Kind, options: Options) -> None:
    network = full(kind, options).to(memory_format=torch.channels_last)
    exact = network(*inputs())
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(*inputs())
    assert rough.dtype == torch.float32
    assert (rough - exact).norm() < 0.05 * exact.norm()


@both
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_every_weight_learns_within_a_few_steps(kind: Kind, options: Options, precision: torch.dtype) -> None:
    torch.manual_seed(0)
    network = kind(FlowTask((16, 24), 3, 5, 2, 3, True), **{"dropout": 0.1, **options})
    before = {name: weights.detach().clone() for name, weights in network.named_parameters()}
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    x, t, condition, span = inputs()
    losses = []
    for _ in range(6):
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            loss = (network(x, t, condition, span) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    for name, weights in network.named_parameters():
        assert weights.grad is not None and weights.grad.isfinite().all(), name
        assert not torch.equal(weights, before[name]), name


@both
def test_what_is_absent_leaves_no_weight_without_a_gradient(kind: Kind, options: Options) -> None:
    network = full(kind, options)
    x, t, condition, _ = inputs()
    network(x, t, FlowCondition(condition.vector, condition.image)).sum().backward()
    assert all(weights.grad is not None for weights in network.parameters())  # or processes wait for it


@both
def test_dropout_is_noise_in_training_only(kind: Kind, options: Options) -> None:
    network = full(kind, {**options, "dropout": 0.5})
    assert torch.equal(network(*inputs()), network(*inputs()))
    network.train()
    assert not torch.equal(network(*inputs()), network(*inputs()))


@both
def test_unconditional_networks_take_empty_conditions(kind: Kind, options: Options) -> None:
    network = stir(kind(FlowTask((16, 16), 1), **options)).eval()
    x, t = torch.randn(2, 1, 16, 16), torch.rand(2)
    velocity = network(x, t, FlowCondition())
    assert torch.equal(velocity, network(x, t, FlowCondition(torch.zeros(2, 0), kept=torch.zeros(2).bool())))


@both
def test_networks_compile_in_one_piece(kind: Kind, options: Options) -> None:
    torch._dynamo.reset()
    network = full(kind, options)
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(*inputs()), network(*inputs()), atol=1e-6)


def test_forward_mode_derivatives_compile() -> None:
    torch._dynamo.reset()
    network = full(FlowUNet, {"widths": (8, 8), "attention": (1,), "embedding_size": 8})
    x, t, condition, span = inputs(2)

    def derivative(x: Tensor, t: Tensor, span: Tensor) -> Tensor:
        tangents = (torch.ones_like(x), torch.ones_like(t), torch.ones_like(span))
        found: Tensor = jvp(lambda x, t, span: network(x, t, condition, span), (x, t, span), tangents)[1]
        return found

    expected = derivative(x, t, span)
    compiled = torch.compile(derivative, fullgraph=True, backend="eager")(x, t, span)
    assert (compiled - expected).norm() < 1e-4 * expected.norm()


def test_another_encoder_of_conditions_can_be_injected() -> None:
    network = FlowUNet(FlowTask((16, 16), 3, 4), widths=(8, 8), attention=(1,), conditioning=EntryAttention)
    assert network(torch.randn(2, 3, 16, 16), torch.rand(2), FlowCondition(torch.rand(2, 4))).shape[1] == 3


def test_positions_tell_rows_from_columns() -> None:
    positions = sine_positions((3, 5), 16)
    assert positions.shape == (15, 16)
    distances = (positions[:, None] - positions[None]).norm(dim=2)
    assert (distances[~torch.eye(15, dtype=torch.bool)] > 0.1).all()


@pytest.mark.parametrize(
    ("kind", "size", "options", "says"),
    [
        (FlowUNet, (60, 64), {}, "multiple of 8.*56 or 64"),
        (FlowUNet, (64, 66), {"widths": (8, 8), "attention": ()}, "multiple of 4"),
        (FlowTransformer, (66, 64), {}, "multiple of 4.*64 or 68"),
        (FlowTransformer, (64, 64), {"patch": 6}, "multiple of 6"),
        (FlowUNet, (64, 64), {"widths": ()}, "at least one level"),
        (FlowUNet, (64, 64), {"widths": (8, 0)}, "widths"),
        (FlowUNet, (64, 64), {"blocks": 0}, "blocks"),
        (FlowUNet, (64, 64), {"patch": 0}, "patch"),
        (FlowUNet, (64, 64), {"attention": (1, 3)}, r"\[1, 3\].*0 \(finest\) to 2"),
        (FlowUNet, (64, 64), {"embedding_size": 0}, "embedding_size"),
        (FlowTransformer, (64, 64), {"width": 192, "heads": 5}, "heads"),
        (FlowTransformer, (64, 64), {"width": 6, "heads": 1}, "multiple of 4"),
        (FlowTransformer, (64, 64), {"depth": 0}, "depth"),
        (FlowUNet, (64, 64), {"dropout": 1.0}, "dropout"),
        (FlowTransformer, (64, 64), {"dropout": -0.1}, "dropout"),
        (FlowUNet, (64, 64), {"kernel": "flash"}, "auto or plain"),
        (FlowTransformer, (64, 64), {"kernel": "flash"}, "auto or plain"),
    ],
)
def test_bad_options_and_sizes_are_refused(
    kind: Kind, size: tuple[int, int], options: Options, says: str
) -> None:
    with torch.device("meta"), pytest.raises(ConfigurationError, match=says):
        kind(FlowTask(size, 3), **options)


@both
def test_arguments_that_do_not_fit_are_refused(kind: Kind, options: Options) -> None:
    network = full(kind, options)
    x, t, condition, span = inputs()
    vector, image = condition.vector, condition.image
    assert vector is not None and image is not None
    for wrong, says in (
        (FlowCondition(None, image), "vector of 5 entries.*kept=False"),
        (FlowCondition(vector, None), "image of 2 channels"),
        (FlowCondition(vector[:, :4], image), r"vector of shape \(4, 5\)"),
        (FlowCondition(vector[:3], image), r"vector of shape \(4, 5\)"),
        (FlowCondition(vector, image[..., :16]), "image of shape"),
        (FlowCondition(vector, image, augmentation=torch.zeros(4, 2)), "augmentation of shape"),
        (FlowCondition(vector, image, torch.ones(3).bool()), "4 rows"),
    ):
        with pytest.raises(ConditionError, match=says):
            network(x, t, wrong, span)
    with pytest.raises(ConfigurationError, match="states"):
        network(x[:, :2], t, condition, span)
    with pytest.raises(ConfigurationError, match="multiple of"):
        network(x[..., :22], t, FlowCondition(vector, image[..., :22]), span)
    with pytest.raises(ConfigurationError, match="one t for"):
        network(x, t[:1], condition, span)
    with pytest.raises(ConfigurationError, match="one span for"):
        network(x, t, condition, span[:1])
    plain = kind(FlowTask((16, 24), 3), **options)
    with pytest.raises(ConfigurationError, match="spans=True"):
        plain(x, t, FlowCondition(), span)
    with pytest.raises(ConditionError, match="no condition vector"):
        plain(x, t, FlowCondition(vector))
    with pytest.raises(ConfigurationError, match="at least 0"):
        kind(FlowTask((16, 24), 3, -1), **options)
