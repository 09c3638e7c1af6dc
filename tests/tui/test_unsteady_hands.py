"""Resizing without end, pasting by mistake, switching places fast, keys held down: all while edits are made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual import events
from textual.geometry import Size

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.story import rows, stack

LINES = "\n".join(f"line {number} of what was pasted" for number in range(200))
PLACES = ("f2", "f3", "f4", "f5", "f8")
HELD = 40
"""Key presses of a key that is held down for a bit more than a second."""


async def running(desk: Desk, *subjects: str) -> None:
    """A queue of which the first edit is being made."""
    for subject in subjects:
        await desk.add(subject, "{} is", "x")
    await desk.pilot.press("ctrl+r")
    await desk.until_said("RUNNING")


async def test_a_storm_of_resizes_ends_with_a_whole_picture_and_the_run_goes_on(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=4, rows=rows(3), position=3) as desk:
        await running(desk, "One", "Two")
        for number in range(20):
            size = Size(40 + 23 * number % 170, 10 + 7 * number % 55)
            desk.app.post_message(events.Resize(size, size))
            if number % 5 == 0:
                desk.app.post_message(events.Key(PLACES[number // 5 % 5], None))
            await desk.pilot.pause(0)
        await desk.pilot.resize_terminal(100, 30)
        await desk.pilot.press("f2")
        await desk.until_said("[F2 Edit]")
        lines = desk.lines()
        assert (len(lines), {len(line) for line in lines}) == (30, {100})
        desk.engine.go_on()
        await desk.until(lambda: len(desk.engine.rows) == 5 and len(desk.app.queue) == 0)


@pytest.mark.parametrize("where", ["#subject", "#prompt", "QueueTable"])
async def test_two_hundred_pasted_lines_lose_nothing_and_run_nothing(
    open_desk: OpenDesk, tmp_path: Path, where: str
) -> None:
    async with open_desk(pause_at=4) as desk:
        await running(desk, "One", "Two")
        desk.app.screen.set_focus(desk.app.screen.query_one(where))
        desk.app.post_message(events.Paste(LINES))
        await desk.pilot.pause(0.2)
        assert desk.subjects() == ["One", "Two"]
        assert desk.app.state.run is not None
        assert desk.app.state.run.running
        desk.engine.go_on()
        await desk.until(lambda: len(desk.app.queue) == 0)
    assert json.loads((tmp_path / "stack/queue.json").read_text())["items"] == []


@pytest.mark.parametrize("key", ["down", "space", "d", "f3", "ctrl+o", "question_mark"])
async def test_a_key_held_down_during_an_edit_does_no_harm(open_desk: OpenDesk, key: str) -> None:
    async with open_desk(pause_at=4) as desk:
        await running(desk, "One", "Two", "Three")
        await desk.pilot.press("escape", "home")
        for _ in range(HELD):
            desk.app.post_message(events.Key(key, " " if key == "space" else key if len(key) == 1 else None))
        await desk.pilot.pause(0.3)
        assert desk.app.state.run is not None
        assert desk.app.state.run.running
        assert "One" in desk.subjects(), "the edit in flight is not taken out"
        if key != "d":
            assert set(desk.subjects()) == {"One", "Two", "Three"}
        desk.engine.go_on()
        await desk.until(lambda: desk.app.state.engine == "idle" and not desk.app.session.runner.in_flight)
        assert desk.engine.rows


@pytest.mark.parametrize("place", ["f2", "f4", "f8"])
async def test_enter_typed_ahead_behind_ctrl_n_queues_what_is_in_the_form(open_desk: OpenDesk, place: str) -> None:
    async with open_desk() as desk:
        await desk.type("One", "{} is", "x")
        await desk.pilot.press("escape", place)
        await desk.pilot.pause()
        for key in ("ctrl+n", "enter"):
            desk.app.post_message(events.Key(key, None))
        await desk.until(lambda: desk.subjects() == ["One"])
        assert desk.engine.verbs() == []


async def test_letters_typed_ahead_behind_ctrl_n_are_in_the_form(open_desk: OpenDesk) -> None:
    async with open_desk(rows=rows(3), position=3) as desk:
        await desk.pilot.press("escape", "f4")
        await desk.pilot.pause()
        for key in ("ctrl+n", "u", "r", "d"):
            desk.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await desk.until_said("Subject  urd")
        assert desk.engine.verbs() == []


async def test_ctrl_n_leaves_a_question_alone(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.pilot.press("escape", "i")
        await desk.until_said("Import edits")
        assert "^n" not in desk.lines()[-1]
        await desk.pilot.press("ctrl+n")
        await desk.until_said("Import edits")


async def test_places_switched_as_fast_as_keys_come_show_the_last_one(open_desk: OpenDesk) -> None:
    async with open_desk((120, 40), pause_at=4, rows=rows(30), position=30) as desk:
        await running(desk, "One")
        await desk.pilot.press("escape")
        for number in range(60):
            desk.app.post_message(events.Key(PLACES[number % 5], None))
        await desk.until_said("[F8 Log]")
        await desk.pilot.press("f4")
        await desk.until_said("[F4 History]")
        desk.engine.go_on()
        await desk.until_said("31")


async def test_a_history_of_ten_thousand_edits_opens_and_moves(open_desk: OpenDesk) -> None:
    async with open_desk((120, 40), auto=False) as desk:
        desk.engine.load()
        desk.engine.say(stack(0, 0, edits=rows(10_000), position=10_000, folder=str(desk.engine.folder)))
        await desk.pilot.press("escape", "f4")
        await desk.until_said("10000")
        for key in ("pagedown", "down", "end", "home"):
            await desk.pilot.press(key)
        await desk.until_said("10000")
