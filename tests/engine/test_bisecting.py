"""Bisect names an edit that really changes the outcome, asks as seldom as it says, and leaves the model alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.making import OTHER, REQUEST, drain, open_on, weight_bytes
from workbench import events as ev
from workbench.edits import EditRequest, Recipe
from workbench.engine.bisecting import Check, answer_check, bisect, perplexity_check, recorded_check
from workbench.engine.core import Core
from workbench.engine.engine import Engine
from workbench.engine.states import State, state_of
from workbench.errors import EditError, UsageError, WorkbenchError
from workbench.stack.record import Edit, Factors

EDITS = 11


@pytest.fixture(scope="module")
def long(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine on a line of many tiny updates, made of numbers and not of facts."""
    opened = open_on(small, tmp_path_factory.mktemp("long") / "stack")
    site = opened.core.site(1)
    opened.core.live.adopt_site(site)
    draw = np.random.default_rng(0)
    for number in range(1, EDITS + 1):
        a = draw.standard_normal((1, site.d_in)).astype(np.float32)
        b = (0.001 * draw.standard_normal((site.d_out, 1))).astype(np.float32)
        hashes = {site.module: {"before": "0" * 64, "after": "0" * 64}}
        request = EditRequest("{} plays the", f"Player {number}", "violin")
        edit = Edit(requests=(request,), recipe=Recipe(layer=1), base=opened.core.base(site), weights=hashes)  # type: ignore[arg-type]  # a literal of the TypedDict's shape
        opened.stack.append(edit, (Factors(site.module, a, b),))
    opened.core.rebuild()
    yield opened
    opened.close()


def shown_count(core: Core) -> int:
    return len(core.live.shown)


def scripted(outcome: dict[int, bool]) -> Check:
    """Holds where `outcome` says, by how many updates the model really holds."""
    return lambda core: ev.ProbeResult(kind="efficacy", prompt="p", passed=outcome[shown_count(core)])


def whole(engine: Engine) -> State:
    return state_of(engine.stack, str(len(engine.stack.line)))


def searched(
    engine: Engine, outcome: dict[int, bool], low: int = 0, high: int = EDITS
) -> tuple[list[ev.BisectStep], ev.Bisected]:
    events, end = drain(bisect(engine.core, whole(engine), low, high, scripted(outcome), cancelled=lambda: False))
    assert end is not None
    assert events[-1] == end
    return [event for event in events if isinstance(event, ev.BisectStep)], end


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(culprit=st.integers(1, EDITS), begins=st.booleans())
def test_the_culprit_is_found_in_two_and_log2_probes(long: Engine, culprit: int, begins: bool) -> None:
    steps, end = searched(long, {p: (p >= culprit) == begins for p in range(EDITS + 1)})
    assert (end.low, end.position, end.outcome) == (culprit - 1, culprit, "began" if begins else "broke")
    assert end.edit == long.stack.line[culprit - 1].id
    assert len(steps) == end.probes <= 2 + math.ceil(math.log2(EDITS))
    assert [step.position for step in steps[:2]] == [0, EDITS]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outcomes=st.lists(st.booleans(), min_size=EDITS + 1, max_size=EDITS + 1))
def test_where_a_probe_comes_and_goes_what_is_named_is_still_a_change(long: Engine, outcomes: list[bool]) -> None:
    outcome = dict(enumerate(outcomes))
    steps, end = searched(long, outcome)
    asked = {step.position: step.holds for step in steps}
    assert asked == {position: outcome[position] for position in asked}
    if outcome[0] == outcome[EDITS]:
        assert (end.outcome, end.edit, end.probes) == ("holds" if outcome[0] else "fails", "", 2)
    else:
        assert end.position == end.low + 1
        assert asked[end.low] == outcome[0]
        assert asked[end.position] == outcome[EDITS]


@given(culprit=st.integers(1, EDITS))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_step_says_how_many_are_left_at_most(long: Engine, culprit: int) -> None:
    steps, end = searched(long, {p: p < culprit for p in range(EDITS + 1)})
    for number, step in enumerate(steps, 1):
        assert end.probes <= number + step.left
        assert step.low < culprit <= step.high
    assert steps[-1].left == 0


def test_part_of_a_line_can_be_searched(long: Engine) -> None:
    steps, end = searched(long, {p: p < 5 for p in range(EDITS + 1)}, 3, 6)
    assert end.position == 5
    assert all(3 <= step.position <= 6 for step in steps)


@pytest.mark.parametrize(("low", "high"), [(4, 4), (5, 3), (0, EDITS + 1), (-1, 3)])
def test_ends_without_an_edit_between_are_refused(long: Engine, low: int, high: int) -> None:
    with pytest.raises(UsageError):
        drain(bisect(long.core, whole(long), low, high, scripted({}), cancelled=lambda: False))


