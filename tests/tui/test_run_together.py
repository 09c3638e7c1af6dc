"""Edits of the queue made together: all on one state, then applied one after the other, and each leaves the queue."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.story import row, side_by_side
from workbench import events as ev
from workbench.engine.protocol import Command
from workbench.tui.draft import Draft
from workbench.tui.queue import Queue
from workbench.tui.runner import MOST_TOGETHER, Runner
from workbench.tui.state import State, fold, started
from workbench.tui.widgets.head import engine_words

NAMES = ("One", "Two", "Three")


async def test_the_question_says_what_together_means_and_the_edits_land_in_order(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await three_and_t(desk)
        assert "3 edits together: all are made on the same state," in desk.text()
        assert "then applied in order" in desk.text()
        await desk.pilot.press("t")
        await desk.until(lambda: len(desk.engine.rows) == 3 and desk.app.state.engine == "idle")
        assert [made.subject for made in desk.engine.rows] == list(NAMES)
        assert desk.engine.verbs() == ["apply_together"]
        args = desk.engine.sent[-1].args
        assert (args["recipe"], args["index"], args["of"]) == ({}, 1, 3)
        assert args["guard"]["ratio"] is not None
        assert len(desk.app.queue) == 0
        assert "Queue done: 3 made." in desk.said()


async def test_one_by_one_is_the_other_answer_and_escape_starts_nothing(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await three_and_t(desk)
        await desk.pilot.press("escape")
        assert desk.engine.verbs() == []
        await desk.pilot.press("T", "o")
        await desk.until(lambda: len(desk.engine.rows) == 3)
        assert desk.engine.verbs() == ["apply"] * 3


async def test_edits_in_several_rounds_are_not_said_to_be_on_one_state(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await queued_and_t(desk, "", "", "steps=7", "steps=7", "method=memit")
        await desk.until_said("5 edits in 3 rounds")
        assert "all are made on the same state" not in desk.text()


@pytest.mark.parametrize("settings", [("method=memit", "method=memit"), ("seed=1", "seed=2")])
async def test_what_cannot_be_made_together_is_not_offered_so(open_desk: OpenDesk, settings: tuple[str, ...]) -> None:
    async with open_desk() as desk:
        await queued_and_t(desk, *settings)
        await desk.until(lambda: "None of these can be made together" in desk.said())
        assert "edits together" not in desk.text()
        assert desk.engine.verbs() == []


async def test_the_palette_has_it(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.add("One", "{} is", "x")
        await desk.add("Two", "{} is", "x")
        await desk.pilot.press("ctrl+p", *"together")
        await desk.until_said("Run together  (T)")
        await desk.pilot.press("enter")
        await desk.until_said("2 edits together")


async def test_live_shows_what_is_known_of_all_and_then_each_in_its_turn(open_desk: OpenDesk) -> None:
    async with open_desk((120, 34), auto=False) as desk:
        desk.engine.load()
        await three_and_t(desk)
        await desk.pilot.press("t")
        await desk.until(lambda: desk.engine.verbs() == ["apply_together"])
        await desk.until_said("▶ starting edits")
        command = desk.engine.sent[-1]
        desk.engine.say(desk.engine.together(command), command.job)
        desk.engine.say(ev.StageStarted(stage="optimise"), command.job)
        desk.engine.say(side_by_side(18, 3), command.job)
        await desk.until_said("3 together, 2 still going")
        assert "● RUNNING 3 together 18/20" in desk.text()
        assert desk.text().count("▶ 18/20") == 3
        await desk.pilot.press("f3")
        await desk.until_said("3 edits made together, the first One")
        for words in ("mean loss", "mean p(target)", "3 requests together", "2 still going"):
            assert words in desk.text()
        await desk.pilot.press("f2")
        turn = replace(command, args={**command.args, "request": command.args["requests"][0]})
        desk.engine.say(desk.engine.started(turn), command.job)
        desk.engine.committed(command.job, command.args["requests"][0])
        desk.engine.say(desk.engine.started(replace(turn, args={**turn.args, "index": 2})), command.job)
        await desk.until_said("RUNNING 2/3")
        assert desk.subjects() == ["Two", "Three"]
        assert "▶ starting" in desk.text()
        assert "· its turn" in desk.text()
        await desk.pilot.press("f3")
        await desk.until_said("made with 2 others")


async def test_stopping_in_the_middle_gives_the_rest_back_as_it_was(open_desk: OpenDesk, tmp_path: Path) -> None:
    async with open_desk(auto=False) as desk:
        command = await made_one_of_three(desk)
        await desk.pilot.press("ctrl+g")
        await desk.until(lambda: desk.engine.verbs()[-1] == "cancel")
        desk.engine.say(ev.EditCancelled(position=1), command.job)
        desk.engine.say(ev.JobDone(ok=True), command.job)
        await desk.until(lambda: desk.app.state.engine == "idle")
        assert [(item.draft.subject, item.state, item.tip) for item in desk.app.queue] == waiting("Two", "Three")
        assert desk.engine.verbs() == ["apply_together", "cancel"]
    assert "tip" not in json.dumps(json.loads((tmp_path / "stack/queue.json").read_text()))


async def test_stopping_while_all_are_made_gives_all_back(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=4) as desk:
        await three_and_t(desk)
        await desk.pilot.press("t")
        await desk.until_said("still going")
        await desk.pilot.press("ctrl+g")
        await desk.until(lambda: desk.app.state.engine == "idle")
        assert [(item.draft.subject, item.state, item.tip) for item in desk.app.queue] == waiting(*NAMES)
        assert "every weight is as before" in desk.text()
        assert desk.engine.rows == ()


async def test_a_pause_ends_it_after_the_edit_in_flight(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=4) as desk:
        await three_and_t(desk)
        await desk.pilot.press("t")
        await desk.until_said("still going")
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: "pauses after the first of these edits" in desk.said())
        desk.engine.go_on()
        await desk.until(lambda: desk.app.state.engine == "idle")
        assert [made.subject for made in desk.engine.rows] == ["One"]
        assert [(item.draft.subject, item.state, item.tip) for item in desk.app.queue] == waiting("Two", "Three")


@pytest.mark.parametrize(("key", "left"), [("k", ["Three"]), ("d", ["Two", "Three"]), ("c", [])])
async def test_the_guard_asks_of_each_and_its_answers_mean_what_they_say(
    open_desk: OpenDesk, key: str, left: list[str]
) -> None:
    async with open_desk(sizes={"Two": 9.0}) as desk:
        await three_and_t(desk)
        await desk.pilot.press("t")
        await desk.until_said("The guard asks")
        assert "edit 2 of 3" in desk.text()
        await desk.pilot.pause(0.6)
        await desk.pilot.press(key)
        await desk.until(lambda: desk.app.state.engine == "idle")
        assert desk.subjects() == left
        assert [item.held for item in desk.app.queue] == [True, False][: len(left)] if key == "d" else True


async def test_one_that_cannot_be_made_stays_with_its_reason(open_desk: OpenDesk) -> None:
    async with open_desk(failures={"Two": "It is too long."}) as desk:
        await three_and_t(desk)
        await desk.pilot.press("t")
        await desk.until(lambda: [made.subject for made in desk.engine.rows] == ["One", "Three"])
        await desk.until(lambda: desk.app.state.engine == "idle")
        (item,) = desk.app.queue
        assert (item.draft.subject, item.state) == ("Two", "failed")
        assert "It is too long" in item.failure


async def test_where_nothing_could_be_begun_all_have_the_reason_and_no_run_is_shown(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        desk.engine.load()
        await three_and_t(desk)
        await desk.pilot.press("t")
        await desk.until(lambda: desk.engine.verbs() == ["apply_together"])
        command = desk.engine.sent[-1]
        desk.engine.say(desk.engine.together(command), command.job)
        desk.engine.say(ev.JobDone(ok=False, message="There is no C.", exit_code=1), command.job)
        await desk.until(lambda: desk.app.state.engine == "idle")
        assert [item.failure for item in desk.app.queue] == ["There is no C."] * 3
        assert "○ idle" in desk.text()
        assert "failed: There is no C." in desk.text()


async def test_a_dead_engine_gives_back_what_is_not_on_the_disk(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        await made_one_of_three(desk)
        desk.engine.die("killed by SIGKILL")
        await desk.until_said("✗ STOPPED")
        await desk.pilot.press("r")
        await desk.until(lambda: len(desk.engines) == 2)
        two = row(2, Draft("Two", "{} is", "x").request().to_json())
        desk.engine.rows, desk.engine.position = (*desk.engines[0].rows, two), 2
        desk.engine.load()
        await desk.until(lambda: desk.subjects() == ["Three"])
        assert "1 of the 2 edits in flight had been made and left the queue" in desk.said()
        assert [(item.draft.subject, item.state, item.tip) for item in desk.app.queue] == waiting("Three")


@pytest.mark.parametrize("made", [0, 1, 2, 3])
def test_after_a_crash_as_many_of_the_same_edit_leave_as_were_made(made: int) -> None:
    queue = Queue()
    items = queue.add(*[Draft("One", "{} is", "x")] * 3)
    queue.start(*(item.key for item in items), tip="01" * 32)
    queue.interrupt()
    request = Draft("One", "{} is", "x").request().to_json()
    applied = tuple(row(number, request) for number in range(1, 2 + made))
    assert queue.settle(applied)
    assert [item.key for item in queue] == [item.key for item in items[made:]]
    assert all(item.tip is None for item in queue)


def test_those_are_made_together_that_are_set_alike_and_stand_next_to_each_other() -> None:
    sent: list[tuple[str, int]] = []

    def apply(verb: str, args: dict[str, object]) -> str:
        requests = args.get("requests")
        sent.append((verb, len(requests) if isinstance(requests, list) else 1))
        return f"job-{len(sent)}"

    settings = ("", "", "steps=7", "steps=7", "steps=7", "method=memit", "method=memit", "chat=true", "")
    queue = Queue()
    for number, words in enumerate((*settings, *[""] * MOST_TOGETHER)):
        queue.add(Draft(f"S{number}", "{} is", "x", settings=words))
    runner = Runner(queue, apply)
    runner.arm(together=True)
    idle = State(engine="idle")
    while not runner.pump(idle):
        for number in range(sent[-1][1]):
            if sent[-1][0] == "apply_together":
                runner.heed(ev.EditStarted(request={}, recipe={}, module="", job=runner.in_flight))
            runner.heed(committed(f"{number}", runner.in_flight))
        runner.heed(ev.JobDone(ok=True, job=runner.in_flight))
    alone = ("apply", 1)
    expected = [("apply_together", 2), ("apply_together", 3), alone, alone, alone, ("apply_together", 32), alone]
    assert sent == expected
    assert runner.made == len(settings) + MOST_TOGETHER


def test_a_recorded_stop_leaves_no_engine_busy() -> None:
    busy = fold(started(State(engine="idle"), "j", "apply_together"), together("j"))
    assert engine_words(busy) == "● RUNNING 3 together"
    ended = fold(fold(busy, ev.EditCancelled(position=0, job="j")), ev.JobDone(ok=True, job="j"))
    assert engine_words(ended) == "○ idle"


def together(job: str) -> ev.TogetherStarted:
    return ev.TogetherStarted(request={}, recipe={}, module="m", requests=3, of=3, job=job)


def committed(edit: str, job: str) -> ev.EditCommitted:
    return ev.EditCommitted(edit=edit, file="f", position=1, weight_sha256="", bytes=1, seconds=0.1, job=job)


def waiting(*names: str) -> list[tuple[str, str, None]]:
    return [(name, "queued", None) for name in names]


async def three_and_t(desk: Desk) -> None:
    """Three edits wait, and the key."""
    await queued_and_t(desk, *[""] * len(NAMES))
    await desk.until_said("3 edits together")


async def queued_and_t(desk: Desk, *settings: str) -> None:
    """Edits so set wait, and the key."""
    desk.app.queue.add(
        *(Draft(name, "{} is", "x", settings=words) for name, words in zip(cycle(NAMES), settings, strict=False))
    )
    desk.app.queue_changed()
    await desk.until(lambda: desk.app.state.engine == "idle")
    await desk.pilot.press("escape", "T")


async def made_one_of_three(desk: Desk) -> Command:
    """The first is on the disk, and the second in its turn."""
    desk.engine.load()
    await three_and_t(desk)
    await desk.pilot.press("t")
    await desk.until(lambda: desk.engine.verbs() == ["apply_together"])
    command = desk.engine.sent[-1]
    desk.engine.say(desk.engine.together(command), command.job)
    requests = command.args["requests"]
    for number, request in enumerate(requests[:2]):
        turn = replace(command, args={**command.args, "request": request, "index": 1 + number})
        desk.engine.say(desk.engine.started(turn), command.job)
        if not number:
            desk.engine.committed(command.job, request)
    await desk.until(lambda: desk.subjects() == ["Two", "Three"])
    return command
