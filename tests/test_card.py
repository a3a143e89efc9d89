"""The quality card of generators whose scores are known."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.data.stubs import StubData, StubGenerator, StubJudge, StubScores, colours
from vedute.batch import Batch, Condition
from vedute.metrics.card import Card, Settings, finite
from vedute.metrics.features import FeatureExtractor, pixel_features
from vedute.metrics.make_card import make_card
from vedute.metrics.real_sets import RealSets
from vedute.metrics.sets import Instruments
from vedute.report.card import card_table
from vedute.report.card_pictures import card_pictures


class Fading(StubGenerator):
    """Returns darker images for higher seeds."""

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        return super().sample(condition, seeds) / (1 + seeds[:, None, None, None] / 1000)


class Repeating(StubGenerator):
    """Returns one image of each class, whatever the seed."""

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        return super().sample(condition, torch.zeros_like(seeds))


class Fresh(StubGenerator):
    """Returns new images of the data set's kind, no two of them equal."""

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        assert condition.vector is not None
        noise = [torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1000 + int(s))) for s in seeds]
        return colours(condition.vector.argmax(1)) + 0.1 * (torch.stack(noise) - 0.5)


class Swapping(Fresh):
    """Takes one class for another."""

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        assert condition.vector is not None
        return super().sample(Condition(condition.vector.roll(1, dims=1)), seeds)


def no_bar(title: str, total: int) -> nullcontext:  # type: ignore[type-arg]
    return nullcontext(lambda count: None)


def card_of(
    kind: str,
    blocks: int = 1,
    stub: type[StubGenerator] = StubGenerator,
    data: StubData | None = None,
    cas_images: int = 0,
) -> Card:
    data = data or StubData()
    generator = stub(data, kind)
    instruments = Instruments(
        generator.condition_names,
        3,
        StubJudge(data.condition_names) if kind == "class" else None,
        [pixel_features(3, (8, 8))],
    )
    settings = Settings(count=30, blocks=blocks, batch_size=32, cas_images=cas_images)
    return make_card(generator, data, instruments, settings, no_bar)  # type: ignore[arg-type]


def test_a_generator_that_copies_training_images_scores_as_real_images_do() -> None:
    card = card_of("class")
    assert card.quality is not None and card.ceiling is not None
    assert card.quality.mean == card.ceiling.mean == 1
    assert card.images == (90, 60, 60) and card.reconstruction is None
    assert set(card.distances) == {"fd_classifier", "kd_classifier", "fd_pixels", "kd_pixels"}
    for name in ("fd_classifier", "fd_pixels"):
        assert 0 < card.distances[name] < 1.5 * card.floor[name] + 1e-3, name
    assert len(card.pictures.samples) == 24, "eight of each class for the picture"
    for name in ("classifier", "pixels"):
        ratio = card.diversity[name]["ratio"]
        assert ratio is not None and 0.8 < ratio < 1.25, name


def test_only_memorisation_catches_copies() -> None:
    data = StubData(train=240, test=180)
    copies, new = card_of("class", data=data), card_of("class", stub=Fresh, data=data)
    for name in ("pixels", "classifier"):
        assert copies.memory[name].close_share == 1 and copies.memory[name].distance_ratio < 0.01
        assert new.memory[name].close_share < 0.1 and 0.8 < new.memory[name].distance_ratio < 1.2
        assert copies.memory[name].p_value < 1e-6 < new.memory[name].p_value
    for card in (copies, new):
        pairs = card.pictures.neighbours
        assert pairs is not None and len(pairs) == 32 and card.pictures.neighbour_features == "classifier"
    pairs = copies.pictures.neighbours
    assert pairs is not None and torch.equal(pairs[0::2], pairs[1::2]), "each beside its original"
    assert min(card.manifold["precision_pixels"] for card in (copies, new)) > 0.8


def test_swapped_classes_lower_what_is_about_classes() -> None:
    data = StubData(train=120, test=90)
    right, swapped = (card_of("class", stub=stub, data=data, cas_images=90) for stub in (Fresh, Swapping))
    assert right.quality is not None and swapped.quality is not None
    assert float(right.quality.mean) == 1 and float(swapped.quality.mean) == 0
    assert right.substitution is not None and swapped.substitution is not None
    for way in ("generated_to_real", "real_to_generated"):
        assert float(getattr(right.substitution, way).accuracy) > 0.9, way
        assert float(getattr(swapped.substitution, way).accuracy) < 0.1, way
    assert float(swapped.substitution.ceiling.accuracy) > 0.9
    for name in ("fd_pixels", "fd_classifier"):
        assert swapped.distances[name] == pytest.approx(right.distances[name], abs=0.05), "blind to classes"


