"""Conditions as typed."""

from __future__ import annotations

import pytest

from vedute.conditions import parse_condition
from vedute.errors import ConditionError

NAMES = ["coast", "forest", "mountain"]


def test_a_name_is_one_hot_whatever_the_case() -> None:
    assert parse_condition("Forest", "class", NAMES).tolist() == [0, 1, 0]


def test_pairs_are_probabilities() -> None:
    assert parse_condition("coast=0.75, mountain=0.25", "class", NAMES).tolist() == [0.75, 0, 0.25]


def test_scores_take_any_value_and_need_every_name() -> None:
    assert parse_condition("b=-2,a=9", "score", ["a", "b"]).tolist() == [9, -2]
    with pytest.raises(ConditionError, match="leaves out: b"):
        parse_condition("a=9", "score", ["a", "b"])
    with pytest.raises(ConditionError, match="a value for each score"):
        parse_condition("a,b", "score", ["a", "b"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("coats", "Did you mean 'coast'"),
        ("zebra", "Known: coast, forest, mountain"),
        ("coast=x", "no number"),
        ("coast=0.7,forest=0.7", "sum to at"),
        ("coast=-1", "no class label"),
        ("coast,coast", "twice"),
    ],
)
def test_bad_conditions_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ConditionError, match=message):
        parse_condition(text, "class", NAMES)


def test_an_unconditional_model_takes_none() -> None:
    with pytest.raises(ConditionError, match="'none'"):
        parse_condition("coast", "none", [])
