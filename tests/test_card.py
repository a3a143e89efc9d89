"""The quality card of generators whose scores are known."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from tests.data.stubs import StubData, StubGenerator, StubJudge
from vedute.batch import Condition
from vedute.metrics.card import Card, make_card
from vedute.metrics.features import pixel_features
from vedute.metrics.sets import Instruments
from vedute.report.card import card_picture, card_table


class Fading(StubGenerator):
    """Returns darker images for higher seeds."""

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        return super().sample(condition, seeds) / (1 + seeds[:, None, None, None] / 1000)


class Repeating(StubGenerator):
    """Returns one image of each class, whatever the seed."""

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        return super().sample(condition, torch.zeros_like(seeds))


def card_of(kind: str, blocks: int = 1, stub: type[StubGenerator] = StubGenerator) -> Card:
    data = StubData()
    generator = stub(data, kind)
    instruments = Instruments(
        generator.condition_names,
        3,
        StubJudge(data.condition_names) if kind == "class" else None,
        [pixel_features(3, (8, 8))],
    )
    return make_card(
        generator,  # type: ignore[arg-type]
        data,  # type: ignore[arg-type]
        instruments,
        count=30,
        seed=0,
        batch_size=32,
        bar=lambda title, total: nullcontext(lambda count: None),
        blocks=blocks,
    )


def test_a_generator_that_copies_training_images_scores_as_real_images_do() -> None:
    card = card_of("class")
    assert card.quality is not None and card.ceiling is not None
    assert card.quality.mean == card.ceiling.mean == 1
    assert card.images == (90, 60, 60) and card.reconstruction is None
    assert set(card.distances) == {"fd_classifier", "kd_classifier", "fd_pixels", "kd_pixels"}
    for name in ("fd_classifier", "fd_pixels"):
        assert 0 < card.distances[name] < 1.5 * card.floor[name] + 1e-3, name
    assert len(card.samples) == 24, "eight of each class for the picture"
    for name in ("classifier", "pixels"):
        ratio = card.diversity[name]["ratio"]
        assert ratio is not None and 0.8 < ratio < 1.25, name


def test_a_generator_that_repeats_one_image_of_each_class_has_no_diversity() -> None:
    diversity = card_of("class", stub=Repeating).diversity["classifier"]
    assert diversity["generated"] == pytest.approx(0, abs=1e-6) and (diversity["real"] or 0) > 0
    assert diversity["ratio"] == pytest.approx(0, abs=1e-4)


def test_blocks_of_seeds_give_each_score_a_spread() -> None:
    once, card = card_of("class", stub=Fading), card_of("class", blocks=3, stub=Fading)
    assert once.repeats == {} and once.scores()["seeds"] is None
    assert card.distances == once.distances and torch.equal(card.samples, once.samples), "the first block"
    names = {"q", "q/red", "q/green", "q/blue", "fd_classifier", "kd_classifier", "fd_pixels", "kd_pixels"}
    assert set(card.repeats) == names | {"diversity/classifier", "diversity/pixels"}
    values = card.repeats["fd_pixels"]
    assert values[0] == card.distances["fd_pixels"] and len(set(values)) == 3
    mean, half = card.spread()["fd_pixels"]
    assert mean == pytest.approx(sum(values) / 3) and half == (max(values) - min(values)) / 2 > 0
    assert "3 blocks of seeds" in [column.header for column in card_table(card).columns]


def test_a_model_without_classes_has_a_card_of_distances() -> None:
    card = card_of("none")
    assert card.quality is None and card.images == (30, 60, 30)
    assert set(card.distances) == {"fd_pixels", "kd_pixels"} and card.scores()["confusion"] is None
    assert set(card.diversity) == {"pixels"} and (card.diversity["pixels"]["generated"] or 0) > 0
    assert any("fd_pixels: 30 images" in note for note in card.notes), "fewer images than features"
    picture = card_picture(card)
    assert picture.width > 100
