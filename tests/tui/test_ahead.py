"""The places are made before they are visited, so that the first visit is as quick as any."""

from __future__ import annotations

from pathlib import Path

from tests.tui.conftest import Desk
from tests.tui.scripted_engine import ScriptedEngine
from workbench.tui.app import WorkbenchApp


async def test_all_places_stand_soon_after_the_first_and_show_what_happened_meanwhile(tmp_path: Path) -> None:
    app = WorkbenchApp(tmp_path / "stack", lambda folder: ScriptedEngine(folder), ahead=True)
    async with app.run_test(size=(80, 24)) as pilot:
        desk = Desk(app, pilot, [])
        await desk.until(lambda: {*app.MODES} <= {*app._screen_stacks})
        assert app.current_mode == "edit"
        made = {mode: app._screen_stacks[mode][0] for mode in app.MODES}
        await desk.until(lambda: app.state.engine == "idle")
        for key, mode in (("f3", "live"), ("f4", "history"), ("f5", "compare"), ("f8", "log"), ("f2", "edit")):
            await pilot.press(key)
            await desk.until(lambda mode=mode: app.current_mode == mode)  # type: ignore[misc]
            assert app.screen is made[mode]
            assert app.screen.query("Head")