def test_a_generator_that_repeats_one_image_of_each_class_has_no_diversity() -> None:
    card = card_of("class", stub=Repeating)
    diversity = card.diversity["classifier"]
    assert diversity["generated"] == pytest.approx(0, abs=1e-6) and (diversity["real"] or 0) > 0
    assert diversity["ratio"] == pytest.approx(0, abs=1e-4)
    assert card.manifold["coverage_pixels"] < 0.3 < card.floor["coverage_pixels"]
    assert card.two_sample["pixels"]["generated"]["accuracy"] > 0.9
    assert card.two_sample["pixels"]["real"]["accuracy"] < 0.75


def test_blocks_of_seeds_give_each_score_a_spread() -> None:
    once, card = card_of("class", stub=Fading), card_of("class", blocks=3, stub=Fading)
    assert once.repeats == {} and once.scores()["seeds"] is None
    assert card.distances == once.distances
    assert torch.equal(card.pictures.samples, once.pictures.samples), "of the first block"
    names = {"q", "q/red", "q/green", "q/blue", "fd_classifier", "kd_classifier", "fd_pixels", "kd_pixels"}
    assert set(card.repeats) == names | {"diversity/classifier", "diversity/pixels"}
    values = card.repeats["fd_pixels"]
    assert values[0] == card.distances["fd_pixels"] and len(set(values)) == 3
    mean, half = card.spread()["fd_pixels"]
    assert mean == pytest.approx(sum(values) / 3) and half == (max(values) - min(values)) / 2 > 0
    assert "3 blocks of seeds" in [column.header for column in card_table(card).columns]


def test_scores_lie_in_their_intervals_and_fit_into_json() -> None:
    card = card_of("class", stub=Fresh)
    values = {**card.distances, **card.manifold, "q": float(card.quality.mean)}  # type: ignore[union-attr]
    for name, ratio in (
        (f"diversity_ratio/{name}", sides["ratio"]) for name, sides in card.diversity.items()
    ):
        assert ratio is not None
        values[name] = ratio
    checked = {name for name in values if name in card.intervals}
    assert checked >= {"q", "kd_pixels", "precision_pixels", "coverage_classifier", "diversity_ratio/pixels"}
    for name in checked:
        low, high = card.intervals[name]
        assert low <= values[name] <= high, name
    content = json.loads(json.dumps(card.scores(), allow_nan=False))
    assert content["manifold"]["precision_pixels"]["interval"] == list(card.intervals["precision_pixels"])
    assert content["quality"]["top2"]["generated"]["mean"] == 1
    assert finite({"a": [float("nan"), 1.5, {"b": float("inf")}]}) == {"a": [None, 1.5, {"b": None}]}


def test_a_model_without_classes_has_a_card_of_distances() -> None:
    card = card_of("none")
    assert card.quality is None and card.substitution is None and card.images == (30, 60, 30)
    assert set(card.distances) == {"fd_pixels", "kd_pixels"} and card.scores()["confusion"] is None
    assert set(card.diversity) == {"pixels"} and (card.diversity["pixels"]["generated"] or 0) > 0
    assert any("fd_pixels: 30 images" in note for note in card.notes), "fewer images than features"
    pictures = card_pictures(card)
    assert set(pictures) == {"", "_samples", "_neighbours"} and pictures[""].width > 100


def test_too_few_images_for_a_score_leave_the_rest_of_the_card() -> None:
    data = StubData(train=12, test=4)
    card = card_of("class", data=data)
    assert card.quality is not None and "fd_pixels" in card.distances and not card.manifold
    said = " ".join(card.notes)
    assert "needs at least 6 images" in said and "two-sample test is left out" in said


def test_pictures_show_the_judges_best_and_worst() -> None:
    card = card_of("class", stub=Fading)
    pictures = card.pictures
    assert pictures.best is not None and pictures.worst is not None
    assert len(pictures.best) == len(pictures.worst) == 24
    judge, labels = StubJudge(["red", "green", "blue"]), torch.arange(3).repeat_interleave(8)
    sure = [
        judge.classify(image.mean(dim=(2, 3))).softmax(1).gather(1, labels[:, None]).view(3, 8)
        for image in (pictures.best, pictures.worst)
    ]
    assert (sure[0].diff() <= 2e-3).all() and (sure[1].diff() >= -2e-3).all(), "the surest first, and last"
    assert (sure[0][:, -1] > sure[1][:, -1]).all()