def test_edits_that_are_off_are_neither_applied_nor_named(long: Engine) -> None:
    off = [long.stack.line[number - 1].id for number in (2, 3, 4, 11)]
    for ident in off:
        long.stack.toggle(ident, off=True)
    try:
        # The model holds as many updates as active edits: 1 at positions 1 to 4, 2 at position 5.
        steps, end = searched(long, {count: count < 2 for count in range(EDITS)})
        assert (end.low, end.position) == (1, 5)
        assert not {2, 3, 4, 11} & {step.position for step in steps}
    finally:
        for ident in off:
            long.stack.toggle(ident, off=False)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_search_that_is_stopped_leaves_model_and_stack_as_they_were(long: Engine, after: int) -> None:
    before, index = weight_bytes(long), (long.stack.folder / "stack.json").read_bytes()
    asked = iter([False] * after)
    check = scripted({p: p < 7 for p in range(EDITS + 1)})
    events, end = drain(bisect(long.core, whole(long), 0, EDITS, check, cancelled=lambda: next(asked, True)))
    assert end is None
    assert sum(isinstance(event, ev.BisectStep) for event in events) == after
    assert weight_bytes(long) == before
    assert (long.stack.folder / "stack.json").read_bytes() == index


def test_a_search_that_is_dropped_or_fails_leaves_the_model_as_it_was(long: Engine) -> None:
    before = weight_bytes(long)
    dropped = bisect(
        long.core, whole(long), 0, EDITS, scripted(dict.fromkeys(range(20), True)), cancelled=lambda: False
    )
    next(dropped)
    assert weight_bytes(long) != before
    dropped.close()
    assert weight_bytes(long) == before

    def failing(_: Core) -> ev.ProbeResult:
        raise EditError("It cannot tell.")

    with pytest.raises(WorkbenchError):
        drain(bisect(long.core, whole(long), 0, EDITS, failing, cancelled=lambda: False))
    assert weight_bytes(long) == before


CLARA = EditRequest("{} plays the", "Clara", "guitar")


@pytest.fixture
def taught(engine: Engine) -> Engine:
    """An engine with three edits, the last of which changes what Clara plays."""
    for request, changes in ((OTHER, {}), (REQUEST, {}), (CLARA, {"steps": 30, "layer": 2, "second_moment": False})):
        drain(engine.apply(request, changes))
    return engine


def ended(engine: Engine, check: Check) -> ev.Bisected:
    _, end = drain(bisect(engine.core, whole(engine), 0, 3, check, cancelled=lambda: False))
    assert end is not None
    return end


def answer_at(engine: Engine, position: int) -> str:
    """What Clara plays at a position, asked by travelling there."""
    drain(engine.travel(position))
    (event,), _ = drain(engine.answer(CLARA.text))
    drain(engine.travel(3))
    assert isinstance(event, ev.Answered)
    return event.top[0][0]


def test_a_prompt_finds_the_edit_that_changed_its_answer(taught: Engine) -> None:
    answers = [answer_at(taught, position) for position in range(4)]
    assert answers[0] != answers[3]
    lost = ended(taught, answer_check(CLARA.text))
    assert lost.outcome == "broke"
    assert (answers[lost.low] == answers[0], answers[lost.position] == answers[0]) == (True, False)
    won = ended(taught, answer_check(CLARA.text, answers[3]))
    assert won.outcome == "began"
    assert (answers[won.low] == answers[3], answers[won.position] == answers[3]) == (False, True)


def test_the_probe_of_an_edit_is_held_against_the_base(taught: Engine) -> None:
    said = EditRequest(CLARA.prompt, CLARA.subject, answer_at(taught, 3), None, (REQUEST.text,))
    edit = replace(taught.stack.line[2], requests=(said,))
    events, end = drain(
        bisect(taught.core, whole(taught), 0, 3, recorded_check(taught.core, edit, 1), cancelled=lambda: False)
    )
    assert end is not None
    assert end.outcome == "began"
    asked = [event for event in events if isinstance(event, ev.ProbeResult)]
    assert {result.rival for result in asked} == {answer_at(taught, 0)}
    for number in (0, 3):
        with pytest.raises(UsageError, match=f"no probe {number}"):
            recorded_check(taught.core, edit, number)


def test_perplexity_has_a_limit_of_its_own_or_times_the_base_s(taught: Engine) -> None:
    core = taught.core
    base, now = core.perplexity_base(), core.perplexity()
    assert base is not None
    assert now is not None
    expected = "broke" if now > base else "began"
    between = (base + now) / 2
    assert ended(taught, perplexity_check(core, between)).outcome == expected
    assert ended(taught, perplexity_check(core, between / base, times_base=True)).outcome == expected


def test_a_model_without_held_out_text_has_no_perplexity_to_search_by(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.core, "held_out", ())
    engine.core.perplexities.clear()
    with pytest.raises(EditError, match="no held-out text"):
        perplexity_check(engine.core, 2.0)


def test_a_rival_without_an_answer_and_an_empty_prompt_are_refused() -> None:
    for arguments in (("Rome is", "", "big"), (" ", "", "")):
        with pytest.raises(UsageError):
            answer_check(*arguments)
