"""Edits made together by the real engine, in its own process: on the screen, on the disk, and after a kill."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.engine.making import OTHER, REQUEST, make_model
from tests.tui.conftest import Desk
from tests.tui.real_engine import position, real_desk
from workbench.edits import EditRequest
from workbench.stack.index import read_index
from workbench.tui.draft import Draft
from workbench.tui.run import Wanted

THIRD = EditRequest("{} plays the", "Clara", "drum")


@pytest.mark.skipif(os.name != "posix", reason="signals")
async def test_the_real_engine_makes_them_together_and_a_kill_gives_the_others_back(tmp_path: Path) -> None:
    stack, log = tmp_path / "stack", tmp_path / "engine.log"
    wanted = Wanted(str(make_model(tmp_path / "model")), stack, "cpu")
    async with real_desk(wanted, log) as (desk, kill):
        app = desk.app
        await together(desk, "", OTHER, REQUEST, THIRD)
        await desk.until(lambda: app.state.engine == "idle" and position(desk) == 3, 60)
        assert len(app.queue) == 0
        rows = app.state.stack.edits if app.state.stack else ()
        assert [row.subject for row in rows] == [OTHER.subject, REQUEST.subject, THIRD.subject]
        assert {type(event).__name__ for event in app.state.log} >= {"TogetherStarted", "StepTogether", "ProbeResult"}

        await together(desk, "steps=300 loss_stop=0", OTHER, THIRD)
        await desk.until_said("2 together, ")
        kill()
        await desk.until_said("✗ STOPPED")
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: app.state.engine == "idle", 60)
        assert [(item.state, item.tip) for item in app.queue] == [("queued", None)] * 2
        assert desk.subjects() == [OTHER.subject, THIRD.subject]
        assert position(desk) == 3
    index, _ = read_index(stack)
    assert index is not None
    assert (len(index.order), index.position) == (3, 3)


async def together(desk: Desk, settings: str, *requests: EditRequest) -> None:
    """Queues them, and has them made together."""
    drafts = [Draft.from_request(request, settings) for request in requests]
    desk.app.queue.add(*drafts)
    desk.app.queue_changed()
    await desk.pilot.press("escape", "T")
    await desk.until_said("edits together")
    await desk.pilot.press("t")
