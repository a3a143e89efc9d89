"""How a condition vector enters a network: what it is turned into, and where that goes.

Here: encoders of a condition vector, and the places where their output enters. Not here: the
networks that these are injected into, and what the entries of a condition mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.networks.blocks import FiLM

Place = Literal["image", "features", "latent", "film"]
"""Where a condition enters: as a channel of the image, beside the encoder's features, beside z,
or as scale and shift of every feature map (FiLM)."""

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, 0.2),
    "silu": nn.SiLU,
    "linear": nn.Identity,
}
_REACHES_DECODER = ("latent", "film")


class ConditionEncoder(nn.Module, ABC):
    """Turns a condition vector into an embedding; into nothing, when it has no entries."""

    size: int
    """Entries E of the embedding; 0 when the condition has none."""

    def __init__(self, condition_size: int, size: int) -> None:
        """Keep the sizes.

        Args:
            condition_size: Entries D of the condition vector; 0: unconditional.
            size: Entries E of the embedding, where there is a condition.

        Raises:
            ConfigurationError: An embedding without entries.
        """
        super().__init__()
        if size < 1 and condition_size:
            raise ConfigurationError(f"{type(self).__name__}: size must be at least 1, got {size}.")
        self.condition_size = condition_size
        self.size = size if condition_size else 0

    def forward(self, condition: Tensor) -> Tensor:
        """Return the embedding (N, E) of condition vectors (N, D); (N, 0) when unconditional."""
        return self.embed(condition) if self.size else condition[:, :0]

    @abstractmethod
    def embed(self, condition: Tensor) -> Tensor:
        """Return the embedding (N, E) of condition vectors (N, D), D > 0."""


class Raw(ConditionEncoder):
    """The condition vector as it is."""

    def __init__(self, condition_size: int) -> None:
        """Keep the condition's size."""
        super().__init__(condition_size, condition_size)

    def embed(self, condition: Tensor) -> Tensor:
        """Return the condition."""
        return condition


class Dense(ConditionEncoder):
    """One dense layer."""

    def __init__(
        self,
        condition_size: int,
        size: int = 64,
        activation: Literal["relu", "leaky_relu", "silu", "linear"] = "leaky_relu",
    ) -> None:
        """Build the layer.

        Args:
            condition_size: Entries D of the condition vector.
            size: Entries E of the embedding.
            activation: What follows the layer; leaky_relu has slope 0.2 below zero.

        Raises:
            ConfigurationError: There is no such activation.
        """
        super().__init__(condition_size, size)
        if activation not in _ACTIVATIONS:
            raise ConfigurationError(
                f"Dense: activation must be one of {', '.join(_ACTIVATIONS)}, got {activation!r}."
            )
        self.layer = nn.Linear(condition_size, size) if condition_size else nn.Identity()
        self.activation = _ACTIVATIONS[activation]()

    def embed(self, condition: Tensor) -> Tensor:
        """Return the embedding (N, E) of condition vectors (N, D)."""
        embedding: Tensor = self.activation(self.layer(condition))
        return embedding


class MLP(ConditionEncoder):
    """Two dense layers with SiLU."""

    def __init__(self, condition_size: int, size: int = 64) -> None:
        """Build the layers.

        Args:
            condition_size: Entries D of the condition vector.
            size: Entries E of the embedding and of the layer before it.
        """
        super().__init__(condition_size, size)
        self.layers = nn.Sequential()
        if condition_size:
            self.layers.extend([nn.Linear(condition_size, size), nn.SiLU()])
            self.layers.extend([nn.Linear(size, size), nn.SiLU()])

    def embed(self, condition: Tensor) -> Tensor:
        """Return the embedding (N, E) of condition vectors (N, D)."""
        embedding: Tensor = self.layers(condition)
        return embedding


class EntryAttention(ConditionEncoder):
    """A token for each entry of the condition; the tokens attend to each other and are pooled.

    The token of entry i is name_i + value * direction_i, both learned. So the embedding can hold
    what no single entry says, e.g. that two raters disagree. Self-attention after Vaswani et al.
    2017, https://arxiv.org/abs/1706.03762; pooling by a learned query after Lee et al. 2019
    (Set Transformer), https://arxiv.org/abs/1810.00825.
    """

    def __init__(self, condition_size: int, size: int = 64, heads: int = 4, layers: int = 1) -> None:
        """Build tokens and layers.

        Args:
            condition_size: Entries D of the condition vector: the number of tokens.
            size: Entries E of a token and of the embedding; a multiple of ``heads``.
            heads: Heads of the attention.
            layers: Rounds of self-attention.

        Raises:
            ConfigurationError: ``heads`` does not divide ``size``, or a number is below 1.
        """
        super().__init__(condition_size, size)
        if heads < 1 or layers < 1 or size % heads:
            raise ConfigurationError(
                f"EntryAttention needs heads and layers of at least 1 and a size that heads divides, got "
                f"size {size}, heads {heads}, layers {layers}."
            )
        self.names = nn.Parameter(torch.randn(condition_size, size))  # (D, E)
        self.directions = nn.Parameter(torch.randn(condition_size, size))  # (D, E)
        count = layers if condition_size else 0
        self.layers = nn.ModuleList(_SelfAttention(size, heads) for _ in range(count))
        self.query = nn.Parameter(torch.randn(1, size if condition_size else 0))
        self.pool = _Attention(size, heads) if condition_size else nn.Identity()
        self.norm = nn.LayerNorm(size) if condition_size else nn.Identity()

    def embed(self, condition: Tensor) -> Tensor:
        """Return the embedding (N, E) of condition vectors (N, D)."""
        tokens = self.names + condition[:, :, None] * self.directions  # (N, D, E)
        for layer in self.layers:
            tokens = layer(tokens)
        query = self.query.expand(len(tokens), -1, -1)  # (N, 1, E)
        pooled: Tensor = self.norm(self.pool(query, tokens).squeeze(1))  # (N, E)
        return pooled


