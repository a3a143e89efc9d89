"""Blocks that several networks are built from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with up to 8 groups that divide ``channels``."""
    groups = next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)
    return nn.GroupNorm(groups, channels)


class FiLM(nn.Module):
    """Feature-wise linear modulation: scale and shift of each channel by an embedding.

    Source: Perez et al. 2018, https://arxiv.org/abs/1709.07871. Starts as the identity.
    """

    def __init__(self, embedding_size: int, channels: int) -> None:
        """Build the projection from (N, ``embedding_size``) to scale and shift of ``channels``."""
        super().__init__()
        self.project = nn.Linear(embedding_size, 2 * channels)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Modulate.

        Args:
            x: (N, C, H, W).
            embedding: (N, E).

        Returns:
            (N, C, H, W).
        """
        scale, shift = self.project(embedding)[:, :, None, None].chunk(2, dim=1)  # each (N, C, 1, 1)
        modulated: Tensor = torch.addcmul(shift, x, 1 + scale)
        return modulated


class NoiseInjection(nn.Module):
    """Adds a map of noise to all channels, each by its own learned factor: detail that nothing decides.

    Without it a network that has to draw texture makes it of what it has, and the same lines appear
    everywhere. Each pass draws new noise in training; in use it is the same for all images, so that
    an image depends on its latent vector and condition alone.

    Source: Karras et al. 2019 (StyleGAN), https://arxiv.org/abs/1812.04948, section 3.2.
    """

    fixed: Tensor

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        """Build the factors for maps of ``channels`` channels, and the noise of their height and width."""
        super().__init__()
        self.factor = nn.Parameter(torch.full((channels, 1, 1), 0.05))
        self.register_buffer("fixed", torch.randn(1, 1, *size))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) from x (N, C, H, W)."""
        noise = torch.randn(len(x), 1, *x.shape[2:], device=x.device) if self.training else self.fixed
        noisy: Tensor = x + (self.factor * noise).to(x.dtype)
        return noisy


class ResidualBlock(nn.Module):
    """Residual block with one normalisation, whose output an embedding modulates.

    After He et al. 2016, https://arxiv.org/abs/1603.05027; one norm a block instead of two, because
    group normalisation took 30 % of a CPU training step. Starts as the identity.
    """

    def __init__(self, channels: int, embedding_size: int) -> None:
        """Build a block on ``channels`` channels; ``embedding_size`` 0 leaves the modulation out."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = group_norm(channels)
        self.film = FiLM(embedding_size, channels) if embedding_size else None
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        if self.conv2.bias is not None:
            nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return (N, C, H, W) from x (N, C, H, W) and embedding (N, E)."""
        h = self.norm(self.conv1(F.silu(x)))
        if self.film is not None:
            h = self.film(h, embedding)
        residual: Tensor = self.conv2(F.silu(h))
        return x + residual
