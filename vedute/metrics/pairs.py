"""How close generated images come to the very image that each was to become: translation, enlargement.

Here: PSNR and SSIM of pairs beside those of interpolation, and what a segmenter finds in generated images of
the masks that they were made from. Not here: distances of sets of images (``vedute.metrics.sets``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vedute.losses.pixel import mean_squared_error, peak_signal_to_noise_ratio
from vedute.losses.similarity import WINDOW, structural_similarity
from vedute.metrics.bootstrap import bootstrap_mean
from vedute.metrics.features import eight_bit
from vedute.metrics.judge import MaskJudge
from vedute.metrics.lpips import Difference
from vedute.metrics.overlap import MaskOverlap
from vedute.promises import Generator, ImageData
from vedute.rows import beside_conditions

GENERATED = "generated"
_LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)
"""BT.601's weights of red, green and blue, for values in [0, 1]; 16 / 255 is added."""

_SHOWN = 8  # rows of the picture


@dataclass(frozen=True)
class Pairs:
    """What is found.

    Attributes:
        scores: For ``generated`` and, where images are enlarged, ``bicubic`` and ``lanczos``: means over the
            images of psnr (dB), ssim, of colour images psnr_y, ssim_y on their luminance, and lpips where
            its weights are.
        overlap: Of the masks that a segmenter finds in ``generated`` and in ``real`` images: iou,
            pixel_accuracy; empty: no segmenter, or no masks.
        intervals: 95 % intervals of the means of ``generated``.
        rows: For each image its row of the split and its own scores.
        crop: Pixels left out at each border, as is usual where images are enlarged: the scale; else 0.
        shown: (R * K, C, H, W) in [0, 1]: some conditions with what became of them.
        columns: K titles.
    """

    scores: dict[str, dict[str, float]]
    overlap: dict[str, dict[str, float]]
    intervals: dict[str, tuple[float, float]]
    rows: list[dict[str, float]]
    crop: int
    shown: Tensor
    columns: list[str]


def luminance(image: Tensor) -> Tensor:
    """Return (N, 1, H, W) in [16/255, 235/255]: Y of BT.601, of images (N, 3, H, W) in [0, 1].

    Papers on enlargement measure on it; PSNR is some 2 dB higher there than on RGB.
    """
    weights = image.new_tensor(_LUMA)[:, None, None]
    return (image * weights).sum(dim=1, keepdim=True) + 16 / 255


def pair_scores(image: Tensor, real: Tensor, crop: int = 0) -> dict[str, Tensor]:
    """Return psnr and ssim of each image, and of colour images psnr_y and ssim_y.

    Args:
        image: (N, C, H, W) in [0, 1].
        real: (N, C, H, W) in [0, 1].
        crop: Pixels to leave out at each border.

    Returns:
        By name (N,); no ssim where a side is below its window of 11 pixels.
    """
    inner = slice(crop, -crop or None)
    image, real = image[..., inner, inner], real[..., inner, inner]
    sides = {"": (image, real)}
    if image.shape[1] == 3:
        sides["_y"] = (luminance(image), luminance(real))
    scores: dict[str, Tensor] = {}
    for suffix, (mine, theirs) in sides.items():
        scores[f"psnr{suffix}"] = peak_signal_to_noise_ratio(mean_squared_error(mine, theirs))
        if min(mine.shape[-2:]) >= WINDOW:
            scores[f"ssim{suffix}"] = structural_similarity(mine, theirs)[0]
    return scores


def interpolated(image: Tensor, scale: int) -> dict[str, Tensor]:
    """Return images enlarged without any learning, by name.

    Args:
        image: (N, C, h, w) in [0, 1].
        scale: How many times each side.

    Returns:
        ``bicubic`` and ``lanczos`` (Pillow's, on 8 bits), (N, C, h * scale, w * scale) in [0, 1].
    """
    height, width = (side * scale for side in image.shape[-2:])
    cubic = F.interpolate(image, size=(height, width), mode="bicubic", align_corners=False).clamp(0, 1)
    levels = (image * 255).round().byte().cpu().numpy()  # (N, C, h, w)
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS))
        for plane in levels.reshape(-1, *levels.shape[2:])
    ]
    lanczos = torch.from_numpy(np.stack(planes)).reshape(*image.shape[:2], height, width)
    return {"bicubic": cubic, "lanczos": (lanczos.float() / 255).to(image.device)}


@torch.inference_mode()
def measure_pairs(
    generator: Generator,
    data: ImageData,
    split: str,
    batch_size: int,
    advance: Callable[[int], None],
    segmenter: MaskJudge | None = None,
    seed: int = 0,
    difference: Difference | None = None,
) -> Pairs:
    """Make one image from each condition of a split, and compare it with the real one.

    Args:
        generator: Its conditions are images.
        data: Its data set.
        split: Which part of it.
        batch_size: Images computed at a time.
        advance: Moves a progress bar.
        segmenter: Finds masks in images; the data's conditions must be masks then.
        seed: Seed of every image.
        difference: Finds lpips.
    """
    size, crop = data.size(split), generator.scale if generator.scale > 1 else 0
    parts: dict[str, dict[str, list[Tensor]]] = {}
    overlaps = {name: MaskOverlap() for name in (GENERATED, "real")} if segmenter is not None else {}
    shown: list[Tensor] = []
    columns: list[str] = []
    for start in range(0, size, batch_size):
        batch = data.batch(split, range(start, min(start + batch_size, size))).to(generator.device)
        condition = generator.condition_of(batch)
        made = eight_bit(generator.sample(condition, torch.full((len(batch),), seed)))
        images = {GENERATED: made}
        if generator.scale > 1 and condition.image is not None:
            images = {**interpolated(condition.image, generator.scale), **images}
        for way, image in images.items():
            found_of_each = pair_scores(image.to(batch.image), batch.image, crop)
            if difference is not None:
                found_of_each["lpips"] = difference(image, batch.image)
            for name, values in found_of_each.items():
                parts.setdefault(way, {}).setdefault(name, []).append(values.cpu())
        if segmenter is not None and condition.image is not None:
            for name, image in ((GENERATED, made), ("real", batch.image)):
                found = segmenter.segment(image.to(segmenter.device)).cpu() > 0
                overlaps[name].update(found, condition.image.cpu() >= 0.5)
        if len(shown) < _SHOWN:
            columns = ["condition", *images, "real"]
            assert condition.image is not None
            made_of_each = torch.stack([*images.values(), batch.image], dim=1)  # (N, K - 1, C, H, W)
            rows = beside_conditions(made_of_each.flatten(0, 1).cpu(), condition.image)
            shown += list(torch.split(rows, len(columns)))[: _SHOWN - len(shown)]
        advance(len(batch))
    whole = {way: {name: torch.cat(each) for name, each in found.items()} for way, found in parts.items()}
    return Pairs(
        scores={
            way: {name: float(value.mean()) for name, value in found.items()} for way, found in whole.items()
        },
        overlap={
            name: {key: float(value) for key, value in overlap.compute().items()}
            for name, overlap in overlaps.items()
        },
        intervals={
            name: (interval.low, interval.high)
            for name, interval in (
                (name, bootstrap_mean(values)) for name, values in whole[GENERATED].items()
            )
        },
        rows=[
            {"row": row, **{name: round(float(value[row]), 4) for name, value in whole[GENERATED].items()}}
            for row in range(size)
        ],
        crop=crop,
        shown=torch.cat(shown),
        columns=columns,
    )
