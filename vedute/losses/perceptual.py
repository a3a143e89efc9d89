"""Distance between images in the features of a trained network, one value per sample."""

from __future__ import annotations

import copy
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vedute.errors import CheckpointError, ConfigurationError, named
from vedute.losses.adversarial import feature_distance
from vedute.losses.frozen import Frozen
from vedute.losses.pixel import mean_absolute_error, mean_squared_error
from vedute.losses.terms import ImageLoss, at_least_zero
from vedute.networks.classifiers import ClassifierNetwork
from vedute.networks.layers import NamedLayers, default_layers, resolve_layers
from vedute.pretrained import (
    RANDOM,
    check_network,
    outline,
    pretrained_torchvision,
    published,
    require_weights,
)

Distance = Literal["squared", "absolute", "unit"]
"""How features are compared; see :class:`Perceptual`."""

CLASSIFIER = "classifier"
"""Given as ``network``: a classifier that was trained with this program."""

_PROBE = (3, 224, 224)  # what all of torchvision's networks take; fixes the default layers


class Perceptual(ImageLoss):
    """Distance in a trained network's features: sharp edges in slightly other places cost little.

    The distance of a layer is the mean over all its values (``squared``: as system S4 has it;
    ``absolute``), or the squared distance of the vectors of unit length at each position, averaged over
    positions (``unit``: in [0, 4], as LPIPS without its learned weights: layers count alike). The loss
    is their sum, each with its layer's weight.

    Networks of torchvision see colours as they were trained: images in [0, 1] are normalised by the
    published mean and deviation. An image of one channel is shown to them as grey; of two
    channels (grey and alpha) the first, of four and more the first three: what is left out needs another
    term, e.g. ``SquaredError``. Images are not resized: features at 64 pixels are those of small pictures,
    which is how these losses are usually used.

    The network is no part of the model: neither its weights nor their gradients are. Under
    autocast it computes as the model does; distances are in float32.

    Sources: Johnson et al. 2016, https://arxiv.org/abs/1603.08155; Zhang et al. 2018 (LPIPS),
    https://arxiv.org/abs/1801.03924; Simonyan & Zisserman 2015 (VGG), https://arxiv.org/abs/1409.1556.
    """

    _mean: Tensor
    _deviation: Tensor

    def __init__(
        self,
        network: str = "vgg16",
        layers: list[str] | dict[str, float] | None = None,
        weights: str | None = None,
        distance: Distance = "squared",
        weight: float = 1.0,
    ) -> None:
        """Choose network, layers and distance; weights are read when they are first needed.

        Args:
            network: A classification network of torchvision (``vgg16``, ``vgg19``, ``resnet18``,
                ``squeezenet1_1``, ...), or ``classifier``: one of this program, see ``weights``.
            layers: Names of layers, or each with its weight: modules (``layer2``), and for VGG also
                ``relu3_3``, ``conv3_3``, ``pool3``; ``logits`` is what it says of the classes. null: the
                last of each of the first three resolutions (VGG16: relu1_2, relu2_2, relu3_3).
            weights: Name of published weights, a file with them, or ``random``; null: the published
                ones, from the folder of ``--weights-dir`` or torch's cache. For ``classifier``: its
                checkpoint (.ckpt).
            distance: ``squared``, ``absolute`` or ``unit``.
            weight: Weight of the term.

        Raises:
            ConfigurationError: A network, layer or distance that does not exist; a negative weight.
        """
        super().__init__(weight)
        if distance not in get_args(Distance):
            raise ConfigurationError(
                f"A distance is one of {', '.join(get_args(Distance))}, not '{distance}'."
            )
        self.network, self.weights, self.distance = network, weights, distance
        given = layers if isinstance(layers, dict) else dict.fromkeys(layers or (), 1.0)
        self.layers = {
            name: at_least_zero(f"The weight of layer {name}", value) for name, value in given.items()
        }
        if layers is not None and not any(self.layers.values()):
            raise ConfigurationError("A perceptual loss needs a layer with a weight above 0.")
        is_checkpoint = weights is not None and weights.endswith(".ckpt")
        if is_checkpoint != (network == CLASSIFIER):
            raise ConfigurationError(
                f"network '{network}' and weights '{weights}' do not belong together: a checkpoint (.ckpt) "
                f"brings its own network, which 'network: {CLASSIFIER}' stands for; it needs a checkpoint of "
                "a classifier, e.g. runs/classifier_landscapes/0/checkpoints/best.ckpt."
            )
        mean: tuple[float, ...] = (0.0,)
        deviation: tuple[float, ...] = (1.0,)
        if not is_checkpoint:
            check_network(network)
            self.layers = self.layers or dict.fromkeys(_usual_layers(network), 1.0)
            resolve_layers(outline(network), list(self.layers), network)
            mean, deviation = published(network)[0].mean, published(network)[0].deviation
        # Not persistent: a checkpoint does not need them.
        self.register_buffer("_mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("_deviation", torch.tensor(deviation).view(-1, 1, 1), persistent=False)
        self._frozen = Frozen(partial(_extractor, network, weights, tuple(self.layers)))

    def check(self, image_size: tuple[int, int], channels: int) -> None:
        """Make sure that the weights are there and fit, and that the network takes such images.

        Raises:
            ConfigurationError: They are absent, or images are too small or have other channels.
            CheckpointError: The file is damaged or of another architecture.
        """
        if self.network != CLASSIFIER:
            if self.weights != RANDOM:
                require_weights(self.network, self.weights)
            channels = 3
        extractor = self._frozen.on(torch.device("cpu"))
        try:
            with torch.no_grad():
                extractor(torch.zeros(1, channels, *image_size))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise ConfigurationError(
                f"{self.network} cannot compute {', '.join(self.layers) or 'its layers'} of images of "
                f"{image_size[0]}x{image_size[1]} with {channels} channels: {str(error).splitlines()[0]} "
                "Choose earlier layers, larger images, or another network."
            ) from error

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Return (N,) distances of features; only those of ``image`` have a gradient."""
        extractor = self._frozen.on(image.device)
        with torch.no_grad():
            wanted = extractor(self._shown(target))
        found = extractor(self._shown(image))
        weights = self.layers or dict.fromkeys(found, 1.0)
        losses = [
            weight * self._compare(found[layer].float(), wanted[layer].float())
            for layer, weight in weights.items()
            if weight
        ]
        return torch.stack(losses).sum(dim=0)

    def _shown(self, image: Tensor) -> Tensor:
        """Return images as the network expects them."""
        image = image.float()
        if self.network == CLASSIFIER:
            return image
        colour = image[:, :3] if image.shape[1] >= 3 else image[:, :1].expand(-1, 3, -1, -1)
        return (colour - self._mean) / self._deviation

    def _compare(self, features: Tensor, wanted: Tensor) -> Tensor:
        """Return (N,) distances of features (N, F, ...)."""
        if self.distance == "squared":
            return mean_squared_error(features, wanted)
        if self.distance == "absolute":
            return mean_absolute_error(features, wanted)
        shape = (*features.shape[:2], -1)  # one position where the layer has none
        return feature_distance([features.reshape(shape)], [wanted.reshape(shape)])


@lru_cache
def _usual_layers(network: str) -> tuple[str, ...]:
    return tuple(default_layers(outline(network), _PROBE))


def _extractor(network: str, weights: str | None, layers: tuple[str, ...]) -> nn.Module:
    """Return the part of a network that gives the layers, by their names."""
    if network != CLASSIFIER:
        whole = pretrained_torchvision(network, weights)
        # The copy holds the layers that are needed only, and no longer leans on the file.
        return copy.deepcopy(NamedLayers(whole, layers, network))
    from lightning.pytorch import LightningModule

    from vedute.checkpoints import load_module, summary

    assert weights is not None
    path = Path(weights)
    module = load_module(path, LightningModule)
    own = getattr(module, "network", None)
    if not isinstance(own, ClassifierNetwork):
        raise CheckpointError(
            f"{path} holds {named(type(module))} ({summary(type(module))}), but a perceptual loss needs "
            "a classifier: train one with 'fit --config configs/classifier_landscapes.yaml'."
        )
    chosen = layers or tuple(default_layers(own, (own.image_channels, *own.image_size)))
    return NamedLayers(own, chosen, f"The classifier in {path}")
