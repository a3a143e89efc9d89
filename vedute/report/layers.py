"""The layers of a network with their shapes, weights and multiply-adds, as data and as a table.

Measured by hooks during one forward pass, so that any network can be described. Not here:
the data flow between layers and its drawing (flow.py, drawing.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields, is_dataclass

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

Shape = tuple[int, ...]
"""Shape of a tensor without its batch dimension."""


@dataclass
class Layer:
    """One layer, as seen in a forward pass of one image.

    Attributes:
        name: Path of the module inside its network; empty for the network itself.
        kind: Class of the module.
        inputs: Shapes of the tensors it takes.
        outputs: Shapes of the tensors it returns.
        weights: Trainable weights that it holds itself (not its children).
        frozen_weights: Weights that it holds and that are not trained.
        multiply_adds: Multiplications with addition per image, of all its calls together.
        calls: How often it is used in one forward pass.
    """

    name: str
    kind: str
    inputs: list[Shape] = field(default_factory=list)
    outputs: list[Shape] = field(default_factory=list)
    weights: int = 0
    frozen_weights: int = 0
    multiply_adds: int = 0
    calls: int = 0


@dataclass
class NetworkLayers:
    """A network's layers in the order in which they are first used.

    Attributes:
        name: What the network is called in its module.
        kind: Class of the network.
        inputs: Shapes of the tensors it takes.
        outputs: Shapes of the tensors it returns.
        layers: Every module without children, and every other one that holds weights or
            multiplies itself.
    """

    name: str
    kind: str
    inputs: list[Shape]
    outputs: list[Shape]
    layers: list[Layer]

    @property
    def weights(self) -> int:
        """Number of trainable weights; shared ones count once."""
        return sum(layer.weights for layer in self.layers)

    @property
    def frozen_weights(self) -> int:
        """Number of weights that are not trained."""
        return sum(layer.frozen_weights for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a forward pass per image."""
        return sum(layer.multiply_adds for layer in self.layers)

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain values, totals included."""
        totals = {
            "weights": self.weights,
            "frozen_weights": self.frozen_weights,
            "multiply_adds": self.multiply_adds,
        }
        return {**asdict(self), **totals}


def tensors_in(value: object) -> list[Tensor]:
    """Return the tensors in nested tuples, lists, mappings and dataclasses, in order."""
    if isinstance(value, Tensor):
        return [value]
    if is_dataclass(value):
        value = [getattr(value, one.name, None) for one in fields(value)]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []


def shapes_of(value: object) -> list[Shape]:
    """Return the shapes, without batch, of the tensors in nested tuples, lists, mappings and dataclasses."""
    return [tuple(tensor.shape[1:]) for tensor in tensors_in(value)]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Switch to eval mode without gradients, and each module back to its own mode afterwards."""
    modes = {module: module.training for module in network.modules()}
    # The fused attention of eval mode hides its matrix products from counting.
    fused_attention = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused_attention)
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def calls_watched(
    modules: Mapping[str, nn.Module],
    enter: Callable[[str, object], None],
    leave: Callable[[str, object], None],
) -> Iterator[None]:
    """Call ``enter(path, arguments)`` and ``leave(path, result)`` around each module's forward."""
    with ExitStack() as hooks:
        for path, module in modules.items():
            before = module.register_forward_pre_hook(
                lambda _, arguments, keywords, path=path: enter(path, (arguments, keywords)),
                with_kwargs=True,
            )
            hooks.callback(before.remove)
            after = module.register_forward_hook(lambda _, __, result, path=path: leave(path, result))
            hooks.callback(after.remove)
        yield


def run_example(network: nn.Module, example: tuple[Tensor, ...]) -> object:
    """Return ``network(*example)``, the example moved to where the network's weights are."""
    device = next((weights.device for weights in network.parameters()), torch.device("cpu"))
    return network(*(tensor.to(device) for tensor in example))


