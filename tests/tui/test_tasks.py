"""Tasks begin in the same way on every Python, in a person's terminal as in these tests."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.scripted_engine import ScriptedEngine
from workbench.tui.app import WorkbenchApp


def _eager(loop: asyncio.AbstractEventLoop, task: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
    return asyncio.Task(task, loop=loop, **more)


async def test_the_screen_is_put_together_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "eager_task_factory", _eager, raising=False)  # what Python 3.12 brought
    seen = []

    async def look(pilot: Pilot[object]) -> None:
        await pilot.pause()
        seen.append((asyncio.get_running_loop().get_task_factory(), bool(app.screen.query("RequestInput"))))
        app.exit()

    app = WorkbenchApp(tmp_path, ScriptedEngine)
    await app.run_async(headless=True, size=(80, 24), auto_pilot=look)
    assert seen == [(None, True)]
    assert app.return_code == 0
