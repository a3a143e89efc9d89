"""Normalisation layers by name, as networks of the GAN family take them."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vedute.errors import ConfigurationError

Norm = Literal["batch", "instance"]
"""``batch``: over the images of a batch, running means in use; ``instance``: over each map of each image."""

DiscriminatorNorm = Literal["batch", "instance", "none"]


def make_norm(norm: str, channels: int, network: str) -> nn.Module:
    """Build a layer: (N, ``channels``, H, W) -> the same shape.

    Batch normalisation has gains around 1 as in DCGAN (https://arxiv.org/abs/1511.06434); instance
    normalisation (Ulyanov et al. 2016, https://arxiv.org/abs/1607.08022) has no weights.

    Args:
        norm: ``batch``, ``instance`` or ``none``.
        channels: Channels of the maps.
        network: How messages call the network.

    Raises:
        ConfigurationError: There is no such normalisation.
    """
    if norm == "batch":
        layer = nn.BatchNorm2d(channels)
        nn.init.normal_(layer.weight, 1, 0.02)
        return layer
    if norm == "instance":
        return nn.InstanceNorm2d(channels)
    if norm == "none":
        return nn.Identity()
    raise ConfigurationError(
        f"{network}: norm must be one of {', '.join(get_args(DiscriminatorNorm))}, got {norm!r}."
    )


def check_norm(norm: str, network: str) -> None:
    """Make sure of a generator's normalisation.

    Raises:
        ConfigurationError: It is neither batch nor instance normalisation.
    """
    if norm not in get_args(Norm):
        raise ConfigurationError(f"{network}: norm must be batch or instance, got {norm!r}.")


def needs_bias(norm: str) -> bool:
    """Whether a convolution in front needs a bias: batch normalisation has its own."""
    return norm != "batch"


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose gain and bias come from the condition.

    For a class they are a row of a table; for a fuzzy label the mixture of rows; for scores linear in
    them. Starts as plain batch normalisation. Without a condition it is that, with its own weights.

    Source: Dumoulin et al. 2017, https://arxiv.org/abs/1610.07629; in GANs Miyato & Koyama 2018,
    https://arxiv.org/abs/1802.05637.
    """

    def __init__(self, channels: int, condition_size: int) -> None:
        """Build the layer.

        Args:
            channels: Channels of the maps.
            condition_size: Entries D of the condition vector; 0: unconditional.
        """
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        nn.init.normal_(self.norm.weight, 1, 0.02)
        # Beside the layer's own gain and bias: what all conditions share is learned once.
        self.project = nn.Linear(condition_size, 2 * channels, bias=False) if condition_size else None
        if self.project is not None:
            nn.init.normal_(self.project.weight, std=0.02)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return (N, C, H, W) from x (N, C, H, W) and condition (N, D)."""
        normal: Tensor = self.norm(x)
        if self.project is None:
            return normal
        gain, bias = self.project(condition)[:, :, None, None].chunk(2, dim=1)  # each (N, C, 1, 1)
        modulated: Tensor = torch.addcmul(bias, normal, 1 + gain)
        return modulated
