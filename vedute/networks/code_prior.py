"""A density of maps of codes under a condition: a small causal transformer, and how it is drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.networks.conditioning import MLP, ConditionEncoder

_UNCONDITIONAL = 64
"""Entries of the learned embedding where data have no conditions."""


class CodeSampler:
    """How codes are drawn from their probabilities.

    Sources: Fan et al. 2018, https://arxiv.org/abs/1805.04833 (top-k); Holtzman et al. 2020,
    https://arxiv.org/abs/1904.09751 (top-p); Ho & Salimans 2022, https://arxiv.org/abs/2207.12598
    (classifier-free guidance, here on log probabilities).
    """

    def __init__(
        self,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        guidance: float = 1.0,
    ) -> None:
        """Keep the options.

        Args:
            temperature: Divides the logits; below 1 likely codes become likelier.
            top_k: Draw from that many of the likeliest codes; null: from all.
            top_p: Draw from the fewest likeliest codes whose probabilities add up to it, in (0, 1];
                null: from all.
            guidance: 1: as learned under the condition; above 1: more typical of it than the training
                images; 0: without the condition.

        Raises:
            ConfigurationError: A value out of its range.
        """
        if not 0 < temperature < math.inf:
            raise ConfigurationError(f"temperature must be above 0, got {temperature:g}.")
        if top_k is not None and top_k < 1:
            raise ConfigurationError(f"top_k must be at least 1, or null for all codes, got {top_k}.")
        if top_p is not None and not 0 < top_p <= 1:
            raise ConfigurationError(f"top_p must lie in (0, 1], or be null for all codes, got {top_p:g}.")
        if not 0 <= guidance < math.inf:
            raise ConfigurationError(f"guidance must be at least 0, got {guidance:g}.")
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self.guidance = guidance

    def guided(self, conditional: Tensor, unconditional: Tensor) -> Tensor:
        """Return logits (N, K) moved from the unconditional ones towards, or beyond, the conditional."""
        with_condition, without = conditional.log_softmax(dim=1), unconditional.log_softmax(dim=1)
        return without + self.guidance * (with_condition - without)

    def choose(self, logits: Tensor, noise: Tensor) -> Tensor:
        """Draw a code each.

        The codes are put in the order of their probability, and the size of the noise says where in
        this order one is taken: noise 0 gives the likeliest code, and standard normal noise gives
        each code as often as its probability says.

        Args:
            logits: (N, K).
            noise: (N,) standard normal.

        Returns:
            (N,) int64 in [0, K).
        """
        probability, order = (logits.float() / self.temperature).softmax(dim=1).sort(dim=1, descending=True)
        before = probability.cumsum(dim=1) - probability  # (N, K): of all likelier codes
        if self.top_k is not None:
            probability = probability.clone()
            probability[:, self.top_k :] = 0
        if self.top_p is not None:
            probability = probability.masked_fill(before >= self.top_p, 0)
            probability[:, 0] = probability[:, 0].clamp_min(1e-6)
        sums = probability.cumsum(dim=1)
        place = torch.erf(noise.abs() / math.sqrt(2))[:, None]  # (N, 1), uniform in [0, 1]
        position = torch.searchsorted(sums, place * sums[:, -1:]).clamp_max(logits.shape[1] - 1)
        return order.gather(1, position)[:, 0]


@dataclass
class KeyValues:
    """Keys and values of the positions that a layer has seen, (N, heads, T, d) each, and how many."""

    keys: Tensor
    values: Tensor
    length: int = 0

    def add(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append one position, (N, heads, 1, d) each; return all so far, (N, heads, t, d) each."""
        self.keys[:, :, self.length : self.length + 1] = key
        self.values[:, :, self.length : self.length + 1] = value
        self.length += 1
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class CausalBlock(nn.Module):
    """A transformer layer in which a position sees itself and those before it.

    Scale and shift of both normalisations come from the condition (adaptive layer norm).

    Sources: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; Peebles & Xie 2023,
    https://arxiv.org/abs/2212.09748 (adaptive layer norm).
    """

    def __init__(self, width: int, heads: int, embedding_size: int, dropout: float) -> None:
        """Build a layer on (N, T, ``width``), modulated by (N, ``embedding_size``)."""
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(embedding_size, 4 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.to_heads = nn.Linear(width, 3 * width)
        self.from_heads = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, embedding: Tensor, cache: KeyValues | None = None) -> Tensor:
        """Return (N, T, W) of all positions; with a cache of the one that follows those seen, T = 1.

        Args:
            x: (N, T, W).
            embedding: (N, E).
            cache: What this layer has seen of the positions before.
        """
        scale1, shift1, scale2, shift2 = self.modulation(embedding)[:, None].chunk(4, dim=2)  # (N, 1, W)
        h = self.to_heads(torch.addcmul(shift1, self.norm1(x), 1 + scale1))  # (N, T, 3W)
        count, length, _ = h.shape
        query, key, value = h.reshape(count, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if cache is not None:
            key, value = cache.add(key, value)
        rate = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(
            query, key, value, dropout_p=rate, is_causal=cache is None
        )  # (N, heads, T, d)
        h = self.from_heads(seen.transpose(1, 2).reshape(count, length, -1))
        x = x + F.dropout(h, rate)
        h = self.mlp(torch.addcmul(shift2, self.norm2(x), 1 + scale2))
        return x + F.dropout(h, rate)


class CodePrior(nn.Module):
    """A causal transformer over the codes of an image, row by row, under a condition vector.

    The condition's embedding is the first token, from which the first code is told, and modulates
    every layer. Where it is left out (guidance, data without conditions) a learned embedding stands
    for it, not zeros: a score of zero is legal.
    """

    def __init__(
        self,
        codes: int,
        map_size: tuple[int, int],
        condition_size: int,
        width: int = 192,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.1,
        condition_dropout: float = 0.1,
        conditioning: Callable[[int], ConditionEncoder] = MLP,
    ) -> None:
        """Build the network.

        Args:
            codes: Number K of codes.
            map_size: Height and width of the map of codes.
            condition_size: Entries D of the condition vector; 0: unconditional.
            width: Entries of a token.
            depth: Layers.
            heads: Attention heads; divide ``width``.
            dropout: Share of a layer's output left out while training, in [0, 1).
            condition_dropout: Share of training images whose condition is left out, in [0, 1).
            conditioning: From condition size to what turns conditions into embeddings.

        Raises:
            ConfigurationError: A value out of its range.
        """
        super().__init__()
        if min(width, depth, heads) < 1 or width % heads:
            raise ConfigurationError(
                f"The prior needs depth, heads and width of at least 1, and a width that its heads divide; "
                f"got depth {depth}, heads {heads}, width {width}."
            )
        for name, share in (("dropout", dropout), ("condition_dropout", condition_dropout)):
            if not 0 <= share < 1:
                raise ConfigurationError(f"The prior's {name} must lie in [0, 1), got {share:g}.")
        self.codes = codes
        self.tokens = map_size[0] * map_size[1]
        self.condition_size = condition_size
        self.condition_dropout = condition_dropout
        self.heads = heads
        self.dropout = dropout
        self.conditioning = conditioning(condition_size)
        size = self.conditioning.size or _UNCONDITIONAL
        self.no_condition = nn.Parameter(0.1 * torch.randn(size))
        self.first = nn.Linear(size, width)
        self.embed_code = nn.Embedding(codes, width)
        nn.init.normal_(self.embed_code.weight, std=0.02)
        self.position = nn.Parameter(0.02 * torch.randn(self.tokens, width))
        self.layers = nn.ModuleList(CausalBlock(width, heads, size, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        # Starts as the uniform distribution: a loss of ln K, which any learning lowers.
        self.to_logits = nn.Linear(width, codes)
        nn.init.zeros_(self.to_logits.weight)
        nn.init.zeros_(self.to_logits.bias)

    def embedding(self, condition: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return the embedding (N, E) of conditions.

        Args:
            condition: (N, D).
            keep: (N,) bool: where False the condition is left out; None: all are kept.
        """
        if not self.condition_size:
            return self.no_condition.expand(len(condition), -1)
        embedded: Tensor = self.conditioning(condition)
        if keep is None:
            return embedded
        return torch.where(keep[:, None], embedded, self.no_condition.to(embedded.dtype))

    def forward(self, codes: Tensor, condition: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return the logits (N, T, K) of each code, from those before it and the condition.

        Args:
            codes: (N, T) int64.
            condition: (N, D).
            keep: (N,) bool: where False the condition is left out; None: all are kept.
        """
        embedding = self.embedding(condition, keep)  # (N, E)
        tokens = [self.first(embedding)[:, None], self.embed_code(codes[:, :-1])]
        x = torch.cat([token.float() for token in tokens], dim=1) + self.position  # (N, T, W)
        if self.training:
            x = F.dropout(x, self.dropout)
        for layer in self.layers:
            x = layer(x, embedding)
        logits: Tensor = self.to_logits(self.norm(x))
        return logits

    def loss(self, codes: Tensor, condition: Tensor) -> Tensor:
        """Return (N,) float32: the mean negative log probability of an image's codes, in nats per code.

        While training, conditions are left out at random, an image at a time.

        Args:
            codes: (N, T) int64.
            condition: (N, D).
        """
        keep = None
        if self.training and self.condition_size:
            keep = torch.rand(len(codes), device=codes.device) >= self.condition_dropout
        logits = self(codes, condition, keep).float()
        return F.cross_entropy(logits.transpose(1, 2), codes, reduction="none").mean(dim=1)

    def generate(self, condition: Tensor, noise: Tensor, sampler: CodeSampler) -> Tensor:
        """Draw maps of codes, one position after the other.

        Args:
            condition: (N, D).
            noise: (N, T) standard normal: what each position is drawn by.
            sampler: How.

        Returns:
            (N, T) int64.
        """
        count = len(condition)
        guided = sampler.guidance != 1 and self.condition_size > 0
        keep = None
        if guided:  # each image twice: with its condition, and without
            condition = condition.repeat(2, 1)
            keep = torch.arange(2 * count, device=condition.device) < count
        # Half precision would let a code depend on the batch it is drawn in.
        with torch.autocast(noise.device.type, enabled=False):
            embedding = self.embedding(condition.float(), keep)  # (N or 2N, E)
            caches = [self._cache(embedding) for _ in self.layers]
            token = self.first(embedding)  # (N or 2N, W)
            drawn = []
            for position in range(self.tokens):
                x = (token + self.position[position])[:, None]  # (N or 2N, 1, W)
                for layer, cache in zip(self.layers, caches, strict=True):
                    x = layer(x, embedding, cache)
                logits = self.to_logits(self.norm(x[:, 0]))
                if guided:
                    logits = sampler.guided(*logits.chunk(2))
                code = sampler.choose(logits, noise[:, position])  # (N,)
                drawn.append(code)
                token = self.embed_code(code.repeat(2) if guided else code)
        return torch.stack(drawn, dim=1)

    def _cache(self, embedding: Tensor) -> KeyValues:
        """Return an empty cache for as many images as embeddings (N, E)."""
        shape = (len(embedding), self.heads, self.tokens, self.position.shape[1] // self.heads)
        return KeyValues(embedding.new_zeros(shape), embedding.new_zeros(shape))
