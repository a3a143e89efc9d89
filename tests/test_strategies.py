"""Generation strategies: what each does to conditions, noise and images, on models that learned nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from tests.data.stubs import StubJudge, StubScores
from vedute.batch import Batch, Condition, ConditionKind
from vedute.errors import CheckpointError, ConfigurationError
from vedute.promises import LatentGenerator
from vedute.sampling.rankers import class_ranker, score_ranker
from vedute.sampling.score_distribution import (
    AroundClasses,
    AroundScores,
    LearnedClasses,
    LearnedScores,
    around,
    standard_limits,
)
from vedute.sampling.seeds import seeded_normal
from vedute.sampling.strategies import (
    BestOf,
    Direct,
    Ensemble,
    Probability,
    Refine,
    Strategy,
    Truncation,
    candidate_seeds,
)


class Painter:
    """Paints the condition in the rows of a picture, the noise in its columns; can read it back."""

    image_size, image_channels = (4, 4), 3
    condition_mean: ClassVar[list[float]] = []
    condition_scale: ClassVar[list[float]] = []
    device = torch.device("cpu")

    def __init__(self, kind: ConditionKind = "score", has_encoder: bool = True, driven: bool = True) -> None:
        self.condition_kind: ConditionKind = kind
        self.condition_names = [] if kind in ("none", "image") else ["red", "green", "blue"]
        self.has_encoder = has_encoder
        self.stochastic, self.scale = True, 1
        self.decodes_condition = True
        self.latent_shape: tuple[int, ...] | None = (4,) if driven else None
        self.calls = 0

    def condition_of(self, batch: Batch) -> Condition:
        return batch.condition

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        return self.generate(condition, seeded_normal(seeds, (4,)))

    def generate(self, condition: Condition, noise: Tensor) -> Tensor:
        self.calls += 1
        vector = torch.zeros(len(noise), 3) if condition.vector is None else condition.vector
        lightness = torch.sigmoid(noise)[:, None, None, :].expand(-1, 3, 4, -1)
        return 0.5 * lightness + 0.5 * torch.sigmoid(vector)[:, :, None, None].expand(-1, -1, 4, 4)

    def embed(self, batch: Batch) -> Tensor:
        assert batch.condition.vector is not None
        without = 2 * batch.image - torch.sigmoid(batch.condition.vector)[:, :, None, None]
        return 0.5 * torch.logit(without.mean(dim=(1, 2)).clamp(1e-4, 1 - 1e-4))  # half: towards typical

    def decode(self, latents: Tensor, condition: Condition) -> Tensor:
        return self.generate(condition, latents)

    def reconstruct(self, batch: Batch) -> Tensor:
        return self.decode(self.embed(batch), batch.condition)

    def latent_scores(self, batches: Iterable[Batch]) -> dict[str, float]:
        return {}


def brightness(image: Tensor, condition: Condition) -> Tensor:
    return image.mean(dim=(1, 2, 3))


def shown_noise(image: Tensor) -> Tensor:
    """Return the noise that pictures of the condition 0 were painted from."""
    return torch.logit((2 * image - 0.5).mean(dim=(1, 2)).double())


WANTED = torch.tensor([[1.0, 0.0, -1.0], [0.5, 0.5, 0.5], [-1.0, 2.0, 0.0]])
SEEDS = torch.tensor([3, 14, 15])
ALL: list[Strategy] = [
    Direct(),
    Ensemble(4, 0.7),
    Probability(AroundScores(0.7)),
    Probability(LearnedScores(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), 0.5)),
    Refine(2),
    Refine(2, noise=0.5),
    BestOf(5, brightness),
    Truncation(0.7),
    Truncation(0.7, "redraw"),
]


def test_the_painter_keeps_the_promises() -> None:
    assert isinstance(Painter(), LatentGenerator)


@pytest.mark.parametrize("strategy", ALL, ids=lambda strategy: type(strategy).__name__)
def test_an_image_depends_on_its_seed_and_condition_only(strategy: Strategy) -> None:
    model = Painter()
    strategy.check(model)
    together = strategy.generate(model, Condition(WANTED), SEEDS)
    assert together.shape == (3, 3, 4, 4) and together.min() >= 0 and together.max() <= 1
    for row in range(3):
        alone = strategy.generate(model, Condition(WANTED[row : row + 1]), SEEDS[row : row + 1])
        assert torch.allclose(together[row : row + 1], alone, atol=1 / 255)
    other = strategy.generate(model, Condition(WANTED), SEEDS + 1)
    assert ((other - together).abs().amax(dim=(1, 2, 3)) > 1 / 255).all()


@pytest.mark.parametrize("strategy", ALL, ids=lambda strategy: type(strategy).__name__)
def test_the_global_generator_is_left_alone(strategy: Strategy) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    strategy.generate(Painter(), Condition(WANTED), SEEDS)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_ensemble_is_centred_on_the_wanted_condition_and_keeps_the_noise() -> None:
    model = Painter()
    direct = Direct().generate(model, Condition(WANTED), SEEDS)
    assert torch.allclose(Ensemble(7, 0.0).generate(model, Condition(WANTED), SEEDS), direct, atol=1e-6)
    mean = Ensemble(7, 0.3).generate(model, Condition(WANTED), SEEDS)
    assert 0 < (mean - direct).abs().max() < 0.02, "opposite conditions cancel"
    assert torch.allclose((mean - direct).std(dim=3), torch.zeros(3, 3, 4), atol=1e-5), "one noise for all"


def test_probability_draws_around_what_is_wanted() -> None:
    model, count = Painter(), 2000
    images = Probability(AroundScores(0.5)).generate(
        model, Condition(WANTED[:1].expand(count, -1)), torch.arange(count)
    )
    noise = torch.sigmoid(seeded_normal(torch.arange(count), (4,)))
    vector = torch.logit((2 * images - noise[:, None, None]).mean(dim=(2, 3)).clamp(1e-6, 1 - 1e-6))
    assert torch.allclose(vector.mean(dim=0), WANTED[0], atol=0.05)
    assert torch.allclose(vector.std(dim=0), torch.full((3,), 0.5), atol=0.05)


def test_refining_moves_towards_what_the_autoencoder_takes_for_likely() -> None:
    model, condition = Painter(), Condition(torch.zeros(1, 3))
    distance = [shown_noise(Direct().generate(model, condition, SEEDS[:1])).norm()]
    distance += [shown_noise(Refine(n).generate(model, condition, SEEDS[:1])).norm() for n in (1, 3)]
    assert distance[0] > distance[1] > distance[2]


def test_the_best_of_more_is_never_worse_and_starts_from_the_seed_itself() -> None:
    model, condition = Painter(), Condition(WANTED)
    values = [brightness(Direct().generate(model, condition, SEEDS), condition)]
    for candidates in (2, 5, 20):
        values.append(brightness(BestOf(candidates, brightness).generate(model, condition, SEEDS), condition))
        assert (values[-1] >= values[-2]).all()
    assert (values[-1] > values[0]).any()
    model.calls = 0
    BestOf(5, brightness).generate(model, condition, SEEDS)
    assert model.calls == 5


def test_candidates_have_seeds_of_their_own() -> None:
    seeds = torch.cat([candidate_seeds(torch.arange(500), candidate) for candidate in range(16)])
    assert len(set(seeds.tolist())) == len(seeds) and int(seeds.min()) >= 0


def test_truncated_noise_is_typical() -> None:
    model, count = Painter(), 1000
    seeds, condition = torch.arange(count), Condition(torch.zeros(count, 3))
    plain, scaled, redrawn = (
        shown_noise(strategy.generate(model, condition, seeds))
        for strategy in (Direct(), Truncation(0.5), Truncation(0.5, "redraw"))
    )
    assert torch.allclose(scaled, 0.5 * plain, atol=1e-3)
    assert redrawn.abs().max() <= 0.501 and redrawn.std() > 0.25
    assert (redrawn[:, 0].argsort() == plain[:, 0].argsort()).all(), "near noise stays near"


@pytest.mark.parametrize(
    ("strategy", "model", "said"),
    [
        (Refine(1), Painter(has_encoder=False), "has no encoder"),
        (Truncation(0.5), Painter(driven=False), "not driven by such noise"),
        (Ensemble(), Painter("none"), "kind 'none'"),
        (Ensemble(), Painter("image"), "kind 'image'"),
        (Probability(AroundScores(1)), Painter("none"), "kind 'none'"),
        (BestOf(2, brightness, Refine(1)), Painter(has_encoder=False), "has no encoder"),
    ],
)
def test_what_a_model_cannot_do(strategy: Strategy, model: Painter, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        strategy.check(model)
    assert model.calls == 0


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Ensemble(1), "at least 2 members"),
        (lambda: Ensemble(spread=-1), "at least 0"),
        (lambda: Refine(0), "at least 1 round"),
        (lambda: Refine(1, 1.0), r"\[0, 1\)"),
        (lambda: BestOf(1, brightness), "at least 2"),
        (lambda: Truncation(0), "above 0"),
        (lambda: Truncation(2), "at most 1"),
        (lambda: AroundScores(float("nan")), "at least 0"),
        (lambda: LearnedScores(torch.zeros(1, 2), 1), "1 training images"),
        (lambda: LearnedClasses(torch.zeros(0, 2), 1), "no training images"),
        (lambda: around("image", 1), "kind 'image'"),
    ],
)
def test_options_out_of_range(build: object, said: str) -> None:
    assert callable(build)
    with pytest.raises(ConfigurationError, match=said):
        build()


def test_scores_around_the_wanted_ones_stay_legal() -> None:
    limits = standard_limits(["a", "b", "c"], [0, 9], [5.0, 5.0, 5.0], [2.0, 2.0, 2.0])
    assert limits is not None and limits[1].tolist() == [2.0, 2.0, 2.0]
    drawn = AroundScores(3.0, *limits).draw(WANTED, seeded_normal(SEEDS, (3,)))
    assert (drawn <= limits[1]).all() and (drawn >= limits[0]).all()
    assert standard_limits(["a"], [], [], []) is None


def test_fuzzy_labels_around_a_class_are_labels() -> None:
    wanted = torch.tensor([[1.0, 0.0, 0.0]]).expand(500, 3)
    drawn = AroundClasses(1.0).draw(wanted, seeded_normal(torch.arange(500), (3,)))
    assert drawn.min() >= 0 and torch.allclose(drawn.sum(dim=1), torch.ones(500))
    assert drawn[:, 0].mean() > 0.8 and (drawn[:, 0] < 0.99).float().mean() > 0.5
    assert torch.equal(AroundClasses(0.0).draw(wanted, torch.randn(500, 3)), wanted)


def test_learned_scores_follow_how_raters_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(5000, 1, generator=generator)
    rest = torch.randn(5000, 2, generator=generator)
    scores = torch.cat([first, -0.9 * first + 0.436 * rest[:, :1], rest[:, 1:]], dim=1)  # two disagree
    noise = torch.randn(5000, 3, generator=generator)
    both_high = LearnedScores(scores, 0.5).draw(torch.tensor([[2.0, 2.0, 0.0]]).expand(5000, 3), noise)
    assert both_high[:, :2].mean() < 1, "nobody gives both 2"
    literal = LearnedScores(scores, 0.0).draw(torch.tensor([[2.0, 2.0, 0.0]]), noise[:1])
    assert torch.allclose(literal, torch.tensor([[2.0, 2.0, 0.0]]), atol=0.02)
    nan = float("nan")
    left_out = LearnedScores(scores, 0.0).draw(torch.tensor([[1.0, nan, nan]]).expand(5000, 3), noise)
    assert torch.allclose(left_out.mean(dim=0), torch.tensor([1.0, -0.9, 0.0]), atol=0.06)
    assert left_out[:, 0].std() < 0.05 and abs(left_out[:, 2].std() - 1) < 0.1


def test_learned_classes_are_labels_of_the_training_images() -> None:
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.4], [0.0, 1.0]])
    noise = seeded_normal(torch.arange(300), (2,))
    drawn = LearnedClasses(labels, 0.3).draw(torch.tensor([[1.0, 0.0]]).expand(300, 2), noise)
    shares = [float((drawn == label).all(dim=1).float().mean()) for label in labels[1:]]
    assert sum(shares) == pytest.approx(1) and shares[0] > shares[1] > 0 and shares[2] < 0.02


def test_a_classifier_ranks_by_the_wanted_class() -> None:
    rank = class_ranker(StubJudge(["red", "green", "blue"]), ["blue", "red"], 3)
    images = torch.zeros(2, 3, 8, 8)
    images[0, 0] = images[1, 2] = 1  # red, blue
    assert rank(images, Condition(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))).argmax() == 1
    assert rank(images, Condition(torch.tensor([[0.0, 1.0], [0.0, 1.0]]))).argmax() == 0
    with pytest.raises(CheckpointError, match="does not know the class pink"):
        class_ranker(StubJudge(["red", "green", "blue"]), ["pink"], 3)


def test_a_regressor_ranks_by_closeness_or_height_in_the_generators_own_scale() -> None:
    images = torch.zeros(3, 3, 4, 4)
    images[:, 0] = torch.tensor([0.2, 0.6, 0.9])[:, None, None]
    judge, wish = StubScores(), Condition(torch.tensor([[0.5]]).expand(3, 1))  # Red=6 of mean 5, scale 2
    close = score_ranker(judge, ["Red"], 3, [5.0], [2.0])  # type: ignore[arg-type]
    high = score_ranker(judge, ["Red"], 3, [5.0], [2.0], "high")  # type: ignore[arg-type]
    assert close(images, wish).argmax() == 1 and close(images, wish).max() == pytest.approx(0, abs=1e-6)
    assert high(images, wish).argmax() == 2
    for names, channels, said in (
        (["Green"], 3, "does not know the scores of Green"),
        (["Red"], 1, "channels"),
    ):
        with pytest.raises(CheckpointError, match=said):
            score_ranker(judge, names, channels, [5.0], [2.0])  # type: ignore[arg-type]
