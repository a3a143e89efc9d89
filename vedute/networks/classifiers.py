"""Networks that recognise what an image shows or how it is rated: cores of the judges.

Here: images to features, and to a logit per class or a value per score. Not here: losses,
augmentation, Lightning.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError


class ClassifierNetwork(nn.Module, ABC):
    """What every classifier network offers: features, and outputs that are a linear map of them.

    The outputs are the logits of classes in a classifier, standardised scores in a regressor.
    Subclasses take ``(image_size, image_channels, outputs)`` first: a module that is given the
    class by configuration supplies them from the data set.
    """

    def __init__(self, image_size: tuple[int, int], image_channels: int, outputs: int) -> None:
        """Keep the sizes.

        Args:
            image_size: Height and width, pixels.
            image_channels: Channels C of an image.
            outputs: Number D of classes or scores.
        """
        super().__init__()
        self.image_size = image_size
        self.image_channels = image_channels
        self.outputs = outputs

    @abstractmethod
    def features(self, image: Tensor) -> Tensor:
        """Return (N, F) pooled features of images (N, C, H, W) in [0, 1]."""

    @abstractmethod
    def classify(self, features: Tensor) -> Tensor:
        """Return (N, D) logits (or scores) of features (N, F)."""

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, D) logits (or scores) of images (N, C, H, W) in [0, 1]."""
        return self.classify(self.features(image))


class BasicBlock(nn.Module):
    """Residual block with batch normalisation; the shortcut is average-pooled where it halves.

    Source: He et al. 2016, https://arxiv.org/abs/1512.03385; the pooled shortcut is ResNet-D's,
    He et al. 2019, https://arxiv.org/abs/1812.01187.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Build a block from ``inputs`` to ``outputs`` channels, H and W divided by ``stride``."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        # Starts as the identity, which lets deep stacks train at a high learning rate.
        nn.init.zeros_(self.norm2.weight)
        shortcut: list[nn.Module] = []
        if stride > 1:
            shortcut.append(nn.AvgPool2d(stride, ceil_mode=True))  # ceil: as the padded convolution rounds
        if inputs != outputs:
            shortcut += [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, ceil(H / stride), ceil(W / stride)) from x (N, inputs, H, W)."""
        h = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(h)) + self.shortcut(x))


class ResidualClassifier(ClassifierNetwork):
    """A small residual network: a strided stem, one stage per width, mean over the map.

    With the defaults and 64x64 images: 1.2M weights, maps of 32, 16 and 8 pixels, F = 256.
    The mean over the map makes it take images of any size.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        outputs: int,
        widths: Sequence[int] = (64, 128, 256),
        blocks: int = 1,
        dropout: float = 0.0,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; no side under 2 ** number of stages.
            image_channels: Channels C of an image.
            outputs: Number D of classes or scores.
            widths: Channels of each stage; a stage halves the map that it gets.
            blocks: Residual blocks per stage.
            dropout: Share of the features set to zero while training, in [0, 1).

        Raises:
            ConfigurationError: Images too small for so many stages.
        """
        super().__init__(image_size, image_channels, outputs)
        if min(image_size) < 2 ** len(widths):
            raise ConfigurationError(
                f"{type(self).__name__} with {len(widths)} stages needs images of at least "
                f"{2 ** len(widths)} pixels a side, got {image_size[0]}x{image_size[1]}: "
                "give fewer widths or larger images."
            )
        self.stem = nn.Sequential(
            nn.Conv2d(image_channels, widths[0], 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        )
        stages = [BasicBlock(widths[0], widths[0], stride=1) for _ in range(blocks)]
        for narrow, wide in pairwise(widths):
            stages += [BasicBlock(narrow, wide, stride=2)]
            stages += [BasicBlock(wide, wide, stride=1) for _ in range(blocks - 1)]
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], outputs)

    def features(self, image: Tensor) -> Tensor:
        """Return (N, F) non-negative float32 features, F the last width."""
        h = self.stem(2 * image - 1)  # (N, widths[0], H/2, W/2)
        h = self.stages(h)  # (N, F, h, w)
        pooled: Tensor = h.float().mean(dim=(2, 3))
        return pooled

    def classify(self, features: Tensor) -> Tensor:
        """Return (N, D) logits (or scores)."""
        logits: Tensor = self.head(self.dropout(features))
        return logits
