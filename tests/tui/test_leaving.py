"""Leaving keeps the queue, and asks first while an edit is being made."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.tui.conftest import OpenDesk
from workbench.tui.app import WorkbenchApp


async def test_the_queue_survives_leaving(open_desk: OpenDesk, tmp_path: Path) -> None:
    async with open_desk() as desk:
        await desk.add("One", "{} is", "x")
        await desk.add("Two", "{} is", "x")
        await desk.pilot.press("escape", "space", "ctrl+q")
        await desk.pilot.pause(0.2)
    assert [i["draft"]["subject"] for i in json.loads((tmp_path / "stack/queue.json").read_text())["items"]] == [
        "One",
        "Two",
    ]
    async with open_desk() as desk:
        assert desk.subjects() == ["One", "Two"]
        assert "‖ held" in desk.text()


async def test_a_damaged_queue_is_said_and_kept(open_desk: OpenDesk, tmp_path: Path) -> None:
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack/queue.json").write_text("{{{")
    async with open_desk() as desk:
        assert "could not be read" in desk.said()
        assert [p.read_text() for p in (tmp_path / "stack").glob("queue-damaged-*")] == ["{{{"]


@pytest.mark.parametrize(("key", "verbs"), [("a", ["apply"]), ("n", ["apply", "cancel"])])
async def test_leaving_during_an_edit_asks_once(open_desk: OpenDesk, key: str, verbs: list[str]) -> None:
    async with open_desk(pause_at=4) as desk:
        await desk.add("One", "{} is", "x")
        await desk.add("Two", "{} is", "x")
        await desk.pilot.press("ctrl+r")
        await desk.until_said("RUNNING")
        await desk.pilot.press("ctrl+q")
        await desk.until_said("Keep running")
        await desk.pilot.press("escape")
        await desk.until(lambda: "Keep running" not in desk.text())
        assert desk.app.is_running
        await desk.pilot.press("ctrl+q")
        await desk.until_said("Stop after this edit")
        assert "n Stop now" in desk.lines()[-1], "the keys of the question, not of what is under it"
        await desk.pilot.press(key)
        desk.engine.pause_at *= key == "n"
        await asyncio.wait_for(_ended(desk.app), 20)
        assert desk.engine.verbs() == verbs
        assert desk.subjects() == (["Two"] if key == "a" else ["One", "Two"])
    assert desk.engine.stopped


async def _ended(app: WorkbenchApp) -> None:
    while app.is_running and not app._exit:
        await asyncio.sleep(0.02)
