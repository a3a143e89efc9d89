"""Parts of networks for flow matching: self-attention, group normalisation and residual blocks.

All work in the type of their input: in half precision under autocast they neither return nor keep
float32 maps, and their forward-mode derivative exists (average velocities need it).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from vedute.errors import ConfigurationError

AttentionKernel = Literal["auto", "plain"]
"""``auto``: fused kernels, and plain products while a forward-mode derivative is taken; ``plain``: always
plain products, e.g. where a compiler cannot see which of both it is."""

_HEAD = 64
_FEW_TOKENS = 1024
"""On a CPU the fused kernel took 2.2 times as long as products in bfloat16 with 256 tokens, training; with
1,024 the same, and its advantage is memory."""


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which operations keep the type of their input."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()  # the meta device


def has_tangent(x: Tensor) -> bool:
    """Whether a forward-mode derivative is being taken with respect to what a tensor depends on."""
    dual = forward_ad.unpack_dual(x)  # type: ignore[no-untyped-call]
    return dual.tangent is not None


def heads_of(channels: int) -> int:
    """Return the number of attention heads for maps of so many channels: of 64 or somewhat more each."""
    return next(heads for heads in range(max(1, channels // _HEAD), 0, -1) if channels % heads == 0)


def check_kernel(kernel: str, network: str) -> None:
    """Check the option.

    Raises:
        ConfigurationError: There is no such way to attend.
    """
    if kernel not in get_args(AttentionKernel):
        raise ConfigurationError(f"{network}: kernel must be auto or plain, got {kernel!r}.")


def check_dropout(dropout: float, network: str) -> None:
    """Check the option.

    Raises:
        ConfigurationError: It does not lie in [0, 1).
    """
    if not 0 <= dropout < 1:
        raise ConfigurationError(f"{network} needs a dropout in [0, 1), got {dropout:g}.")


def zero(layer: nn.Module) -> nn.Module:
    """Let a layer start at zero, whatever it is given; returns it."""
    for weights in layer.parameters():
        nn.init.zeros_(weights)
    return layer


def layer_norm(x: Tensor) -> Tensor:
    """Normalise vectors (..., W) over their entries, in their type."""
    with without_autocast(x.device):
        return F.layer_norm(x, x.shape[-1:], eps=1e-6)


class SelfAttention(nn.Module):
    """Multi-head self-attention of normalised queries and keys (QK norm).

    Without it logits grow in training until half precision overflows.

    Sources: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; QK norm: Dehghani et al. 2023,
    https://arxiv.org/abs/2302.05442, section 2, here without gains.
    """

    def __init__(self, width: int, heads: int, kernel: AttentionKernel = "auto") -> None:
        """Build the layers for tokens of ``width`` entries, a multiple of ``heads``."""
        super().__init__()
        self.heads = heads
        self.kernel = kernel
        self.to_heads = nn.Linear(width, 3 * width)
        self.from_heads = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, T, W) from tokens (N, T, W)."""
        parts = self.to_heads(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)  # (N, heads, T, d) each
        query, key = layer_norm(query), layer_norm(key)
        plain = self.kernel == "plain" or _prefers_products(query)
        attend = _attend if plain else F.scaled_dot_product_attention
        mixed: Tensor = attend(query, key, value)  # (N, heads, T, d)
        out: Tensor = self.from_heads(mixed.transpose(1, 2).flatten(2))
        return out


