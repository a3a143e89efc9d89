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
from vedute.networks.norms import DiscriminatorNorm, make_norm, needs_bias
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


class PatchDiscriminator(Discriminator):
    """Judges overlapping patches of an image, each by itself: PatchGAN.

    With three layers a patch has 70x70 pixels; with batch normalisation and 6 channels there are 2,768,705
    weights. pix2pix gives it image and mask, one above the other, as one image. A condition vector is
    compared with the last feature map under each patch (projection, Miyato & Koyama 2018,
    https://arxiv.org/abs/1802.05637).

    Source: Isola et al. 2017, https://arxiv.org/abs/1611.07004, section 3.2.2 and appendix 6.1.2.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        width: int = 64,
        layers: int = 3,
        norm: DiscriminatorNorm = "batch",
        spectral: bool = False,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; at least 3 * 2 ** layers.
            image_channels: Channels of an image, with those of the mask.
            condition_size: Entries of the condition vector; 0: unconditional.
            width: Channels of the first map; each further one has twice as many, up to eight times.
            layers: Halvings: 3 judges patches of 70 pixels, 2 of 34, 1 of 16.
            norm: Normalisation behind all layers but the first and the last. With ``batch`` give real and
                generated images in separate batches; ``none`` goes with gradient penalties.
            spectral: Spectral normalisation of all weights (Miyato et al. 2018,
                https://arxiv.org/abs/1802.05957).

        Raises:
            ConfigurationError: A number is out of its range, or no patch fits into the image.
        """
        super().__init__(image_size, image_channels, condition_size)
        if min(width, layers) < 1:
            raise ConfigurationError(
                f"{type(self).__name__} needs width and layers of at least 1, got {width} and {layers}."
            )
        smallest = 3 * 2**layers  # leaves 3x3, of which the last two layers take one each
        if min(image_size) < smallest:
            raise ConfigurationError(
                f"{type(self).__name__} with {layers} layers needs images of at least {smallest}x{smallest} "
                f"pixels, got {image_size[0]}x{image_size[1]}: give fewer layers or a larger data.image_size."
            )
        name = type(self).__name__
        widths = [min(width << level, 8 * width) for level in range(layers + 1)]
        norms = ["none", *[norm] * layers]
        convolutions: list[nn.Module] = [
            nn.Conv2d(finer, coarser, 4, stride=2 if level < layers else 1, padding=1, bias=needs_bias(kind))
            for level, ((finer, coarser), kind) in enumerate(
                zip(pairwise([image_channels, *widths]), norms, strict=True)
            )
        ]
        judge: nn.Module = nn.Conv2d(widths[-1], 1, 4, padding=1)
        project: nn.Module | None = (
            nn.Linear(condition_size, widths[-1], bias=False) if condition_size else None
        )
        layers_with_weights = [*convolutions, judge, *([] if project is None else [project])]
        for layer in layers_with_weights:
            nn.init.normal_(layer.get_parameter("weight"), std=0.02)
            if spectral:
                spectral_norm(layer)
        self.convolutions = nn.ModuleList(convolutions)
        self.norms = nn.ModuleList(
            make_norm(kind, channels, name) for kind, channels in zip(norms, widths, strict=True)
        )
        self.judge = judge
        self.project = project

    @property
    def feature_count(self) -> int:
        """One feature map for each layer but the last."""
        return len(self.convolutions)

    def forward(self, image: Tensor, condition: Tensor) -> Judgement:
        """Return logits (N, K) of K patches, row by row, and a feature map a layer; see the base class."""
        h = 2 * image - 1
        features = []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            h = F.leaky_relu(norm(convolution(h)), 0.2)
            features.append(h)  # (N, width, H/2, W/2) and halves of it; the last is 1 smaller
        logits = self.judge(h)  # (N, 1, h, w)
        if self.project is not None:
            direction = self.project(condition)[:, :, None, None]  # (N, widest, 1, 1)
            match = (h * direction).sum(dim=1, keepdim=True)
            # The patch that the judge's 4x4 weights see; its sum, over the root of its area.
            logits = logits + 4 * F.avg_pool2d(match, 4, stride=1, padding=1)
        return Judgement(logits.flatten(1).float(), features)


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
