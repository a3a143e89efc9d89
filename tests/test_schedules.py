"""Schedules at their ends and in between."""

from __future__ import annotations

import pytest

from vedute.schedules import Constant, LinearWarmup, Progress, WarmupCosine


def test_constant_and_warmup() -> None:
    assert Constant(0.3)(Progress(7, 0.5)) == 0.3
    warmup = LinearWarmup(epochs=4, start=0.2)
    assert warmup(Progress(0, 0)) == pytest.approx(0.2)
    assert warmup(Progress(2, 0)) == pytest.approx(0.6)
    assert warmup(Progress(9, 0)) == 1
    with pytest.raises(ValueError, match="epochs > 0"):
        LinearWarmup(epochs=0)


def test_cosine_rises_and_falls() -> None:
    schedule = WarmupCosine(warmup=0.1, final=0.05)
    values = [schedule(Progress(0, fraction / 100)) for fraction in range(101)]
    assert max(values) == values[10] == pytest.approx(1)
    assert values[-1] == pytest.approx(0.05)
    assert values[:11] == sorted(values[:11]) and values[10:] == sorted(values[10:], reverse=True)
    with pytest.raises(ValueError, match="warmup"):
        WarmupCosine(warmup=1.0)
