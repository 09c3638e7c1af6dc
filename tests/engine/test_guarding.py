"""A guard asks before an edit is committed, and its answer is what happens; in process and over the pipe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.making import OTHER, REQUEST, drain, open_on, weight_bytes
from tests.engine.test_server import Child
from workbench import events as ev
from workbench.edits import EditRequest, Neighbour
from workbench.engine.earlier import EDITS, ROWS, chosen, even_sample
from workbench.engine.engine import Engine
from workbench.guards import OFF, Decision, Guard

STRICT = OFF.changed({"ratio": 0.001})
"""No edit is as small as that."""


def of(events: Sequence[ev.Event], kind: type[ev.Event]) -> list[ev.Event]:
    return [event for event in events if isinstance(event, kind)]


class Answer:
    """Answers always the same, and remembers what was asked and what was on disk then."""

    def __init__(self, answer: Decision, stack: Path) -> None:
        self.answer, self.stack = answer, stack
        self.asked: list[tuple[str, ...]] = []
        self.files: list[int] = []

    def __call__(self, tripped: tuple[ev.GuardTripped, ...]) -> Decision:
        self.asked.append(tuple(one.measure for one in tripped))
        self.files.append(len(list(self.stack.glob("*.safetensors"))))
        return self.answer


def test_an_edit_within_its_limits_is_committed_unasked(engine: Engine) -> None:
    answer = Answer("discard", engine.stack.folder)
    events, made = drain(engine.apply(OTHER, guard=OFF.changed({"ratio": 100.0}), decide=answer))
    assert made
    assert answer.asked == []
    assert not of(events, ev.GuardTripped)


def test_a_guard_asks_after_the_probes_and_before_anything_is_on_disk(engine: Engine) -> None:
    answer = Answer("keep", engine.stack.folder)
    events, made = drain(engine.apply(OTHER, guard=STRICT, decide=answer))
    assert made
    assert (answer.asked, answer.files) == ([("ratio",)], [0])
    kinds = [type(event) for event in events]
    order = [ev.NormReport, ev.ProbeResult, ev.GuardTripped, ev.GuardAsked, ev.EditCommitted]
    assert [kinds.index(kind) for kind in order] == sorted(kinds.index(kind) for kind in order)
    assert engine.stack.line[0].metrics["guard"][0]["measure"] == "ratio"


@pytest.mark.parametrize("answer", ["keep", "continue"])
def test_the_time_in_which_a_question_was_open_is_not_that_of_the_making(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, answer: Decision
) -> None:
    gone = [0.0]
    clock = time.monotonic
    monkeypatch.setattr("workbench.engine.measuring.time.monotonic", lambda: clock() + gone[0])

    def decide(_: tuple[ev.GuardTripped, ...]) -> Decision:
        gone[0] += 3_600.0
        return answer

    events, _ = drain(engine.apply(OTHER, guard=STRICT, decide=decide))
    (made,) = of(events, ev.EditCommitted)
    assert isinstance(made, ev.EditCommitted)
    assert 0 < made.seconds < 3_000


@pytest.mark.parametrize("answer", ["keep", "continue"])
def test_what_is_kept_is_an_edit_as_any_other(engine: Engine, answer: Decision) -> None:
    _, made = drain(engine.apply(OTHER, guard=STRICT, decide=lambda _: answer))
    assert made
    assert drain(engine.verify())[1]


def test_discard_leaves_every_byte_and_no_file(engine: Engine) -> None:
    drain(engine.apply(OTHER))
    before, files = weight_bytes(engine), sorted(engine.stack.folder.iterdir())
    events, made = drain(engine.apply(REQUEST, guard=STRICT, decide=lambda _: "discard"))
    assert not made
    assert weight_bytes(engine) == before
    assert sorted(engine.stack.folder.iterdir()) == files
    (cancelled,) = of(events, ev.EditCancelled)
    assert isinstance(cancelled, ev.EditCancelled)
    assert "its limit 0.001" in cancelled.reason
    assert drain(engine.apply(REQUEST))[1]


def test_with_nobody_to_ask_it_is_discarded(engine: Engine) -> None:
    events, made = drain(engine.apply(OTHER, guard=STRICT))
    assert not made
    assert not of(events, ev.GuardAsked)


def test_an_answer_that_came_with_a_cancel_is_a_cancel(engine: Engine) -> None:
    stopped: list[bool] = []

    def decide(_: tuple[ev.GuardTripped, ...]) -> Decision:
        stopped.append(True)
        return "keep"

    events, made = drain(engine.apply(OTHER, guard=STRICT, decide=decide, cancelled=lambda: bool(stopped)))
    assert not made
    (cancelled,) = of(events, ev.EditCancelled)
    assert isinstance(cancelled, ev.EditCancelled)
    assert cancelled.reason == ""


def test_a_question_that_is_never_answered_leaves_every_byte(engine: Engine) -> None:
    before = weight_bytes(engine)
    events = engine.apply(OTHER, guard=STRICT, decide=lambda _: "keep")
    for event in events:
        if isinstance(event, ev.GuardAsked):
            break
    assert weight_bytes(engine) != before
    events.close()
    assert weight_bytes(engine) == before


def test_of_edits_made_together_the_others_go_on_after_one_is_discarded(engine: Engine) -> None:
    answers: list[Decision] = ["discard", "keep"]
    events, made = drain(engine.apply_together([OTHER, REQUEST], guard=STRICT, decide=lambda _: answers.pop(0)))
    assert made == 1
    assert [type(e) for e in events if isinstance(e, (ev.EditCancelled, ev.EditCommitted))] == [
        ev.EditCancelled,
        ev.EditCommitted,
    ]


def test_jump_is_told_once_three_edits_say_what_is_usual(engine: Engine) -> None:
    guard = OFF.changed({"jump": 1.1})
    asked = Answer("keep", engine.stack.folder)
    for number in range(3):
        drain(engine.apply(replace(OTHER, subject=f"Knut Hamsun {number}"), guard=guard, decide=asked))
    assert asked.asked == []
    drain(
        engine.apply(
            replace(OTHER, target_new="old red drum"), {"clamp_factor": 40.0, "lr": 5.0}, guard=guard, decide=asked
        )
    )
    assert asked.asked == [("jump",)]


def test_earlier_edits_are_asked_after_each_edit_and_what_came_of_it_is_kept(engine: Engine) -> None:
    first, _ = drain(engine.apply(REQUEST))
    assert not of(first, ev.EarlierProbed)
    events, _ = drain(engine.apply(OTHER))
    (told,) = of(events, ev.EarlierProbed)
    assert isinstance(told, ev.EarlierProbed)
    assert (told.earlier, told.earlier_asked, told.neighbours_asked) == (1, 1, 1)
    assert engine.stack.line[1].metrics["earlier"]["earlier_held"] == told.earlier_held
    (now,) = [e for e in drain(engine.probe())[0] if isinstance(e, ev.ProbeResult) and e.kind == "efficacy"][:1]
    assert told.earlier_held == int(bool(now.passed))
    assert told.lost == (() if now.passed else (1,))


def test_what_an_edit_is_about_again_is_not_called_lost(engine: Engine) -> None:
    drain(engine.apply(REQUEST))
    events, _ = drain(engine.apply(replace(REQUEST, target_new="Welsh")))
    assert not of(events, ev.EarlierProbed)


def test_so_few_rows_are_asked_that_a_long_stack_stays_fast() -> None:
    many = tuple(Neighbour(f"Neighbour {n} is") for n in range(10))
    requests = [(n, EditRequest("{} is", f"S{n}", "x", neighbours=many)) for n in range(1, 101)]
    asked = chosen(even_sample(requests, EDITS))
    assert len(asked) == ROWS
    assert [number for number, probe in asked if probe.kind == "efficacy"][::15] == [1, 100]
    assert len({number for number, probe in asked if probe.kind == "neighbourhood"}) == EDITS
    assert even_sample([1, 2, 3], 3) == [1, 2, 3]


@pytest.fixture
def child(small: Path, tmp_path: Path) -> Child:
    started = Child(small, tmp_path / "stack", tmp_path / "engine.log")
    started.until_done("load")
    started.send("decide", "-", of="one", answer="keep")  # nobody has asked yet: no answer to what comes
    started.send("apply", "one", request=OTHER.to_json(), guard=STRICT.to_json())
    for event in started.events():
        if isinstance(event, ev.GuardAsked):
            break
    return started


def test_over_the_pipe_every_answer_does_what_it_says(child: Child, small: Path, tmp_path: Path) -> None:
    assert not list((tmp_path / "stack").glob("*.safetensors"))
    child.send("decide", "-", of="another", answer="keep")
    child.send("decide", "-", of="one", answer="perhaps")
    assert isinstance(said := next(child.events()), ev.Log)
    assert "perhaps" in said.message
    child.send("decide", "-", of="one", answer="discard")
    (cancelled,) = of(child.until_done("one"), ev.EditCancelled)
    assert isinstance(cancelled, ev.EditCancelled)
    assert "|ΔW|/|W|" in cancelled.reason
    for job, answer in (("two", "keep"), ("three", "continue")):
        request = replace(OTHER, subject=f"Knut {job}")
        child.send("apply", job, request=request.to_json(), guard=STRICT.to_json())
        for event in child.events():
            if isinstance(event, ev.GuardAsked):
                break
        child.send("decide", "-", of=job, answer=answer)
        assert of(child.until_done(job), ev.EditCommitted)
    child.send("apply", "four", request=REQUEST.to_json(), guard=Guard().to_json() | {"size": 1.0})
    assert child.done("four").exit_code == 2
    child.send("quit", "-")
    assert child.process.wait(timeout=60) == 0
    again = open_on(small, tmp_path / "stack")
    assert len(again.stack.line) == 2
    again.close()


@pytest.mark.parametrize("how", ["cancel", "close", "kill"])
def test_a_question_ends_with_its_screen_and_only_that_edit_is_lost(
    child: Child, small: Path, tmp_path: Path, how: str
) -> None:
    assert child.process.stdin
    if how == "cancel":
        child.send("cancel", "-", of="one")
        assert of(child.until_done("one"), ev.EditCancelled)
        child.send("quit", "-")
    elif how == "close":
        child.process.stdin.close()
    else:
        child.process.kill()
    assert child.process.wait(timeout=60) == (-9 if how == "kill" else 0)
    again = open_on(small, tmp_path / "stack")
    assert not again.stack.line
    assert all("lock" in found for found in again.stack.findings)
    again.close()
