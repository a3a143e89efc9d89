"""Augmentations between images and a discriminator, through which gradients flow.

Real and generated images pass through the same policies with independent draws, so a
discriminator cannot learn a small training set by heart, and the generator never learns to
augment. Not here: augmentations of training data (the other files of this folder).

Source: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training",
https://arxiv.org/abs/2006.10738.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from vedute.augment.adaptive import AdaptiveProbability
from vedute.augment.base import choose
from vedute.errors import ConfigurationError


class Policy(nn.Module, ABC):
    """One kind of change to images in [0, 1], made to each by chance, with gradients.

    What is random is drawn apart from its use, so that two images can be changed alike.
    """

    draws: int
    """Random numbers that one image needs."""

    geometric: ClassVar[bool] = False
    """Whether it changes where things are seen: a mask beside the image must follow then."""

    def __init__(self, probability: float, strength: float) -> None:
        """Keep how often and how much.

        Args:
            probability: Chance in [0, 1] that an image is changed.
            strength: Multiplies the range of the change; 1: as in the source.

        Raises:
            ConfigurationError: The probability is outside [0, 1], or the strength is negative.
        """
        super().__init__()
        if not 0 <= probability <= 1 or strength < 0:
            raise ConfigurationError(
                f"{type(self).__name__} needs a probability in [0, 1] and a strength of at least 0; got "
                f"{probability:g} and {strength:g}."
            )
        self.probability = probability
        self.strength = strength

    @abstractmethod
    def change(self, image: Tensor, uniform: Tensor) -> Tensor:
        """Change images.

        Args:
            image: (N, C, H, W), nominally in [0, 1].
            uniform: (N, ``draws``) uniform in [0, 1): which of all changes.

        Returns:
            (N, C, H, W); it may leave [0, 1].
        """

    def forward(self, image: Tensor, uniform: Tensor, share: Tensor | float = 1.0) -> Tensor:
        """Change each image with the given probability.

        Args:
            image: (N, C, H, W), nominally in [0, 1].
            uniform: (N, 1 + ``draws``) uniform in [0, 1); the first decides whether.
            share: Multiplies the probability; in [0, 1].

        Returns:
            (N, C, H, W); it may leave [0, 1].
        """
        return choose(uniform[:, 0] < self.probability * share, self.change(image, uniform[:, 1:]), image)


class Colour(Policy):
    """Brightness +-0.25, saturation x0-2, contrast x0.5-1.5, for images in [0, 1].

    The source defines brightness on [-1, 1], as +-0.5.
    """

    draws = 3

    def __init__(self, probability: float = 1.0, strength: float = 1.0) -> None:
        """Choose how often and how much; see the base class."""
        super().__init__(probability, strength)

    def change(self, image: Tensor, uniform: Tensor) -> Tensor:
        """Change colours; see the base class."""
        factors = ((2 * uniform - 1) * self.strength)[:, :, None, None, None]  # (N, 3, 1, 1, 1)
        brightness, saturation, contrast = factors.unbind(1)
        image = image + 0.25 * brightness
        grey = image.mean(dim=1, keepdim=True)
        image = grey + (image - grey) * (1 + saturation)
        mean = image.mean(dim=(1, 2, 3), keepdim=True)
        return mean + (image - mean) * (1 + 0.5 * contrast)


class Translation(Policy):
    """Moves images by up to 1/8 of each side, to the pixel; mid-grey comes in at the border.

    Mid-grey is the zero of images in [-1, 1], with which the source pads.
    """

    draws = 2
    geometric = True

    def __init__(self, probability: float = 1.0, strength: float = 1.0) -> None:
        """Choose how often and how far; see the base class."""
        super().__init__(probability, strength)

    def change(self, image: Tensor, uniform: Tensor) -> Tensor:
        """Move images; see the base class."""
        channels, height, width = image.shape[1:]
        vertical, row = self._sources(height, uniform[:, 0])
        horizontal, column = self._sources(width, uniform[:, 1])
        rows = row[:, None, :, None].expand(-1, channels, -1, width)
        moved = image.gather(2, rows)
        moved = moved.gather(3, column[:, None, None, :].expand(-1, channels, height, -1))
        inside = vertical[:, None, :, None] & horizontal[:, None, None, :]
        return torch.where(inside, moved, 0.5)

    def _sources(self, side: int, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Return whether the pixels along a side come from the image, and from where, (N, side) each."""
        limit = min(side - 1, round(self.strength * side / 8))
        shift = (uniform * (2 * limit + 1)).floor().long() - limit  # (N,)
        source = torch.arange(side, device=uniform.device) - shift[:, None]
        return (source >= 0) & (source < side), source.clamp(0, side - 1)