class ScoreData(StubData):
    """Images whose red and blue are their scores, from 0 to 10, standardised by 5 and 2."""

    condition_kind = "score"
    condition_names = ("Red", "Blue")

    def vectors(self, split: str) -> Tensor:
        drawn = torch.rand(self.size(split), 2, generator=torch.Generator().manual_seed(len(split)))
        return (10 * drawn - 5) / 2

    def missing(self, split: str) -> Tensor:
        return torch.arange(self.size(split))[:, None] % 10 == torch.tensor([3, 10])

    def batch(self, split: str, rows: Tensor) -> Batch:  # type: ignore[override]
        vector = self.vectors(split)[rows]
        return Batch(painted(vector), Condition(vector), torch.as_tensor(rows))


def painted(vector: Tensor) -> Tensor:
    red, blue = ((2 * vector + 5) / 10).clamp(0, 1).unbind(1)
    return torch.stack([red, torch.zeros_like(red), blue], dim=1)[:, :, None, None].expand(-1, 3, 8, 8)


class ScorePainter(StubGenerator):
    """Paints the first score as asked for, and the second one the wrong way round."""

    condition_mean, condition_scale = (5.0, 5.0), (2.0, 2.0)

    def __init__(self, data: StubData, kind: str) -> None:
        super().__init__(data, kind)
        self.condition_names = ["Red", "Blue"]

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        assert condition.vector is not None
        return painted(condition.vector * torch.tensor([1.0, -1.0]))


def test_scores_that_a_regressor_reads_are_compared_with_those_asked_for() -> None:
    data = ScoreData()
    instruments = Instruments([], 3, None, [pixel_features(3, (8, 8))], StubScores())  # type: ignore[arg-type]
    card = make_card(
        ScorePainter(data, "score"),  # type: ignore[arg-type]
        data,  # type: ignore[arg-type]
        instruments,
        Settings(count=40),
        no_bar,
    )
    mine, real = card.agreement["generated"], card.agreement["ceiling"]
    assert mine["mean_absolute_error"]["Red"] < 0.05 < 1 < mine["mean_absolute_error"]["Blue"]
    assert mine["rank_correlation"]["Red"] > 0.99 and mine["rank_correlation"]["Blue"] < -0.99
    assert real["mean_absolute_error"]["mean"] < 0.05, "in points, missing ones left out"
    assert set(card.distances) == {"fd_pixels", "kd_pixels", "fd_regressor", "kd_regressor"}


# Real images, measured once


class Counting:
    """Features that know how many images they were asked for."""

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, image: Tensor) -> Tensor:
        self.images += len(image)
        return image.mean(dim=(2, 3))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEDUTE_CACHE", str(tmp_path))
    return tmp_path / "features"


def measured(count: Counting, data: StubData, weights: str = "0123", split: str = "test") -> Tensor:
    instruments = Instruments([], 3, None, [FeatureExtractor("counted", 3, "none", count, weights)])
    found = RealSets(data, instruments, 16, no_bar).measure("", split, torch.arange(data.size(split)))  # type: ignore[arg-type]
    return found.features["counted"]


def test_real_images_are_measured_once(cache: Path) -> None:
    count, data = Counting(), StubData()
    first = measured(count, data)
    assert count.images == 60 and len(list(cache.glob("counted-*.npy"))) == 1
    assert torch.equal(measured(count, data), first) and count.images == 60
    measured(count, data, weights="4567")
    assert count.images == 120, "other weights"
    measured(count, data, split="train")
    assert count.images == 210, "other images"
    measured(count, StubData(test=57))
    assert count.images == 267, "fewer images"


def test_features_without_weights_are_not_kept(cache: Path) -> None:
    count = Counting()
    measured(count, StubData(), weights="")
    measured(count, StubData(), weights="")
    assert count.images == 120 and not cache.exists()


def test_damaged_kept_features_are_computed_again(cache: Path) -> None:
    count, data = Counting(), StubData()
    first = measured(count, data)
    (file,) = cache.glob("*.npy")
    for content in (b"", b"nothing of the kind", file.read_bytes()[:-7]):
        file.write_bytes(content)
        assert torch.equal(measured(count, data), first)
    assert count.images == 240
