"""What callbacks, metrics and verbs may expect of a generator and of a data set.

The base classes in ``lightning_modules.base`` and ``datamodules.base`` keep these promises;
they are stated here as protocols, because nothing in ``vedute`` imports those packages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from vedute.batch import Batch, Condition, ConditionKind
from vedute.errors import ConfigurationError, named
from vedute.sampling.flow_sampler import FlowSampler
from vedute.sampling.likelihood import Integration


@runtime_checkable
class Generator(Protocol):
    """A model that makes images; see ``lightning_modules.base.GenerativeModule``."""

    has_encoder: bool
    condition_kind: ConditionKind
    condition_names: list[str]
    condition_mean: list[float]
    condition_scale: list[float]
    image_size: tuple[int, int]
    image_channels: int
    stochastic: bool

    @property
    def scale(self) -> int:
        """Pixels of an image along a side for each pixel of its condition image."""

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""

    def condition_of(self, batch: Batch) -> Condition:
        """Return what a batch's images are to be made from."""

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        """Return (N, C, H, W) in [0, 1] for N conditions and (N,) int64 seeds."""

    def reconstruct(self, batch: Batch) -> Tensor:
        """Return the batch's images through the model and back, (N, C, H, W) in [0, 1]."""

    def embed(self, batch: Batch) -> Tensor:
        """Return the batch's images as latent vectors (N, D)."""

    def latent_scores(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return what the latent code of a data set's images carries, by name."""


@runtime_checkable
class LatentGenerator(Generator, Protocol):
    """A generator whose noise or latent vectors can be changed, where it says that it has any."""

    decodes_condition: bool

    @property
    def latent_shape(self) -> tuple[int, ...] | None:
        """Shape of the noise of one image; None: it is not driven by noise of a fixed shape."""

    def generate(self, condition: Condition, noise: Tensor) -> Tensor:
        """Return (N, C, H, W) in [0, 1] for N conditions and (N, *latent_shape) standard normal noise."""

    def decode(self, latents: Tensor, condition: Condition) -> Tensor:
        """Return (N, C, H, W) in [0, 1] for latent vectors (N, D) as ``embed`` gives them."""


@runtime_checkable
class HasSampler(Protocol):
    """A generator that follows a flow; see ``lightning_modules.flow_matching``."""

    sampler: FlowSampler

    def set_sampler(self, sampler: FlowSampler, guide: Generator | None = None) -> None:
        """Choose how images are made from now on, and which model to be guided away from."""


@runtime_checkable
class HasLikelihood(Generator, Protocol):
    """A generator that tells how likely images are; see ``lightning_modules.flow_matching``."""

    def check_likelihood(self) -> None:
        """Make sure that it does: a ``ConfigurationError`` says why not."""

    def bits_per_dimension(
        self, batch: Batch, seeds: Tensor, integration: Integration | None = None
    ) -> Tensor:
        """Return the bits for each value (N,) of 8-bit images under their conditions, lower is better."""


@runtime_checkable
class ImageData(Protocol):
    """A data set; see ``datamodules.base.ImageDataModule``."""

    image_size: tuple[int, int]
    image_channels: int
    condition_kind: ConditionKind
    condition_names: list[str]
    train_size: int

    def size(self, split: str) -> int:
        """Return the number of images of a split: ``train``, ``val`` or ``test``."""

    def batch(self, split: str, rows: Sequence[int] | Tensor) -> Batch:
        """Return images of a split, float in [0, 1], on the CPU, not augmented."""

    def labels(self, split: str) -> np.ndarray:
        """Return the class of each image of a split, positions in ``condition_names``."""

    def vectors(self, split: str) -> Tensor | None:
        """Return the condition vectors of a split, (N, D); None: there are none."""

    def missing(self, split: str) -> Tensor | None:
        """Return where a score is missing, (N, D) bool; None: nowhere."""


def as_generator(module: object) -> Generator:
    """Return ``module`` as a generator.

    Raises:
        TypeError: It does not keep the promises.
    """
    if not isinstance(module, Generator):
        raise TypeError(f"{type(module).__name__} is no generator: see lightning_modules/base.py")
    return module


def as_likelihood(module: object) -> HasLikelihood:
    """Return ``module`` as a generator that tells how likely images are.

    Raises:
        ConfigurationError: It does not.
    """
    if not isinstance(module, HasLikelihood):
        raise ConfigurationError(
            f"{named(type(module))} does not tell how likely images are: only flow models of pixels do. "
            "Leave the likelihood out."
        )
    module.check_likelihood()
    return module


def as_latent_generator(module: object) -> LatentGenerator:
    """Return ``module`` as a generator whose noise or latent vectors can be changed, where it has any.

    Raises:
        TypeError: It does not keep the promises.
    """
    if not isinstance(module, LatentGenerator):
        raise TypeError(f"{type(module).__name__} is no generator: see lightning_modules/base.py")
    return module


def as_image_data(data: object) -> ImageData:
    """Return ``data`` as an image data set.

    Raises:
        TypeError: It does not keep the promises.
    """
    # A property that prepares data must not run for a check: look at the class.
    if not all(hasattr(type(data), name) for name in ("size", "batch", "labels")):
        raise TypeError(f"{type(data).__name__} is no image data set: see datamodules/base.py")
    return data  # type: ignore[return-value]  # checked by the names of its methods