class Cutout(Policy):
    """Covers a rectangle of half of each side with mid-grey, anywhere, also across the border."""

    draws = 2
    geometric = True

    def __init__(self, probability: float = 1.0, strength: float = 1.0) -> None:
        """Choose how often and how large; see the base class."""
        super().__init__(probability, strength)

    def change(self, image: Tensor, uniform: Tensor) -> Tensor:
        """Cover a rectangle; see the base class."""
        covered = self._covered(image.shape[2], uniform[:, 0])[:, None, :, None]
        covered = covered & self._covered(image.shape[3], uniform[:, 1])[:, None, None, :]
        return torch.where(covered, 0.5, image)

    def _covered(self, side: int, uniform: Tensor) -> Tensor:
        """Return which pixels along a side are covered, (N, side)."""
        length = min(side, round(self.strength * side / 2))
        first = (uniform * (side + 1)).floor().long()[:, None] - length // 2
        pixel = torch.arange(side, device=uniform.device)
        return (pixel >= first) & (pixel < first + length)


class DiffAugment(nn.Module):
    """Policies one after the other."""

    def __init__(self, policies: Sequence[Policy], adaptive: AdaptiveProbability | None = None) -> None:
        """Keep the policies, in their order.

        Args:
            policies: The policies.
            adaptive: Its probability multiplies that of each policy; whoever trains the discriminator
                updates it. None: the policies' own.
        """
        super().__init__()
        self.policies = nn.ModuleList(policies)
        self.adaptive = adaptive

    def draw(self, count: int, device: torch.device | str = "cpu") -> Tensor:
        """Draw what is random for ``count`` images, (``count``, K) uniform in [0, 1)."""
        return torch.rand(count, sum(1 + policy.draws for policy in self._each()), device=device)

    def _each(self) -> list[Policy]:
        return [policy for policy in self.policies if isinstance(policy, Policy)]

    def forward(self, image: Tensor, drawn: Tensor | None = None, moves_only: bool = False) -> Tensor:
        """Change images.

        Args:
            image: (N, C, H, W), nominally in [0, 1].
            drawn: (N, K) of :meth:`draw`, to change several sets of images alike; None: new ones.
            moves_only: Leave the colours: for masks, with what was drawn for the images beside them.

        Returns:
            (N, C, H, W); it may leave [0, 1].
        """
        drawn = self.draw(len(image), image.device) if drawn is None else drawn
        share = 1.0 if self.adaptive is None else self.adaptive.probability
        policies = self._each()
        sizes = [1 + policy.draws for policy in policies]
        parts = torch.split(drawn, sizes, dim=1) if policies else ()
        for policy, part in zip(policies, parts, strict=True):
            if policy.geometric or not moves_only:
                image = policy(image, part, share)
        return image


SMALL_DATA = 20_000
"""A discriminator learns so many images or fewer by heart, unless they are augmented."""


def small_data_policies(train_size: int) -> list[Policy]:
    """Return the policies of the source for a small training set, none for a large one.

    Args:
        train_size: Number of training images.
    """
    return [Colour(), Translation(), Cutout()] if train_size < SMALL_DATA else []
