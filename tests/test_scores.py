"""Scores: range, missing ones, standardisation, and what sampling weights promise."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest

from vedute.data.scores import (
    check_range,
    checked_range,
    complete_rows,
    sampling_weights,
    standardisation,
)
from vedute.errors import ConfigurationError, DataError

NAMES = ["Moira", "Ferdinando"]
NAN = math.nan


def where(row: int) -> str:
    return f"scores.csv, line {row + 2}"


@pytest.mark.parametrize("limits", [(0, 9), (1, 5), (-3, 3), (0.0, 1.0)])
def test_standardised_training_scores_have_mean_0_and_deviation_1(limits: tuple[float, float]) -> None:
    scores = np.random.default_rng(0).uniform(*limits, (50, 3))
    standard = standardisation(scores[:40], ["a", "b", "c"])
    made = standard(scores)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made[:40].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(made[:40].std(0), 1, rtol=1e-4)
    np.testing.assert_allclose(made * standard.scale + standard.mean, scores, rtol=1e-4, atol=1e-4)


def test_a_missing_score_is_left_aside_and_becomes_the_mean() -> None:
    scores = np.array([[1.0, 2.0], [NAN, 4.0], [3.0, 6.0]])
    standard = standardisation(scores, NAMES)
    assert standard.mean.tolist() == [2.0, 4.0]
    assert standard(scores)[1, 0] == 0


def test_a_constant_rater_gets_scale_1_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    scores = np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 3.0]])
    with caplog.at_level(logging.WARNING):
        standard = standardisation(scores, NAMES)
    assert standard.scale[0] == 1.0
    assert "Moira" in caplog.text and "0.1" in caplog.text and "Ferdinando" not in caplog.text
    np.testing.assert_allclose(standard(scores)[:, 0], 0, atol=1e-6)


def test_a_rater_without_any_score_is_refused() -> None:
    with pytest.raises(DataError, match=r"Ferdinando.*no training image"):
        standardisation(np.array([[1.0, NAN], [2.0, NAN]]), NAMES)


def test_scores_outside_the_range_are_named_with_line_rater_and_value() -> None:
    scores = np.array([[0.0, 9.0], [9.5, NAN], [1.0, -1.0]])
    with pytest.raises(DataError) as error:
        check_range(scores, NAMES, [0, 9], where)
    message = str(error.value)
    assert "2 scores are" in message and "line 3: Moira 9.5" in message and "line 4: Ferdinando -1" in message
    check_range(scores, NAMES, [-1, 9.5], where)
    check_range(scores, NAMES, [], where)


@pytest.mark.parametrize("limits", [(9, 0), (1, 1), (0, NAN), (0, math.inf), (0,), (0, 1, 2)])
def test_a_range_that_is_none_is_refused(limits: tuple[float, ...]) -> None:
    with pytest.raises(ConfigurationError, match="score_range"):
        checked_range(limits, "data.score_range")


def test_missing_scores_are_an_error_that_names_the_first_rows() -> None:
    scores = np.array([[1.0, 2.0]] * 3 + [[NAN, NAN], [1.0, NAN]])
    with pytest.raises(DataError) as error:
        complete_rows(scores, NAMES, "error", where)
    assert "2 rows are" in str(error.value)
    assert "line 5 (Moira, Ferdinando), scores.csv, line 6 (Ferdinando)" in str(error.value)
    assert complete_rows(scores[:3], NAMES, "error", where).all()


def test_drop_leaves_out_and_says_how_many(caplog: pytest.LogCaptureFixture) -> None:
    scores = np.array([[1.0, 2.0], [NAN, 2.0], [3.0, NAN]])
    with caplog.at_level(logging.WARNING):
        assert complete_rows(scores, NAMES, "drop", where).tolist() == [True, False, False]
    assert "2 of 3 images" in caplog.text and "line 3 (Moira)" in caplog.text
    with pytest.raises(DataError, match="No image has all"):
        complete_rows(scores[1:], NAMES, "drop", where)


def test_mean_keeps_rows_that_have_any_score() -> None:
    scores = np.array([[1.0, 2.0], [NAN, 2.0], [NAN, NAN]])
    assert complete_rows(scores, NAMES, "mean", where).tolist() == [True, True, False]


def drawn_scores(raters: int, seed: int) -> np.ndarray:
    scores = np.random.default_rng(seed).integers(0, 10, (200, raters)).astype(float)
    scores[np.random.default_rng(seed + 1).random(scores.shape) < 0.1] = NAN
    return scores


@pytest.mark.parametrize("rule", ["product", "consensus"])
@pytest.mark.parametrize("raters", [2, 3, 6])
@pytest.mark.parametrize("seed", range(5))
def test_weights_are_finite_not_negative_and_not_all_zero(rule: str, raters: int, seed: int) -> None:
    for limits in ([0, 9], [-5, 20], []):
        weights = sampling_weights(drawn_scores(raters, seed), rule, limits)  # type: ignore[arg-type]
        assert weights.shape == (200,) and np.isfinite(weights).all()
        assert weights.min() >= 0 and weights.max() <= 1 and weights.sum() > 0


@pytest.mark.parametrize("rule", ["product", "consensus"])
def test_weights_do_not_depend_on_unit_and_origin_of_the_scores(rule: str) -> None:
    scores = drawn_scores(3, 0)
    one = sampling_weights(scores, rule, [0, 9])  # type: ignore[arg-type]
    other = sampling_weights(2 * scores - 7, rule, [-7, 11])  # type: ignore[arg-type]
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_the_product_is_the_product_from_the_lowest_score() -> None:
    scores = np.array([[1.0, 5.0], [5.0, 5.0], [3.0, 3.0], [2.0, 4.0]])
    np.testing.assert_allclose(sampling_weights(scores, "product", [1, 5]), [0, 1, 0.25, 0.1875])


def test_a_higher_score_never_lowers_the_product() -> None:
    scores = drawn_scores(4, 3)
    raised = np.minimum(scores + 1, 9)
    kept = ~np.isnan(scores).any(axis=1)
    before, after = (sampling_weights(values[kept], "product", [0, 9]) for values in (scores, raised))
    assert (after >= before).all()


def test_raters_who_agree_get_more_whatever_they_think() -> None:
    scores = np.array([[0.0, 0.0], [9.0, 9.0], [4.0, 5.0], [2.0, 7.0], [0.0, 9.0]])
    weights = sampling_weights(scores, "consensus", [0, 9])
    assert weights[0] == weights[1] == 1 and weights[-1] == 0
    assert (np.diff(weights[1:]) < 0).all()


def test_moving_an_outlier_towards_the_others_never_lowers_consensus() -> None:
    scores = drawn_scores(5, 7)
    scores = scores[~np.isnan(scores).any(axis=1)]
    nearer = scores.copy()
    rows, outlier = np.arange(len(scores)), scores.argmax(axis=1)
    nearer[rows, outlier] = np.sort(scores, axis=1)[:, -2]
    before, after = (sampling_weights(values, "consensus", [0, 9]) for values in (scores, nearer))
    assert (after >= before - 1e-12).all() and (after > before).any()


def test_weights_that_draw_nothing_are_refused() -> None:
    with pytest.raises(DataError, match="no training image"):
        sampling_weights(np.array([[0.0, 9.0], [9.0, 0.0]]), "product", [0, 9])
    with pytest.raises(DataError, match="no training image"):
        sampling_weights(np.array([[0.0, 9.0], [9.0, 0.0]]), "consensus", [0, 9])
    with pytest.raises(DataError, match="no score for any"):
        sampling_weights(np.array([[NAN, 9.0], [NAN, 0.0]]), "product", [0, 9])
    with pytest.raises(ConfigurationError, match="two or more raters"):
        sampling_weights(np.array([[1.0]]), "consensus", [0, 9])
    with pytest.raises(ConfigurationError, match="there are none"):
        sampling_weights(np.zeros((3, 0)), "product", [0, 9])
