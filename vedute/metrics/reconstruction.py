"""How close a model brings an image back: PSNR, SSIM and MS-SSIM of each image, by torchmetrics."""

from __future__ import annotations

from typing import cast

from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from vedute.losses.pixel import mean_squared_error, peak_signal_to_noise_ratio
from vedute.losses.similarity import scale_weights, similarity_scales

__all__ = ["image_scores", "similarity_scales"]


def image_scores(image: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return how near each image is to its original.

    * ``psnr``: in dB, all channels together.
    * ``ssim``: Gaussian window of 11 pixels; left out below 11 pixels a side.
    * ``ms_ssim``: with the first :func:`similarity_scales` scales, their weights rescaled to a
      sum of 1, where there are at least two; comparable only at equal scales.

    Sources: Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861 (SSIM); Wang et al. 2003,
    https://doi.org/10.1109/ACSSC.2003.1292216 (MS-SSIM).

    Args:
        image: (N, C, H, W) in [0, 1].
        target: (N, C, H, W) in [0, 1].

    Returns:
        By name (N,).
    """
    scores = {"psnr": peak_signal_to_noise_ratio(mean_squared_error(image, target))}
    height, width = image.shape[-2:]
    scales = similarity_scales((height, width))
    if scales:
        values = structural_similarity_index_measure(image, target, data_range=1.0, reduction="none")
        scores["ssim"] = cast(Tensor, values).view(-1)
    if scales > 1:
        scores["ms_ssim"] = multiscale_structural_similarity_index_measure(
            image, target, data_range=1.0, betas=scale_weights(scales), reduction="none"
        ).view(-1)
    return scores
