"""A U-Net for flow matching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.networks.conditioning import MLP, ConditionEncoder
from vedute.networks.flow import FlowNetwork, FlowTask
from vedute.networks.flow_blocks import (
    AttentionKernel,
    FlowBlock,
    GroupNorm,
    check_dropout,
    check_kernel,
    zero,
)


class FlowUNet(FlowNetwork):
    """Residual blocks on ever smaller maps and back, self-attention on the small ones.

    Space-to-depth stands in front and its inverse behind: the finest blocks work on a quarter of the
    pixels. Maps are halved by means of 2x2 and doubled by repetition; the convolutions of the next block
    stand behind both, and a 1x1 convolution in front of the doubling has narrowed what they are given.

    Options by size, for 3-channel images of 64x64 and 5 classes:

    * tiny, 5.2M weights, CPU minutes: the defaults.
    * small, 35M, half an hour on one GPU: ``widths: [128, 256, 384], blocks: 2, embedding_size: 512``.
    * base, 110M: ``widths: [192, 384, 576], blocks: 3, embedding_size: 768``.

    Larger images: a larger ``patch``, or one more level.

    Sources: Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597; with adaptive group norm and attention
    Dhariwal & Nichol 2021, https://arxiv.org/abs/2105.05233; space-to-depth in front: Hoogeboom et al. 2023,
    https://arxiv.org/abs/2301.11093.
    """

    def __init__(
        self,
        task: FlowTask,
        widths: Sequence[int] = (64, 128, 192),
        blocks: int = 1,
        attention: Sequence[int] = (1, 2),
        patch: int = 2,
        dropout: float = 0.0,
        embedding_size: int = 256,
        conditioning: Callable[[int], ConditionEncoder] = MLP,
        kernel: AttentionKernel = "auto",
    ) -> None:
        """Build the network.

        Args:
            task: What it is built for; height and width multiples of ``patch`` * 2 ** (number of widths - 1).
            widths: Channels per level, finest first. With attention heads have 64 or somewhat more of them.
            blocks: Residual blocks per level, on the way down and up alike.
            attention: Levels whose blocks attend; 0 is the finest.
            patch: Side of the squares of pixels that become channels; 1: none do.
            dropout: Share of entries left out inside the blocks in training, in [0, 1).
            embedding_size: Entries of the embedding of time and conditions.
            conditioning: From condition size to what turns condition vectors into embeddings.
            kernel: Of the attention: ``auto``, or ``plain`` where fused ones cannot be used.

        Raises:
            ConfigurationError: A number is out of its range, or the image size does not divide.
        """
        name = type(self).__name__
        _check(widths, blocks, attention, patch, name)
        check_dropout(dropout, name)
        check_kernel(kernel, name)
        super().__init__(
            task,
            sides_multiple=patch * 2 ** (len(widths) - 1),
            embedding_size=embedding_size,
            conditioning=conditioning,
        )
        self.patch = patch
        area = patch**2

        def block(inputs: int, level: int, attends: bool | None = None) -> FlowBlock:
            chosen = level in attention if attends is None else attends
            return FlowBlock(inputs, widths[level], embedding_size, dropout, chosen, kernel)

        self.first = nn.Conv2d(self.input_channels * area, widths[0], 3, padding=1)
        coarsest = len(widths) - 1
        self.down = nn.ModuleList(
            nn.ModuleList(
                block(widths[max(level - 1, 0)] if index == 0 else widths[level], level)
                for index in range(blocks)
            )
            for level in range(len(widths))
        )
        self.middle = nn.ModuleList([block(widths[-1], coarsest), block(widths[-1], coarsest, attends=False)])
        # Each block on the way up is given the maps of one on the way down beside its own.
        self.up = nn.ModuleList(
            nn.ModuleList(block(2 * widths[level], level) for _ in range(blocks))
            for level in range(len(widths))
        )
        # In front of the doubling, where maps are a quarter.
        self.narrowings = nn.ModuleList(nn.Conv2d(coarser, finer, 1) for finer, coarser in pairwise(widths))
        self.norm = GroupNorm(widths[0])
        self.last = zero(nn.Conv2d(widths[0], task.channels * area, 3, padding=1))

    def body(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return (N, C, H, W); see the base class."""
        h = self.first(F.pixel_unshuffle(x, self.patch))  # (N, widths[0], H / patch, W / patch)
        maps = []
        for level, blocks in enumerate(self.down):
            if level:
                h = F.avg_pool2d(h, 2)
            for block in blocks:  # type: ignore[attr-defined]  # a ModuleList
                h = block(h, embedding)  # (N, widths[level], H / patch / 2^level, ...)
                maps.append(h)
        for block in self.middle:
            h = block(h, embedding)
        for level in range(len(self.up) - 1, -1, -1):
            for block in self.up[level]:  # type: ignore[attr-defined]  # a ModuleList
                h = block(torch.cat([h, maps.pop()], dim=1), embedding)
            if level:
                h = F.interpolate(self.narrowings[level - 1](h), scale_factor=2.0, mode="nearest")
        h = self.last(F.silu(self.norm(h)))  # (N, C patch^2, H / patch, W / patch)
        return F.pixel_shuffle(h, self.patch)


def _check(
    widths: Sequence[int],
    blocks: int,
    attention: Sequence[int],
    patch: int,
    network: str,
) -> None:
    """Check options.

    Raises:
        ConfigurationError: One is out of its range.
    """
    if not widths or min(*widths, blocks, patch) < 1:
        raise ConfigurationError(
            f"{network} needs at least one level, and widths, blocks and patch of at least 1; got widths "
            f"{list(widths)}, blocks {blocks}, patch {patch}."
        )
    if not all(0 <= level < len(widths) for level in attention):
        raise ConfigurationError(
            f"{network}: attention is {list(attention)}, but with {len(widths)} widths the levels that can "
            f"attend are 0 (finest) to {len(widths) - 1}."
        )
