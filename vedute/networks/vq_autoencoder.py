"""The autoencoder of a VQ-VAE: an image to a small map of codes and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.networks.blocks import ResidualBlock, group_norm
from vedute.networks.quantizer import EMAQuantizer, Quantised
from vedute.networks.vae import require_divisible


class VQAutoencoder(nn.Module):
    """Residual encoder and decoder with one resolution level per width around a quantiser.

    Each level halves the map: with three, a 64x64 image is 8x8 codes. The condition has no part in it:
    what a code looks like does not depend on the class, which codes follow each other does, and that
    is what the prior learns.

    Source: van den Oord et al. 2017, https://arxiv.org/abs/1711.00937, with the residual blocks of this
    package.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        quantizer: Callable[[], EMAQuantizer] = EMAQuantizer,
        widths: Sequence[int] = (32, 64, 192),
        blocks: int = 1,
        bottom_blocks: int = 1,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width, pixels; multiples of 2 ** number of widths.
            image_channels: Channels of an image.
            quantizer: Makes the quantiser.
            widths: Channels per level, finest first.
            blocks: Residual blocks per level, in the encoder and in the decoder.
            bottom_blocks: Further blocks at the map of codes, in both.

        Raises:
            ConfigurationError: The image size does not divide, or there is no level.
        """
        super().__init__()
        if not widths or min(widths) < 1:
            raise ConfigurationError(f"widths is {list(widths)}: give the channels of at least one level.")
        levels = len(widths)
        require_divisible(image_size, 2**levels, type(self).__name__)
        self.image_size = image_size
        self.map_size = (image_size[0] >> levels, image_size[1] >> levels)
        self.quantizer = quantizer()
        code_size = self.quantizer.code_size

        # Space-to-depth in front: the finest level works on half the resolution, a quarter the cost.
        encoder: list[nn.Module] = [nn.Conv2d(4 * image_channels, widths[0], 3, padding=1)]
        for level, width in enumerate(widths):
            if level:
                encoder.append(nn.Conv2d(widths[level - 1], width, 3, stride=2, padding=1))
            encoder += [ResidualBlock(width, 0) for _ in range(blocks)]
        encoder += [ResidualBlock(widths[-1], 0) for _ in range(bottom_blocks)]
        encoder += [group_norm(widths[-1]), nn.SiLU(), nn.Conv2d(widths[-1], code_size, 1)]
        self.encoder = nn.ModuleList(encoder)

        decoder: list[nn.Module] = [nn.Conv2d(code_size, widths[-1], 3, padding=1)]
        decoder += [ResidualBlock(widths[-1], 0) for _ in range(bottom_blocks)]
        for level in reversed(range(levels)):
            decoder += [ResidualBlock(widths[level], 0) for _ in range(blocks)]
            if level:
                # Bilinear upsampling: pixel shuffle left a lattice that short trainings did not lose.
                decoder.append(nn.Conv2d(widths[level], widths[level - 1], 1))
                decoder.append(nn.Upsample(scale_factor=2, mode="bilinear"))
        decoder += [group_norm(widths[0]), nn.SiLU(), nn.Upsample(scale_factor=2, mode="bilinear")]
        # Zero padding here would draw a frame around every image.
        decoder.append(nn.Conv2d(widths[0], image_channels, 3, padding=1, padding_mode="replicate"))
        self.decoder = nn.ModuleList(decoder)

    @property
    def tokens(self) -> int:
        """Number T of codes of an image."""
        return self.map_size[0] * self.map_size[1]

    def encode(self, image: Tensor) -> Tensor:
        """Return the map (N, D, h, w) float32 of an image (N, C, H, W) in [0, 1], before quantisation."""
        h = F.pixel_unshuffle(2 * image - 1, 2)  # (N, 4C, H/2, W/2)
        return _through(self.encoder, h.contiguous(memory_format=torch.channels_last)).float()

    def quantize(self, vectors: Tensor, learn: bool = False) -> Quantised:
        """Quantise a map (N, D, h, w); ``learn`` moves the codebook towards it."""
        quantised: Quantised = self.quantizer(vectors, learn)
        return quantised

    def decode(self, vectors: Tensor) -> Tensor:
        """Return images (N, C, H, W) float32 in [0, 1] of quantised maps (N, D, h, w)."""
        h = _through(self.decoder, vectors.contiguous(memory_format=torch.channels_last))
        return torch.sigmoid(h.float())

    def look_up(self, codes: Tensor) -> Tensor:
        """Return the quantised map (N, D, h, w) float32 of codes (N, T)."""
        return self.quantizer.look_up(codes).reshape(len(codes), *self.map_size, -1).permute(0, 3, 1, 2)

    def forward(self, image: Tensor, learn: bool = False) -> tuple[Tensor, Quantised]:
        """Encode, quantise, decode.

        Args:
            image: (N, C, H, W) in [0, 1].
            learn: Move the codebook towards what was encoded.

        Returns:
            Reconstruction (N, C, H, W) in [0, 1], and what the quantiser made of the image.
        """
        quantised = self.quantize(self.encode(image), learn)
        return self.decode(quantised.vectors), quantised


def _through(layers: nn.ModuleList, x: Tensor) -> Tensor:
    """Return ``x`` after all layers; residual blocks also take an embedding, which is empty here."""
    for layer in layers:
        x = layer(x, x[:, :0, 0, 0]) if isinstance(layer, ResidualBlock) else layer(x)
    return x
