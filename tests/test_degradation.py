"""Degradations: sizes and ranges, seeds, compression against a real codec, what each option does."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from vedute.augment.degradation import Bicubic, Degradation, Realistic
from vedute.augment.jpeg import jpeg_compressed
from vedute.errors import ConfigurationError


def pictures(count: int = 2, size: int = 64, channels: int = 3) -> torch.Tensor:
    """Return smooth pictures with edges, (count, channels, size, size) in [0, 1]."""
    torch.manual_seed(0)
    coarse = torch.rand(count, channels, 6, 6)
    image = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    image[:, :, size // 3 : size // 2, size // 4 :] *= 0.3
    return image


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(-10 * torch.log10((first - second).square().mean()))


ALL = [Bicubic, Realistic, lambda scale: Realistic(scale, second_order=True)]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sizes_ranges_and_eight_bits(kind: type[Degradation], scale: int, channels: int) -> None:
    image = torch.rand(3, channels, 16, 24, requires_grad=True)
    small = kind(scale)(image)
    assert small.shape == (3, channels, 16 // scale, 24 // scale)
    assert small.min() >= 0 and small.max() <= 1 and not small.requires_grad
    assert torch.allclose((small * 255).round() / 255, small)
    assert kind(scale)(image.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("kind", ALL)
def test_a_seed_gives_the_same_image_in_any_batch(kind: type[Degradation]) -> None:
    image, seeds = pictures(4), torch.tensor([3, 1, 4, 1])
    degradation = kind(4)
    before = torch.get_rng_state()
    whole = degradation.seeded(image, seeds)
    assert torch.equal(torch.get_rng_state(), before), "the training's own random numbers stay"
    assert torch.equal(whole[2:], degradation.seeded(image[2:], seeds[2:]))
    assert degradation.seeded(image[:0], seeds[:0]).shape == (0, 3, 16, 16)


def test_realistic_images_are_random_and_each_by_itself() -> None:
    image = pictures(1).repeat(3, 1, 1, 1)
    small = Realistic(4)(image)
    assert not torch.equal(small[0], small[1]) and not torch.equal(small[1], small[2])
    generators = [torch.Generator().manual_seed(5) for _ in range(2)]
    first, second = (Realistic(4)(image, generator) for generator in generators)
    assert torch.equal(first, second)


def test_they_look_like_the_image_and_twice_degraded_less() -> None:
    image = pictures(16)
    truth = Bicubic(4)(image)
    once, twice = (
        psnr(Realistic(4, second_order=second).seeded(image, torch.arange(16)), truth)
        for second in (False, True)
    )
    assert 15 < twice < once < 35


def test_with_nothing_to_do_nothing_is_done() -> None:
    image = pictures(8, channels=1)  # of colours JPEG keeps half the resolution
    mild = Realistic(
        1, blur=(0.0, 0.0), resize=(1.0, 1.0), noise=(0.0, 0.0), shot_noise=(0.0, 0.0), jpeg=(100, 100)
    )
    assert psnr(mild(image), image) > 45


def test_each_option_has_its_effect() -> None:
    def rough(image: torch.Tensor) -> float:
        return float((image[..., 1:] - image[..., :-1]).abs().mean())

    image = pictures(8)
    still: dict[str, object] = {
        "blur": (0.0, 0.0),
        "resize": (1.0, 1.0),
        "noise": (0.0, 0.0),
        "shot_noise": (0.0, 0.0),
        "jpeg": (100, 100),
    }
    seeds = torch.arange(8)

    def roughness(**options: object) -> float:
        return rough(Realistic(1, **{**still, **options}).seeded(image, seeds))  # type: ignore[arg-type]

    base = roughness()
    assert roughness(blur=(3.0, 3.0)) < 0.9 * base
    assert roughness(noise=(0.1, 0.1), shot_noise=(2.0, 2.0)) > 2 * base
    grey = torch.full((8, 3, 32, 32), 0.5)
    for share, equal in ((1.0, True), (0.0, False)):
        noisy = Realistic(1, **{**still, "noise": (0.1, 0.1), "grey_noise": share})  # type: ignore[arg-type]
        spread = noisy.seeded(grey, seeds).std(dim=1).max()
        # JPEG turns colours and back, to whole numbers.
        assert bool(spread < 0.01) == equal


def test_blur_kernels_keep_brightness_and_reach_over_small_images() -> None:
    flat = torch.full((4, 1, 4, 4), 0.6)
    strong = Realistic(1, blur=(3.0, 3.0), anisotropic=1.0, noise=(0.0, 0.0), shot_noise=(0.0, 0.0))
    assert (strong(flat) - 0.6).abs().max() < 0.01


@pytest.mark.parametrize("quality", [10, 50, 75, 95])
@pytest.mark.parametrize("size", [64, 45])
def test_compression_is_that_of_a_real_codec(quality: int, size: int) -> None:
    image = (pictures(1, size) * 255).round() / 255
    for given in (image, image[:, :1]):
        array = (given[0] * 255).byte().permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(array if given.shape[1] == 3 else array[:, :, 0]).save(file, "JPEG", quality=quality)
        pixels = torch.from_numpy(np.array(Image.open(file))).reshape(size, size, -1)
        read = pixels.permute(2, 0, 1)[None] / 255
        ours = jpeg_compressed(given, quality)
        assert psnr(ours, read) > 38, "as the codec"
        assert psnr(ours, read) > psnr(given, read) + 2, "and not just like the image"


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": 0},
        {"blur": (3.0, 1.0)},
        {"noise": (-0.1, 0.1)},
        {"resize": (2.0, 3.0)},
        {"jpeg": (0, 50)},
        {"jpeg": (80, 50)},
        {"grey_noise": 1.5},
        {"anisotropic": -1.0},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Realistic(**wrong)  # type: ignore[arg-type]


def test_sides_that_do_not_fit_are_refused() -> None:
    assert Bicubic(4).output_size((64, 32)) == (16, 8)
    with pytest.raises(ConfigurationError, match="multiples of 4"):
        Bicubic(4)(torch.rand(1, 3, 64, 30))
