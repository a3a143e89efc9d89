"""The vision transformer of DINOv2, with the names that its published weights use.

Here: images that fit its patches to features. Not here: finding the weights, resizing
(``vedute.metrics.extractors``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 14
"""Side of a patch, pixels."""

_GRID = 37  # patches a side of the images of 518 pixels that the published position embeddings are for
_HEAD = 64  # width of an attention head in all published sizes
_SHIFT = 0.1  # the published code interpolates positions to a grid so much larger, and cuts it


class Attention(nn.Module):
    """Self-attention over the tokens of an image."""

    def __init__(self, width: int) -> None:
        """Build it for tokens of ``width`` numbers, a multiple of 64."""
        super().__init__()
        self.heads = width // _HEAD
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, T, D) from x (N, T, D)."""
        count, tokens, width = x.shape
        heads = self.qkv(x).view(count, tokens, 3, self.heads, _HEAD).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*heads.unbind(0))  # (N, heads, T, 64)
        projected: Tensor = self.proj(mixed.transpose(1, 2).reshape(count, tokens, width))
        return projected


class Perceptron(nn.Module):
    """Two layers on each token, four times as wide between."""

    def __init__(self, width: int) -> None:
        """Build it for tokens of ``width`` numbers."""
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, T, D) from x (N, T, D)."""
        result: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return result


class Scale(nn.Module):
    """A learned factor for each number of a token.

    Source: Touvron et al. 2021, https://arxiv.org/abs/2103.17239.
    """

    def __init__(self, width: int) -> None:
        """Start at one."""
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, T, D) from x (N, T, D)."""
        return x * self.gamma


class Block(nn.Module):
    """Attention, then a perceptron, each added to what it got."""

    def __init__(self, width: int) -> None:
        """Build it for tokens of ``width`` numbers."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width)
        self.ls1 = Scale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Perceptron(width)
        self.ls2 = Scale(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, T, D) from x (N, T, D)."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        result: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return result


class Patches(nn.Module):
    """Cuts an image into patches, one token each."""

    def __init__(self, width: int) -> None:
        """Build it for tokens of ``width`` numbers."""
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, stride=PATCH)

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, h * w, D) from images (N, 3, h * 14, w * 14)."""
        tokens: Tensor = self.proj(image).flatten(2).transpose(1, 2)
        return tokens


class Dinov2(nn.Module):
    """DINOv2 without registers, of any width and depth: S has 384 and 12, B 768 and 12, L 1024 and 24.

    Source: Oquab et al. 2023, https://arxiv.org/abs/2304.07193; https://github.com/facebookresearch/dinov2.
    Stein et al. 2023 (https://arxiv.org/abs/2306.04675) found distances in its features closer to what people
    see than those in Inception's.
    """

    def __init__(self, width: int = 384, depth: int = 12) -> None:
        """Build the network.

        Args:
            width: Numbers D of a token, a multiple of 64.
            depth: Number of blocks.
        """
        super().__init__()
        self.width = width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + _GRID**2, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # for training; the file has it
        self.patch_embed = Patches(width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, D) features: the class token behind the last norm.

        Args:
            image: (N, 3, H, W), ImageNet's mean subtracted and divided by its deviation; H and W multiples
                of 14.
        """
        rows, columns = image.shape[2] // PATCH, image.shape[3] // PATCH
        x = torch.cat([self.cls_token.expand(len(image), -1, -1), self.patch_embed(image)], dim=1)
        x = x + self._positions(rows, columns)  # (N, 1 + rows * columns, D)
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.norm(x[:, 0])
        return features

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Return (1, 1 + rows * columns, D): position embeddings, brought to this grid of patches."""
        if (rows, columns) == (_GRID, _GRID):
            return self.pos_embed
        grid = self.pos_embed[:, 1:].view(1, _GRID, _GRID, self.width).permute(0, 3, 1, 2)
        factors = [(side + _SHIFT) / _GRID for side in (rows, columns)]
        grid = F.interpolate(grid, scale_factor=factors, mode="bicubic")  # (1, D, rows, columns)
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def architecture(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return the width and depth that weights with published names belong to; zeros: they are others."""
    token = state.get("cls_token")
    numbers = [int(found[1]) for key in state if (found := re.match(r"blocks\.(\d+)\.", key))]
    if token is None or token.ndim != 3 or not numbers:
        return 0, 0
    return token.shape[-1], 1 + max(numbers)


def fits(state: Mapping[str, Tensor]) -> bool:
    """Return whether weights are those of a :class:`Dinov2`, by names and shapes."""
    width, depth = architecture(state)
    if width < _HEAD or width % _HEAD or math.prod((width, depth)) > 1 << 16:
        return False
    with torch.device("meta"):
        wanted = Dinov2(width, depth).state_dict()
    return {key: value.shape for key, value in wanted.items()} == {key: state[key].shape for key in state}
