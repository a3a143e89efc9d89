"""A transformer on patches for flow matching."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.networks.conditioning import MLP, ConditionEncoder
from vedute.networks.flow import FlowNetwork, FlowTask
from vedute.networks.flow_blocks import (
    AttentionKernel,
    SelfAttention,
    check_dropout,
    check_kernel,
    layer_norm,
    zero,
)


class TransformerBlock(nn.Module):
    """Self-attention and two dense layers, each shifted, scaled and gated by an embedding (adaLN-zero).

    Source: Peebles & Xie 2023 (DiT), https://arxiv.org/abs/2212.09748. Starts as the identity.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        embedding_size: int,
        dropout: float = 0.0,
        kernel: AttentionKernel = "auto",
    ) -> None:
        """Build a block on tokens of ``width`` entries; ``dropout`` acts on what both parts add."""
        super().__init__()
        self.dropout = dropout
        self.modulation = nn.Linear(embedding_size, 6 * width)
        zero(self.modulation)
        self.attention = SelfAttention(width, heads, kernel)
        # SiLU, not GELU: nearly the same curve, and GELU made a training step on a CPU a tenth longer.
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return (N, T, W) from tokens (N, T, W) and embedding (N, E)."""
        modulation = self.modulation(embedding).to(x.dtype)[:, None]  # (N, 1, 6W)
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation.chunk(6, dim=2)  # (N, 1, W) each
        h = self.attention(torch.addcmul(shift1, layer_norm(x), 1 + scale1))
        x = torch.addcmul(x, gate1, self._drop(h))
        h = self.mlp(torch.addcmul(shift2, layer_norm(x), 1 + scale2))
        return torch.addcmul(x, gate2, self._drop(h))

    def _drop(self, h: Tensor) -> Tensor:
        return F.dropout(h, self.dropout) if self.training and self.dropout else h


class FlowTransformer(FlowNetwork):
    """Patches as tokens with sines of their position, and blocks of self-attention.

    Options by size, for 3-channel images of 64x64 and 5 classes:

    * tiny, 5.5M weights, CPU minutes: the defaults.
    * small, 33M, half an hour on one GPU: ``width: 384, depth: 12, heads: 6``.
    * base, 130M: ``width: 768, depth: 12, heads: 12``.

    The cost grows with the square of the number of patches: for larger images a larger ``patch``.

    Source: Peebles & Xie 2023 (DiT), https://arxiv.org/abs/2212.09748.
    """

    positions: Tensor

    def __init__(
        self,
        task: FlowTask,
        width: int = 192,
        depth: int = 8,
        heads: int = 3,
        patch: int = 4,
        dropout: float = 0.0,
        conditioning: Callable[[int], ConditionEncoder] = MLP,
        kernel: AttentionKernel = "auto",
    ) -> None:
        """Build the network.

        Args:
            task: What it is built for; height and width multiples of ``patch``.
            width: Entries of a token, and of the embedding of time and conditions; a multiple of 4 and of
                ``heads``.
            depth: Blocks.
            heads: Attention heads.
            patch: Side of a patch, pixels.
            dropout: Share of entries left out of what the blocks add, in training, in [0, 1).
            conditioning: From condition size to what turns condition vectors into embeddings.
            kernel: Of the attention: ``auto``, or ``plain`` where fused ones cannot be used.

        Raises:
            ConfigurationError: A number is out of its range, or the image size does not divide.
        """
        name = type(self).__name__
        if min(width, depth, heads, patch) < 1 or width % 4 or width % heads:
            raise ConfigurationError(
                f"{name} needs depth, heads and patch of at least 1, and a width that is a multiple of 4 and "
                f"of heads; got depth {depth}, heads {heads}, patch {patch}, width {width}."
            )
        check_dropout(dropout, name)
        check_kernel(kernel, name)
        super().__init__(
            task,
            sides_multiple=patch,
            embedding_size=width,
            conditioning=conditioning,
        )
        self.patch = patch
        self.width = width
        self.built = (task.image_size[0] // patch, task.image_size[1] // patch)
        self.register_buffer("positions", sine_positions(self.built, width), persistent=False)
        self.first = nn.Linear(self.input_channels * patch**2, width)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, width, dropout, kernel) for _ in range(depth)
        )
        self.modulation = nn.Linear(width, 2 * width)
        self.last = nn.Linear(width, task.channels * patch**2)
        zero(self.modulation)
        zero(self.last)

    def body(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return (N, C, H, W); see the base class."""
        patches = F.pixel_unshuffle(x, self.patch)  # (N, (C + K) patch^2, h, w)
        grid = (patches.shape[2], patches.shape[3])
        tokens = self.first(patches.flatten(2).transpose(1, 2))  # (N, T, W), T = h w
        tokens = tokens + self._positions(grid).to(tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens, embedding)
        shift, scale = self.modulation(embedding).to(tokens.dtype)[:, None].chunk(2, dim=2)  # (N, 1, W)
        tokens = self.last(torch.addcmul(shift, layer_norm(tokens), 1 + scale))  # (N, T, C patch^2)
        return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, grid), self.patch)

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """Return (T, W) for a grid of patches: the network takes other sizes than it was built for."""
        if grid == self.built:
            return self.positions
        return sine_positions(grid, self.width).to(self.positions)


def sine_positions(grid: tuple[int, int], width: int) -> Tensor:
    """Return (h w, ``width``): a quarter each of cosines and sines of the row and of the column.

    Angles are the row and the column times frequencies from 1 down to 1 / 10,000 per patch.

    Args:
        grid: h and w, patches.
        width: A multiple of 4.
    """
    frequencies = 10_000 ** -(torch.arange(width // 4) / (width // 4))  # (W / 4,)
    down, across = (torch.arange(count)[:, None] * frequencies for count in grid)  # (h, W / 4), (w, W / 4)
    rows = torch.cat([down.cos(), down.sin()], dim=1)[:, None].expand(-1, grid[1], -1)  # (h, w, W / 2)
    columns = torch.cat([across.cos(), across.sin()], dim=1)[None].expand(grid[0], -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)
