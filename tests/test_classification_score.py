"""Generated images in place of real ones: the ceiling, swapped classes, repeated and blurred images."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.data.textures import CLASSES, classes, textures
from vedute.metrics.classification_score import ClassificationScore, ClassificationScores, Part
from vedute.metrics.learners import LogisticRegression, SmallNetwork

COUNT = 120
LABELS = classes(COUNT)


def quick() -> SmallNetwork:
    # Mirrored, stripes that lean left would lean right, which is another class.
    return SmallNetwork(epochs=10, mirror=False, widths=(12, 24))


def scored(generated: Tensor, labels: Tensor = LABELS, **options: int) -> ClassificationScores:
    metric = ClassificationScore(CLASSES, quick(), **options)
    metric.update(generated, labels, Part.GENERATED)
    metric.update(textures(LABELS, 1), LABELS, Part.TRAIN)
    metric.update(textures(classes(90), 3), classes(90), Part.TEST)
    found = metric.compute()
    assert isinstance(found, ClassificationScores)
    return found


def test_real_images_reach_the_ceiling() -> None:
    same = scored(textures(LABELS, 1))
    assert same.generated_to_real.accuracy == same.ceiling.accuracy > 0.9, "the same images, exactly"
    assert torch.equal(same.generated_to_real.confusion, same.ceiling.confusion)
    others = scored(textures(LABELS, 2))
    assert others.generated_to_real.high >= others.ceiling.low
    assert others.real_to_generated.accuracy > 0.9 and others.training_images == COUNT
    assert others.ceiling.confusion.sum(dim=1).tolist() == [30, 30, 30]
    assert float(others.ceiling.per_class().mean()) == pytest.approx(float(others.ceiling.accuracy))


def test_swapped_classes_fall_below_chance_both_ways() -> None:
    found = scored(textures((LABELS + 1) % CLASSES, 2))
    assert found.generated_to_real.high < 1 / CLASSES and found.real_to_generated.high < 1 / CLASSES
    assert found.ceiling.low > 0.8


def test_images_without_class_leave_chance() -> None:
    noise = torch.rand(COUNT, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = scored(noise)
    assert found.generated_to_real.low < 0.45 < found.ceiling.low
    assert found.real_to_generated.low < 1 / CLASSES < found.real_to_generated.high


def test_one_image_of_each_class_is_caught_one_way_only() -> None:
    found = scored(textures(classes(CLASSES), 5).repeat(COUNT // CLASSES, 1, 1, 1))
    assert found.generated_to_real.high < found.ceiling.low
    assert found.real_to_generated.accuracy >= 2 / 3


def test_features_instead_of_images() -> None:
    generator = torch.Generator().manual_seed(0)
    metric = ClassificationScore(2, LogisticRegression())
    labels = torch.arange(80) % 2
    for part in Part:
        metric.update(torch.randn(80, 6, generator=generator) + 3 * labels[:, None], labels, part)
    found = metric.compute()
    assert min(found.generated_to_real.accuracy, found.real_to_generated.accuracy) > 0.95


def test_both_trainings_get_as_many_images_of_each_class() -> None:
    told: list[int] = []
    metric = ClassificationScore(3, SmallNetwork(epochs=2, widths=(4,)), images=60, advance=told.append)
    unequal = torch.tensor([0] * 50 + [1] * 10 + [2] * 30)
    metric.update(torch.rand(90, 3, 8, 8), unequal, Part.GENERATED)
    metric.update(torch.rand(120, 3, 8, 8), LABELS, Part.TRAIN)
    metric.update(torch.rand(8, 3, 8, 8), torch.tensor([0, 2] * 4), Part.TEST)
    assert metric._share(unequal, LABELS).tolist() == [25, 10, 25]
    found = metric.compute()
    assert found.training_images == 60 and sum(told) == metric.cost(90) == 2 * 2 * 60
    assert found.ceiling.per_class().isnan().tolist() == [False, True, False]
    assert found.real_to_generated.confusion.sum(dim=1).tolist() == [50, 10, 30]


def test_the_order_does_not_matter_where_images_have_numbers() -> None:
    image = textures(LABELS, 2)
    scores = []
    for order in (torch.arange(COUNT), torch.arange(COUNT).flip(0)):
        metric = ClassificationScore(CLASSES, SmallNetwork(epochs=1, widths=(4, 8)))
        for part in Part:
            for rows in order.split(50):
                metric.update(image[rows], LABELS[rows], part, index=rows)
        with torch.inference_mode():
            scores.append(metric.compute())
        assert not metric.state_dict()
    for first, second in zip(scores[0][:3], scores[1][:3], strict=True):
        assert torch.equal(first.confusion, second.confusion)


def test_what_cannot_be_used_is_refused_with_numbers() -> None:
    metric = ClassificationScore(CLASSES, quick())
    image = textures(LABELS, 1)
    metric.update(image, LABELS, Part.TRAIN)
    with pytest.raises(ValueError, match="no real images to test"):
        metric.compute()
    metric.update(image[:8], LABELS[:8], Part.TEST)
    metric.update(image[:11], LABELS[:11], Part.GENERATED)
    with pytest.raises(
        ValueError, match=r"needs 4 images of each class .* class 2 has 3 generated and 40 real"
    ):
        metric.compute()
    with pytest.raises(ValueError, match=r"a class in \[0, 3\) for each of 2 images, got 2 in \[0, 3\]"):
        metric.update(image[:2], torch.tensor([0, 3]), Part.TEST)
    with pytest.raises(ValueError, match="each of 3 images, got 2"):
        metric.update(image[:3], LABELS[:2], Part.TEST)
    with pytest.raises(ValueError, match="got 1 classes"):
        ClassificationScore(1)
    with pytest.raises(ValueError, match="3 classes, 9 images"):
        ClassificationScore(3, images=9)


def _part(rank: int, folder: str) -> None:
    address = f"file://{Path(folder) / 'meeting'}"
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    metric = ClassificationScore(2, LogisticRegression())
    for part, (rows, labels) in enumerate(_features()):
        mine = torch.arange(len(rows))[rank::2]
        metric.update(rows[mine], labels[mine], Part(part), index=mine)
    torch.save([score.confusion for score in metric.compute()[:3]], Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def _features() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(61) % 2
    return [(torch.randn(61, 6, generator=generator) + labels[:, None], labels) for _ in Part]


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    start = multiprocessing.get_context("spawn").Process
    ranks = [start(target=_part, args=(rank, str(tmp_path))) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=120)
        assert process.exitcode == 0
    metric = ClassificationScore(2, LogisticRegression())
    for part, (rows, labels) in enumerate(_features()):
        metric.update(rows, labels, Part(part))
    expected = [score.confusion for score in metric.compute()[:3]]
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, expected, strict=True))
