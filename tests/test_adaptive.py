"""The adaptive probability: where it goes and how fast, exactness, processes, and its use."""

from __future__ import annotations

import io

import pytest
import torch

from vedute.augment.adaptive import AdaptiveProbability
from vedute.augment.differentiable import Colour, Cutout, DiffAugment, Translation
from vedute.errors import ConfigurationError

SURE, UNSURE = torch.ones(10, 1), torch.tensor([[1.0], [-1.0]] * 5)


def test_it_rises_by_the_images_seen_and_falls_back() -> None:
    adaptive = AdaptiveProbability(images=1000, every=4)
    for _ in range(3):
        adaptive.update(SURE)
    assert adaptive.probability == 0, "not yet"
    adaptive.update(SURE)
    assert adaptive.probability.item() == pytest.approx(0.04)
    larger = AdaptiveProbability(images=1000, every=1)
    larger.update(SURE.repeat(4, 1))
    assert larger.probability == adaptive.probability, "batches of any size come equally far"
    for _ in range(4):
        adaptive.update(UNSURE)
    assert adaptive.probability == 0


def test_it_stays_within_its_limits_and_at_its_target() -> None:
    adaptive = AdaptiveProbability(images=100, every=1, start=0.3, limit=0.5)
    for _ in range(10):
        adaptive.update(SURE)
    assert adaptive.probability == 0.5
    for _ in range(10):
        adaptive.update(-SURE)
    assert adaptive.probability == 0
    still = AdaptiveProbability(target=0.0, images=100, every=1, start=0.3)
    still.update(UNSURE)
    assert still.probability.item() == pytest.approx(0.3)
    still.update(torch.full((10, 3), torch.nan))
    assert still.probability.item() == pytest.approx(0.3), "NaN says nothing"


def test_it_finds_the_probability_at_which_the_discriminator_is_as_sure_as_wanted() -> None:
    torch.manual_seed(0)
    adaptive = AdaptiveProbability(target=0.6, images=4000, every=2)
    levels = []
    for _ in range(1500):
        # A discriminator that is sure of everything at 0 and of nothing at 1.
        right = torch.rand(16, 4) < 1 - adaptive.probability / 2
        adaptive.update(torch.where(right, 2.0, -2.0))
        levels.append(float(adaptive.probability))
    assert sum(levels[-500:]) / 500 == pytest.approx(0.4, abs=0.05)


def test_a_resumed_one_goes_on_exactly_also_in_low_precision() -> None:
    torch.manual_seed(0)
    whole = DiffAugment([], AdaptiveProbability(images=777, every=3))
    resumed = DiffAugment([], AdaptiveProbability(images=777, every=3)).bfloat16()
    assert whole.adaptive is not None and resumed.adaptive is not None
    logits = torch.randn(40, 6, 5) + 1
    for row in logits[:20]:
        whole.adaptive.update(row)
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for row in logits[20:]:
        whole.adaptive.update(row)
        resumed.adaptive.update(row.bfloat16())
        assert torch.equal(whole.adaptive.probability, resumed.adaptive.probability)
    assert whole.adaptive.probability > 0


def test_two_processes_equal_one_with_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    logits = torch.randn(12, 2, 8, 3) + 0.7  # of two processes
    single = AdaptiveProbability(images=500, every=2)
    for row in logits:
        single.update(row.flatten(0, 1))
    counted = AdaptiveProbability(images=500, every=2)
    for row in logits:
        other = torch.tensor([int((row[1] > 0).sum() - (row[1] < 0).sum()), row[1].numel(), len(row[1])])
        monkeypatch.setattr("vedute.augment.adaptive.summed", lambda value, other=other: value + other)
        counted.update(row[0])
    assert torch.equal(single.level, counted.level) and torch.equal(single.pending, counted.pending)


def test_it_multiplies_the_probability_of_each_policy() -> None:
    torch.manual_seed(0)
    image = torch.rand(2000, 1, 4, 4)
    for start, expected in ((0.0, 0.0), (0.5, 0.3)):
        adaptive = AdaptiveProbability(start=start)
        for policy in (Colour(0.6), Translation(0.6, strength=4), Cutout(0.6)):
            changed = DiffAugment([policy], adaptive)(image)
            share = (changed != image).flatten(1).any(dim=1).float().mean().item()
            # A move by nothing, or a rectangle outside, leaves an image as it is.
            assert 0.6 * expected <= share <= expected + 0.05


@pytest.mark.parametrize(
    "wrong", [{"target": 1.0}, {"images": 0}, {"every": 0}, {"start": 0.9}, {"limit": 0.0}, {"limit": 1.1}]
)
def test_wrong_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        AdaptiveProbability(**wrong)  # type: ignore[arg-type]
