"""Conditions as typed."""

from __future__ import annotations

import pytest

from vedute.batch import ConditionKind
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


def test_the_ends_of_a_range_of_scores_are_legal() -> None:
    for value in (0.7, 4.8):
        assert parse_condition(f"A={value}", "score", ["A"], [0.0], [1.0], [0.7, 4.8]).tolist() == [
            pytest.approx(value)
        ]
    for value in ("0.69", "4.81"):
        with pytest.raises(ConditionError, match=r"outside the scores' range 0\.7 to 4\.8"):
            parse_condition(f"A={value}", "score", ["A"], [0.0], [1.0], [0.7, 4.8])


def test_each_score_may_have_a_range_of_its_own() -> None:
    legal = [0.0, 40.0, 0.0, 1.0]
    vector = parse_condition("age=20,beauty=0.5", "score", ["age", "beauty"], [20, 0], [10, 1], legal)
    assert vector.tolist() == [0.0, 0.5]
    with pytest.raises(ConditionError, match="beauty=20 lies outside the scores' range 0 to 1"):
        parse_condition("age=20,beauty=20", "score", ["age", "beauty"], [20, 0], [10, 1], legal)


@pytest.mark.parametrize("text", ["a=nan", "a=inf"])
@pytest.mark.parametrize("kind", ["class", "score"])
def test_what_is_not_finite_is_no_condition(text: str, kind: ConditionKind) -> None:
    with pytest.raises(ConditionError, match="is no number"):
        parse_condition(text, kind, ["a"])


def test_a_class_may_have_a_comma_or_an_equals_sign_in_its_name() -> None:
    names = ["red, round", "a=b", "c"]
    assert parse_condition("red, round", "class", names).tolist() == [1, 0, 0]
    assert parse_condition("a=b", "class", names).tolist() == [0, 1, 0]
    assert parse_condition("a=b=0.5,c=0.5", "class", names).tolist() == [0, 0.5, 0.5]
