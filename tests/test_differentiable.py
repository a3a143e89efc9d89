"""Augmentations before a discriminator: their ranges, their chances, and the gradients through them."""

from __future__ import annotations

import pytest
import torch

from vedute.augment.differentiable import (
    SMALL_DATA,
    Colour,
    Cutout,
    DiffAugment,
    Policy,
    Translation,
    small_data_policies,
)
from vedute.errors import ConfigurationError

POLICIES = [Colour(), Translation(), Cutout()]


@pytest.mark.parametrize("policy", POLICIES)
def test_gradients_flow_and_shapes_stay(policy: Policy) -> None:
    image = torch.rand(4, 3, 16, 24, requires_grad=True)
    changed = DiffAugment([policy])(image)
    assert changed.shape == image.shape
    (gradient,) = torch.autograd.grad(changed.square().sum(), image)
    assert gradient.isfinite().all() and gradient.abs().flatten(1).sum(dim=1).min() > 0


@pytest.mark.parametrize("kind", [Colour, Translation, Cutout])
def test_probability_and_strength(kind: type[Policy]) -> None:
    image = torch.rand(400, 1, 8, 8)
    changed = DiffAugment([kind(probability=0.3)])(image)
    share = (changed != image).flatten(1).any(dim=1).float().mean().item()
    assert 0.15 < share < 0.4
    for still in (kind(probability=0), kind(strength=0)):
        assert torch.allclose(DiffAugment([still])(image), image, atol=1e-6)
    with pytest.raises(ConfigurationError, match=kind.__name__):
        kind(probability=1.5)
    with pytest.raises(ConfigurationError, match="strength"):
        kind(strength=-1)


def test_the_same_draw_changes_two_images_alike() -> None:
    augment = DiffAugment(POLICIES)
    image = torch.rand(5, 3, 16, 16)
    drawn = augment.draw(5)
    assert torch.equal(augment(image, drawn), augment(image, drawn))
    assert not torch.equal(augment(image), augment(image))
    assert torch.equal(augment(image, drawn)[2:3], augment(image[2:3], drawn[2:3])), "each by itself"


def test_colours_stay_within_the_ranges_of_the_source() -> None:
    grey = torch.full((500, 3, 2, 2), 0.5)
    bright = Colour().change(grey, torch.rand(500, 3))
    assert bright.min() >= 0.25 and bright.max() <= 0.75 and bright.max() - bright.min() > 0.4
    image = torch.rand(1, 3, 4, 4)
    middle = torch.tensor([[0.5, 0.5, 0.5]])
    assert torch.allclose(Colour().change(image, middle), image, atol=1e-6), "the middle of all ranges"
    pale = Colour().change(image, torch.tensor([[0.5, 0.0, 0.5]]))
    assert torch.allclose(pale, image.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1), atol=1e-6)
    flat = Colour().change(image, torch.tensor([[0.5, 0.5, 0.0]]))
    assert flat.std() == pytest.approx(0.5 * image.std().item(), rel=1e-4)


def test_a_translation_moves_by_whole_pixels_and_fills_with_mid_grey() -> None:
    image = torch.rand(1, 1, 16, 8)
    down = Translation().change(image, torch.tensor([[0.999, 0.5]]))
    assert torch.equal(down[:, :, 2:], image[:, :, :-2]) and (down[:, :, :2] == 0.5).all()
    left = Translation().change(image, torch.tensor([[0.5, 0.0]]))
    assert torch.equal(left[:, :, :, :-1], image[:, :, :, 1:]) and (left[:, :, :, -1] == 0.5).all()
    assert torch.equal(Translation().change(image, torch.tensor([[0.5, 0.5]])), image)


def test_a_cutout_covers_a_quarter_at_most() -> None:
    image = torch.zeros(300, 1, 16, 16)
    covered = (Cutout().change(image, torch.rand(300, 2)) == 0.5).float().mean(dim=(1, 2, 3))
    assert covered.max() == 0.25 and 0 < covered.min() < 0.1


def test_a_mask_follows_its_image_and_keeps_its_values() -> None:
    augment = DiffAugment(POLICIES)
    mask = (torch.rand(20, 1, 16, 16) > 0.5).float()
    image = mask.expand(-1, 3, -1, -1) * 0.2 + 0.3
    drawn = augment.draw(20)
    moved, changed = augment(mask, drawn, moves_only=True), augment(image, drawn)
    assert not torch.equal(moved, mask) and set(moved.unique().tolist()) == {0.0, 0.5, 1.0}
    outside = moved == 0.5
    assert ((changed == 0.5).all(dim=1, keepdim=True) == outside).float().mean() > 0.999
    for row, where, kept in zip(changed.mean(dim=1, keepdim=True), moved, ~outside, strict=True):
        # What is one value in the mask is one value in the image, whatever its colours became.
        values = [row[kept & (where == value)] for value in (0.0, 1.0)]
        assert all(len(value) == 0 or value.max() - value.min() < 1e-5 for value in values)


def test_small_training_sets_are_augmented() -> None:
    assert [type(policy) for policy in small_data_policies(5000)] == [Colour, Translation, Cutout]
    assert small_data_policies(SMALL_DATA) == []
