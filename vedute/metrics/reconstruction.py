"""How close a model brings an image back: PSNR, SSIM and MS-SSIM of each image, by torchmetrics; LPIPS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from vedute.batch import Batch
from vedute.losses.pixel import mean_squared_error, peak_signal_to_noise_ratio
from vedute.losses.similarity import scale_weights, similarity_scales
from vedute.metrics.bootstrap import bootstrap_mean
from vedute.metrics.features import eight_bit
from vedute.metrics.lpips import Difference
from vedute.metrics.real_sets import Bar
from vedute.promises import Generator, ImageData

__all__ = ["image_scores", "measure_reconstruction", "similarity_scales"]


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


def measure_reconstruction(
    generator: Generator,
    data: ImageData,
    split: str,
    batch_size: int,
    bar: Bar,
    difference: Difference | None = None,
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Put a split through a model and back.

    Args:
        generator: With an encoder.
        data: Its data set.
        split: The split.
        batch_size: Images computed at a time.
        bar: Shows progress.
        difference: Finds ``lpips``; None: it is left out.

    Returns:
        Means over the images by name, with what the latent code carries; and 95 % intervals of the means.
    """
    size = data.size(split)

    def batches() -> Iterator[Batch]:
        for start in range(0, size, batch_size):
            yield data.batch(split, range(start, min(start + batch_size, size))).to(generator.device)

    values: dict[str, list[Tensor]] = {}
    with bar("Reconstructing", size) as advance, torch.inference_mode():
        for batch in batches():
            image, original = eight_bit(generator.reconstruct(batch)).cpu(), batch.image.cpu()
            scores = image_scores(image, original)
            if difference is not None:
                scores["lpips"] = difference(image, original)
            for name, part in scores.items():
                values.setdefault(name, []).append(part)
            advance(len(batch))
        code = generator.latent_scores(batches())
    means = {name: bootstrap_mean(torch.cat(parts)) for name, parts in values.items()}
    found = {name: mean.value for name, mean in means.items()}
    if "ms_ssim" in found:
        found["ms_ssim_scales"] = similarity_scales(generator.image_size)
    return {**found, **code}, {name: (mean.low, mean.high) for name, mean in means.items()}
