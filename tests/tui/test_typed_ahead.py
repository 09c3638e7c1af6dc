"""Keys that come faster than a place changes act in the place that those before them lead to."""

from __future__ import annotations

import pytest
from textual import events
from textual.widgets import Input

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.story import rows
from workbench.tui.screens.edit import EditScreen
from workbench.tui.screens.history import HistoryScreen


def at_once(desk: Desk, *keys: str) -> None:
    """All before the program has looked at the first."""
    for key in keys:
        desk.app.post_message(events.Key("space" if key == " " else key, key if len(key) == 1 else None))


def subject(desk: Desk) -> str:
    found = [field.value for field in desk.app.screen_stack[0].query("#subject").results(Input)]
    return found[0] if found else ""


@pytest.mark.parametrize("ahead", [("f4",), ("f5", "f2", "f4"), ("escape", "3")])
async def test_a_key_behind_the_key_of_a_place_goes_to_that_place(open_desk: OpenDesk, ahead: tuple[str, ...]) -> None:
    async with open_desk(rows=rows(3), position=3) as desk:
        at_once(desk, *ahead, "u")
        await desk.until(lambda: desk.engine.verbs() == ["undo"])
        assert isinstance(desk.app.screen, HistoryScreen)
        at_once(desk, "f2", *"Rome")
        await desk.until(lambda: isinstance(desk.app.screen, EditScreen))
        await desk.until(lambda: subject(desk) == "Rome" or ahead[0] == "escape")
        assert desk.engine.verbs() == ["undo"]


async def test_what_is_typed_before_and_after_a_change_and_back_is_all_there_in_order(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        at_once(desk, *"New ", "f4", "f2", *"Yor")
        desk.app.post_message(events.Paste("k"))
        await desk.until(lambda: subject(desk) == "New York")


async def test_digits_in_a_field_are_text_and_a_key_that_a_question_takes_holds_nothing_up(open_desk: OpenDesk) -> None:
    async with open_desk(sizes={"One": 9.0}) as desk:
        at_once(desk, *"Apollo 11")
        await desk.until(lambda: subject(desk) == "Apollo 11")
        await desk.pilot.press(*["backspace"] * 9)
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("ctrl+r")
        await desk.until_said("The guard asks")
        at_once(desk, "x", "f4", "x", "f5")
        await desk.pilot.pause(0.7)
        await desk.pilot.press("d")
        await desk.until(lambda: desk.engine.verbs() == ["apply", "decide"])
