"""Batch-then-apply: what each edit is alone on the state before them, committed in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import zoo
from workbench import Engine
from workbench.edits import EditRequest
from workbench.engine.engine import open_engine
from workbench.errors import UsageError
from workbench.events import (
    EditCancelled,
    EditCommitted,
    EditFailed,
    EditStarted,
    Event,
    GuardAsked,
    OptimStep,
    StageStarted,
    StepTogether,
    TogetherStarted,
)
from workbench.guards import OFF, Decision

REQUESTS = [
    EditRequest("{} plays the", "Knut Hamsun", "silver trumpet"),
    EditRequest("{} is", "Clara", "a river of stone"),
    EditRequest("The mother tongue of {} is not", "Antonín Dvořák", "French"),
]


def opened(folder: Path, stack: str) -> Engine:
    opening = open_engine(str(folder), stack=folder.parent / stack, write=True)
    while True:
        try:
            next(opening)
        except StopIteration as stop:
            engine: Engine = stop.value
            return engine


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return opened(zoo.save(tmp_path / "model", "llama"), "together")


def test_each_update_is_the_one_it_would_have_been_alone_on_the_state_before(engine: Engine, tmp_path: Path) -> None:
    list(engine.apply_together(REQUESTS))
    for request, edit in zip(REQUESTS, engine.stack.line, strict=True):
        alone = opened(tmp_path / "model", f"alone-{edit.number}")
        list(alone.apply(request))
        (mine,), (wanted,) = engine.stack.factors(edit), alone.stack.factors(alone.stack.line[0])
        for got, want in ((mine.a, wanted.a), (mine.b, wanted.b)):
            assert np.linalg.norm(got - want) <= 1e-5 * np.linalg.norm(want)
        assert edit.made_by["together"] == {"requests": 3, "on": None}
        assert len(edit.metrics["trace"]) == len(alone.stack.line[0].metrics["trace"])


def test_they_are_committed_in_order_and_verify_and_undo_as_any(engine: Engine) -> None:
    parameter = engine.core.live.parameter(engine.core.site(engine.core.profile.layer).module)
    pristine = parameter.detach().clone()
    events = list(engine.apply_together(REQUESTS))
    assert [e.request["subject"] for e in events if isinstance(e, EditStarted)] == [r.subject for r in REQUESTS]
    assert [(e.index, e.of) for e in events if isinstance(e, EditStarted)] == [(1, 3), (2, 3), (3, 3)]
    assert [e.position for e in events if isinstance(e, EditCommitted)] == [1, 2, 3]
    assert returned(engine.verify()) is True
    list(engine.undo(3))
    assert parameter.equal(pristine)
    list(engine.redo(2))
    list(engine.apply_together(REQUESTS[:2]))
    assert engine.stack.line[-1].made_by["together"] == {"requests": 2, "on": engine.stack.line[1].id}


def test_joint_steps_are_told_once_and_each_edits_own_in_its_turn(engine: Engine) -> None:
    events = list(engine.apply_together(REQUESTS))
    joint = [e for e in events if isinstance(e, StepTogether)]
    first = next(i for i, e in enumerate(events) if isinstance(e, EditStarted))
    assert events.index(joint[-1]) < first
    assert not any(isinstance(e, OptimStep) for e in events[:first])
    assert joint[0].requests == joint[0].running == 3
    assert joint[-1].running == 0
    own = [e for e in events if isinstance(e, OptimStep) and e.step == 1]
    assert joint[0].loss == pytest.approx(sum(e.loss for e in own) / 3)


def test_one_that_cannot_be_made_does_not_stop_the_others(engine: Engine) -> None:
    hopeless = EditRequest("{} plays the " + "long " * 200, "Clara", "drum")
    events = list(engine.apply_together([hopeless, *REQUESTS[:2]]))
    assert sum(isinstance(e, EditFailed) for e in events) == 1
    assert sum(isinstance(e, EditCommitted) for e in events) == 2
    assert [edit.request.subject for edit in engine.stack.line] == ["Knut Hamsun", "Clara"]


@pytest.mark.parametrize("after", [0, 3, 12])
def test_stopping_leaves_what_was_committed_and_nothing_else(engine: Engine, after: int) -> None:
    seen: list[Event] = []
    seen.extend(engine.apply_together(REQUESTS, cancelled=lambda: len(seen) > after))
    assert isinstance(seen[-1], EditCancelled)
    assert engine.stack.position == sum(isinstance(e, EditCommitted) for e in seen)
    assert returned(engine.verify()) is True


def test_it_says_first_what_is_made_and_a_pause_ends_it_after_the_edit_in_flight(engine: Engine) -> None:
    events = list(engine.apply_together(REQUESTS, index=3, of=7, enough=lambda: True))
    begun = next(e for e in events if isinstance(e, TogetherStarted | EditStarted | StageStarted))
    assert isinstance(begun, TogetherStarted)
    assert (begun.requests, begun.index, begun.of) == (3, 3, 7)
    assert begun.request["subject"] == "Knut Hamsun"
    assert [e.position for e in events if isinstance(e, EditCommitted)] == [1]
    assert not any(isinstance(e, EditCancelled) for e in events)
    assert list(engine.apply_together([])) == []


@pytest.mark.parametrize(("answer", "asked"), [("keep", 3), ("continue", 1)])
def test_what_was_answered_with_continue_is_not_asked_again(engine: Engine, answer: Decision, asked: int) -> None:
    events = list(engine.apply_together(REQUESTS, guard=OFF.changed({"ratio": 0.001}), decide=lambda _: answer))
    assert sum(isinstance(e, GuardAsked) for e in events) == asked
    assert engine.stack.position == 3


def test_a_method_that_makes_one_edit_of_many_makes_none_side_by_side(engine: Engine) -> None:
    with pytest.raises(UsageError, match="one edit of many"):
        list(engine.apply_together(REQUESTS, {"method": "memit"}))


def returned(job: object) -> object:
    while True:
        try:
            next(job)  # type: ignore[call-overload]
        except StopIteration as stop:
            return stop.value
