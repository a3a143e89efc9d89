"""How close a model brings an image back: PSNR, SSIM and MS-SSIM, by torchmetrics."""

from __future__ import annotations

from torchmetrics import Metric, MetricCollection
from torchmetrics.image import (
    MultiScaleStructuralSimilarityIndexMeasure,
    PeakSignalNoiseRatio,
    StructuralSimilarityIndexMeasure,
)

_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003
_WINDOW = 11  # pixels


def similarity_scales(image_size: tuple[int, int]) -> int:
    """Return how many of MS-SSIM's five scales images allow.

    Each scale halves the image, and its 11-pixel window must fit into the last: all five need 176
    pixels a side, 128 pixels allow four, 64 three, 32 two; under 11 not even SSIM works.
    """
    # scale**2 is torchmetrics' own condition, stricter than 2**scale for four scales.
    needed = [_WINDOW * max(2**scale, scale**2) for scale in range(len(_SCALE_WEIGHTS))]
    return sum(1 for side in needed if min(image_size) >= side)


def reconstruction_metrics(image_size: tuple[int, int]) -> MetricCollection:
    """Return metrics of (reconstruction, original), both (N, C, H, W) in [0, 1].

    * ``psnr``: mean over images of each image's PSNR in dB, all channels together.
    * ``ssim``: Gaussian window of 11 pixels; left out below 11 pixels a side.
    * ``ms_ssim``: with the first :func:`similarity_scales` scales, their weights rescaled to a
      sum of 1, where there are at least two; comparable only at equal scales.

    Sources: Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861 (SSIM); Wang et al. 2003,
    https://doi.org/10.1109/ACSSC.2003.1292216 (MS-SSIM).

    Args:
        image_size: Height and width, pixels.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        "psnr": PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3))
    }
    scales = similarity_scales(image_size)
    if scales:
        metrics["ssim"] = StructuralSimilarityIndexMeasure(data_range=1.0)
    if scales > 1:
        weights = _SCALE_WEIGHTS[:scales]
        metrics["ms_ssim"] = MultiScaleStructuralSimilarityIndexMeasure(
            data_range=1.0, betas=tuple(weight / sum(weights) for weight in weights)
        )
    return MetricCollection(metrics, compute_groups=False)
