"""Who is in which split: shares, groups, and splits that the data give."""

from __future__ import annotations

import numpy as np
import pytest

from vedute.data.splits import assign_splits, draw_groups
from vedute.errors import DataError


def rows(splits: dict, name: str) -> set[int]:  # type: ignore[type-arg]
    return set(splits[name].rows.tolist())


def test_groups_stay_together() -> None:
    groups = np.repeat(np.arange(40), np.random.default_rng(0).integers(1, 9, 40))
    splits = assign_splits({"train": np.ones(len(groups), bool)}, 0.2, seed=1, groups={"train": groups})
    found = {name: {int(groups[row]) for row in splits[name].rows} for name in splits}
    assert sum(len(names) for names in found.values()) == 40  # no group in two splits
    assert len(splits["val"].rows) / len(groups) == pytest.approx(0.2, abs=0.06)
    assert len(splits["test"].rows) / len(groups) == pytest.approx(0.1, abs=0.06)


def test_of_two_groups_one_is_chosen_and_one_left() -> None:
    assert draw_groups(np.array([0, 0, 0, 0, 5]), 0.01, seed=0).sum() in (1, 4)


def test_given_splits_are_kept_and_the_missing_are_drawn_from_the_undecided() -> None:
    given = np.array([0] * 50 + [2] * 10 + [-1] * 40)
    splits = assign_splits({"train": np.ones(100, bool)}, None, seed=0, given={"train": given})
    assert rows(splits, "test") == set(range(50, 60))
    assert rows(splits, "val") <= set(range(60, 100)) and len(rows(splits, "val")) == 10
    assert rows(splits, "train") | rows(splits, "val") | rows(splits, "test") == set(range(100))


def test_given_validation_serves_as_test_where_none_is_given() -> None:
    given = np.array([0] * 8 + [1] * 2)
    splits = assign_splits({"train": np.ones(10, bool)}, None, seed=0, given={"train": given})
    assert rows(splits, "val") == rows(splits, "test") == {8, 9}


def test_unwanted_rows_are_in_no_split() -> None:
    keep = np.arange(100) % 2 == 0
    splits = assign_splits({"train": keep}, None, seed=0)
    assert all(row % 2 == 0 for split in splits.values() for row in split.rows)


def test_an_empty_split_is_an_error() -> None:
    given = np.zeros(10, dtype=np.int64)
    with pytest.raises(DataError, match=r"No image is left for the split 'test'.*10 in train \(10 of them"):
        assign_splits({"train": np.ones(10, bool)}, 0.5, seed=0, given={"train": given})
