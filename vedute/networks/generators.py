"""What every network offers that makes images of noise, and what such networks share."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from vedute.errors import ConfigurationError


class GeneratorNetwork(nn.Module, ABC):
    """Makes images of noise under conditions.

    Subclasses take ``(image_size, image_channels, condition_size)`` first: a module that is
    given the class by configuration supplies them from the data set.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        noise_size: int = 100,
    ) -> None:
        """Keep the sizes.

        Args:
            image_size: Height and width, pixels.
            image_channels: Channels of an image.
            condition_size: Entries D of the condition vector; 0: unconditional.
            noise_size: Entries Z of the noise that an image is made of.

        Raises:
            ConfigurationError: Noise without entries.
        """
        super().__init__()
        if noise_size < 1:
            raise ConfigurationError(
                f"{type(self).__name__} needs a noise_size of at least 1, got {noise_size}: all images of a "
                "condition would be the same."
            )
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.image_channels = image_channels
        self.condition_size = condition_size
        self.noise_size = noise_size

    @abstractmethod
    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Make images.

        Args:
            noise: (N, Z) standard normal, Z = ``noise_size``.
            condition: (N, D), D = ``condition_size``.

        Returns:
            (N, C, H, W) float32 in [0, 1].
        """


def to_unit_range(x: Tensor) -> Tensor:
    """Return (tanh(x) + 1) / 2 in float32: any numbers as an image in [0, 1].

    In bfloat16 an image would have fewer than 256 levels.
    """
    return 0.5 * (x.float().tanh() + 1)
