"""The order of an epoch: exact, the same on all processes, weighted, and file by file."""

from __future__ import annotations

import numpy as np
import pytest

from vedute.data.order import BUFFER, BatchOrder, Shuffle


def ranks_of(ranks: int, epoch: int = 0, **options: object) -> list[list[list[int]]]:
    """Return the batches of each rank."""
    orders = [BatchOrder(training=True, rank=rank, ranks=ranks, **options) for rank in range(ranks)]  # type: ignore[arg-type]
    for order in orders:
        order.set_epoch(epoch)
    return [list(order) for order in orders]


@pytest.mark.parametrize("shuffle", ["full", "shards"])
@pytest.mark.parametrize(("size", "ranks", "workers"), [(1000, 1, 0), (1003, 3, 2), (997, 2, 4)])
def test_every_rank_makes_as_many_batches_and_no_row_comes_twice(
    shuffle: Shuffle, size: int, ranks: int, workers: int
) -> None:
    shards = [100] * (size // 100) + [size % 100] * (size % 100 > 0)
    batches = ranks_of(ranks, size=size, batch_size=8, shuffle=shuffle, shards=shards, workers=workers)
    assert {len(rank) for rank in batches} == {size // (8 * ranks)}
    rows = [row for rank in batches for batch in rank for row in batch]
    assert len(rows) == len(set(rows)) == size // (8 * ranks) * 8 * ranks and set(rows) <= set(range(size))


@pytest.mark.parametrize("shuffle", ["full", "shards"])
def test_what_is_left_over_differs_from_epoch_to_epoch(shuffle: Shuffle) -> None:
    seen: set[int] = set()
    for epoch in range(12):
        batches = ranks_of(2, epoch, size=100, batch_size=16, shuffle=shuffle, shards=[50, 50])
        seen |= {row for rank in batches for batch in rank for row in batch}
    assert seen == set(range(100))


def test_file_by_file_a_process_reads_its_own_files() -> None:
    size, ranks = 40 * 512, 4
    batches = ranks_of(ranks, size=size, batch_size=32, shuffle="shards", shards=[512] * 40)
    files = [{row // 512 for batch in rank for row in batch} for rank in batches]
    # 40 files are 10 a rank; a stretch may begin and end within a file.
    assert all(len(rank) <= 11 for rank in files)
    assert sum(len(rank) for rank in files) <= 40 + ranks


def test_file_by_file_a_worker_reads_its_own_files() -> None:
    (batches,) = ranks_of(1, size=40 * 512, batch_size=32, shuffle="shards", shards=[512] * 40, workers=4)
    for worker in range(4):
        rows = [row for batch in batches[worker::4] for row in batch]
        assert len({row // 512 for row in rows}) <= 11


def test_file_by_file_rows_are_mixed_and_files_change_places() -> None:
    size = 8 * BUFFER
    options = {"size": size, "batch_size": 64, "shuffle": "shards", "shards": [BUFFER] * 8}
    (first,), (second,) = ranks_of(1, 0, **options), ranks_of(1, 1, **options)
    assert first != second and first == ranks_of(1, 0, **options)[0]
    places = np.array([row for batch in first for row in batch])
    neighbours = np.abs(np.diff(places)) == 1
    assert neighbours.mean() < 0.01
    # Near in time means near on disk: a window of batches touches a few files only.
    assert all(
        len({row // BUFFER for row in places[start : start + 512]}) <= 3 for start in range(0, size, 4096)
    )


@pytest.mark.parametrize("shuffle", ["full", "shards"])
def test_weighted_epochs_follow_the_weights_on_all_processes_together(shuffle: Shuffle) -> None:
    weights = np.array([0.0, 1.0, 3.0] * 400)
    count = np.zeros(1200)
    for epoch in range(20):
        batches = ranks_of(
            2, epoch, size=1200, batch_size=10, shuffle=shuffle, weights=weights, shards=[300] * 4
        )
        assert [len(rank) for rank in batches] == [60, 60]
        for rank in batches:
            np.add.at(count, [row for batch in rank for row in batch], 1)
    assert count[0::3].sum() == 0
    assert count.sum() == 20 * 1200
    assert count[2::3].sum() / count[1::3].sum() == pytest.approx(3, rel=0.1)


def test_two_processes_draw_what_one_does() -> None:
    weights = np.random.default_rng(0).random(96)
    (one,) = ranks_of(1, 2, size=96, batch_size=16, shuffle="full", weights=weights)
    two = ranks_of(2, 2, size=96, batch_size=8, shuffle="full", weights=weights)
    assert one == [left + right for left, right in zip(*two, strict=True)]


def test_validation_comes_once_in_order_whatever_the_shuffle() -> None:
    orders = [
        BatchOrder(70, 8, training=False, shuffle="shards", rank=rank, ranks=3, shards=[35, 35])
        for rank in range(3)
    ]
    batches = [list(order) for order in orders]
    assert len({len(rank) for rank in batches}) == 1
    assert sorted(row for rank in batches for batch in rank for row in batch) == list(range(70))


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_no_validation_batch_is_empty(ranks: int, batch_size: int) -> None:
    for size in range(ranks, 20):
        orders = [
            BatchOrder(size, batch_size, training=False, shuffle="none", rank=rank, ranks=ranks)
            for rank in range(ranks)
        ]
        batches = [list(order) for order in orders]
        assert {len(rank) for rank in batches} == {len(orders[0])}
        assert all(batch for rank in batches for batch in rank)
        assert sorted(row for rank in batches for batch in rank for row in batch) == list(range(size))
