"""Discriminators: networks that judge whether images are real, given a condition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from vedute.errors import ConfigurationError
from vedute.networks.vae import require_divisible


class Judgement(NamedTuple):
    """What a discriminator says of images.

    Attributes:
        logits: (N, K): K judgements of each image, 1 or one for each patch; positive means real.
        features: Feature maps (N, C, H, W), finest first. They do not depend on the condition.
    """

    logits: Tensor
    features: list[Tensor]


class Discriminator(nn.Module, ABC):
    """Judges images under their conditions; a loss makes probabilities of the logits.

    Subclasses take ``(image_size, image_channels, condition_size)`` first: a module that is
    given the class by configuration supplies them from the data set.
    """

    def __init__(self, image_size: tuple[int, int], image_channels: int, condition_size: int) -> None:
        """Keep the sizes.

        Args:
            image_size: Height and width, pixels.
            image_channels: Channels of an image.
            condition_size: Entries D of the condition vector; 0: unconditional.
        """
        super().__init__()
        self.image_size = image_size
        self.image_channels = image_channels
        self.condition_size = condition_size

    @property
    @abstractmethod
    def feature_count(self) -> int:
        """Number of feature maps in a judgement."""

    @abstractmethod
    def forward(self, image: Tensor, condition: Tensor) -> Judgement:
        """Judge images.

        Args:
            image: (N, C, H, W) in [0, 1].
            condition: (N, D), D = ``condition_size``.

        Returns:
            Logits and features.
        """


class ProjectionDiscriminator(Discriminator):
    """Strided convolutions down to a small map, a dense layer, and a projection of the condition.

    The logit of an image with features h under a condition c is ``w h + (E c) h``: E turns a class,
    a fuzzy label or scores into a direction in which features look like c.

    Sources: Radford et al. 2016 (DCGAN), https://arxiv.org/abs/1511.06434, without batch
    normalisation, which lets the images of a batch depend on each other and hinders gradient
    penalties; the projection of Miyato & Koyama 2018, https://arxiv.org/abs/1802.05637.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        widths: Sequence[int] = (48, 96, 192, 256),
        hidden_size: int = 256,
        spectral: bool = False,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; multiples of 2 ** number of levels.
            image_channels: Channels of an image.
            condition_size: Entries of the condition vector; 0: unconditional.
            widths: Channels per level, finest first; each level halves the map.
            hidden_size: Size of the features h that the condition is compared with.
            spectral: Bound the Lipschitz constant of each layer by spectral normalisation (Miyato et al.
                2018, https://arxiv.org/abs/1802.05957); an alternative to a gradient penalty.

        Raises:
            ConfigurationError: There is no level, a size is below 1, or the image size does not divide.
        """
        super().__init__(image_size, image_channels, condition_size)
        if not widths or min(*widths, hidden_size) < 1:
            raise ConfigurationError(
                f"{type(self).__name__} needs at least one level, widths and hidden_size of at least 1; got "
                f"widths {list(widths)}, hidden_size {hidden_size}."
            )
        levels = len(widths)
        require_divisible(image_size, 2**levels, type(self).__name__)
        area = (image_size[0] >> levels) * (image_size[1] >> levels)
        # Space-to-depth in front: the finest level works on half the resolution, a quarter the cost.
        convolutions: list[nn.Module] = [nn.Conv2d(4 * image_channels, widths[0], 3, padding=1)]
        for finer, coarser in pairwise(widths):
            convolutions.append(nn.Conv2d(finer, coarser, 4, stride=2, padding=1))
        dense: nn.Module = nn.Linear(widths[-1] * area, hidden_size)
        judge: nn.Module = nn.Linear(hidden_size, 1)
        project: nn.Module | None = (
            nn.Linear(condition_size, hidden_size, bias=False) if condition_size else None
        )
        if spectral:
            convolutions = [spectral_norm(layer) for layer in convolutions]
            dense, judge = spectral_norm(dense), spectral_norm(judge)
            project = None if project is None else spectral_norm(project)
        self.convolutions = nn.ModuleList(convolutions)
        self.dense = dense
        self.judge = judge
        self.project = project

    @property
    def feature_count(self) -> int:
        """One feature map a level."""
        return len(self.convolutions)

    def forward(self, image: Tensor, condition: Tensor) -> Judgement:
        """Return logits (N, 1) and a feature map a level; see the base class."""
        h = F.pixel_unshuffle(2 * image - 1, 2)  # (N, 4C, H/2, W/2)
        features = []
        for convolution in self.convolutions:
            h = F.leaky_relu(convolution(h), 0.2)
            features.append(h)  # (N, width, H/2, W/2) and halves of it
        hidden = F.leaky_relu(self.dense(h.flatten(1)), 0.2)  # (N, hidden)
        logits: Tensor = self.judge(hidden)  # (N, 1)
        if self.project is not None:
            # In proportion to the judge's own share: a sum over hidden entries would drown it.
            match = (self.project(condition) * hidden).sum(dim=1, keepdim=True)
            logits = logits + match * hidden.shape[1] ** -0.5
        return Judgement(logits.float(), features)


def choose_levels(discriminator: Discriminator, levels: Sequence[int] | None) -> list[int]:
    """Return the chosen feature maps' numbers, 0 the finest; all, where None is given.

    Raises:
        ConfigurationError: There is no such map, or none is chosen.
    """
    known = list(range(discriminator.feature_count))
    chosen = known if levels is None else list(levels)
    if not chosen or not set(chosen) <= set(known):
        raise ConfigurationError(
            f"feature_levels must be some of {known} (0 is the finest), the feature maps of "
            f"{type(discriminator).__name__}; got {chosen}."
        )
    return chosen
