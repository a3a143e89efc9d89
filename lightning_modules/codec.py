"""An autoencoder of ours that another model works behind: images as maps, and back."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_modules.vq_vae import VQVAE
from vedute.batch import Batch, Condition
from vedute.checkpoints import described_module, load_checkpoint, load_weights, part_of_checkpoint
from vedute.errors import CheckpointError, named
from vedute.promises import ImageData

CODEC_KEY = "codec_hyper_parameters"
"""Where a checkpoint keeps what the codec of its model is."""

_MEASURED = 2000  # images from which mean and spread of the maps are taken
_STEP = 64


class Codec(nn.Module):
    """A trained VQ-VAE, frozen, whose maps are brought to mean 0 and standard deviation 1 in each channel.

    Source: Rombach et al. 2022 (latent diffusion), https://arxiv.org/abs/2112.10752.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, autoencoder: VQVAE, description: object) -> None:
        """Freeze the autoencoder, and keep its description for checkpoints."""
        super().__init__()
        self.description = description
        self.autoencoder = autoencoder.requires_grad_(False)
        size = autoencoder.network.quantizer.code_size
        self.shape: tuple[int, int, int] = (size, *autoencoder.network.map_size)
        """Shape (C, h, w) of the map of an image."""
        self.register_buffer("mean", torch.zeros(size, 1, 1))
        self.register_buffer("deviation", torch.ones(size, 1, 1))

    def train(self, mode: bool = True) -> Codec:
        """Stay as it was trained: its codebook must not move."""
        return super().train(False)

    @torch.no_grad()
    def measure(self, data: ImageData) -> None:
        """Take mean and spread of the maps from training images: the same ones in every process."""
        size = data.size("train")
        rows = torch.linspace(0, size - 1, min(size, _MEASURED)).round().long()
        maps = torch.cat(
            [
                self._maps(data.batch("train", part).image.to(self.mean.device))
                for part in torch.split(rows, _STEP)
            ]
        )
        self.mean = maps.mean(dim=(0, 2, 3)).view(-1, 1, 1)
        self.deviation = maps.std(dim=(0, 2, 3)).clamp_min(1e-6).view(-1, 1, 1)

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        """Return standardised maps (N, C, h, w) float32 of images (N, 3, H, W) in [0, 1]."""
        return (self._maps(image) - self.mean) / self.deviation

    def decode(self, maps: Tensor) -> Tensor:
        """Return images (N, 3, H, W) in [0, 1] of standardised maps."""
        return self.autoencoder.decode((maps * self.deviation + self.mean).flatten(1), Condition())

    def _maps(self, image: Tensor) -> Tensor:
        return self.autoencoder.embed(Batch(image)).view(-1, *self.shape).float()


def codec_of(path: Path, image_size: tuple[int, int], image_channels: int) -> Codec:
    """Return the codec of a checkpoint.

    While a model is built from its own checkpoint, that says what its codec is, and the weights follow: the
    codec's file is not needed any more.

    Args:
        path: The codec's checkpoint.
        image_size: Height and width of the images, pixels.
        image_channels: Channels of the images.

    Raises:
        CheckpointError: It cannot be used, is no VQ-VAE, or one of other images.
    """
    kept = part_of_checkpoint(CODEC_KEY)
    checkpoint = load_checkpoint(path) if kept is None else {"hyper_parameters": kept}
    module = described_module(checkpoint, path)
    if not isinstance(module, VQVAE):
        raise CheckpointError(
            f"{path} holds {named(type(module))}, but a codec must make maps of images: train one with 'fit "
            "--config configs/vq_vae_landscapes.yaml' on the same data."
        )
    if (module.image_size, module.image_channels) != (image_size, image_channels):
        raise CheckpointError(
            f"{path} was trained on images of {module.image_size[0]}x{module.image_size[1]} with "
            f"{module.image_channels} channels; these have {image_size[0]}x{image_size[1]} and "
            f"{image_channels}. Train it at this data.image_size."
        )
    if kept is None:
        load_weights(module, checkpoint, path)
    return Codec(module, checkpoint["hyper_parameters"])
