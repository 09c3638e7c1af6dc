"""What the engine warns of is told wherever one is; while an edit is made, its own place shows it."""

from __future__ import annotations

from tests.tui.conftest import OpenDesk
from workbench import events as ev

DAMAGED = ev.Warning(message="The stack was opened at position 2.", hint="o in History leaves edit 3 out.")


async def test_what_was_found_while_loading_is_told(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        desk.engine.say(DAMAGED, "load")
        await desk.until(lambda: "The stack was opened at position 2." in desk.said())
        assert "o in History leaves edit 3 out." in desk.said()


async def test_a_warning_about_the_edit_that_is_made_is_not_told_twice(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=2) as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: desk.app.state.run is not None)
        desk.engine.say(DAMAGED, desk.app.state.job)
        await desk.pilot.pause(0.1)
        assert desk.said() == ""
        assert desk.app.state.warnings[-1].message == DAMAGED.message
        desk.engine.go_on()
