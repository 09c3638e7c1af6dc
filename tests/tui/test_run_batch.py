"""The ready edits of the queue as one edit, by MEMIT or EMMET."""

from __future__ import annotations

from dataclasses import replace

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.story import row
from workbench import events as ev
from workbench.tui.draft import Draft
from workbench.tui.queue import Queue


async def test_all_that_are_ready_become_one_edit_by_the_method_that_is_chosen(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        await three_and_b(desk)
        await desk.until_said("One edit of 2 requests, by:")
        await desk.pilot.press("e")
        await desk.until(lambda: desk.engine.verbs() == ["apply_batch"])
        command = desk.engine.sent[-1]
        assert [request["subject"] for request in command.args["requests"]] == ["One", "Three"]
        assert command.args["recipe"] == {"method": "emmet"}
        assert [item.running for item in desk.app.queue] == [True, False, True]
        await commit(desk, 2)
        await desk.until(lambda: desk.subjects() == ["Two"])
        assert not desk.app.session.runner.armed


async def test_what_was_left_out_stays_with_the_reason(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        await three_and_b(desk)
        await desk.pilot.press("m")
        await desk.until(lambda: desk.engine.verbs() == ["apply_batch"])
        await commit(desk, 1)
        await desk.until_said("an edit was made of 1 of these 2")
        assert desk.subjects() == ["One", "Two", "Three"]
        assert not desk.app.queue.ready(), "nothing is made twice by itself"


async def test_a_stopped_batch_waits_again_and_escape_starts_none(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        await three_and_b(desk)
        await desk.pilot.press("escape")
        assert desk.engine.verbs() == []
        await desk.pilot.press("B", "m")
        await desk.until(lambda: desk.engine.verbs() == ["apply_batch"])
        desk.engine.cancelled(desk.engine.sent[-1].job)
        await desk.until(lambda: not any(item.running for item in desk.app.queue))
        assert len(desk.app.queue.ready()) == 2
        assert desk.engine.verbs() == ["apply_batch"]


async def test_edits_with_different_settings_are_no_batch(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        desk.app.queue.add(Draft("One", "{} is", "x"), Draft("Two", "{} is", "x", settings="steps=7"))
        desk.app.queue_changed()
        await desk.pilot.press("escape", "B")
        await desk.until(lambda: "different settings" in desk.said())
        assert desk.engine.verbs() == []


async def test_settings_that_name_a_batched_method_are_taken_as_they_are(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        desk.engine.load()
        for name in ("One", "Two"):
            desk.app.queue.add(Draft(name, "{} is", "x", settings="method=memit layers=[0,1]"))
        desk.app.queue_changed()
        await desk.until(lambda: desk.app.state.engine == "idle")
        await desk.pilot.press("escape", "B")
        await desk.until(lambda: desk.engine.verbs() == ["apply_batch"])
        assert desk.engine.sent[-1].args["recipe"] == {"method": "memit", "layers": [0, 1]}


def test_after_a_crash_a_batch_is_done_as_a_whole_or_waits_as_a_whole() -> None:
    made = row(1, {"prompt": "{} is", "subject": "One", "target_new": "x"}, requests=2, method="memit")
    for applied, left in (((made,), []), ((), ["One", "Two"]), ((replace(made, requests=1),), ["One", "Two"])):
        queue = Queue()
        items = queue.add(Draft("One", "{} is", "x"), Draft("Two", "{} is", "x"))
        queue.start(*(item.key for item in items), tip="")
        queue.interrupt()
        assert queue.settle(applied)
        assert [item.draft.subject for item in queue] == left


async def three_and_b(desk: Desk) -> None:
    """Three edits, the second held, and the key."""
    desk.engine.load()
    for name in ("One", "Two", "Three"):
        await desk.add(name, "{} is", "x")
    await desk.pilot.press("escape", "up", "space", "B")
    await desk.until_said("One edit of 2")


async def commit(desk: Desk, made: int) -> None:
    command = desk.engine.sent[-1]
    request = command.args["requests"][0]
    desk.engine.say(replace(desk.engine.started(replace(command, args={"request": request})), requests=2), command.job)
    desk.engine.say(ev.BatchProbed(requests=made, sampled=made, seed=0, efficacy=(made, made)), command.job)
    desk.engine.commit(command.job, request)
