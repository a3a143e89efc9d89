"""What every network from image to image offers, and what such networks share."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from vedute.errors import ConfigurationError
from vedute.networks.norms import check_norm


class TranslatorNetwork(nn.Module, ABC):
    """Turns condition images into images, of any size that fits.

    Subclasses take ``(image_size, image_channels, condition_channels, condition_size)`` first: a module
    that is given the class by configuration supplies them from the data set. A condition vector, where
    there is one, modulates the innermost maps (FiLM).

    Attributes:
        multiple: Sides of a condition image must be multiples of it.
        scale: Pixels of the result along a side for each pixel of the condition image.
    """

    multiple: int
    scale: int = 1

    def __init__(
        self, image_size: tuple[int, int], image_channels: int, condition_channels: int, condition_size: int
    ) -> None:
        """Keep the sizes.

        Args:
            image_size: Height and width of images in training, pixels.
            image_channels: Channels C of an image.
            condition_channels: Channels of a condition image.
            condition_size: Entries D of the condition vector; 0: there is none.

        Raises:
            ConfigurationError: There is no condition image.
        """
        super().__init__()
        if condition_channels < 1:
            raise ConfigurationError(
                f"{type(self).__name__} makes images from condition images, but the data have none: name "
                "their masks (data.condition or data.mask_column), or choose an approach that needs none."
            )
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.image_channels = image_channels
        self.condition_channels = condition_channels
        self.condition_size = condition_size

    @abstractmethod
    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Make images of condition images.

        Args:
            image: (N, ``condition_channels``, h, w) in [0, 1]; h and w multiples of ``multiple``.
            condition: (N, D), D = ``condition_size``.

        Returns:
            (N, C, h * ``scale``, w * ``scale``) in [0, 1].

        Raises:
            ConfigurationError: h or w does not divide.
        """

    def check_size(self, image: Tensor) -> None:
        """Make sure that an image (N, c, h, w) fits.

        Raises:
            ConfigurationError: A side is no multiple of ``multiple``.
        """
        height, width = image.shape[-2:]
        if height < 1 or width < 1 or height % self.multiple or width % self.multiple:
            raise ConfigurationError(
                f"{type(self).__name__} takes images whose sides are multiples of {self.multiple}, got "
                f"{height}x{width} pixels."
            )


def choose_halvings(image_size: tuple[int, int], levels: int | None, most: int, network: str) -> int:
    """Return how often a network halves images.

    Args:
        image_size: Height and width, pixels.
        levels: How often; None: as often as both sides can be, at most ``most`` times.
        most: See ``levels``.
        network: How messages call the network.

    Raises:
        ConfigurationError: ``levels`` is below 1, or a side cannot be halved so often (None: even once).
    """
    height, width = image_size
    if levels is None:
        levels = next((n for n in range(most, 0, -1) if height % 2**n == 0 and width % 2**n == 0), 1)
    if levels < 1:
        raise ConfigurationError(f"{network} needs levels of at least 1, got {levels}.")
    if height % 2**levels or width % 2**levels:
        raise ConfigurationError(
            f"{network} with {levels} halvings needs images whose sides are multiples of {2**levels}, got "
            f"{height}x{width}: change data.image_size or give fewer levels."
        )
    return levels


def initialise(network: nn.Module) -> None:
    """Draw the weights of convolutions from N(0, 0.02), as pix2pix does; biases start at 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def check_options(network: str, smallest: int, dropout: float, norm: str) -> None:
    """Check options.

    Raises:
        ConfigurationError: One is out of its range.
    """
    check_norm(norm, network)
    if smallest < 1 or not 0 <= dropout < 1:
        raise ConfigurationError(
            f"{network} needs width and blocks of at least 1 and a dropout in [0, 1); got {smallest} and "
            f"{dropout}."
        )