def _prefers_products(query: Tensor) -> bool:
    """Whether plain products are quicker than the fused kernel for (N, heads, T, d), or the only way."""
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.shape[2] <= _FEW_TOKENS:
        return True
    return has_tangent(query)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return (N, heads, T, d): attention by products, which autograd knows in every mode."""
    with without_autocast(query.device):
        logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)  # (N, heads, T, T)
        mixed: Tensor = logits.softmax(dim=-1) @ value
        return mixed


def group_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """Normalise (N, C, H, W) in their type over 8 groups of channels, or as many as divide them.

    Source: Wu & He 2018, https://arxiv.org/abs/1803.08494.

    Args:
        x: (N, C, H, W).
        weight: (C,) gains; None: 1.
        bias: (C,); None: 0.
    """
    groups = next(groups for groups in (8, 4, 2, 1) if x.shape[1] % groups == 0)
    if weight is not None and bias is not None:
        weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    with without_autocast(x.device):
        if not (torch.compiler.is_compiling() and has_tangent(x)):
            return F.group_norm(x, groups, weight, bias)
        # PyTorch 2.15's own forward-mode derivative cannot be compiled.
        grouped = x.reshape(len(x), groups, -1, *x.shape[2:])  # (N, groups, C / groups, H, W)
        variance, mean = torch.var_mean(grouped, dim=(2, 3, 4), keepdim=True, correction=0)
        normal: Tensor = ((grouped - mean) * (variance + 1e-5).rsqrt()).flatten(1, 2)
        if weight is None or bias is None:
            return normal
        return torch.addcmul(bias[:, None, None], normal, weight[:, None, None])


class GroupNorm(nn.Module):
    """Group normalisation with gains and biases of its own, see :func:`group_norm`."""

    def __init__(self, channels: int) -> None:
        """Build gains and biases for maps of ``channels`` channels."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) from x (N, C, H, W)."""
        return group_norm(x, self.weight, self.bias)


class AdaptiveGroupNorm(nn.Module):
    """Group normalisation whose gains and biases come from an embedding.

    Source: Dhariwal & Nichol 2021, https://arxiv.org/abs/2105.05233, section 3. Starts as plain group
    normalisation.
    """

    def __init__(self, channels: int, embedding_size: int) -> None:
        """Build the layer for maps of ``channels`` channels and embeddings of ``embedding_size`` entries."""
        super().__init__()
        self.project = nn.Linear(embedding_size, 2 * channels)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return (N, C, H, W) from x (N, C, H, W) and embedding (N, E)."""
        scale, shift = self.project(embedding).to(x.dtype)[:, :, None, None].chunk(2, dim=1)  # (N, C, 1, 1)
        return torch.addcmul(shift, group_norm(x), 1 + scale)


class FlowBlock(nn.Module):
    """Residual block of two convolutions, between them the embedding; self-attention may follow.

    Source: Dhariwal & Nichol 2021, https://arxiv.org/abs/2105.05233. Starts as the identity, or as the 1x1
    convolution where the number of channels changes.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding_size: int,
        dropout: float = 0.0,
        attends: bool = False,
        kernel: AttentionKernel = "auto",
    ) -> None:
        """Build the block.

        Args:
            inputs: Channels of the maps that it is given.
            outputs: Channels of the maps that it returns.
            embedding_size: Entries E of the embedding.
            dropout: Share of entries left out in front of the second convolution, in training.
            attends: Whether self-attention follows, with heads of 64 channels.
            kernel: See :data:`AttentionKernel`.
        """
        super().__init__()
        self.dropout = dropout
        self.norm1 = GroupNorm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = AdaptiveGroupNorm(outputs, embedding_size)
        self.conv2 = zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.norm3 = GroupNorm(outputs) if attends else None
        self.attention = SelfAttention(outputs, heads_of(outputs), kernel) if attends else None
        if self.attention is not None:
            zero(self.attention.from_heads)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return (N, ``outputs``, H, W) from x (N, ``inputs``, H, W) and embedding (N, E)."""
        h = self.conv1(F.silu(self.norm1(x)))  # (N, outputs, H, W)
        h = F.silu(self.norm2(h, embedding))
        if self.training and self.dropout:
            h = F.dropout(h, self.dropout)
        x = self.skip(x) + self.conv2(h)
        if self.attention is not None and self.norm3 is not None:
            tokens = self.norm3(x).flatten(2).transpose(1, 2)  # (N, HW, outputs)
            x = x + self.attention(tokens).transpose(1, 2).unflatten(2, x.shape[2:])
        return x
