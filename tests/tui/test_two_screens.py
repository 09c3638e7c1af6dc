"""Two screens on one stack: the second says so, leaves the queue of the first alone, and takes over when it is free."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tui.conftest import Desk, OpenDesk
from workbench import events as ev
from workbench.tui.kept_draft import read_draft

BUSY = ev.JobDone(
    ok=False, message="Another writer has this stack open: process 7 on lab.", hint="Wait until it is done."
)


def saved(folder: Path) -> list[str]:
    return [item["draft"]["subject"] for item in json.loads((folder / "stack/queue.json").read_text())["items"]]


async def refused(desk: Desk) -> None:
    """The second engine finds the stack's lock held."""
    desk.engine.say(ev.ModelLoading(stage="reading atlas"), "load")
    desk.engine.say(BUSY, "load")
    desk.engine.die("it ended with exit code 1")
    await desk.until_said("✗ STOPPED")


async def test_the_second_screen_says_that_the_stack_is_in_use(open_desk: OpenDesk) -> None:
    async with open_desk(), open_desk(auto=False) as second:
        assert "Another writer has this stack open: process" in second.said()
        assert "What you queue here is not saved." in second.said()
        await refused(second)
        shown = " ".join(" ".join(second.lines()).split())
        assert "The engine did not start: Another writer has this stack open: process 7 on lab." in shown
        assert "ctrl+r tries again" in shown


async def test_the_second_screen_never_writes_the_queue(open_desk: OpenDesk, tmp_path: Path) -> None:
    async with open_desk() as first:
        await first.add("One", "{} is", "x")
        async with open_desk(auto=False) as second:
            await second.add("Two", "{} is", "x")
            assert second.subjects() == ["Two"]
            assert "not saved, the stack is in use elsewhere" in second.text()
            await first.add("Three", "{} is", "x")
        await first.add("Four", "{} is", "x")
    assert saved(tmp_path) == ["One", "Three", "Four"]


async def test_the_second_screen_takes_over_when_the_first_has_left(open_desk: OpenDesk, tmp_path: Path) -> None:
    async with open_desk(name="stack") as first:
        await first.add("One", "{} is", "x")
        second_desk = open_desk(auto=False)
        second = await second_desk.__aenter__()
        await second.add("Two", "{} is", "x")
        await refused(second)
    await second.pilot.press("ctrl+r")
    await second.until(lambda: len(second.engines) == 2)
    assert second.subjects() == ["One", "Two"]
    await second_desk.__aexit__(None, None, None)
    assert saved(tmp_path) == ["One", "Two"]


async def test_who_takes_over_keeps_both_drafts(open_desk: OpenDesk, tmp_path: Path) -> None:
    async with open_desk() as first:
        await first.type("Greece", "The capital of {} is")
        second_desk = open_desk(auto=False)
        second = await second_desk.__aenter__()
        await second.type("iPod")
        await refused(second)
    await second.pilot.press("ctrl+r")
    await second.until(lambda: len(second.engines) == 2)
    await second.until(lambda: len(second.app.queue) == 1)
    (item,) = second.app.queue
    assert (item.draft.subject, item.held) == ("Greece", True)
    assert "waits in the queue, held" in second.said()
    await second_desk.__aexit__(None, None, None)
    assert read_draft(tmp_path / "stack")[0].subject == "iPod"
    assert saved(tmp_path) == ["Greece"]


async def test_the_lock_of_the_queue_is_gone_after_leaving(open_desk: OpenDesk, tmp_path: Path) -> None:
    async with open_desk():
        assert (tmp_path / "stack/queue.lock").exists()
    assert not (tmp_path / "stack/queue.lock").exists()
