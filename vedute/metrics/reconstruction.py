"""How close a model brings an image back: PSNR, SSIM and MS-SSIM, by torchmetrics."""

from __future__ import annotations

from torchmetrics import Metric, MetricCollection
from torchmetrics.image import (
    MultiScaleStructuralSimilarityIndexMeasure,
    PeakSignalNoiseRatio,
    StructuralSimilarityIndexMeasure,
)

from vedute.losses.similarity import scale_weights, similarity_scales

__all__ = ["reconstruction_metrics", "similarity_scales"]


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
        metrics["ms_ssim"] = MultiScaleStructuralSimilarityIndexMeasure(
            data_range=1.0, betas=scale_weights(scales)
        )
    return MetricCollection(metrics, compute_groups=False)
