"""Structural similarity at several scales, one value per sample; the rule which scales an image allows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.losses.terms import ImageLoss

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003
WINDOW = 11
"""Side of the Gaussian window, pixels; its deviation is 1.5 pixels."""

_DEVIATION_SHARE = 1.5 / WINDOW
_LUMINANCE, _CONTRAST = 0.01**2, 0.03**2  # stabilise quotients; for values in [0, 1]
_LINEAR_BELOW = 1e-4
_LEAST_WINDOW = 3


def similarity_scales(image_size: tuple[int, int], window: int = WINDOW) -> int:
    """Return how many of MS-SSIM's five scales images allow.

    Each scale halves the image, and its window must fit into the last: with 11 pixels all five need 176
    pixels a side, 128 pixels allow four, 64 three, 32 two; under 11 not even SSIM works.

    Args:
        image_size: Height and width, pixels.
        window: Side of the window, pixels.
    """
    # scale**2 is torchmetrics' own condition, stricter than 2**scale for four scales.
    needed = [window * max(2**scale, scale**2) for scale in range(len(SCALE_WEIGHTS))]
    return sum(1 for side in needed if min(image_size) >= side)


def scale_weights(scales: int) -> tuple[float, ...]:
    """Return the weights of the first ``scales`` scales, rescaled to a sum of 1."""
    weights = SCALE_WEIGHTS[:scales]
    return tuple(weight / sum(weights) for weight in weights)


class StructuralDissimilarity(ImageLoss):
    """1 - MS-SSIM: how much of the structure is lost, from fine to coarse.

    Images under 176 pixels have no room for five scales with a window of 11 pixels. By default the window
    stays and there are as many scales as fit (:func:`similarity_scales`), their weights rescaled to a
    sum of 1, as in the metric ``ms_ssim``; images under 11 pixels get the largest window that fits, at one
    scale. With ``scales`` given, the window is the largest of 11, 9, 7, 5, 3 pixels that leaves room for
    them: at 64 pixels four scales have one of 7. Losses are comparable only at equal scales and window.

    Where a scale's similarity is negative (structure turned around), MS-SSIM is 0 and has no
    gradient; there the loss grows beyond 1 by the negative part, so that training finds a way out.

    Source: Wang et al. 2003, "Multi-scale structural similarity for image quality assessment",
    https://doi.org/10.1109/ACSSC.2003.1292216.
    """

    def __init__(self, scales: int | None = None, window: int | None = None, weight: float = 1.0) -> None:
        """Choose scales and window.

        Args:
            scales: Number of scales, 1 (SSIM) to 5; null: as many as fit.
            window: Side of the Gaussian window in pixels, odd, at least 3; null: by the rule above.
            weight: Weight of the term.

        Raises:
            ConfigurationError: A value out of its range.
        """
        super().__init__(weight)
        if scales is not None and not 1 <= scales <= len(SCALE_WEIGHTS):
            raise ConfigurationError(f"MS-SSIM has 1 to {len(SCALE_WEIGHTS)} scales, not {scales}.")
        if window is not None and (window < _LEAST_WINDOW or window % 2 == 0):
            raise ConfigurationError(f"The window of MS-SSIM is an odd number of at least 3, not {window}.")
        self.scales, self.window = scales, window

    def check(self, image_size: tuple[int, int], channels: int) -> None:
        """Make sure that images have room for the scales.

        Raises:
            ConfigurationError: They have not.
        """
        self.fitted(image_size)

    def fitted(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return the number of scales and the window that images of a size get.

        Raises:
            ConfigurationError: They do not fit.
        """
        windows = range(WINDOW, _LEAST_WINDOW - 1, -2) if self.window is None else (self.window,)
        for window in windows:
            possible = similarity_scales(image_size, window)
            if possible >= (self.scales or 1):
                return self.scales or possible, window
        raise ConfigurationError(
            f"MS-SSIM with {self.scales or 1} scales and a window of {windows[-1]} pixels does not fit into "
            f"images of {image_size[0]}x{image_size[1]}: give fewer scales or a smaller window."
        )

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Return (N,) values, in [0, 1] where no similarity is negative."""
        scales, window = self.fitted((image.shape[-2], image.shape[-1]))
        image, target = image.float(), target.float()
        product = torch.ones(len(image), device=image.device)
        negative = torch.zeros(len(image), device=image.device)
        with torch.autocast(image.device.type, enabled=False):
            for scale, weight in enumerate(scale_weights(scales)):
                whole, structure = structural_similarity(image, target, window)
                similarity = whole if scale == scales - 1 else structure
                product = product * _power(similarity, weight)
                negative = negative + F.relu(-similarity)
                if scale < scales - 1:
                    image, target = F.avg_pool2d(image, 2), F.avg_pool2d(target, 2)
        return 1 - product + negative


def structural_similarity(image: Tensor, target: Tensor, window: int = WINDOW) -> tuple[Tensor, Tensor]:
    """SSIM, and its part that does not see brightness (contrast and structure).

    Source: Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861. Borders as in torchmetrics: SSIM on
    reflected borders, the part only where the window lies inside.

    Args:
        image: (N, C, H, W) float32 in [0, 1].
        target: (N, C, H, W) float32 in [0, 1].
        window: Side of the Gaussian window, pixels, odd; at most H and W.

    Returns:
        Two (N,) in [-1, 1]: means over channels and pixels.
    """
    values = torch.stack([image, target, image * image, target * target, image * target])
    # Windows as products with a matrix: several times faster on CPUs than depthwise convolutions.
    down, across = (_window_matrix(side, window, image.device) for side in image.shape[-2:])
    mean, wanted, square, wanted_square, product = (down @ values @ across.T).unbind()
    variance = (square - mean * mean).clamp_min(0) + (wanted_square - wanted * wanted).clamp_min(0)
    covariance = product - mean * wanted
    structure = (2 * covariance + _CONTRAST) / (variance + _CONTRAST)  # (N, C, H, W)
    luminance = (2 * mean * wanted + _LUMINANCE) / (mean * mean + wanted * wanted + _LUMINANCE)
    border = window // 2
    inside = structure[..., border : structure.shape[-2] - border, border : structure.shape[-1] - border]
    return (luminance * structure).flatten(1).mean(dim=1), inside.flatten(1).mean(dim=1)


def _window_matrix(side: int, window: int, device: torch.device) -> Tensor:
    """Return (side, side): row i holds the Gaussian window around pixel i, reflected at the borders."""
    offsets = torch.arange(window, device=device) - window // 2
    bell = torch.exp(-0.5 * (offsets / (_DEVIATION_SHARE * window)) ** 2)
    positions = torch.arange(side, device=device)[:, None] + offsets  # (side, window)
    positions = positions.abs()
    positions = torch.where(positions >= side, 2 * (side - 1) - positions, positions)
    matrix = torch.zeros(side, side, device=device)
    return matrix.scatter_add_(1, positions, (bell / bell.sum()).expand(side, window))


def _power(value: Tensor, exponent: float) -> Tensor:
    """Return ``max(value, 0) ** exponent``, made linear near 0, where its slope would be infinite."""
    above = value.clamp_min(_LINEAR_BELOW) ** exponent
    below = F.relu(value) * _LINEAR_BELOW ** (exponent - 1)
    return torch.where(value < _LINEAR_BELOW, below, above)
