"""Augmentations: what they change, what they leave, and that copies and draws agree."""

import pytest
import torch
from torch import nn

from vedute.augment import CutOut, Grayscale, HorizontalFlip, Kornia, NumberedAugmentation, Shift, extend
from vedute.batch import Batch, Condition
from vedute.errors import ConfigurationError


def make_batch(count: int = 6, height: int = 12, width: int = 18, target: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(0)
    image = 0.1 + 0.9 * torch.rand(count, 3, height, width, generator=generator)
    vector = nn.functional.one_hot(torch.arange(count) % 4, 4).float()
    return Batch(image, Condition(vector), torch.arange(count), image if target else None)


@pytest.mark.parametrize("augmentation", [HorizontalFlip(1.0), Grayscale(1.0), CutOut(1.0), Shift(1.0, 2)])
def test_every_image_changes_at_probability_one_and_the_given_batch_does_not(
    augmentation: NumberedAugmentation,
) -> None:
    batch = make_batch()
    before = batch.image.clone()
    changed = augmentation(batch)
    assert (changed.image != before).flatten(1).any(dim=1).all()
    assert changed.image.shape == before.shape
    assert changed.image.min() >= 0 and changed.image.max() <= 1
    assert torch.equal(batch.image, before)
    assert torch.equal(batch.condition.vector.sum(1), torch.ones(6))


@pytest.mark.parametrize("augmentation", [HorizontalFlip(0), Grayscale(0), CutOut(0), Shift(0)])
def test_nothing_changes_at_probability_zero(augmentation: NumberedAugmentation) -> None:
    batch = make_batch()
    changed = augmentation(batch)
    assert torch.equal(changed.image, batch.image)
    assert torch.equal(changed.condition.vector, batch.condition.vector)


@pytest.mark.parametrize("augmentation", [HorizontalFlip(0.5), CutOut(0.5), Shift(0.5), Grayscale(0.5)])
def test_draws_are_per_image_and_follow_the_global_generator(augmentation: NumberedAugmentation) -> None:
    batch = make_batch(200)
    torch.manual_seed(7)
    first = augmentation(batch).image
    torch.manual_seed(7)
    again = augmentation(batch).image
    later = augmentation(batch).image
    share = (first != batch.image).flatten(1).any(dim=1).float().mean()
    assert 0.3 < share < 0.7
    assert torch.equal(first, again)
    assert not torch.equal(first, later)


def test_grey_images_hold_the_mean_of_the_channels_in_all_channels() -> None:
    batch = make_batch()
    grey = Grayscale(1.0)(batch).image
    for channel in range(3):
        torch.testing.assert_close(grey[:, channel], batch.image.mean(dim=1))


@pytest.mark.parametrize("size", [(12, 18), (64, 64), (13, 17)])
def test_cut_out_masks_one_cell_and_fades_the_label_by_its_share(size: tuple[int, int]) -> None:
    batch = make_batch(9, *size)
    cut = CutOut()
    changed = cut.copy(batch, torch.arange(9))
    masked = (changed.image == 0).all(dim=1)
    assert torch.equal(
        masked.sum(dim=0), torch.ones(size, dtype=torch.int64)
    )  # the nine cells tile the image
    share = masked.float().mean(dim=(1, 2))
    torch.testing.assert_close(changed.condition.vector.sum(1), 1 - share)
    assert torch.equal(changed.condition.vector.argmax(1), batch.condition.vector.argmax(1))
    if size[0] % 3 == size[1] % 3 == 0:
        torch.testing.assert_close(share, torch.full((9,), 1 / 9))
    assert torch.equal(changed.image[~masked[:, None].expand(-1, 3, -1, -1)],
                       batch.image[~masked[:, None].expand(-1, 3, -1, -1)])  # fmt: skip


def test_cut_out_leaves_scores_and_absent_conditions_alone() -> None:
    batch = make_batch()
    assert torch.equal(CutOut(1.0, fuzzy_label=False)(batch).condition.vector, batch.condition.vector)
    assert CutOut(1.0)(Batch(batch.image)).condition.vector is None


def test_shift_moves_by_every_vector_but_none_once() -> None:
    shift = Shift(pixels=1)
    assert shift.copies == 8
    image = torch.zeros(8, 1, 5, 5)
    image[:, :, 2, 2] = 1
    moved = shift.copy(Batch(image), torch.arange(8)).image
    places = {tuple(place[2:].tolist()) for place in moved.nonzero()}
    assert places == {(y, x) for y in (1, 2, 3) for x in (1, 2, 3)} - {(2, 2)}


def test_geometry_moves_target_and_condition_image_too_and_colour_does_not() -> None:
    batch = make_batch(target=True)
    batch = Batch(batch.image, Condition(image=batch.image), target=batch.image)
    for augmentation in (HorizontalFlip(1.0), Shift(1.0)):
        changed = augmentation(batch)
        assert torch.equal(changed.target, changed.image)
        assert torch.equal(changed.condition.image, changed.image)
    for augmentation in (Grayscale(1.0), CutOut(1.0)):
        changed = augmentation(batch)
        assert torch.equal(changed.target, batch.image)
        assert not torch.equal(changed.image, batch.image)


def test_extended_set_holds_each_image_and_each_copy_once() -> None:
    batch = make_batch(2)
    extensions = [Grayscale(), CutOut()]
    index = torch.arange(22)
    whole = Batch(batch.image[index % 2], batch.condition[index % 2], index, batch.image[index % 2])
    extended = extend(whole, extensions, size=2)
    assert torch.equal(extended.index, index % 2)
    assert torch.equal(extended.image[:2], batch.image)
    torch.testing.assert_close(extended.image[2:4], batch.image.mean(1, keepdim=True).expand(-1, 3, -1, -1))
    cells = (extended.image[4:] == 0).all(dim=1).reshape(9, 2, 12, 18)
    assert torch.equal(cells.sum(dim=0), torch.ones(2, 12, 18, dtype=torch.int64))
    torch.testing.assert_close(extended.condition.vector.sum(1), torch.tensor([1.0] * 4 + [8 / 9] * 18))
    assert torch.equal(extended.target, whole.image)


def test_wrong_options_say_what_is_allowed() -> None:
    with pytest.raises(ConfigurationError, match=r"\[0, 1\], got 1.5"):
        HorizontalFlip(1.5)
    with pytest.raises(ConfigurationError, match="at least 2, got 1"):
        CutOut(grid=1)
    with pytest.raises(ConfigurationError, match="smaller than the image"):
        Shift(1.0, pixels=12)(make_batch())


def test_kornia_transforms_are_drawn_per_image_and_keep_targets_aligned() -> None:
    from kornia.augmentation import ColorJiggle, RandomCrop, RandomRotation

    batch = make_batch(target=True)
    turned = Kornia(RandomRotation(90.0, p=1.0))(batch)
    assert torch.equal(turned.image, turned.target)
    assert not torch.equal(turned.image, batch.image)
    coloured = Kornia(ColorJiggle(0.5, 0.5, p=1.0))(batch)
    assert torch.equal(coloured.target, batch.image)
    assert not torch.equal(coloured.image, batch.image)
    with pytest.raises(ConfigurationError, match="Identity"):
        Kornia(nn.Identity())
    with pytest.raises(ConfigurationError, match=r"\(12, 18\) to \(8, 8\)"):
        Kornia(RandomCrop((8, 8)))(batch)
