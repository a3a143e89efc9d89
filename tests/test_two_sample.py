"""A classifier that tells generated from real images: what it finds, and what it must not find."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.data.textures import blurred, classes, textures
from vedute.metrics.learners import Learner, LogisticRegression, SmallNetwork, SmallPerceptron
from vedute.metrics.proportion import balanced_interval, binomial_interval, guessing_probability
from vedute.metrics.two_sample import TwoSampleTest


def quick() -> SmallNetwork:
    """Return a network that learns the textures in a second."""
    return SmallNetwork(epochs=12, widths=(12, 24))


def told_apart(
    generated: Tensor, real: Tensor, learner: Learner | None = None, seed: int = 0
) -> dict[str, float]:
    metric = TwoSampleTest(learner, seed=seed)
    metric.update(generated, real=False)
    metric.update(real, real=True)
    return {name: float(value) for name, value in metric.compute().items()}


def features(count: int, seed: int, size: int = 10) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


# What is found


def test_halves_of_one_set_are_told_apart_by_chance_alone() -> None:
    """The 95 % interval holds 50 % in about 95 % of the cases: here in at least 33 of 40."""
    held = 0
    for seed in range(40):
        found = told_apart(features(100, 2 * seed), features(100, 2 * seed + 1), seed=seed)
        assert found["low"] < found["accuracy"] < found["high"] and found["test_images"] == 100
        held += found["low"] <= 0.5 <= found["high"]
    assert held >= 33


def test_a_shifted_mean_is_found_as_well_as_it_can_be() -> None:
    """Of Gaussians 2 apart along one axis, no classifier is right more often than 84.1 %."""
    shift = torch.zeros(10)
    shift[3] = 2.0
    found = told_apart(features(2000, 0) + shift, features(2000, 1))
    assert found["low"] < 0.8413 < found["high"] + 0.01 and found["p_value"] < 1e-9


def test_only_a_perceptron_sees_another_spread() -> None:
    generated, real = 0.6 * features(600, 0), features(600, 1)
    linear, curved = (told_apart(generated, real, kind) for kind in (None, SmallPerceptron()))
    assert linear["low"] < 0.53 and curved["low"] > 0.6


def test_pictures_of_one_kind_are_not_told_apart_and_blurred_ones_are() -> None:
    real, other = textures(classes(240), 1), textures(classes(240), 2)
    same = told_apart(other, real, quick())
    assert same["low"] <= 0.5 <= same["high"]
    assert told_apart(blurred(other), real, quick())["low"] > 0.9
    noisy = (other + 0.2 * torch.randn(other.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    assert told_apart(noisy, real, quick())["low"] > 0.8


def test_pictures_that_repeat_are_told_apart() -> None:
    """A thing that no distance of means sees: twelve pictures, again and again."""
    few = textures(classes(12), 2).repeat(20, 1, 1, 1).flatten(1)
    assert told_apart(few, textures(classes(240), 1).flatten(1), SmallPerceptron())["low"] > 0.6


def test_copies_of_the_real_images_are_not_found() -> None:
    real = features(400, 0)
    assert told_apart(real, real)["accuracy"] <= 0.55
    assert told_apart(real, real, SmallPerceptron())["p_value"] > 0.05


def test_channels_and_sizes() -> None:
    learner = SmallNetwork(epochs=2, longest_side=8, widths=(4, 8))
    image = torch.rand(40, 4, 12, 24)  # shrunk to 4 x 8
    found = told_apart(image, image.flip(0), learner)
    assert 0 <= found["accuracy"] <= 1 and found["training_images"] == 40
    with pytest.raises(ValueError, match="2 pixels a side, got 1x9"):
        told_apart(torch.rand(40, 1, 1, 9), torch.rand(40, 1, 1, 9), quick())


def test_features_that_never_change_do_no_harm() -> None:
    fixed = torch.full((200, 3), 1e6)
    generated, real = (torch.cat([features(200, seed), fixed], dim=1) for seed in (0, 1))
    assert told_apart(generated, real)["accuracy"] == told_apart(generated[:, :10], real[:, :10])["accuracy"]


# What it depends on


@pytest.mark.parametrize("learner", [LogisticRegression(), SmallPerceptron(epochs=3)])
def test_the_same_seed_gives_the_same_and_uses_no_other_randomness(learner: Learner) -> None:
    generated, real = features(150, 0) + 0.3, features(150, 1)
    state = torch.get_rng_state()
    first = told_apart(generated, real, learner)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert told_apart(generated.clone(), real, learner) == first
    assert told_apart(generated, real, learner, seed=1) != first


def test_neither_batches_nor_their_order_matter() -> None:
    generated, real = features(150, 0) + 0.3, features(130, 1)
    expected = told_apart(generated, real)
    metric = TwoSampleTest()
    numbers = torch.randperm(280, generator=torch.Generator().manual_seed(0))
    for part in numbers.split(17):
        mine, theirs = part[part < 150], part[part >= 150] - 150
        metric.update(generated[mine] * (1 + 1e-7), real=False, index=mine)
        metric.update(real[theirs], real=True, index=theirs)
    found = {name: float(value) for name, value in metric.compute().items()}
    assert found == pytest.approx(expected, abs=1e-4)
    assert not metric.state_dict()


def test_the_larger_set_is_cut_and_the_cost_is_bounded() -> None:
    told: list[int] = []
    metric = TwoSampleTest(SmallPerceptron(epochs=5), images=50, advance=told.append)
    metric.update(features(300, 0), real=False)
    metric.update(features(90, 1), real=True)
    found = metric.compute()
    assert found["training_images"] == found["test_images"] == 50
    assert sum(told) == metric.cost(300, 90) == 5 * 50
    told.clear()
    metric = TwoSampleTest(images=50, advance=told.append)
    metric.update(features(30, 0), real=False)
    metric.update(features(31, 1), real=True)
    metric.compute()
    assert sum(told) == metric.cost(30, 31) == 6 * 30


def _half(rank: int, folder: str, counts: list[int]) -> None:
    address = f"file://{Path(folder) / 'meeting'}"
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    image = textures(classes(48), 1)
    metric = TwoSampleTest(SmallNetwork(epochs=1, widths=(4, 8)))
    start = sum(counts[:rank])
    rows = torch.arange(start, start + counts[rank]).flip(0)  # not in order
    for real in (False, True):
        if len(rows):
            metric.update(blurred(image)[rows] if real else image[rows], real, index=rows)
    torch.save(metric.compute(), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("counts", [[20, 28], [48, 0]])
def test_two_processes_find_what_one_finds(tmp_path: Path, counts: list[int]) -> None:
    start = multiprocessing.get_context("spawn").Process
    ranks = [start(target=_half, args=(rank, str(tmp_path), counts)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=120)
        assert process.exitcode == 0
    image = textures(classes(48), 1)
    expected = told_apart(image, blurred(image), SmallNetwork(epochs=1, widths=(4, 8)))
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        # Threads may differ between processes, and so the last bits; the halves are the same.
        assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, abs=0.05)


# Refused


def test_what_cannot_be_used_is_refused_with_numbers() -> None:
    metric = TwoSampleTest()
    metric.update(features(30, 0), real=False)
    metric.update(features(12, 1), real=True)
    with pytest.raises(ValueError, match="20 images of each set, got 30 generated and 12 real"):
        metric.compute()
    with pytest.raises(ValueError, match="10 came first, then 11"):
        metric.update(features(5, 0, size=11), real=True)
    with pytest.raises(ValueError, match="1 of 3 rows with NaN"):
        metric.update(torch.tensor([[1.0] * 10, [float("nan")] * 10, [2.0] * 10]), real=True)
    with pytest.raises(ValueError, match=r"expects features \(N, F\), got \(2, 3, 4, 4\)"):
        metric.update(torch.rand(2, 3, 4, 4), real=True)
    with pytest.raises(ValueError, match="images >= 20, got 5"):
        TwoSampleTest(images=5)
    metric.update(torch.zeros(0, 10), real=True)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="got 0 generated and 0 real"):
        TwoSampleTest().compute()


# Intervals


def test_wilsons_interval() -> None:
    low, high = binomial_interval(50, 100)
    assert (low, high) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert binomial_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert binomial_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert binomial_interval(0, 0) == (0, 1)


def test_guessing() -> None:
    assert guessing_probability(2, 3) == pytest.approx(0.5)
    assert guessing_probability(3, 3) == pytest.approx(0.125)
    assert guessing_probability(0, 7) == pytest.approx(1)
    assert guessing_probability(530, 1000) == pytest.approx(0.03101, abs=1e-4)


def test_the_interval_of_a_mean_over_classes_covers() -> None:
    """Drawn 2,000 times, it holds the true mean in about 95 % of the cases."""
    generator = torch.Generator().manual_seed(0)
    share, total = torch.tensor([0.98, 0.7, 0.5]), torch.tensor([30, 60, 20])
    held = 0
    for _ in range(2000):
        right = torch.binomial(total.float(), share, generator=generator)
        _, low, high = balanced_interval(right, total)
        held += low <= float(share.mean()) <= high
    assert 0.93 < held / 2000 < 0.98
    assert balanced_interval(torch.tensor([3, 0]), torch.tensor([4, 0]))[0] == 0.75
