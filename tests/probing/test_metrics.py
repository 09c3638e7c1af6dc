"""Every measure against numbers worked out by hand, ties and NaN included. No torch."""

from __future__ import annotations

import math

import pytest

from workbench.probing.metrics import MEASURES, CaseScore, Kind, ProbeScore, harmonic, scores, summary


def probe(kind: Kind, new: float | None, true: float | None, accuracy: float = 0.0) -> ProbeScore:
    """A probe with two probabilities, judged as CounterFact does."""
    ours, theirs = (true, new) if kind == "neighbourhood" else (new, true)
    held = ours is not None and theirs is not None and ours > theirs
    return ProbeScore(kind, held, _log(new), _log(true), accuracy)


def _log(p: float | None) -> float | None:
    return None if p is None else math.nan if math.isnan(p) else math.log(p)


FIRST = CaseScore(
    (
        probe("efficacy", 0.8, 0.1, 1.0),
        probe("paraphrase", 0.5, 0.2, 0.5),
        probe("paraphrase", 0.1, 0.4, 0.0),
        probe("neighbourhood", 0.1, 0.6, 1.0),
        probe("neighbourhood", 0.3, 0.2, 0.0),
        probe("neighbourhood", 0.2, 0.5, 1.0),
        probe("neighbourhood", 0.1, 0.5, 1.0),
    )
)
SECOND = CaseScore(
    (
        probe("efficacy", 0.25, 0.25, 0.5),  # a tie
        probe("paraphrase", 0.9, 0.3, 1.0),
        probe("neighbourhood", 0.4, 0.4, 0.5),  # a tie
        probe("neighbourhood", 0.2, 0.6, 0.5),
    )
)


def test_scores_and_magnitudes_of_two_cases_are_those_by_hand() -> None:
    found = summary([FIRST, SECOND])
    assert found.cases == 2
    assert found.failed == 0
    assert found.es == pytest.approx((1 + 0) / 2)
    assert found.ps == pytest.approx((1 / 2 + 1) / 2)
    assert found.ns == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found.s == pytest.approx(3 / (1 / 0.5 + 1 / 0.75 + 1 / 0.625))
    assert found.em == pytest.approx((0.7 + 0.0) / 2)
    assert found.pm == pytest.approx(((0.3 - 0.3) / 2 + 0.6) / 2)
    assert found.nm == pytest.approx(((0.5 - 0.1 + 0.3 + 0.4) / 4 + (0.0 + 0.4) / 2) / 2)
    assert found.ea == pytest.approx((1.0 + 0.5) / 2)
    assert found.pa == pytest.approx((0.25 + 1.0) / 2)
    assert found.na == pytest.approx((0.75 + 0.5) / 2)


def test_what_is_no_number_fails_and_has_no_probability() -> None:
    broken = CaseScore((probe("efficacy", math.nan, 0.3), probe("neighbourhood", math.nan, math.nan)))
    found = summary([broken])
    assert (found.es, found.ns) == (0.0, 0.0)
    assert found.em == pytest.approx(-0.3)
    assert found.nm == 0.0
    assert found.s == 0.0


def test_a_kind_that_nobody_asked_for_is_none_and_left_out_of_s() -> None:
    found = summary([CaseScore((probe("efficacy", 0.8, 0.1),))])
    assert found.ps is None
    assert found.pm is None
    assert found.pa is None
    assert found.s == 1.0


def test_a_case_without_paraphrases_does_not_count_for_them() -> None:
    alone = CaseScore((probe("efficacy", 0.8, 0.1),))
    assert summary([alone, SECOND]).ps == summary([SECOND]).ps


def test_a_probe_without_a_rival_has_no_magnitude_but_counts() -> None:
    said = CaseScore((ProbeScore("efficacy", True, math.log(0.9), None, 1.0),))
    assert summary([said]).es == 1.0
    assert summary([said]).em is None


def test_texts_are_averaged_over_the_cases_that_have_them() -> None:
    found = summary([CaseScore((), entropy=4.0, consistency=0.2), CaseScore((), entropy=2.0), CaseScore(())])
    assert found.entropy == 3.0
    assert found.consistency == pytest.approx(0.2)


def test_a_failed_case_is_counted_and_fails_everything() -> None:
    lost = CaseScore((ProbeScore("efficacy", False, None, None, 0.0),), failed="It cannot be made.")
    found = summary([FIRST, lost])
    assert found.failed == 1
    assert found.es == 0.5
    assert found.ea == 0.5
    assert found.em == pytest.approx(0.7)


def test_the_harmonic_mean_is_zero_where_one_is() -> None:
    assert harmonic([1.0, 0.0, None]) == 0.0
    assert harmonic([None]) == 0.0
    assert harmonic([0.5, 1.0, None]) == pytest.approx(2 / 3)


def test_probes_asked_by_others_are_scored_by_the_same_rule() -> None:
    found, whole = scores([FIRST.probes, SECOND.probes]), summary([FIRST, SECOND])
    assert (found.es, found.ps, found.ns, found.s) == (whole.es, whole.ps, whole.ns, whole.s)


def test_nothing_has_no_scores() -> None:
    found = summary([])
    assert (found.cases, found.failed, found.s) == (0, 0, 0.0)
    assert {getattr(found, name) for name in MEASURES} == {None}
