"""What every network for flow matching offers: a velocity from a state, a time and a condition.

Here: the promise, its checks, and how time, span and conditions enter. Not here: the networks
themselves (``flow_unet``, ``flow_transformer``), paths, losses and solvers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConditionError, ConfigurationError
from vedute.networks.conditioning import MLP, ConditionEncoder
from vedute.networks.flow_blocks import without_autocast
from vedute.networks.vae import require_divisible

_FEATURES = 128
_FASTEST = 100.0
"""Radians per unit of time of the fastest wave. Diffusion models have 1000: times 0.01 apart are told
from each other by less, and derivatives with respect to time (average velocities) stay ten times smaller."""


@dataclass
class FlowCondition:
    """What a velocity is wanted for. All fields None: unconditional, or nothing is left out.

    Attributes:
        vector: (N, D): class probabilities or standardised scores.
        image: (N, K, H, W) in [0, 1], of the state's height and width.
        kept: (N,) bool: where False the learned null condition stands in the place of vector and
            image; None: all are kept.
        augmentation: (N, A): parameters of an augmentation that shall not leak into samples; None:
            zeros, which mean not augmented. They stay where the condition is left out.
    """

    vector: Tensor | None = None
    image: Tensor | None = None
    kept: Tensor | None = None
    augmentation: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> FlowCondition:
        """Apply ``function`` to every tensor that is present."""
        fields = (self.vector, self.image, self.kept, self.augmentation)
        return FlowCondition(*(None if field is None else function(field) for field in fields))

    def __getitem__(self, index: slice | Tensor) -> FlowCondition:
        """Select rows: a slice, an index tensor or a boolean mask."""
        return self.map(lambda tensor: tensor[index])


@dataclass(frozen=True)
class FlowTask:
    """What a network for flow matching is built for: known from the data and the module, not configured.

    Attributes:
        image_size: Height and width of a state: pixels, or entries of a latent map.
        channels: Channels C of a state.
        condition_size: Entries D of the condition vector; 0: there is none.
        condition_channels: Channels K of the condition image; 0: there is none.
        augmentation_size: Parameters A of the augmentation; 0: there is none.
        spans: Whether the network also tells average velocities over spans of time.
    """

    image_size: tuple[int, int]
    channels: int
    condition_size: int = 0
    condition_channels: int = 0
    augmentation_size: int = 0
    spans: bool = False

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ConfigurationError: One is out of its range.
        """
        if self.channels < 1 or min(self.condition_size, self.condition_channels, self.augmentation_size) < 0:
            raise ConfigurationError(
                "A flow network needs channels of at least 1, and condition_size, condition_channels and "
                f"augmentation_size of at least 0, got {self.channels}, {self.condition_size}, "
                f"{self.condition_channels} and {self.augmentation_size}."
            )


