"""Layers of any network by name: which there are, and what they make of an image.

Names are those of torchvision's feature extraction: of a module (``layer2``, ``features.15``: what
it returns) or of an operation (``layer1.0.add``). VGG's layers also have the names of its paper's
blocks: ``conv3_1``, ``relu3_1``, ``pool3``; ``logits`` is the last layer of each network.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models import VGG
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from vedute.errors import ConfigurationError
from vedute.pretrained import did_you_mean

_DEFAULT_RESOLUTIONS = 3


def layer_names(network: nn.Module) -> dict[str, str]:
    """Return all names that a layer of a network can be given, each with the operation that is meant.

    Args:
        network: In eval mode; may lie on the meta device.
    """
    nodes = _nodes(network)
    names = {node: node for node in nodes}
    for node in nodes:  # a module stands for its last operation
        parts = node.split(".")
        for length in range(1, len(parts)):
            names[".".join(parts[:length])] = node
    names["logits"] = nodes[-1]
    if isinstance(network, VGG):
        names.update({alias: names[node] for alias, node in _vgg_names(network).items() if node in names})
    return names


def resolve_layers(network: nn.Module, layers: Sequence[str], what: str) -> list[str]:
    """Return the operations that layers' names mean.

    Args:
        network: The network, in eval mode.
        layers: Names, see :func:`layer_names`.
        what: How messages call the network.

    Raises:
        ConfigurationError: A layer does not exist; the message names similar ones.
    """
    names = layer_names(network)
    for layer in layers:
        if layer not in names:
            raise ConfigurationError(f"{what} has no layer '{layer}'. {_similar(layer, list(names))}")
    return [names[layer] for layer in layers]


def default_layers(network: nn.Module, image_shape: tuple[int, int, int]) -> list[str]:
    """Return the last operation at each of a network's first three resolutions.

    Resolutions are the image's, about its half, about its quarter and so on, as far as the network
    has maps of them: VGG16 gives relu1_2, relu2_2 and relu3_3, ResNet18 the first ReLU and the ends of
    layer1 and layer2.

    Args:
        network: In eval mode; on the meta device this costs next to nothing.
        image_shape: (C, H, W) of an image that it takes.
    """
    nodes = _nodes(network)
    device = next(network.parameters()).device
    with torch.no_grad():
        maps = layer_extractor(network, nodes)(torch.zeros(1, *image_shape, device=device))
    modules = dict(network.named_modules())
    learned = [node in modules and any(True for _ in modules[node].parameters()) for node in nodes]
    last: dict[int, str] = {}
    for node in nodes[learned.index(True) :]:  # what comes before is the image, on another scale
        value = maps[node]
        if isinstance(value, Tensor) and value.ndim == 4 and len(value) == 1:
            down, across = (
                round(math.log2(side / kept)) if kept else -1
                for side, kept in zip(image_shape[1:], value.shape[2:], strict=True)
            )
            if down == across:  # others are no maps of the image: channels last, attention
                last[down] = node
    return [last[halvings] for halvings in sorted(last)[:_DEFAULT_RESOLUTIONS]]


def layer_extractor(network: nn.Module, nodes: Sequence[str]) -> nn.Module:
    """Return a network from images to a dict of what its operations make of them, by their names.

    What is not needed for them is neither computed nor kept. The network's weights are shared.

    Args:
        network: In eval mode; operations in place are switched off, since they would overwrite layers.
        nodes: Operations, see :func:`resolve_layers`.
    """
    for module in network.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about layers that only exist in training
        wanted = {node: node for node in nodes}
        found: nn.Module = create_feature_extractor(
            network, train_return_nodes=wanted, eval_return_nodes=wanted, suppress_diff_warning=True
        )
    return found.eval()


class NamedLayers(nn.Module):
    """From images to what a network's layers make of them, by the names that were asked for."""

    def __init__(self, network: nn.Module, layers: Sequence[str], what: str) -> None:
        """Find the layers.

        Args:
            network: The network, in eval mode; see :func:`layer_extractor`.
            layers: Names, see :func:`layer_names`; several may mean one operation.
            what: How messages call the network.

        Raises:
            ConfigurationError: A layer does not exist; the message names similar ones.
        """
        super().__init__()
        self.operations = dict(zip(layers, resolve_layers(network, layers, what), strict=True))
        self.extractor = layer_extractor(network, list(self.operations.values()))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the layers of images (N, C, H, W), each with the batch first."""
        found = self.extractor(image)  # in the order of the network, not of the names
        return {layer: found[operation] for layer, operation in self.operations.items()}


def _nodes(network: nn.Module) -> list[str]:
    """Return the names of a network's operations in order, without its input."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes: list[str] = get_graph_node_names(network, suppress_diff_warning=True)[1]
    return nodes[1:]


def _vgg_names(network: VGG) -> dict[str, str]:
    """Return the names of a VGG's layers by block and number, with those of its modules."""
    names = {}
    block, number = 1, 0
    for index, module in enumerate(network.features):
        if isinstance(module, nn.Conv2d):
            number += 1
            names[f"conv{block}_{number}"] = f"features.{index}"
        elif isinstance(module, nn.BatchNorm2d):
            names[f"norm{block}_{number}"] = f"features.{index}"
        elif isinstance(module, nn.ReLU):
            names[f"relu{block}_{number}"] = f"features.{index}"
        elif isinstance(module, nn.MaxPool2d):
            names[f"pool{block}"] = f"features.{index}"
            block, number = block + 1, 0
    return names


def _similar(layer: str, names: Sequence[str]) -> str:
    near = did_you_mean(layer, names)
    if near:
        return near
    top = [name for name in names if "." not in name]
    return f"It has {', '.join(top[:20])} and others."
