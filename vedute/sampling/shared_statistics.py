"""Normalisation by statistics of the whole picture, where it is computed in tiles.

Instance norm (and group norm) takes mean and variance from the tile that it sees: a tile of roofs and one of
grass are each brought to the same mean, and their colours do not meet at the border. Here the layers first
see some pieces of the picture in one batch and gather common statistics, then all tiles are normalised by
these. In one batch, because what a layer sees depends on the statistics of the layers in front of it: pieces
that come one after the other, each normalised by its own or by what was gathered so far, gave colours that
were off by 20 levels of 255 and more (a small pix2pix, a mask with empty tiles), and further rounds did not
settle before there were as many as layers.

Batch norm in eval mode, and instance norm with running statistics, are the same for all tiles as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

_InstanceNorm = (nn.InstanceNorm1d, nn.InstanceNorm2d)


@contextmanager
def shared_statistics(network: nn.Module, gather: Callable[[], None]) -> Iterator[None]:
    """Let the layers of a network normalise all inputs alike, until the block ends.

    Args:
        network: In eval mode. It is as before when the block ends.
        gather: Puts pieces of the picture through the network, all in one batch: what the layers see here are
            the statistics. Not called where no layer takes its own.
    """
    layers = [layer for layer in network.modules() if takes_own_statistics(layer)]
    shared = [_SharedNorm(layer) for layer in layers]
    for layer, replacement in zip(layers, shared, strict=True):
        layer.forward = replacement
    try:
        if layers:
            gather()
        for replacement in shared:
            replacement.gathering = False
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own shows again


def takes_own_statistics(layer: nn.Module) -> bool:
    """Whether a layer normalises each image by the image's own mean and variance."""
    if isinstance(layer, _InstanceNorm):
        return layer.training or not layer.track_running_stats
    return isinstance(layer, nn.GroupNorm)


class _SharedNorm:
    """Instance or group norm with common statistics, in place of a layer's ``forward``."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer
        self.gathering = True
        self._shared: tuple[Tensor, Tensor] | None = None  # mean and variance, (groups,) each

    def __call__(self, values: Tensor) -> Tensor:
        """Normalise (N, C, ...)."""
        if self.gathering:
            self._shared = self._statistics(values)
        if self._shared is None:
            raise RuntimeError("a layer that no gathered piece has passed")
        mean, variance = (value.repeat_interleave(values.shape[1] // len(value)) for value in self._shared)
        weight, bias, epsilon = _affine(self._layer)
        return batch_norm(values, mean, variance, weight, bias, training=False, eps=epsilon)

    def _statistics(self, values: Tensor) -> tuple[Tensor, Tensor]:
        groups = self._layer.num_groups if isinstance(self._layer, nn.GroupNorm) else values.shape[1]
        # (N, groups, positions): over all images at once, as the layer would see them in one large one.
        grouped = values.float().reshape(len(values), groups, -1)
        variance, mean = torch.var_mean(grouped, dim=(0, 2), correction=0)
        return mean, variance


def _affine(layer: nn.Module) -> tuple[Tensor | None, Tensor | None, float]:
    assert isinstance(layer, (*_InstanceNorm, nn.GroupNorm))
    return layer.weight, layer.bias, layer.eps