class TimeFeatures(nn.Module):
    """Cosines and sines of a time at geometric frequencies.

    Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5; of times in diffusion
    models Ho et al. 2020, https://arxiv.org/abs/2006.11239.
    """

    frequencies: Tensor

    def __init__(self, size: int = _FEATURES, fastest: float = _FASTEST) -> None:
        """Choose ``size`` / 2 frequencies from 1 to ``fastest`` radians per unit of time."""
        super().__init__()
        frequencies = torch.logspace(0, 1, size // 2, base=fastest)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, time: Tensor) -> Tensor:
        """Return (N, ``size``) float32 from times (N,)."""
        angles = time.float()[:, None] * self.frequencies  # (N, size / 2)
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class ConditionEmbedding(nn.Module):
    """Makes one embedding of time, span, condition vector and augmentation; lays images beside states.

    All of it in float32: it costs next to nothing, and bfloat16 has 256 steps between two powers of 2.
    """

    def __init__(
        self,
        size: int,
        task: FlowTask,
        conditioning: Callable[[int], ConditionEncoder] = MLP,
    ) -> None:
        """Build the parts that are asked for.

        Args:
            size: Entries E of the embedding.
            task: What there is to embed.
            conditioning: From condition size to what turns vectors into embeddings.
        """
        super().__init__()
        self.size = size
        self.task = task
        self.features = TimeFeatures()
        self.time = _two_layers(size)
        self.span = _two_layers(size) if task.spans else None
        self.vector: nn.Sequential | None = None
        self.null_image: nn.Parameter | None = None
        self.augmentation: nn.Linear | None = None
        if task.condition_size:
            encoder = conditioning(task.condition_size)
            self.vector = nn.Sequential(encoder, nn.Linear(encoder.size, size))
            self.null_vector = nn.Parameter(0.1 * torch.randn(size))
        if task.condition_channels:
            self.null_image = nn.Parameter(torch.zeros(task.condition_channels, 1, 1))
        if task.augmentation_size:
            self.augmentation = nn.Linear(task.augmentation_size, size, bias=False)

    def forward(self, t: Tensor, condition: FlowCondition, span: Tensor | None = None) -> Tensor:
        """Return the embedding (N, E) float32.

        Args:
            t: (N,) in [0, 1].
            condition: N conditions.
            span: (N,) in [0, 1]; None: zeros.
        """
        # What is absent enters as zeros and not at all: every weight gets a gradient in every step, which
        # distributed training needs.
        with without_autocast(t.device):
            embedding: Tensor = self.time(self.features(t))
            if self.span is not None:
                embedding = embedding + self.span(
                    self.features(torch.zeros_like(t) if span is None else span)
                )
            if self.vector is not None and condition.vector is not None:
                vector = self.vector(condition.vector.float())
                embedding = embedding + torch.where(_kept(condition, t)[:, None], vector, self.null_vector)
            if self.augmentation is not None:
                given = condition.augmentation
                zeros = t.new_zeros(len(t), self.task.augmentation_size, dtype=torch.float32)
                embedding = embedding + self.augmentation(zeros if given is None else given.float())
            return F.silu(embedding)

    def beside(self, x: Tensor, condition: FlowCondition) -> Tensor:
        """Return (N, C + K, H, W) from states (N, C, H, W) and the condition images, scaled to [-1, 1]."""
        if self.null_image is None or condition.image is None:
            return x
        kept = _kept(condition, x)[:, None, None, None]
        image = torch.where(kept, 2 * condition.image.to(x.dtype) - 1, self.null_image.to(x.dtype))
        return torch.cat([x, image], dim=1)


class FlowNetwork(nn.Module, ABC):
    """Tells the velocity of states at times under conditions.

    Subclasses take a :class:`FlowTask` first: a module that is given the class by configuration supplies
    it. They make ``body``, which no row of a batch may enter but its own: samples and losses belong to
    their rows.

    Attributes:
        task: What the network was built for.
        sides_multiple: Height and width of a state must be multiples of it.
    """

    sides_multiple: int

    def __init__(
        self,
        task: FlowTask,
        sides_multiple: int,
        embedding_size: int,
        conditioning: Callable[[int], ConditionEncoder] = MLP,
    ) -> None:
        """Keep the task, and build the embedding.

        Args:
            task: What the network is built for.
            sides_multiple: See the class.
            embedding_size: Entries E of the embedding.
            conditioning: From condition size to what turns vectors into embeddings.

        Raises:
            ConfigurationError: The embedding is empty, or a side of the task's states does not divide.
        """
        super().__init__()
        name = type(self).__name__
        if embedding_size < 1:
            raise ConfigurationError(f"{name} needs an embedding_size of at least 1, got {embedding_size}.")
        require_divisible(task.image_size, sides_multiple, name)
        self.task = task
        self.sides_multiple = sides_multiple
        self.embedding = ConditionEmbedding(embedding_size, task, conditioning)

    def forward(self, x: Tensor, t: Tensor, condition: FlowCondition, span: Tensor | None = None) -> Tensor:
        """Tell the velocity, or the average velocity over a span of time that begins at t.

        Args:
            x: (N, C, H, W): noise at t = 0, data scaled to about [-1, 1] at t = 1; H and W multiples of
                ``sides_multiple``.
            t: (N,) in [0, 1].
            condition: N conditions.
            span: (N,) in [0, 1]; None: zeros, the velocity at t.

        Returns:
            (N, C, H, W) float32.

        Raises:
            ConfigurationError: A shape or an argument that the network was not built for.
            ConditionError: A condition is missing, of another width, or one that the network does not take.
        """
        self._check(x, t, span)
        self._check_condition(x, condition)
        embedding = self.embedding(t, condition, span)  # (N, E)
        return self.body(self.embedding.beside(x, condition), embedding).float()

    @abstractmethod
    def body(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return (N, C, H, W) from states beside condition images (N, C + K, H, W) and (N, E)."""

    @property
    def input_channels(self) -> int:
        """Channels C + K of what ``body`` is given."""
        return self.task.channels + self.task.condition_channels

    def _check(self, x: Tensor, t: Tensor, span: Tensor | None) -> None:
        name = type(self).__name__
        if x.ndim != 4 or x.shape[1] != self.task.channels:
            raise ConfigurationError(
                f"{name} takes states (N, {self.task.channels}, H, W), got shape {tuple(x.shape)}."
            )
        require_divisible((x.shape[2], x.shape[3]), self.sides_multiple, name)
        if span is not None and not self.task.spans:
            raise ConfigurationError(
                f"{name} was built for velocities at a time and not over spans: build it with spans=True."
            )
        for what, times in (("t", t), ("span", t if span is None else span)):
            if times.shape != x.shape[:1]:
                raise ConfigurationError(
                    f"{name} needs one {what} for each of {len(x)} states, got shape {tuple(times.shape)}."
                )

    def _check_condition(self, x: Tensor, condition: FlowCondition) -> None:
        count, size = len(x), tuple(x.shape[2:])
        task = self.task
        self._match("condition vector", condition.vector, (count, task.condition_size))
        self._match("condition image", condition.image, (count, task.condition_channels, *size))
        if condition.augmentation is not None:
            self._match("augmentation", condition.augmentation, (count, task.augmentation_size))
        if condition.kept is not None and tuple(condition.kept.shape) != (count,):
            raise ConditionError(
                f"kept must say for each of {count} rows whether its condition is kept, got shape "
                f"{tuple(condition.kept.shape)}."
            )

    def _match(self, what: str, given: Tensor | None, expected: tuple[int, ...]) -> None:
        wanted = expected[1] > 0
        if given is None and not wanted:
            return
        if given is None:
            raise ConditionError(
                f"{type(self).__name__} was built for a {what} of {expected[1]} "
                f"{'entries' if len(expected) == 2 else 'channels'}, and none was given. To leave conditions "
                "out, give them with kept=False."
            )
        if tuple(given.shape) != expected and (wanted or given.shape[1]):
            takes = f"a {what} of shape {expected}" if wanted else f"no {what}"
            raise ConditionError(f"{type(self).__name__} takes {takes}, got shape {tuple(given.shape)}.")


def _two_layers(size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(_FEATURES, size), nn.SiLU(), nn.Linear(size, size))


def _kept(condition: FlowCondition, rows: Tensor) -> Tensor:
    """Return (N,) bool on the device of ``rows`` (N, ...)."""
    if condition.kept is None:
        return torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    return condition.kept.to(rows.device)
