"""What every network of a variational autoencoder offers, and the one reparameterisation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.networks.conditioning import Conditioning

ConditioningFactory = Callable[[int, tuple[int, int]], Conditioning]
"""From condition size and image size (height, width) to how the condition enters."""

LOGVAR_RANGE = (-12.0, 8.0)
"""Log variances are kept in this range: beyond it float16 and the KL overflow."""


def reparameterize(mu: Tensor, logvar: Tensor) -> Tensor:
    """Draw z ~ N(mu, exp(logvar)), differentiable in both.

    Source: Kingma & Welling 2014, https://arxiv.org/abs/1312.6114.

    Args:
        mu: (N, Z) means.
        logvar: (N, Z) logarithms of the variances.

    Returns:
        (N, Z).
    """
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)


class VAENetwork(nn.Module, ABC):
    """An encoder and a decoder around a latent vector.

    Subclasses take ``(image_size, image_channels, condition_size)`` first: a module that is
    given the class by configuration supplies them from the data set. They ask
    ``self.conditioning`` where the condition enters, and set ``self.logvar``, the last layer
    before the log variances.
    """

    logvar: nn.Module

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        latent_size: int,
        latent_activation: Literal["linear", "tanh"] = "linear",
        conditioning: ConditioningFactory | None = None,
        inner_size: tuple[int, int] | None = None,
    ) -> None:
        """Keep the sizes, and build the conditioning.

        Args:
            image_size: Height and width, pixels.
            image_channels: Channels of an image.
            condition_size: Entries D of the condition vector; 0: unconditional.
            latent_size: Entries Z of the latent vector.
            latent_activation: What mu and logvar pass through; tanh bounds both to (-1, 1).
            conditioning: From condition size and image size to how the condition enters; None: an
                MLP embedding beside features and z and as FiLM. Subclasses give their own default.
            inner_size: Height and width that the layers work on, where images are resized to it
                (``to_inner``, ``to_outer``); None: ``image_size``.

        Raises:
            ConfigurationError: A latent vector without entries.
        """
        super().__init__()
        if latent_size < 1:
            raise ConfigurationError(
                f"{type(self).__name__} needs a latent_size of at least 1, got {latent_size}: nothing would "
                "pass from encoder to decoder."
            )
        self.conditioning = (conditioning or Conditioning)(condition_size, inner_size or image_size)
        self.inner_size = inner_size or image_size
        self.image_size = image_size
        self.image_channels = image_channels
        self.condition_size = condition_size
        self.latent_size = latent_size
        self.latent_activation = nn.Tanh() if latent_activation == "tanh" else nn.Identity()

    @abstractmethod
    def encode(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar of the posterior, before the latent activation.

        Args:
            image: (N, C, H, W) in [0, 1].
            condition: (N, D), D = ``condition_size``.

        Returns:
            Two tensors (N, Z).
        """

    @abstractmethod
    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return images.

        Args:
            z: (N, Z) latent vectors.
            condition: (N, D), D = ``condition_size``.

        Returns:
            (N, C, H, W) in [0, 1].
        """

    def freeze_variance(self) -> None:
        """Exclude the layers that only log variances depend on from training: for plain autoencoders."""
        self.logvar.requires_grad_(False)

    def to_inner(self, image: Tensor) -> Tensor:
        """Return images (N, C, H, W) resized to ``inner_size``, where they differ from it."""
        return resize(image, self.inner_size)

    def to_outer(self, image: Tensor) -> Tensor:
        """Return images of ``inner_size`` resized to ``image_size``, (N, C, H, W)."""
        return resize(image, self.image_size)

    def posterior(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar of the posterior, float32, logvar within ``LOGVAR_RANGE``.

        Args:
            image: (N, C, H, W) in [0, 1].
            condition: (N, D).

        Returns:
            Two tensors (N, Z).
        """
        mu, logvar = self.encode(image, condition)
        # The latent arithmetic stays in float32 under autocast: exp() of bfloat16 is coarse.
        mu, logvar = self.latent_activation(mu.float()), self.latent_activation(logvar.float())
        return mu, logvar.clamp(*LOGVAR_RANGE)

    def forward(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Encode, draw a latent vector, decode.

        Args:
            image: (N, C, H, W) in [0, 1].
            condition: (N, D).

        Returns:
            Reconstruction (N, C, H, W) in [0, 1]; z, mu and logvar, (N, Z) each.
        """
        mu, logvar = self.posterior(image, condition)
        z = reparameterize(mu, logvar)
        return self.decode(z, condition), z, mu, logvar


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images (N, C, H, W) resized to ``size`` (height, width): bilinear, with antialiasing."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    return F.interpolate(image, size=size, mode="bilinear", antialias=True)


def require_divisible(image_size: tuple[int, int], divisor: int, network: str) -> None:
    """Check that a network's downsampling divides the image size.

    Raises:
        ConfigurationError: It does not; the message names the nearest sizes that work.
    """
    for side in image_size:
        if side < divisor or side % divisor:
            near = sorted({max(divisor, side // divisor * divisor), (side // divisor + 1) * divisor})
            raise ConfigurationError(
                f"{network} cannot take images of {image_size[0]}x{image_size[1]} pixels: each side must be "
                f"a multiple of {divisor}. Set data.image_size to e.g. {' or '.join(map(str, near))}."
            )
