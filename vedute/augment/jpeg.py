"""What JPEG compression does to images, on any device.

Plain torch: a codec would have to go through the CPU and one image at a time, and importing kornia
takes seconds. No file is written; lengths of files are not known here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# ITU-T T.81, tables K.1 and K.2: the quantisation that nearly all programs scale by their quality.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
)
# JFIF: brightness and two colour differences of RGB in [0, 255]; the differences lie around 0.
_COLOURS = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_BACK = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


@torch.no_grad()
def jpeg_compressed(image: Tensor, quality: int) -> Tensor:
    """Return images as they are after they were saved as JPEG and read again; no gradients.

    Three channels are colours, at half the resolution apart from their brightness (4:2:0) as most
    programs do; of another number each channel is compressed like a grey image.

    Args:
        image: (N, C, H, W) in [0, 1].
        quality: 1 (worst) to 100, as in libjpeg and Pillow.

    Returns:
        (N, C, H, W) float32 in [0, 1].
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"JPEG has qualities from 1 to 100, not {quality}")
    height, width = image.shape[-2:]
    pixels = (image.float().clamp(0, 1) * 255).round()
    # Whole blocks of 16 pixels, which colours at half the resolution need.
    pixels = F.pad(pixels, (0, -width % 16, 0, -height % 16), mode="replicate")
    if image.shape[1] == 3:
        mixed = torch.einsum("kc,nchw->nkhw", pixels.new_tensor(_COLOURS), pixels)
        parts = torch.split(mixed, [1, 2], dim=1)
        brightness = _quantised(parts[0] - 128, _LUMA, quality) + 128
        colours = _quantised(F.avg_pool2d(parts[1], 2), _CHROMA, quality)
        colours = F.interpolate(colours, scale_factor=2, mode="bilinear", align_corners=False)
        mixed = torch.cat([brightness, colours], dim=1)
        pixels = torch.einsum("ck,nkhw->nchw", pixels.new_tensor(_BACK), mixed)
    else:
        pixels = _quantised(pixels - 128, _LUMA, quality) + 128
    return pixels[:, :, :height, :width].round().clamp(0, 255) / 255


def _quantised(planes: Tensor, table: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """Round the cosine coefficients of blocks of 8x8 pixels; planes are (N, C, H, W) around 0."""
    count, channels, height, width = planes.shape
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    # libjpeg's rounding; 255 is the largest step of its files
    steps = ((torch.tensor(table) * scale + 50) // 100).clamp(1, 255).to(planes)
    cosines = _cosines().to(planes)  # (8, 8)
    blocks = planes.reshape(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    coefficients = cosines @ blocks @ cosines.T
    blocks = cosines.T @ ((coefficients / steps).round() * steps) @ cosines
    return blocks.transpose(3, 4).reshape(count, channels, height, width)


def _cosines() -> Tensor:
    """Return the orthonormal cosine transform of 8 values, (8, 8): a row for each frequency."""
    frequency = torch.arange(8.0)[:, None]
    rows = torch.cos((2 * torch.arange(8.0) + 1) * frequency * math.pi / 16) / 2
    rows[0] /= math.sqrt(2)
    return rows
