"""The quality card of generators whose scores are known."""

from __future__ import annotations

from contextlib import nullcontext

from tests.data.stubs import StubData, StubGenerator, StubJudge
from vedute.metrics.card import Card, make_card
from vedute.metrics.features import pixel_features
from vedute.metrics.sets import Instruments
from vedute.report.card import card_picture


def card_of(kind: str) -> Card:
    data = StubData()
    generator = StubGenerator(data, kind)
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


def test_a_model_without_classes_has_a_card_of_distances() -> None:
    card = card_of("none")
    assert card.quality is None and card.images == (30, 60, 30)
    assert set(card.distances) == {"fd_pixels", "kd_pixels"} and card.scores()["confusion"] is None
    assert any("fd_pixels: 30 images" in note for note in card.notes), "fewer images than features"
    picture = card_picture(card)
    assert picture.width > 100
