"""Batch and Condition: joining, moving, selecting, None fields."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.utilities import move_data_to_device

from vedute.batch import Batch, Condition, collate


def make(count: int, vector: bool = True) -> Batch:
    condition = Condition(torch.rand(count, 3)) if vector else Condition()
    return Batch(torch.rand(count, 3, 4, 6), condition, torch.arange(count))


def test_collate_joins_rows_and_keeps_none() -> None:
    first, second = make(2), make(3)
    joined = collate([first, second])
    assert len(joined) == 5
    assert joined.condition.vector is not None and joined.condition.vector.shape == (5, 3)
    assert joined.condition.image is None and joined.target is None
    assert torch.equal(joined.image[2:], second.image)


def test_collate_refuses_a_field_that_only_some_have() -> None:
    with pytest.raises(ValueError, match=r"condition\.vector"):
        collate([make(2), make(2, vector=False)])
    with pytest.raises(ValueError, match="at least one"):
        collate([])


def test_lightning_moves_every_field_and_leaves_none_alone() -> None:
    moved = move_data_to_device(make(2), torch.device("meta"))
    assert moved.image.device.type == "meta"
    assert moved.condition.vector.device.type == "meta"
    assert moved.index.device.type == "meta"
    assert moved.target is None and moved.condition.image is None


def test_rows_select_in_every_field() -> None:
    batch = make(4)
    part = batch[torch.tensor([3, 1])]
    assert part.index is not None and part.index.tolist() == [3, 1]
    assert part.condition.vector is not None and batch.condition.vector is not None
    assert torch.equal(part.condition.vector[0], batch.condition.vector[3])


def test_length_of_conditions() -> None:
    assert len(Condition()) == 0
    assert len(Condition(image=torch.zeros(2, 1, 4, 4))) == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_pinned_memory() -> None:
    assert make(2).pin_memory().image.is_pinned()
