"""A discriminator with a judgement for every pixel, for images that are made larger."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from vedute.errors import ConfigurationError
from vedute.networks.discriminators import Discriminator, Judgement
from vedute.networks.vae import require_divisible


class UNetDiscriminator(Discriminator):
    """A U-Net with spectral normalisation: one logit a pixel, from the pixel's surroundings.

    With the defaults and RGB: 4,376,897 weights. A condition is compared with the smallest map's mean
    (projection, Miyato & Koyama 2018, https://arxiv.org/abs/1802.05637), the same for all pixels.

    Source: Wang et al. 2021 (Real-ESRGAN), https://arxiv.org/abs/2107.10833, section 3.3, after Schonfeld
    et al. 2020, https://arxiv.org/abs/2002.12655.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_size: int,
        width: int = 64,
        spectral: bool = True,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; multiples of 8.
            image_channels: Channels of an image.
            condition_size: Entries of the condition vector; 0: unconditional.
            width: Channels at full size; doubled at each of three halvings.
            spectral: Spectral normalisation of the inner weights (Miyato et al. 2018,
                https://arxiv.org/abs/1802.05957).

        Raises:
            ConfigurationError: A width below 1, or the image size does not divide.
        """
        super().__init__(image_size, image_channels, condition_size)
        if width < 1:
            raise ConfigurationError(f"{type(self).__name__} needs a width of at least 1, got {width}.")
        require_divisible(image_size, 8, type(self).__name__)

        def layer(made: nn.Module) -> nn.Module:
            return spectral_norm(made) if spectral else made

        self.first = nn.Conv2d(image_channels, width, 3, padding=1)
        self.down = nn.ModuleList(
            layer(nn.Conv2d(width << level, width << level + 1, 4, stride=2, padding=1, bias=False))
            for level in range(3)
        )
        self.up = nn.ModuleList(
            layer(nn.Conv2d(width << level + 1, width << level, 3, padding=1, bias=False))
            for level in reversed(range(3))
        )
        self.refine = nn.ModuleList(
            layer(nn.Conv2d(width, width, 3, padding=1, bias=False)) for _ in range(2)
        )
        self.judge = nn.Conv2d(width, 1, 3, padding=1)
        self.project = layer(nn.Linear(condition_size, 8 * width, bias=False)) if condition_size else None

    @property
    def feature_count(self) -> int:
        """The maps of the way down."""
        return 1 + len(self.down)

    def forward(self, image: Tensor, condition: Tensor) -> Judgement:
        """Return logits (N, H * W), row by row, and a feature map a level; see the base class."""
        h = F.leaky_relu(self.first(2 * image - 1), 0.2)  # (N, width, H, W)
        features = [h]
        for down in self.down:
            h = F.leaky_relu(down(h), 0.2)  # (N, width * 2^k, H / 2^k, W / 2^k)
            features.append(h)
        for up, beside in zip(self.up, reversed(features[:-1]), strict=True):
            h = F.interpolate(h, scale_factor=2.0, mode="bilinear")
            h = F.leaky_relu(up(h), 0.2) + beside  # (N, width * 2^k, H / 2^k, W / 2^k)
        for refine in self.refine:
            h = F.leaky_relu(refine(h), 0.2)
        logits: Tensor = self.judge(h).flatten(1)  # (N, H * W)
        if self.project is not None:
            pooled = features[-1].mean(dim=(2, 3))  # (N, 8 * width)
            match = (self.project(condition) * pooled).sum(dim=1, keepdim=True)
            logits = logits + match * pooled.shape[1] ** -0.5
        return Judgement(logits.float(), features)
