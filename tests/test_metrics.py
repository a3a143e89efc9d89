"""Metrics of generated images: closed forms, bounds, and reductions over several processes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.image.kid import KernelInceptionDistance

from tests.data.stubs import StubJudge, colour_judge, colours
from vedute.errors import CheckpointError, DataError
from vedute.metrics.details import detail_features, plain_features
from vedute.metrics.distances import FrechetDistance, KernelDistance
from vedute.metrics.features import (
    INCEPTION_FILE,
    FeatureExtractor,
    MissingWeightsError,
    eight_bit,
    find_inception,
    inception_features,
    pixel_features,
    resize,
)
from vedute.metrics.frechet import frechet_distance
from vedute.metrics.judge import judge_columns
from vedute.metrics.quality import ClassifierQuality
from vedute.metrics.reconstruction import image_scores, similarity_scales
from vedute.metrics.sets import Instruments, matched_rows
from vedute.report.confusion import confusion_picture

# Quality


def test_a_perfect_generator_has_quality_one_and_a_blind_one_chance() -> None:
    labels = torch.arange(3).repeat_interleave(40)
    perfect, blind = ClassifierQuality(3, colour_judge), ClassifierQuality(3, colour_judge)
    for part in torch.split(labels, 32):
        perfect.update(colours(part), part)
        blind.update(colours(torch.zeros_like(part)), part)
    assert perfect.compute().mean == 1 and perfect.compute().per_class.tolist() == [1, 1, 1]
    quality = blind.compute()
    assert quality.mean == pytest.approx(1 / 3) and quality.per_class.tolist() == [1, 0, 0]
    assert quality.confusion.tolist() == [[40, 0, 0], [40, 0, 0], [40, 0, 0]]


def test_the_second_most_probable_class_counts_for_top_two() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
    quality = ClassifierQuality(3)
    quality.update(logits, torch.tensor([1, 1, 2, 2]))
    found = quality.compute()
    assert found.per_class[1:].tolist() == [0, 0.5] and found.top2[1:].tolist() == [0.5, 1]
    two = ClassifierQuality(2)
    two.update(torch.rand(6, 2), torch.tensor([0, 1, 0, 1, 0, 1]))
    assert two.compute().top2.tolist() == [1, 1]


def test_quality_of_a_class_never_asked_for_is_left_out_of_the_mean() -> None:
    quality = ClassifierQuality(3, colour_judge)
    labels = torch.tensor([0, 0, 2, 2])
    quality.update(colours(torch.tensor([0, 1, 2, 2])), labels)
    mean, per_class, _, _ = quality.compute()
    assert mean == pytest.approx(0.75) and math.isnan(per_class[1])


def test_a_judge_with_more_classes_in_another_order_judges_by_name() -> None:
    judge = StubJudge(["coast", "forest", "glacier", "lake"])
    names = ["glacier", "coast"]
    instruments = Instruments(names, 3, judge)
    assert instruments.column_names == ["glacier", "coast", "forest", "lake"]
    labels = torch.tensor([0, 0, 1, 1])
    shown = torch.tensor([2, 1, 0, 0])  # positions in the judge's names: the second image is wrong
    quality = instruments.quality(instruments.measure([(colours(shown), labels)]))
    assert quality is not None
    assert quality.per_class.tolist() == [0.5, 1] and quality.confusion.tolist() == [
        [1, 0, 1, 0],
        [0, 2, 0, 0],
    ]


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        (StubJudge(["coast", "forest", "lake"]), "glacier"),
        (StubJudge(["coast", "glacier", "lake"], 1), "channels"),
    ],
)
def test_a_judge_that_does_not_fit_is_refused(judge: StubJudge, told: str) -> None:
    with pytest.raises(CheckpointError, match=told):
        judge_columns(judge, ["coast", "glacier"], 3)


# Distances


def test_the_frechet_distance_of_two_gaussians_is_the_closed_form() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(20_000, 4, dtype=torch.float64, generator=generator)
    noise = (noise - noise.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(noise.T.cov())).T  # covariance 1
    scale, shift = torch.tensor([1.0, 2.0, 0.5, 3.0]), torch.tensor([1.0, 0.0, -2.0, 0.5])
    distance = FrechetDistance(4)
    for part in torch.split(noise, 3000):
        distance.update(part, real=True)
        distance.update(part * scale + shift, real=False)
    # |mean difference|^2 + sum (sigma_1 - sigma_2)^2 of diagonal covariances
    assert float(distance.compute()) == pytest.approx(float((shift**2 + (scale - 1) ** 2).sum()), rel=1e-6)


@pytest.mark.parametrize("count", [300, 20])  # more and fewer images than the 48 features
def test_a_set_has_no_distance_to_itself(count: int) -> None:
    image = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    size = (4, 4)
    distance = FrechetDistance(48, lambda image: resize(image, size).flatten(1))
    for part in torch.split(image, 64):
        distance.update(part, real=True)
        distance.update(part, real=False)
    # Between equal sets sqrt is taken of what rounding left of zero: 1e-8 of the scale.
    assert abs(float(distance.compute())) < 1e-5


@pytest.mark.parametrize("subset_size", [1000, 50])
def test_the_kernel_distance_is_unbiased(subset_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values = []
    for _ in range(40):
        distance = KernelDistance(subset_size=subset_size, subsets=10)
        distance.update(torch.randn(100, 8, generator=generator), real=True)
        distance.update(torch.randn(100, 8, generator=generator), real=False)
        values.append(distance.compute())
    mean, spread = torch.stack(values).mean(), torch.stack(values).std() / math.sqrt(len(values))
    assert abs(mean) < 3 * spread, "zero for one distribution, although the sets are small"
    assert min(values) < 0 < max(values)
    distance.update(torch.randn(100, 8, generator=generator) + 1, real=False)
    assert float(distance.compute()) > 10 * spread


def test_the_kernel_distance_equals_that_of_torchmetrics_on_whole_sets() -> None:
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(60, 8, dtype=torch.float64, generator=generator) + shift for shift in (0, 0.3))
    ours, theirs = KernelDistance(), KernelInceptionDistance(nn.Identity(), subsets=1, subset_size=60)
    for metric in (ours, theirs):
        metric.update(real, real=True)
        metric.update(fake, real=False)
    assert float(ours.compute()) == pytest.approx(float(theirs.compute()[0]), rel=1e-6)
    repeated = [KernelDistance(subset_size=20, seed=3) for _ in range(2)]
    for metric in repeated:
        metric.update(real, real=True)
        metric.update(fake, real=False)
    assert repeated[0].compute() == repeated[1].compute()


def test_a_kernel_distance_needs_two_images() -> None:
    distance = KernelDistance()
    distance.update(torch.randn(5, 3), real=True)
    distance.update(torch.randn(1, 3), real=False)
    with pytest.raises(ValueError, match="two images"):
        distance.compute()


def test_networks_in_metrics_are_in_nobodys_state() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    owner = nn.ModuleDict(
        {"q": ClassifierQuality(3, network), "fd": FrechetDistance(3, network), "kd": KernelDistance(network)}
    )
    image = torch.rand(6, 3, 2, 2)
    for metric in (owner["fd"], owner["kd"]):
        metric.update(image, real=True)
    owner["q"].update(image, torch.tensor([0, 1, 2, 0, 1, 2]))
    assert not owner.state_dict() and not list(owner.parameters())


def _merged(ranks: list[Metric], into: Metric) -> Metric:
    """Return ``into`` with the states of several ranks, reduced as torchmetrics reduces them."""
    for name, reduction in into._reductions.items():
        states = [getattr(rank, name) for rank in ranks]
        assert callable(reduction)
        if isinstance(states[0], list):
            setattr(into, name, reduction([torch.cat(state) for state in states]))
        else:
            setattr(into, name, reduction(torch.stack(states)))
    into._update_count = 1
    return into


@pytest.mark.parametrize("make", [lambda: FrechetDistance(6), KernelDistance])
def test_two_processes_find_the_distance_that_one_finds(make: Callable[[], Metric]) -> None:
    generator = torch.Generator().manual_seed(0)
    single, ranks = make(), [make(), make()]
    for number in range(8):
        part, real = torch.randn(20, 6, generator=generator) + 0.2 * (number % 4), number >= 4
        single.update(part, real)
        ranks[number % 2].update(part, real)
    assert float(_merged(ranks, make()).compute()) == pytest.approx(float(single.compute()), rel=1e-9)


def test_two_processes_find_the_quality_that_one_finds() -> None:
    single, *ranks = (ClassifierQuality(3, colour_judge) for _ in range(3))
    for number in range(4):
        image, wanted = colours(torch.arange(3)), torch.arange(3) * number % 3
        single.update(image, wanted)
        ranks[number % 2].update(image, wanted)
    merged = _merged(list(ranks), ClassifierQuality(3)).compute()
    assert torch.equal(merged.confusion, single.compute().confusion) and merged.confusion.sum() == 12


# Which images are compared


def test_compared_sets_have_as_many_images_of_each_class() -> None:
    labels = [
        torch.tensor([0] * 9 + [1] * 9),
        torch.tensor([1, 0, 1, 1, 0, 1]),
        torch.tensor([0] * 7 + [1] * 3),
    ]
    rows = matched_rows(labels, [len(label) for label in labels], seed=0)
    for label, chosen in zip(labels, rows, strict=True):
        assert len(set(chosen.tolist())) == len(chosen)
        assert torch.bincount(label[chosen]).tolist() == [2, 3]
    again = matched_rows(labels, [len(label) for label in labels], seed=0)
    assert all(torch.equal(first, second) for first, second in zip(rows, again, strict=True))
    assert [len(chosen) for chosen in matched_rows([None, None], [5, 9], seed=0)] == [5, 5]
    with pytest.raises(DataError, match="two images"):
        matched_rows([torch.tensor([0, 1]), torch.tensor([1, 1])], [2, 2], seed=0)


def test_names_of_distances_say_their_features() -> None:
    inception = FeatureExtractor("inception", 2048, "", lambda image: image)
    pixels = pixel_features(3, (32, 48))
    assert (inception.frechet_name, inception.kernel_name) == ("fid", "kid")
    assert (pixels.frechet_name, pixels.kernel_name) == ("fd_pixels", "kd_pixels")
    assert pixels.extract(torch.rand(2, 3, 32, 48)).shape == (2, pixels.size)


def test_resizing_is_antialiased_and_keeps_what_has_the_size() -> None:
    stripes = torch.tensor([0.0, 1.0]).repeat(32).expand(1, 1, 64, 64)
    assert resize(stripes, (64, 64)) is stripes
    small = resize(stripes, (16, 16))
    assert (small - 0.5).abs().max() < 0.1, "without antialiasing the stripes would come back as 0 or 1"
    assert eight_bit(torch.tensor([0.5001, 1.2, -0.1])).tolist() == pytest.approx([128 / 255, 1, 0])


# Reconstruction


@pytest.mark.parametrize(
    ("side", "scales"), [(8, 0), (16, 1), (32, 2), (64, 3), (128, 4), (175, 4), (176, 5)]
)
def test_ms_ssim_takes_the_scales_that_fit(side: int, scales: int) -> None:
    assert similarity_scales((side, 200)) == similarity_scales((200, side)) == scales
    image = torch.rand(2, 3, side, side)
    scores = image_scores(image, image)
    assert ("ssim" in scores, "ms_ssim" in scores) == (scales >= 1, scales >= 2)
    for name in scores.keys() - {"psnr"}:
        assert scores[name].tolist() == pytest.approx([1, 1], abs=1e-4)


def test_each_image_has_its_own_scores_whatever_it_is_scored_with() -> None:
    image, original = torch.rand(2, 5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    together = image_scores(image, original)
    for name, values in together.items():
        alone = [float(image_scores(image[[row]], original[[row]])[name]) for row in range(5)]
        assert values.tolist() == pytest.approx(alone, abs=1e-5), name
    grey = torch.zeros(2, 3, 32, 32)
    off = torch.tensor([0.1, 0.01])[:, None, None, None]
    assert image_scores(grey + off, grey)["psnr"].tolist() == pytest.approx([20, 40], abs=1e-3)


def test_ssim_is_that_of_scikit_image() -> None:
    skimage = pytest.importorskip("skimage.metrics")
    drawn = torch.rand(2, 1, 3, 40, 48, generator=torch.Generator().manual_seed(1)).double()
    # A black frame: beyond the border the two implementations mirror the image in different ways.
    image, original = torch.nn.functional.pad(drawn, (12, 12, 12, 12))
    found = image_scores(image, original)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    _, each_pixel = skimage.structural_similarity(
        image[0].numpy(), original[0].numpy(), channel_axis=0, full=True, **options
    )
    assert float(found["ssim"]) == pytest.approx(each_pixel.mean(), abs=1e-6)
    expected = skimage.peak_signal_noise_ratio(original[0].numpy(), image[0].numpy(), data_range=1.0)
    assert float(found["psnr"]) == pytest.approx(expected, abs=1e-4)


# Inception


def test_missing_inception_weights_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("VEDUTE_WEIGHTS", str(tmp_path / "environment"))
    with pytest.raises(MissingWeightsError) as error:
        find_inception()
    message = str(error.value)
    assert INCEPTION_FILE in message and str(tmp_path / "environment") in message and "\n" not in message
    (tmp_path / "given").mkdir()
    for folder in (tmp_path / "hub" / "hub" / "checkpoints", tmp_path / "environment", tmp_path / "given"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / INCEPTION_FILE).touch()
        option = folder if folder.name == "given" else None
        assert find_inception(option) == folder / INCEPTION_FILE


def test_inception_weights_that_would_execute_code_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / INCEPTION_FILE
    trace = tmp_path / "executed"

    class Attack:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return Path.touch, (trace,)

    torch.save({"weight": Attack()}, file)
    with pytest.raises(CheckpointError, match="does not hold the Inception weights"):
        inception_features(file)
    assert not trace.exists()


@pytest.mark.slow
def test_inception_features_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torchmetrics.image.fid import NoTrainInceptionV3

    empty = tmp_path / "empty.pth"
    torch.save({}, empty)
    with monkeypatch.context() as patch:  # random weights: only their way through the file is tested
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        random = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(empty))
    torch.save(random.state_dict(), tmp_path / INCEPTION_FILE)
    features = inception_features(find_inception(tmp_path))
    image = torch.rand(2, 3, 32, 32)
    found = features.extract(image)
    assert found.shape == (2, features.size)
    assert torch.allclose(found, random((image * 255).round().byte()))
    assert features.extract(image[:, :1]).shape == (2, features.size), "grey images become three channels"


def test_a_confusion_picture_is_darkest_where_the_counts_are() -> None:
    picture = confusion_picture(torch.tensor([[9, 1], [0, 10]]), ["a", "b"], ["a", "b"], "90%")
    red = [picture.getpixel((x, y))[0] for y in (92, 144) for x in range(picture.width)]
    assert min(red) == 31 and picture.width > 144


# Features that need no network


def _distance(extractor: FeatureExtractor, first: Tensor, second: Tensor) -> float:
    metric = FrechetDistance(extractor.size)
    metric.update(extractor.extract(first), False)
    metric.update(extractor.extract(second), True)
    return float(metric.compute())


@pytest.mark.parametrize("change", ["blur", "noise"])
def test_details_see_blur_and_noise_where_shrunken_pixels_do_not(change: str) -> None:
    random = torch.Generator().manual_seed(0)
    coarse = torch.nn.functional.interpolate(
        torch.rand(400, 3, 8, 8, generator=random), size=(32, 32), mode="bilinear"
    )
    images = 0.9 * coarse + 0.1 * torch.rand(400, 3, 32, 32, generator=random)
    first, second = images.chunk(2)
    if change == "blur":
        small = torch.nn.functional.avg_pool2d(first, 2)
        changed = torch.nn.functional.interpolate(small, size=(32, 32), mode="bilinear")
    else:
        changed = (first + 0.1 * torch.randn(first.shape, generator=random)).clamp(0, 1)
    pixels, details = plain_features(3, (32, 32))
    assert _distance(details, changed, second) > 1.5 * _distance(details, first, second)
    assert _distance(pixels, changed, second) < 1.2 * _distance(pixels, first, second)


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (9, 7), (1, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_details_of_images_of_any_size(size: tuple[int, int], channels: int) -> None:
    extractor = detail_features(channels, size)
    image = torch.rand(5, channels, *size)
    found = extractor.extract(image)
    assert found.shape == (5, extractor.size) and found.isfinite().all()
    assert torch.allclose(found[2:3], extractor.extract(image[2:3]), atol=1e-6), "whatever the batch"


def test_features_that_hardly_vary_have_a_distance() -> None:
    random = torch.Generator().manual_seed(0)
    flat = torch.ones(64, 84) * torch.rand(84, generator=random)
    nearly = flat + 1e-7 * torch.randn(64, 84, generator=random)
    varied = torch.randn(200, 84, generator=random) @ torch.randn(84, 84, generator=random)
    for first, second in ((flat, flat), (nearly, flat), (nearly, varied), (varied[:20], varied[:20])):
        metric = FrechetDistance(84)
        metric.update(first, False)
        metric.update(second, True)
        expected = frechet_distance(first, second)
        assert torch.isclose(metric.compute().double(), expected, rtol=1e-3, atol=1e-4)
    metric.update(torch.full((2, 84), torch.nan), True)
    metric._computed = None
    assert metric.compute().isnan(), "no error: a training goes on to say what is wrong"
