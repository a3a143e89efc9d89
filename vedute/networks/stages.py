"""Stacks of convolutions, mirrored stacks of transposed ones, and dense layers: parts of the S1 networks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.networks.conditioning import Conditioning


class Stage(NamedTuple):
    """A convolution with ReLU, and 3x3 max pooling of stride 2 after it or not.

    Attributes:
        channels: Channels that it makes.
        kernel: Side of its kernel.
        stride: Step of its kernel.
        padding: Zeros at each side.
        pool: Whether maps are pooled after it.
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    pool: bool = False

    def convolved(self, side: int) -> int:
        """Return the side of the maps that the convolution makes from maps of ``side``."""
        return (side + 2 * self.padding - self.kernel) // self.stride + 1

    def after(self, side: int) -> int:
        """Return the side of the maps after the whole stage."""
        side = self.convolved(side)
        return (side - 3) // 2 + 1 if self.pool else side


class Down(nn.Module):
    """Stages one after the other; a condition can modulate each (FiLM)."""

    def __init__(self, inputs: int, stages: Sequence[Stage], conditioning: Conditioning) -> None:
        """Build the stages for maps with ``inputs`` channels."""
        super().__init__()
        channels = [inputs, *(stage.channels for stage in stages)]
        self.convs = nn.ModuleList(
            he_initialised(nn.Conv2d(before, stage.channels, stage.kernel, stage.stride, stage.padding))
            for before, stage in zip(channels[:-1], stages, strict=True)
        )
        self.films = conditioning.films(stage.channels for stage in stages)
        self.pools = [stage.pool for stage in stages]

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return the last stage's maps from x (N, inputs, H, W) and the embedded condition (N, E)."""
        for index, (conv, pool) in enumerate(zip(self.convs, self.pools, strict=True)):
            x = F.relu(self.films.at(index, conv(x), embedding))
            x = F.max_pool2d(x, 3, 2) if pool else x
        return x


class Up(nn.Module):
    """The mirror of ``Down``: from its last maps to images, transposed convolutions, enlarged for pooling."""

    def __init__(self, outputs: int, stages: Sequence[Stage], side: int, conditioning: Conditioning) -> None:
        """Build the mirrored stages.

        Args:
            outputs: Channels of the image.
            stages: As ``Down`` has them, first to last.
            side: Of the image, pixels.
            conditioning: How the condition enters.
        """
        super().__init__()
        self.convs = nn.ModuleList()
        self.enlarged: list[int] = []
        before = [outputs, *(stage.channels for stage in stages)]
        for inputs, stage in zip(before, stages, strict=False):
            convolved = stage.convolved(side)
            reached = (convolved - 1) * stage.stride - 2 * stage.padding + stage.kernel
            conv = nn.ConvTranspose2d(
                stage.channels, inputs, stage.kernel, stage.stride, stage.padding, side - reached
            )
            first = not len(self.convs)
            # Towards the image: the last transposed convolution is the first stage's mirror.
            self.convs.insert(0, conv if first else he_initialised(conv))
            self.enlarged.insert(0, convolved if stage.pool else 0)
            side = stage.after(side)
        self.films = conditioning.films(stage.channels for stage in reversed(stages[:-1]))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return (N, outputs, side, side), not yet limited, from maps and the embedded condition (N, E)."""
        x = x.contiguous(memory_format=torch.channels_last)
        last = len(self.convs) - 1
        for index, (conv, side) in enumerate(zip(self.convs, self.enlarged, strict=True)):
            if side:
                x = F.interpolate(x, size=(side, side), mode="bilinear")  # the mirror of pooling
            x = conv(x)
            x = x if index == last else F.relu(self.films.at(index, x, embedding))
        return x


def dense(sizes: Sequence[int]) -> nn.Sequential:
    """Build dense layers, each with ReLU, from the first size to the last: (N, F) -> (N, last)."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [he_initialised(nn.Linear(inputs, outputs)), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def he_initialised(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> nn.Module:
    """Initialise a layer that ReLU follows, so that the signal keeps its size through many of them.

    torch's default shrinks it to 0.4 a layer: after the ten of an encoder, next to nothing is left.

    Source: He et al. 2015, https://arxiv.org/abs/1502.01852.
    """
    fan_in = layer.weight[0].numel()
    if isinstance(layer, nn.ConvTranspose2d):
        # Its weight is (inputs, outputs, k, k), and each output sees one of stride^2 kernel entries.
        fan_in = layer.in_channels * layer.weight[0, 0].numel() // (layer.stride[0] * layer.stride[1])
    nn.init.normal_(layer.weight, std=(2 / fan_in) ** 0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
