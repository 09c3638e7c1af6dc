"""The phase of a stack, on stacks made for each: one that is well, one that wears out, one that a single edit broke."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.engine.by_hand import Planned, plant
from tests.engine.making import drain, weight_bytes
from workbench import events as ev
from workbench.engine.engine import Engine
from workbench.engine.health.phases import diagnose
from workbench.engine.health.vitals import Vitals
from workbench.engine.health.wearing import worn
from workbench.engine.states import state_of

TINY = Planned(1e-6)


def never() -> bool:
    return False


def found(engine: Engine, **how: Any) -> tuple[list[ev.Event], ev.Diagnosed]:
    events, said = drain(engine.health(**how))
    assert said is not None
    assert events[-1] == said
    return events, said


def test_a_stack_of_small_edits_that_hold_is_stable(engine: Engine) -> None:
    plant(engine, [TINY] * 12)
    events, said = found(engine)
    assert (said.phase, said.position, said.edit, said.hint, said.probed) == ("stable", None, "", "", 0)
    assert (said.slope, said.slope_low, said.slope_high) == (0.0, 0.0, 0.0)
    assert not [event for event in events if isinstance(event, ev.BisectStep)]


def test_the_base_is_stable(engine: Engine) -> None:
    _, said = found(engine)
    assert said.phase == "stable"
    assert "base" in said.message


@pytest.mark.parametrize("culprit", [1, 5, 9])
def test_one_disabling_edit_is_catastrophic_and_named(engine: Engine, culprit: int) -> None:
    plant(engine, [replace(TINY, size=300.0) if number == culprit else TINY for number in range(1, 10)])
    before = weight_bytes(engine)
    events, said = found(engine)
    assert (said.phase, said.position) == ("catastrophic", culprit)
    assert said.edit == engine.stack.line[culprit - 1].id
    assert said.perplexity_before is not None
    assert said.perplexity_after is not None
    assert said.perplexity_after > 2 * said.perplexity_before
    assert said.probed <= 2 + math.ceil(math.log2(9))
    assert f"travel {engine.stack.folder} {culprit - 1}" in said.hint
    assert f"toggle {engine.stack.folder} {culprit}" in said.hint
    assert weight_bytes(engine) == before
    assert len([event for event in events if isinstance(event, ev.BisectStep)]) == said.probed


def test_a_break_is_found_among_edits_some_of_which_are_off(engine: Engine) -> None:
    plant(engine, [TINY, TINY, replace(TINY, size=300.0), TINY, TINY])
    for number in (2, 4):
        drain(engine.toggle(engine.stack.line[number - 1].id, off=True))
    _, said = found(engine)
    assert (said.phase, said.position) == ("catastrophic", 3)
    assert f"travel {engine.stack.folder} 1" in said.hint


def test_a_broken_edit_that_is_left_out_is_no_longer_found(engine: Engine) -> None:
    plant(engine, [TINY, replace(TINY, size=300.0), TINY])
    drain(engine.toggle(engine.stack.line[1].id, off=True))
    assert found(engine)[1].phase == "stable"


def wear_out(engine: Engine) -> None:
    """Twelve edits that all push the same way: perplexity grows to twice the base's, and no step is a jump."""
    plant(engine, [Planned(4.0, took=False)] * 12, seed=3, alike=True)


def test_perplexity_that_grows_edit_by_edit_is_gradual_with_its_slope(engine: Engine) -> None:
    wear_out(engine)
    events, said = found(engine, at="8", every=2)
    times = [Vitals.of(report).times for report in events if isinstance(report, ev.HealthReport)]
    assert 1.1 < times[-1] < 2
    assert (said.phase, said.slope_of, said.position) == ("gradual", "perplexity", None)
    assert said.slope_low is not None
    assert "times as perplexing" in said.message
    assert "compact" in said.hint


def test_a_state_that_many_small_steps_broke_is_gradual_and_says_so(engine: Engine) -> None:
    wear_out(engine)
    events, said = found(engine)
    report = next(event for event in events if isinstance(event, ev.HealthReport))
    assert Vitals.of(report).broken()
    assert [event for event in events if isinstance(event, ev.BisectStep)]
    assert said.phase == "gradual"
    assert "no single edit did it" in said.message


def test_earlier_edits_that_no_longer_hold_are_gradual_forgetting_with_the_slope_stated(engine: Engine) -> None:
    plant(engine, [replace(TINY, holds=number > 4) for number in range(1, 13)])
    _, said = found(engine)
    assert (said.phase, said.slope_of, said.position) == ("gradual", "retention", None)
    assert said.slope is not None
    assert said.slope_low is not None
    assert 0 < said.slope_low < said.slope
    assert "each later edit costs" in said.message.lower()


REPORT = ev.HealthReport(position=8, applied=8, took=8, perplexity=10.0, perplexity_base=10.0)


@pytest.mark.parametrize(
    ("vitals", "broken"),
    [
        (Vitals(20.0, 10.0, 8, 1.0), False),
        (Vitals(20.1, 10.0, 8, 1.0), True),
        (Vitals(math.inf, 10.0, 8, 1.0), True),
        (Vitals(math.nan, 10.0, 8, 1.0), True),
        (Vitals(10.0, 10.0, 8, 0.5), False),
        (Vitals(10.0, 10.0, 8, 0.49), True),
        (Vitals(10.0, 10.0, 3, 0.0), False),
        (Vitals(None, None, 8, None), False),
    ],
)
def test_a_state_is_broken_beyond_twice_the_perplexity_or_below_half_of_what_took(vitals: Vitals, broken: bool) -> None:
    assert vitals.broken() == broken


def test_facts_that_nobody_edited_count_beyond_their_error(engine: Engine) -> None:
    worse = replace(REPORT, cloze=0.80, cloze_base=0.90, cloze_error=0.05)
    assert worn(engine.core, [worse]).phase == "gradual"
    assert worn(engine.core, [replace(worse, cloze_error=0.06)]).phase == "stable"


def test_a_curve_shows_a_fall_to_half_even_where_half_still_holds(engine: Engine) -> None:
    before = replace(REPORT, position=4, applied=4, took=8, retention=1.0)
    plant(engine, [TINY] * 8)
    line = state_of(engine.stack, "8")
    after = replace(REPORT, retention=0.45)
    events, said = drain(diagnose(engine.core, line, [before, after], cancelled=never))
    asked = [event.position for event in events if isinstance(event, ev.BisectStep)]
    assert asked[:2] == [4, 8]
    assert said is not None


def test_a_search_that_is_stopped_says_nothing(engine: Engine) -> None:
    plant(engine, [TINY, replace(TINY, size=300.0), TINY])
    before = weight_bytes(engine)
    events, _ = drain(engine.health())
    report = next(event for event in events if isinstance(event, ev.HealthReport))
    answers = iter([False])
    line = state_of(engine.stack, "3")
    _, said = drain(diagnose(engine.core, line, [report], cancelled=lambda: next(answers, True)))
    assert said is None
    assert weight_bytes(engine) == before
