"""Pairs of generated and real images: enlargement and translation."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vedute.batch import Batch, Condition
from vedute.metrics.pairs import interpolated, luminance, measure_pairs, pair_scores


def pictures(count: int = 6, side: int = 32) -> Tensor:
    """Smooth random pictures (N, 3, side, side) of 256 levels."""
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    fine = F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    return (fine * 255).round() / 255


def masks(images: Tensor) -> Tensor:
    return (images[:, :1] > 0.5).float()


class Data:
    """Pictures whose conditions are their masks."""

    def __init__(self) -> None:
        self.images = pictures()

    def size(self, split: str) -> int:
        return len(self.images)

    def batch(self, split: str, rows: range) -> Batch:
        image = self.images[list(rows)]
        return Batch(image, Condition(image=masks(image)), torch.tensor(list(rows)))


def generator(make: object, scale: int = 1, condition_of: object = None) -> SimpleNamespace:
    return SimpleNamespace(
        device="cpu", scale=scale, sample=make, condition_of=condition_of or (lambda batch: batch.condition)
    )


def measured(one: SimpleNamespace, batch_size: int = 4, segmenter: object = None):  # noqa: ANN201
    return measure_pairs(one, Data(), "test", batch_size, lambda _: None, segmenter)  # type: ignore[arg-type]


def test_luminance_is_that_of_the_standard() -> None:
    ends = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert (255 * luminance(ends)).flatten().tolist() == pytest.approx([16, 235], abs=1e-3)
    image = pictures(1)
    full = np.asarray(
        Image.fromarray((image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)).convert("YCbCr")
    )
    ours = (luminance(image)[0, 0].numpy() - 16 / 255) * 255 / 219  # Pillow's is of the full range
    assert np.abs(ours - full[..., 0] / 255).max() < 2 / 255


def test_the_cropped_border_does_not_count() -> None:
    real = pictures()
    framed = real.clone()
    framed[..., :2, :] = framed[..., :, -2:] = 0
    whole, inside = pair_scores(framed, real), pair_scores(framed, real, crop=2)
    assert (inside["psnr"] == 100).all() and (whole["psnr"] < 40).all(), "100 dB stands for equal"
    assert torch.allclose(inside["ssim"], torch.ones(6)) and (whole["ssim"] < 0.999).all()
    assert set(inside) == {"psnr", "ssim", "psnr_y", "ssim_y"}
    assert set(pair_scores(real[:, :1], real[:, :1])) == {"psnr", "ssim"}, "grey images have one channel"
    assert set(pair_scores(real[..., :8, :], real[..., :8, :])) == {"psnr", "psnr_y"}, "too low for SSIM"


def test_interpolation_enlarges_and_keeps_what_is_even() -> None:
    even = torch.full((2, 3, 5, 7), 0.4)
    for image in interpolated(even, 4).values():
        assert image.shape == (2, 3, 20, 28)
        assert torch.allclose(image, torch.full_like(image, 0.4), atol=1 / 255)


def test_an_enlarging_model_stands_beside_interpolation() -> None:
    def shrunken(batch: Batch) -> Condition:
        return Condition(image=F.interpolate(batch.image, scale_factor=0.25, mode="area"))

    nearest = generator(
        lambda condition, seeds: F.interpolate(condition.image, scale_factor=4.0, mode="nearest"), 4, shrunken
    )
    pairs = measured(nearest)
    assert set(pairs.scores) == {"generated", "bicubic", "lanczos"} and pairs.crop == 4
    assert pairs.scores["generated"]["psnr"] < pairs.scores["bicubic"]["psnr"], "nearest is the worst of all"
    assert pairs.columns == ["condition", "bicubic", "lanczos", "generated", "real"]
    assert pairs.shown.shape == (6 * 5, 3, 32, 32)
    assert [row["row"] for row in pairs.rows] == list(range(6))
    mean = np.mean([row["psnr"] for row in pairs.rows])
    assert mean == pytest.approx(pairs.scores["generated"]["psnr"], abs=1e-3)


def test_scores_do_not_depend_on_the_batch_size() -> None:
    soft = generator(lambda condition, seeds: condition.image.expand(-1, 3, -1, -1) * 0.8)
    one, other = measured(soft, 1), measured(soft, 6)
    assert one.scores["generated"] == pytest.approx(other.scores["generated"], rel=1e-5)
    assert one.rows == other.rows and torch.equal(one.shown, other.shown)


def test_a_segmenter_finds_masks_again() -> None:
    bright = SimpleNamespace(device="cpu", segment=masks)
    drawn = generator(lambda condition, seeds: condition.image.expand(-1, 3, -1, -1))
    found = measured(drawn, segmenter=bright).overlap
    assert found["generated"]["iou"] == found["real"]["iou"] == 1
    blank = generator(lambda condition, seeds: torch.zeros_like(condition.image).expand(-1, 3, -1, -1))
    found = measured(blank, segmenter=bright).overlap
    assert found["generated"]["iou"] == 0 and found["real"]["iou"] == 1
    assert measured(blank).overlap == {}
