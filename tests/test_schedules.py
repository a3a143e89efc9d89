"""Schedules at their ends and in between."""

from __future__ import annotations

import pytest

from vedute.errors import ConfigurationError
from vedute.schedules import Constant, FromEpoch, LinearWarmup, Progress, WarmupCosine, follows_fraction


def test_constant_and_warmup() -> None:
    assert Constant(0.3)(Progress(7, 0.5)) == 0.3
    warmup = LinearWarmup(epochs=4, start=0.2)
    assert warmup(Progress(0, 0)) == pytest.approx(0.2)
    assert warmup(Progress(2, 0)) == pytest.approx(0.6)
    assert warmup(Progress(9, 0)) == 1
    with pytest.raises(ConfigurationError, match="epochs > 0"):
        LinearWarmup(epochs=0)


def test_cosine_rises_and_falls() -> None:
    schedule = WarmupCosine(warmup=0.1, final=0.05)
    values = [schedule(Progress(0, fraction / 100)) for fraction in range(101)]
    assert max(values) == values[10] == pytest.approx(1)
    assert values[-1] == pytest.approx(0.05)
    assert values[:11] == sorted(values[:11]) and values[10:] == sorted(values[10:], reverse=True)
    with pytest.raises(ConfigurationError, match="warmup"):
        WarmupCosine(warmup=1.0)


def test_a_warmup_over_the_whole_run_follows_its_share() -> None:
    warmup = LinearWarmup()
    assert [warmup(Progress(3, share)) for share in (0, 0.25, 1)] == [0, 0.25, 1]


def test_a_late_term_enters_with_its_epoch() -> None:
    late = FromEpoch(2)
    assert (late(Progress(1.99, 0.5)), late(Progress(2.0, 0.5))) == (0, 1)
    with pytest.raises(ConfigurationError, match="at least 0"):
        FromEpoch(-1)


def test_a_cosine_may_start_anywhere() -> None:
    schedule = WarmupCosine(warmup=0.1, start=0.05, final=0.0005)
    values = [schedule(Progress(0, share)) for share in (0, 0.1, 1)]
    assert values == pytest.approx([0.05, 1, 0.0005]), "system S2: 1e-4, 2e-3, 1e-6 of a rate of 2e-3"


def test_what_follows_the_share_of_a_run_is_known() -> None:
    assert follows_fraction(LinearWarmup()) and follows_fraction(WarmupCosine())
    assert not any(follows_fraction(schedule) for schedule in (Constant(), FromEpoch(2), LinearWarmup(3)))
