"""How data flows through a network: its blocks, and which block feeds which.

Found by following every tensor through one forward pass, so that any network can be drawn
without describing itself. Not here: the drawing (drawing.py).
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from vedute.report.layers import Shape, calls_watched, evaluating, run_example, shapes_of, tensors_in

Role = Literal["input", "output", "convolution", "dense", "block", "other", "sample", "join"]
"""What a node is: a tensor from or to outside, a kind of layer, a random draw, or an operation."""

TIMES = "\N{MULTIPLICATION SIGN}"

SMALL = 8
"""A module of at most so many layers is one block, a larger one is opened."""

_RANDOM = ("randn", "randn_like", "rand", "rand_like", "normal", "normal_")
_GATHERING = ("cat", "concat", "concatenate", "stack", "hstack", "vstack")
_SYMBOLS = {"add": "+", "sub": "-", "mul": TIMES, "radd": "+", "rmul": TIMES, "iadd": "+", "imul": TIMES}


@dataclass
class Node:
    """A block of the network, or a point where data enters, leaves, is drawn or joined.

    Attributes:
        role: What it is.
        title: What it is called, e.g. ``Conv2d 3 x 3, stride 2``.
        path: Where the module is inside the network; empty for anything else.
        details: Layers without a box of their own that follow in it.
        shape: Shape of what leaves it, without the batch dimension.
        weights: Weights that it holds, all of ``count`` together.
        sources: Positions of the nodes that feed it, in order.
        count: How many equal blocks in a row it stands for.
    """

    role: Role
    title: str
    path: str = ""
    details: list[str] = field(default_factory=list)
    shape: Shape = ()
    weights: int = 0
    sources: list[int] = field(default_factory=list)
    count: int = 1


@dataclass
class Flow:
    """Nodes in the order of execution; every source comes before what it feeds.

    Attributes:
        nodes: The nodes.
        main: Per node, whether it depends on the first input (the others are conditions).
    """

    nodes: list[Node]
    main: list[bool]

    def consumers(self, position: int) -> list[int]:
        """Return the positions of the nodes that the node at ``position`` feeds."""
        return [number for number, node in enumerate(self.nodes) if position in node.sources]


def network_flow(network: nn.Module, example: tuple[Tensor, ...]) -> Flow:
    """Follow the data of one forward pass.

    Args:
        network: On any device, the meta device included.
        example: The positional arguments of ``forward``, with batch size 1.

    Returns:
        The flow, small layers and repetitions merged into the blocks before them.
    """
    names = list(inspect.signature(network.forward).parameters)
    tracer = _Tracer(dict(_blocks(network)))
    device = next((weights.device for weights in network.parameters()), torch.device("cpu"))
    example = tuple(tensor.to(device) for tensor in example)
    for name, tensor in zip(names, example, strict=False):
        if tensor.numel():  # an unconditional network is given an empty condition
            tracer.tag(tensor, tracer.new(Node("input", name, shape=tuple(tensor.shape[1:]))))
    with calls_watched(tracer.blocks, tracer.enter, tracer.leave), evaluating(network), tracer:
        result = run_example(network, example)
    outputs = tensors_in(result)
    for number, tensor in enumerate(outputs):
        sources = tracer.sources_of([tensor])
        used = {source for node in tracer.nodes for source in node.sources}
        # What is returned besides, but also used inside (mu and logvar), is no end of the flow.
        if number == 0 or not used.intersection(sources):
            title = "output" if len(outputs) == 1 or number == 0 else f"output {number + 1}"
            tracer.new(Node("output", title, shape=tuple(tensor.shape[1:]), sources=sources))
    return _tidied(tracer.nodes)


def _blocks(network: nn.Module, path: str = "") -> Iterable[tuple[str, nn.Module]]:
    """Yield the modules that are drawn as one block each, by path."""
    kinds = Counter(type(module) for module in network.modules())

    def closed(module: nn.Module) -> bool:
        if isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
            return False
        inner = [child for child in module.modules() if child is not module]
        if any(type(child) is type(module) for child in inner):
            return False
        layers = [child for child in inner if not any(child.children())]
        return len(layers) <= SMALL or kinds[type(module)] > 1

    def walk(module: nn.Module, path: str) -> Iterable[tuple[str, nn.Module]]:
        for name, child in module.named_children():
            below = f"{path}.{name}" if path else name
            if closed(child):
                yield below, child
            else:
                yield from walk(child, below)

    found = list(walk(network, path))
    return found or [(path, network)]


class _Tracer(TorchFunctionMode):
    """Notes which nodes each tensor comes from, and makes a node of each block's call."""

    def __init__(self, blocks: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.blocks = blocks
        self.nodes: list[Node] = []
        self._origin: MutableMapping[Tensor, list[int]] = WeakTensorKeyDictionary()
        self._calls: dict[tuple[str, tuple[int, ...]], int] = {}
        self._inside: list[tuple[str, list[int]]] = []

    def new(self, node: Node) -> int:
        """Append a node and return its position."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def tag(self, tensor: Tensor, *origin: int) -> None:
        """Note that ``tensor`` comes from the nodes at these positions."""
        self._origin[tensor] = list(origin)

    def sources_of(self, tensors: Iterable[Tensor]) -> list[int]:
        """Return the positions of all nodes that the tensors come from, each once."""
        return list(dict.fromkeys(number for tensor in tensors for number in self._origin.get(tensor, [])))

    def enter(self, path: str, arguments: object) -> None:
        """Note what a block is given."""
        self._inside.append((path, self.sources_of(tensors_in(arguments))))

    def leave(self, path: str, result: object) -> None:
        """Make a node of a block's call; a repeated call on the same data is the same node."""
        _, sources = self._inside.pop()
        # An unconditional network's embedding has no entries: it is no part of the flow.
        outputs = [tensor for tensor in tensors_in(result) if tensor.numel()]
        if self._inside or not outputs:
            return
        key = (path, tuple(sources))
        if key not in self._calls:
            node = _block_node(path, self.blocks[path])
            node.sources, node.shape = sources, shapes_of(outputs)[0]
            self._calls[key] = self.new(node)
        for tensor in outputs:
            self.tag(tensor, self._calls[key])

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run ``func`` and pass on where its inputs come from."""
        result = func(*args, **(kwargs or {}))
        outputs = tensors_in(result)
        if self._inside or not outputs:
            return result
        name = getattr(func, "__name__", "").strip("_")
        inputs = tensors_in((args, kwargs or {}))
        if name in _RANDOM or getattr(func, "__name__", "") in _RANDOM:
            origin = [self.new(Node("sample", "z", shape=tuple(outputs[0].shape[1:])))]
        else:
            origin = self._joined(name, inputs, outputs[0])
        for tensor in outputs:
            self.tag(tensor, *origin)
        return result

    def _joined(self, name: str, inputs: list[Tensor], output: Tensor) -> list[int]:
        """Return where the result of an operation comes from, making a node where paths meet."""
        parts = [origin for tensor in inputs if (origin := self.sources_of([tensor]))]
        sources = list(dict.fromkeys(number for part in parts for number in part))
        if len({tuple(part) for part in parts}) < 2 or name in _GATHERING:
            return sources
        taken = {source for node in self.nodes for source in node.sources}
        for tensor in inputs:
            # A draw or a sum that goes on (std * noise + mean) stays one node.
            origin = self.sources_of([tensor])
            if len(origin) == 1 and origin[0] not in taken and tensor.shape == output.shape:
                node = self.nodes[origin[0]]
                if node.role in ("sample", "join"):
                    position = self.new(node)  # moved behind what now also feeds it
                    self.nodes[origin[0]] = Node("join", "")
                    node.sources += [s for s in sources if s != origin[0] and s not in node.sources]
                    return [position]
        shape = tuple(output.shape[1:])
        return [self.new(Node("join", _SYMBOLS.get(name, name), shape=shape, sources=sources))]


def _block_node(path: str, module: nn.Module) -> Node:
    """Return the node of a block, without shapes and sources."""
    kind = type(module).__name__
    weights = sum(tensor.numel() for tensor in module.parameters())
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)):
        title = kind.replace("ConvTranspose2d", "transposed conv").replace("Conv2d", "conv")
        title += f" {f' {TIMES} '.join(map(str, module.kernel_size))}"
        if prod(module.stride) > 1:
            title += f", stride {module.stride[0]}"
        return Node("convolution", title, path, weights=weights)
    if isinstance(module, nn.Linear):
        return Node("dense", "dense", path, weights=weights)
    return Node("block" if any(module.children()) else "other", kind, path, weights=weights)


def _tidied(nodes: list[Node]) -> Flow:
    """Merge layers that follow a block into it, repetitions into one, and drop what leads nowhere."""
    alive = dict(enumerate(nodes))

    def feeds(position: int) -> list[int]:
        return [number for number, node in alive.items() if position in node.sources]

    def merge(position: int, into: int) -> None:
        for node in alive.values():
            node.sources = list(dict.fromkeys(into if s == position else s for s in node.sources))
        alive.pop(position)

    for position, node in list(alive.items()):
        if len(node.sources) != 1 or feeds(node.sources[0]) != [position]:
            continue
        before = alive[node.sources[0]]
        mergeable = node.role == "other" and (not node.weights or "Norm" in node.title)
        if mergeable and before.role not in ("input", "sample", "join"):
            into = node.sources[0]
            if node.title not in ("Identity", "Dropout"):
                before.details += [node.title] if node.title != "Flatten" else []
                before.shape, before.weights = node.shape, before.weights + node.weights
            merge(position, into)
    for position, node in list(alive.items()):
        if not node.sources or node.role not in ("convolution", "dense", "block"):
            continue
        into, others = node.sources[0], node.sources[1:]
        before = alive[into]
        same = (before.role, before.title, before.details, before.shape, before.sources[1:])
        alone = feeds(into) == [position] and before.weights == node.weights * before.count
        if alone and same == (node.role, node.title, node.details, node.shape, others):
            before.count, before.weights = before.count + 1, before.weights + node.weights
            merge(position, into)
    for position in sorted(alive, reverse=True):
        if alive[position].role in ("sample", "join") and not feeds(position):
            alive.pop(position)

    place = {position: number for number, position in enumerate(alive)}
    kept = list(alive.values())
    main: list[bool] = []
    for number, node in enumerate(kept):
        node.sources = [place[source] for source in node.sources]
        main.append(number == 0 or any(main[source] for source in node.sources))
    return Flow(kept, main)