def network_layers(name: str, network: nn.Module, example: tuple[Tensor, ...]) -> NetworkLayers:
    """Run one forward pass and note what goes through every layer.

    Multiply-adds are half of what torch's FlopCounterMode counts: convolutions, matrix
    products and attention; additions of a bias, normalisation and activations are left out,
    as is usual.

    Args:
        name: What the network is called.
        network: On any device; on the meta device shapes are found without computing.
        example: The positional arguments of ``forward``, with batch size 1.

    Returns:
        The layers that were used, and those that hold weights but were not (``calls`` 0).
    """
    modules = dict(network.named_modules())
    layers = {path: Layer(path, type(module).__name__) for path, module in modules.items()}
    used: list[str] = []
    counter = FlopCounterMode(display=False)
    # Per call in progress: operations before it, and those that calls inside it have done.
    running: list[tuple[int, list[int]]] = []

    def enter(path: str, arguments: object) -> None:
        layer = layers[path]
        layer.calls += 1
        if layer.calls == 1:
            used.append(path)
            layer.inputs = shapes_of(arguments)
        running.append((counter.get_total_flops(), []))

    def leave(path: str, result: object) -> None:
        layer = layers[path]
        layer.outputs = layer.outputs or shapes_of(result)
        before, inside = running.pop()
        operations = counter.get_total_flops() - before
        layer.multiply_adds += (operations - sum(inside)) // 2
        if running:
            running[-1][1].append(operations)

    with ExitStack() as stack:
        stack.enter_context(calls_watched(modules, enter, leave))
        stack.enter_context(evaluating(network))
        stack.enter_context(counter)
        result = run_example(network, example)

    _count_weights(layers, modules)
    unused = [path for path in layers if path not in set(used)]
    listed = [
        layer
        for path in used + unused
        if (layer := layers[path]).weights
        or layer.frozen_weights
        or layer.multiply_adds
        or (layer.calls and not any(modules[path].children()))
    ]
    return NetworkLayers(name, type(network).__name__, shapes_of(example), shapes_of(result), listed)


def _count_weights(layers: dict[str, Layer], modules: Mapping[str, nn.Module]) -> None:
    """Note the weights that each module holds itself, shared ones at the first."""
    seen: set[int] = set()
    for path, module in modules.items():
        for weights in module.parameters(recurse=False):
            if id(weights) in seen:
                continue
            seen.add(id(weights))
            if weights.requires_grad:
                layers[path].weights += weights.numel()
            else:
                layers[path].frozen_weights += weights.numel()


def shapes_text(shapes: list[Shape]) -> str:
    """Write shapes for people: ``3 x 64 x 64, 5``."""
    return ", ".join(" x ".join(map(str, shape)) or "1" for shape in shapes)


def layer_table(network: NetworkLayers) -> Table:
    """Return the layers as a table with totals, for a terminal."""
    table = Table(
        title=f"{network.name}: {network.kind}",
        caption=f"takes {shapes_text(network.inputs)}; returns {shapes_text(network.outputs)} (no batch)",
        title_justify="left",
        caption_justify="left",
        show_footer=True,
    )
    table.add_column("layer", footer="total", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("input", no_wrap=True)
    table.add_column("output", no_wrap=True)
    frozen = f" (+{network.frozen_weights:,} frozen)" if network.frozen_weights else ""
    table.add_column("weights", footer=f"{network.weights:,}{frozen}", justify="right", no_wrap=True)
    table.add_column("multiply-adds", footer=f"{network.multiply_adds:,}", justify="right", no_wrap=True)
    for layer in network.layers:
        calls = "not used" if not layer.calls else f"used {layer.calls} times" if layer.calls > 1 else ""
        weights = f"{layer.weights:,}" if layer.weights or not layer.frozen_weights else ""
        if layer.frozen_weights:
            weights = " + ".join(filter(None, (weights, f"{layer.frozen_weights:,} frozen")))
        table.add_row(
            layer.name or "(itself)",
            f"{layer.kind} ({calls})" if calls else layer.kind,
            shapes_text(layer.inputs),
            shapes_text(layer.outputs),
            weights,
            f"{layer.multiply_adds:,}",
        )
    return table
