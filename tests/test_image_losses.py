"""Losses of images: closed forms, per sample, gradients that are numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional as F
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from vedute.errors import ConfigurationError
from vedute.losses.histogram import ColourHistogram, soft_histogram
from vedute.losses.likelihood import GaussianLikelihood
from vedute.losses.pixel import AbsoluteError, SquaredError
from vedute.losses.similarity import StructuralDissimilarity, scale_weights, similarity_scales
from vedute.losses.terms import ImageLoss
from vedute.losses.variational import free_bits

LOSSES: list[Callable[[], ImageLoss]] = [
    SquaredError,
    lambda: SquaredError("sum"),
    AbsoluteError,
    lambda: AbsoluteError("sum"),
    StructuralDissimilarity,
    lambda: StructuralDissimilarity(scales=3),
    ColourHistogram,
    lambda: ColourHistogram(8, "squared"),
    lambda: ColourHistogram(8, "absolute"),
    GaussianLikelihood,
    lambda: GaussianLikelihood("learned"),
]


def pictures(count: int = 4, channels: int = 3, side: int = 32, seed: int = 0) -> Tensor:
    """Return smooth images (N, C, side, side) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, max(2, side // 8), max(2, side // 8), generator=generator)
    return F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("build", LOSSES)
def test_one_float32_value_per_sample_with_gradient(build: Callable[[], ImageLoss]) -> None:
    loss = build()
    loss.check((32, 32), 3)
    image, target = pictures(seed=1).requires_grad_(), pictures()
    values = loss(image, target)
    assert values.shape == (4,) and values.dtype == torch.float32
    (gradient,) = torch.autograd.grad(values.sum(), image)
    assert gradient.isfinite().all() and gradient.abs().sum() > 0
    assert (loss(target, target) <= values).all(), "nothing is better than the target itself"


@pytest.mark.parametrize("build", LOSSES)
@pytest.mark.parametrize("channels", [1, 4])
def test_extreme_images_have_finite_losses_and_gradients(
    build: Callable[[], ImageLoss], channels: int
) -> None:
    loss = build()
    flat, noise = torch.full((2, channels, 32, 32), 0.5), torch.rand(2, channels, 32, 32)
    black, white = torch.zeros_like(flat), torch.ones_like(flat)
    for image in (flat, noise, black, white):
        for target in (flat, noise, 1 - noise, black, white):
            for kind in (torch.float32, torch.bfloat16):
                given = image.to(kind, copy=True).requires_grad_()
                values = loss(given, target.to(kind))
                values.sum().backward()
                assert given.grad is not None and given.grad.isfinite().all() and values.isfinite().all()


@pytest.mark.parametrize("build", LOSSES)
def test_autocast_changes_nothing(build: Callable[[], ImageLoss]) -> None:
    loss, image, target = build(), pictures(seed=1), pictures()
    with torch.autocast("cpu", torch.bfloat16):
        values = loss(image, target)
    assert values.dtype == torch.float32
    assert torch.allclose(values, loss(image, target), rtol=1e-5)


@pytest.mark.parametrize("build", [one for one in LOSSES if one is not GaussianLikelihood])
def test_a_sample_does_not_depend_on_its_batch(build: Callable[[], ImageLoss]) -> None:
    loss, image, target = build(), pictures(seed=1), pictures()
    alone = torch.cat([loss(image[n : n + 1], target[n : n + 1]) for n in range(4)])
    assert torch.allclose(loss(image, target), alone, rtol=1e-4)


def test_sums_are_means_times_values() -> None:
    image, target = pictures(seed=1), pictures()
    for loss, plain in ((SquaredError, (image - target) ** 2), (AbsoluteError, (image - target).abs())):
        assert torch.allclose(loss("sum")(image, target), plain.sum(dim=(1, 2, 3)), rtol=1e-4)
        assert torch.allclose(loss("mean")(image, target), plain.mean(dim=(1, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize("side", [11, 24, 48, 100, 180])
def test_ms_ssim_is_that_of_torchmetrics(side: int) -> None:
    target = pictures(3, side=side)
    image = (target + 0.2 * torch.rand_like(target) + 0.1).clamp(0, 1)
    scales = similarity_scales((side, side))
    expected = multiscale_structural_similarity_index_measure(
        image, target, data_range=1.0, betas=scale_weights(scales), reduction="none"
    )
    assert isinstance(expected, Tensor) and expected.shape == (3,)
    assert torch.allclose(1 - StructuralDissimilarity()(image, target), expected, atol=1e-4)


def test_a_small_window_is_torchmetrics_with_a_small_deviation() -> None:
    target = pictures(3, side=32)
    image = (target + 0.2 * torch.rand_like(target)).clamp(0, 1)
    expected = multiscale_structural_similarity_index_measure(
        image,
        target,
        kernel_size=7,
        sigma=1.5 * 7 / 11,
        data_range=1.0,
        betas=scale_weights(3),
        reduction="none",
    )
    loss = StructuralDissimilarity(scales=3)
    assert loss.fitted((32, 32)) == (3, 7)
    assert torch.allclose(1 - loss(image, target), expected, atol=1e-4)


def test_scales_and_window_follow_the_image() -> None:
    loss = StructuralDissimilarity()
    assert [loss.fitted((side, 300)) for side in (256, 128, 64, 32, 16, 8, 3)] == [
        (5, 11), (4, 11), (3, 11), (2, 11), (1, 11), (1, 7), (1, 3),
    ]  # fmt: skip
    assert StructuralDissimilarity(scales=4).fitted((64, 64)) == (4, 7)
    assert StructuralDissimilarity(window=5).fitted((64, 64)) == (4, 5)
    assert loss(pictures(side=8), pictures(side=8)).abs().max() < 1e-5
    with pytest.raises(ConfigurationError, match="does not fit into images of 16x16"):
        StructuralDissimilarity(scales=5).check((16, 16), 3)


def test_structure_turned_around_has_a_way_out() -> None:
    target = torch.rand(1, 1, 16, 16)
    image = (1 - target).requires_grad_()
    value = StructuralDissimilarity()(image, target)
    (gradient,) = torch.autograd.grad(value.sum(), image)
    assert value > 1 and gradient.abs().max() > 0
    assert StructuralDissimilarity()(image - 0.5 * gradient / gradient.abs().max(), target) < value


def test_the_histogram_is_numpys_where_values_are_centres() -> None:
    bins = 16
    image = torch.randint(0, bins, (2, 3, 8, 8)).float() / (bins - 1)
    half = 0.5 / (bins - 1)
    found = soft_histogram(image, bins)
    for sample in range(2):
        for channel in range(3):
            counts, _ = np.histogram(image[sample, channel].numpy(), bins, range=(-half, 1 + half))
            assert torch.allclose(found[sample, channel] * 64, torch.from_numpy(counts).float(), atol=1e-3)


def test_histograms_are_shares_and_do_not_see_where() -> None:
    image, target = pictures(seed=1), pictures()
    order = torch.randperm(32 * 32)
    shuffled = image.flatten(2)[:, :, order].view_as(image)
    assert torch.allclose(soft_histogram(image, 10).sum(dim=2), torch.ones(4, 3), atol=1e-5)
    for distance in ("earth_mover", "squared", "absolute"):
        loss = ColourHistogram(distance=distance)
        assert torch.allclose(loss(image, target), loss(shuffled, target), atol=1e-5)


def test_the_earth_mover_measures_a_shift() -> None:
    target = 0.2 + 0.4 * pictures()
    assert torch.allclose(ColourHistogram(bins=256)(target + 0.3, target), torch.full((4,), 0.3), atol=1e-3)


def test_the_gradient_takes_a_colour_cast_back() -> None:
    target = 0.2 + 0.5 * pictures()
    cast = torch.tensor([0.15, 0.0, -0.1]).view(3, 1, 1).requires_grad_()
    loss = ColourHistogram()
    for _ in range(60):
        (gradient,) = torch.autograd.grad(loss(target + cast, target).mean(), cast)
        cast = (cast - 0.02 * gradient).detach().requires_grad_()
    assert cast.abs().max() < 0.03


def test_likelihood_is_that_of_torch_distributions() -> None:
    image, target = pictures(seed=1), pictures()
    loss = GaussianLikelihood("learned", start=0.3)
    assert loss.log_deviation is not None
    floor = math.log(1 / 255)
    deviation = math.exp(floor + math.log1p(math.exp(math.log(0.3) - floor)))
    log_prob: Tensor = Normal(image, deviation).log_prob(target)  # type: ignore[no-untyped-call]
    assert torch.allclose(loss(image, target), -log_prob.sum(dim=(1, 2, 3)), rtol=1e-4)


def test_learning_the_variance_ends_at_the_optimal_one() -> None:
    image, target = pictures(seed=1), pictures()
    learned, optimal = GaussianLikelihood("learned"), GaussianLikelihood()
    assert len(list(optimal.parameters())) == 0
    optimiser = torch.optim.Adam(learned.parameters(), lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        learned(image, target).mean().backward()
        optimiser.step()
    assert float(learned(image, target).mean().detach()) == pytest.approx(
        float(optimal(image, target).mean()), abs=1.0
    )


def test_the_optimal_variance_has_the_gradient_of_a_logarithm() -> None:
    image, target = pictures(seed=1).requires_grad_(), pictures()
    (found,) = torch.autograd.grad(GaussianLikelihood()(image, target).mean(), image)
    error = (image - target).square().mean()
    (expected,) = torch.autograd.grad(0.5 * image[0].numel() * error.log(), image)
    assert torch.allclose(found, expected, rtol=0.1, atol=1e-4)  # but for the soft bound


def test_free_bits() -> None:
    kl = torch.tensor([[0.0, 0.1, 2.0], [1.0, 0.0, 0.0]], requires_grad=True)
    assert free_bits(kl, 0.0).tolist() == pytest.approx([2.1, 1.0])
    value = free_bits(kl, 0.5)
    assert value.tolist() == pytest.approx([3.0, 2.0])
    (gradient,) = torch.autograd.grad(value.sum(), kl)
    assert gradient.tolist() == [[0, 0, 1], [1, 0, 0]], "dimensions below the minimum are left alone"


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: SquaredError(weight=-1), "weight of SquaredError"),
        (lambda: SquaredError("total"), "'total'"),  # type: ignore[arg-type]
        (lambda: StructuralDissimilarity(scales=6), "1 to 5"),
        (lambda: StructuralDissimilarity(window=4), "odd"),
        (lambda: ColourHistogram(bins=1), "at least 2"),
        (lambda: ColourHistogram(distance="chi"), "earth_mover"),  # type: ignore[arg-type]
        (lambda: GaussianLikelihood("fixed"), "optimal, learned"),  # type: ignore[arg-type]
        (lambda: GaussianLikelihood("learned", start=0.0), "above 1/255"),
    ],
)
def test_bad_options_are_told(build: Callable[[], ImageLoss], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        build()
