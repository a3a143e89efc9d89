"""Crops, flips and turns: everything of an image moves together, and no pixel changes its value."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from vedute.augment.base import Augmentation
from vedute.augment.crop import centre_crop, random_crop
from vedute.augment.geometry import HorizontalFlip
from vedute.augment.rotation import Rotate90, VerticalFlip
from vedute.batch import Batch, Condition
from vedute.errors import ConfigurationError


def numbered(count: int = 64, height: int = 12, width: int = 10, channels: int = 3) -> Batch:
    """Images whose pixels name their place; the condition is 1 where the first channel is above 0.5."""
    place = torch.arange(height * width, dtype=torch.float32).reshape(1, 1, height, width) / (height * width)
    image = place.repeat(count, channels, 1, 1)
    return Batch(image, Condition(image=(image[:, :1] > 0.5).float()), target=1 - image)


def assert_aligned(batch: Batch) -> None:
    assert batch.condition.image is not None and batch.target is not None
    assert torch.equal(batch.condition.image, (batch.image[:, :1] > 0.5).float())
    assert torch.equal(batch.target, 1 - batch.image)


def corners(image: Tensor, height: int = 12, width: int = 10) -> set[tuple[int, int]]:
    """The rows and columns that the upper left pixels come from."""
    place = (image[:, 0, 0, 0] * height * width).round().long()
    return {(int(value) // width, int(value) % width) for value in place}


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_random_crops_cut_image_target_and_condition_at_one_place(channels: int) -> None:
    batch = random_crop(numbered(channels=channels), (8, 9))
    assert batch.image.shape == (64, channels, 8, 9)
    assert_aligned(batch)
    # A piece of the image: neighbours are still neighbours.
    assert torch.allclose(batch.image[:, :, 1:] - batch.image[:, :, :-1], torch.tensor(10 / 120))
    assert torch.allclose(batch.image[..., 1:] - batch.image[..., :-1], torch.tensor(1 / 120))


def test_random_crops_of_each_image_reach_every_place() -> None:
    cut = random_crop(numbered(count=1000), (10, 9))
    assert corners(cut.image) == set(product(range(3), range(2)))


def test_random_crops_follow_the_seed() -> None:
    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return random_crop(numbered(), (8, 8)).image

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_centre_crops_take_the_middle() -> None:
    batch = centre_crop(numbered(), (8, 7))
    assert batch.image.shape == (64, 3, 8, 7)
    assert corners(batch.image) == {(2, 1)}
    assert_aligned(batch)


@pytest.mark.parametrize("crop", [random_crop, centre_crop])
def test_crops_of_the_whole_size_change_nothing(crop: Callable[[Batch, tuple[int, int]], Batch]) -> None:
    batch = numbered()
    assert torch.equal(crop(batch, (12, 10)).image, batch.image)


@pytest.mark.parametrize("crop", [random_crop, centre_crop])
def test_crops_keep_bytes_bytes(crop: Callable[[Batch, tuple[int, int]], Batch]) -> None:
    batch = Batch(torch.randint(256, (4, 3, 12, 10), dtype=torch.uint8))
    cut = crop(batch, (5, 5))
    assert cut.image.dtype == torch.uint8 and cut.condition.image is None and cut.target is None


@pytest.mark.parametrize("crop", [random_crop, centre_crop])
def test_crops_refuse_what_does_not_fit(crop: Callable[[Batch, tuple[int, int]], Batch]) -> None:
    with pytest.raises(ConfigurationError, match="13 x 10 pixels cannot be cut out of images of 12 x 10"):
        crop(numbered(), (13, 10))
    with pytest.raises(ValueError, match="condition image is 3 x 3"):
        crop(Batch(torch.zeros(1, 3, 12, 10), Condition(image=torch.zeros(1, 1, 3, 3))), (4, 4))


@pytest.mark.parametrize("augmentation", [VerticalFlip(), Rotate90(), HorizontalFlip()])
def test_flips_and_turns_keep_everything_aligned(augmentation: Augmentation) -> None:
    before = numbered(height=10)
    after = augmentation(before)
    assert_aligned(after)
    assert not torch.equal(after.image, before.image)
    # Pixels move, but none is made.
    assert torch.equal(after.image.flatten(1).sort().values, before.image.flatten(1).sort().values)


def test_turns_are_counter_clockwise_by_their_number() -> None:
    batch = numbered(count=4, height=10)
    turned = Rotate90().copy(batch, torch.tensor([-1, 0, 1, 2]))
    for quarters in range(4):
        assert torch.equal(turned.image[quarters], torch.rot90(batch.image[quarters], quarters, (-2, -1)))
    assert_aligned(turned)


def test_the_four_positions_are_equally_likely() -> None:
    torch.manual_seed(0)
    turned = Rotate90()(numbered(count=4000, height=10)).image
    positions = [
        torch.rot90(numbered(count=1, height=10).image[0], quarters, (-2, -1)) for quarters in range(4)
    ]
    shares = [(turned == position).flatten(1).all(1).float().mean() for position in positions]
    assert all(0.22 < share < 0.28 for share in shares)


def test_a_vertical_flip_mirrors_top_to_bottom() -> None:
    batch = numbered(count=2)
    flipped = VerticalFlip().copy(batch, torch.tensor([-1, 0]))
    assert torch.equal(flipped.image[0], batch.image[0])
    assert torch.equal(flipped.image[1], batch.image[1].flip(-2))


def test_turning_needs_square_images() -> None:
    with pytest.raises(ConfigurationError, match="square"):
        Rotate90()(numbered())
