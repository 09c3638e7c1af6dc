"""Bootstrap intervals against values by hand and by another way."""

from __future__ import annotations

import math
import random

import pytest

from workbench.engine.evaluating.bootstrap import RESAMPLES, Interval, intervals
from workbench.probing.metrics import MEASURES, CaseScore, ProbeScore, harmonic, summary


def case(held: bool, near: bool | None = True) -> CaseScore:
    probes = [ProbeScore("efficacy", held, math.log(0.6 if held else 0.2), math.log(0.3), float(held))]
    if near is not None:
        probes.append(ProbeScore("neighbourhood", near, math.log(0.1), math.log(0.4), 1.0))
    return CaseScore(tuple(probes))


def test_the_value_is_the_summary_and_lies_within() -> None:
    cases = [case(i % 3 > 0, i % 5 > 0) for i in range(40)]
    found, whole = intervals(cases), summary(cases)
    for name in ("s", *MEASURES):
        interval, value = found[name], getattr(whole, name)
        assert (interval is None) == (value is None or name in ("ps", "pm", "pa", "entropy", "consistency"))
        if interval:
            assert interval.value == value
            assert interval.low <= value <= interval.high


def test_the_interval_of_a_share_is_that_of_the_binomial() -> None:
    found = intervals([case(i < 30) for i in range(100)])["es"]
    assert found is not None
    # 2.5 and 97.5 % of the binomial with n = 100, p = 0.3: 21 and 39
    assert found.low == pytest.approx(0.21, abs=0.01)
    assert found.high == pytest.approx(0.39, abs=0.01)


def test_the_harmonic_mean_is_resampled_whole() -> None:
    cases = [case(i % 2 > 0, i % 4 > 0) for i in range(20)]
    rng, drawn = random.Random(3), []
    for _ in range(2000):
        some = summary(rng.choices(cases, k=20))
        drawn.append(harmonic([some.es, some.ns]))
    drawn.sort()
    found = intervals(cases)["s"]
    assert found is not None
    assert found.low == pytest.approx(drawn[50], abs=0.03)
    assert found.high == pytest.approx(drawn[1950], abs=0.03)


def test_the_same_cases_have_the_same_interval() -> None:
    cases = [case(i % 3 > 0) for i in range(30)]
    assert intervals(cases) == intervals(cases)
    assert intervals(cases, 50, seed=1) != intervals(cases, 50)
    assert RESAMPLES == 10_000


def test_one_case_has_no_spread_and_none_has_nothing() -> None:
    assert intervals([case(True)])["es"] == Interval(1.0, 1.0, 1.0)
    assert set(intervals([]).values()) == {None}


def test_a_measure_that_few_cases_have_is_taken_over_those() -> None:
    cases = [case(True, None) for _ in range(30)] + [case(True, True), case(True, False)]
    found = intervals(cases)["ns"]
    assert found is not None
    assert found.value == 0.5
    assert (found.low, found.high) == (0.0, 1.0)