class _Attention(nn.Module):
    """Multi-head attention of queries to tokens."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(size, size)
        self.key_value = nn.Linear(size, 2 * size)
        self.out = nn.Linear(size, size)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Return (N, Q, E) from queries (N, Q, E) and tokens (N, D, E)."""
        heads = (self.heads, -1)
        q = self.query(queries).unflatten(2, heads).transpose(1, 2)  # (N, heads, Q, E / heads)
        k, v = (t.unflatten(2, heads).transpose(1, 2) for t in self.key_value(tokens).chunk(2, dim=2))
        mixed = F.scaled_dot_product_attention(q, k, v)  # (N, heads, Q, E / heads)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class _SelfAttention(nn.Module):
    """A transformer layer, normalised before each part."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size)
        self.attention = _Attention(size, heads)
        self.norm2 = nn.LayerNorm(size)
        self.mlp = nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (N, D, E) from (N, D, E)."""
        h = self.norm1(tokens)
        tokens = tokens + self.attention(h, h)
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class Films(nn.ModuleList):
    """One FiLM per layer of a network; empty where the condition does not enter by FiLM."""

    def at(self, layer: int, x: Tensor, embedding: Tensor) -> Tensor:
        """Return x (N, C, H, W), modulated by the embedding (N, E) as the layer of this number is."""
        modulated: Tensor = self[layer](x, embedding) if len(self) else x
        return modulated

    def through(self, layers: Iterable[nn.Module], x: Tensor, embedding: Tensor) -> Tensor:
        """Return what layers make of x (N, C, H, W) one after the other, each modulated by (N, E)."""
        for index, layer in enumerate(layers):
            x = self.at(index, layer(x), embedding)
        return x


class Conditioning(nn.Module):
    """Embeds a condition once, and lets it into a network at the chosen places.

    A network asks for the sizes while it is built (``extra_channels``, ``extra_features``,
    ``extra_latent``, ``film_size``, all 0 where the condition does not enter), embeds the
    condition by calling this module, and hands image, features and z to the ``beside_`` methods.
    """

    def __init__(
        self,
        condition_size: int,
        image_size: tuple[int, int],
        embedding: Callable[[int], ConditionEncoder] = MLP,
        enters: Sequence[Place] = ("film", "features", "latent"),
    ) -> None:
        """Build the embedding, and the layer of the image channel where there is one.

        Args:
            condition_size: Entries D of the condition vector; 0: unconditional, nothing enters.
            image_size: Height and width of the images that the encoder sees, pixels.
            embedding: From condition size to the encoder of the condition.
            enters: Places: ``image`` (a dense layer to one value per pixel, ReLU, as a further
                channel of the encoder's image), ``features`` (beside the encoder's features),
                ``latent`` (beside z), ``film`` (scale and shift of feature maps, in both).

        Raises:
            ConfigurationError: A place that does not exist or is named twice, or none of those
                through which the condition reaches the decoder.
        """
        super().__init__()
        _check_places(enters)
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.enters = tuple(enters)
        self.embedding = embedding(condition_size) if condition_size else Raw(0)
        size = self.embedding.size
        conditional = condition_size > 0
        self.extra_channels = int(conditional and "image" in enters)
        self.extra_features = size if "features" in enters else 0
        self.extra_latent = size if "latent" in enters else 0
        self.film_size = size if "film" in enters else 0
        height, width = self.image_size
        self.channel = nn.Linear(size, height * width) if self.extra_channels else None

    def forward(self, condition: Tensor) -> Tensor:
        """Return the embedding (N, E) of condition vectors (N, D); (N, 0) when unconditional."""
        embedding: Tensor = self.embedding(condition)
        return embedding

    def beside_image(self, image: Tensor, embedding: Tensor) -> Tensor:
        """Return (N, C + ``extra_channels``, H, W) from images (N, C, H, W) and (N, E)."""
        if self.channel is None:
            return image
        channel = F.relu(self.channel(embedding)).reshape(-1, 1, *self.image_size)
        return torch.cat([image, channel.to(image.dtype)], dim=1)

    def beside_features(self, features: Tensor, embedding: Tensor) -> Tensor:
        """Return (N, F + ``extra_features``) from features (N, F) and (N, E)."""
        return self._beside(features, embedding) if self.extra_features else features

    def beside_latent(self, z: Tensor, embedding: Tensor) -> Tensor:
        """Return (N, Z + ``extra_latent``) from latent vectors (N, Z) and (N, E)."""
        return self._beside(z, embedding) if self.extra_latent else z

    def films(self, channels: Iterable[int]) -> Films:
        """Return a new modulation for maps of each of these numbers of channels; none without FiLM.

        They belong to the network that asks for them, and start as the identity.
        """
        return Films(FiLM(self.film_size, count) for count in channels if self.film_size)

    @staticmethod
    def _beside(x: Tensor, embedding: Tensor) -> Tensor:
        # In x's type: under autocast a float32 embedding would turn up to a million features to float32.
        return torch.cat([x, embedding.to(x.dtype)], dim=1)


def _check_places(enters: Sequence[Place]) -> None:
    places = get_args(Place)
    unknown = [place for place in enters if place not in places]
    if unknown or len(set(enters)) < len(enters):
        raise ConfigurationError(
            f"A condition can enter at {', '.join(places)}, each named at most once: got {list(enters)}."
        )
    if not any(place in _REACHES_DECODER for place in enters):
        raise ConfigurationError(
            f"With enters {list(enters)} the decoder never sees the condition, so samples would not "
            "depend on it: add latent (beside z) or film (in every block)."
        )
