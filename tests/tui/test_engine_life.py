"""From the first picture to a loaded model, and through the death of an engine to the next one."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.scripted_engine import ScriptedEngine
from tests.tui.story import MODEL, row, rows
from workbench import events as ev
from workbench.tui.app import WorkbenchApp
from workbench.tui.client import EngineClient, OnEvent, OnStopped, ProcessClient
from workbench.tui.screens.log import LogScreen
from workbench.tui.state import State, fold, started, stopped
from workbench.tui.widgets.banner import banner
from workbench.tui.widgets.head import engine_words


async def test_the_screen_is_painted_before_the_engine_starts(tmp_path: Path) -> None:
    painted: list[str] = []

    class Watching(ScriptedEngine):
        async def start(self, on_event: OnEvent, on_stopped: OnStopped) -> None:
            await super().start(on_event, on_stopped)
            painted.extend("".join(s.text for s in strip) for strip in app.screen._compositor.render_strips())

    app = WorkbenchApp(tmp_path, lambda folder: Watching(folder, auto=False))
    async with app.run_test(size=(80, 24)) as pilot:
        for _ in range(100):
            if painted:
                break
            await pilot.pause(0.02)
    text = "\n".join(painted)
    assert "New edit" in text
    assert "starting the engine" in text


async def test_loading_is_shown_and_edits_can_be_written_meanwhile(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        desk.engine.say(ev.ModelLoading(stage="rebuilding 3 edits", fraction=0.42))
        await desk.until_said("Loading: rebuilding 3 edits")
        assert "42%" in desk.text()
        await desk.add("Rome", "{} is in", "Peru")
        await desk.pilot.press("ctrl+r")
        assert desk.engine.verbs() == []
        assert "The queue runs as soon as the model is loaded." in desk.said()
        desk.engine.say(MODEL)
        await desk.pilot.pause(0.1)
        assert desk.engine.verbs() == [], "the stack has not said yet what is made already"
        desk.engine.say_stack()
        await desk.until(lambda: desk.engine.verbs() == ["apply"])


async def test_a_dead_engine_is_explained_and_r_starts_another(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=4, rows=rows(3), position=3) as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("escape", "ctrl+r")
        await desk.until_said("step 3/20")
        desk.engine.die("CUDA error: device-side assert")
        await desk.until_said("✗ STOPPED")
        shown = " ".join(" ".join(desk.lines()).split())
        assert "Engine stopped (CUDA error: device-side assert). Your stack is safe on disk." in shown
        assert "ctrl+r restart and replay 3 edits, f8 open log." in shown
        assert desk.app.queue.items[0].ready
        await desk.pilot.press("l")
        await desk.until(lambda: isinstance(desk.app.screen, LogScreen))
        await desk.pilot.press("f2", "r")
        await desk.until(lambda: len(desk.engines) == 2 and desk.app.state.engine == "idle")
        assert "Engine stopped" not in desk.text()
        assert desk.subjects() == ["One"]
        assert desk.engines[0].stopped


def test_what_is_off_or_undone_is_not_among_the_edits_that_are_replayed() -> None:
    edits = (row(1), row(2, state="off"), row(3), row(4, state="undone"))
    stack = ev.StackChanged(folder="f", base="b", position=3, edits=edits)
    state = stopped(fold(fold(State(), MODEL), stack), "killed")
    assert "restart and replay 2 edits," in banner(state)


async def test_an_edit_made_just_before_the_crash_is_not_made_twice(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=4) as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("escape", "ctrl+r")
        await desk.until_said("step 3/20")
        request = desk.engine.sent[-1].args["request"]
        desk.engine.die("killed by SIGKILL")
        made_before = (row(1, request),)
        make = desk.app.session._make_client

        def made(folder: Path) -> EngineClient:
            client = make(folder)
            desk.engine.rows, desk.engine.position = made_before, 1
            return client

        desk.app.session._make_client = made
        await desk.until_said("✗ STOPPED")
        await desk.pilot.press("r")
        await desk.until(lambda: len(desk.app.queue) == 0)


async def test_a_model_that_does_not_load_says_why(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        desk.engine.say(ev.ModelLoading(stage="reading nowhere"))
        desk.engine.say(
            ev.JobDone(ok=False, message="There is no model 'nowhere'.", hint="Try atlas.", exit_code=3), "load"
        )
        desk.engine.die("it ended with exit code 3")
        await desk.until_said("✗ STOPPED")
        assert "There is no model 'nowhere'. Try atlas" in " ".join(" ".join(desk.lines()).split())
        assert "ctrl+r starts it again." in desk.text()
        assert "ctrl+r runs the queue" not in desk.text()


async def test_ctrl_r_restarts_a_dead_engine_from_within_the_form(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        desk.engine.die("killed by SIGSEGV")
        await desk.until_said("^r Restart")
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: len(desk.engines) == 2 and desk.app.state.engine == "idle")


async def test_a_real_child_process_is_shown_and_its_death_explained(tmp_path: Path) -> None:
    first = (MODEL, ev.StackChanged(folder=str(tmp_path), base="b", position=0))
    said = "\n".join(ev.to_line(event) for event in first)
    program = f"import os, sys; print({said!r}, flush=True); sys.stdin.readline(); os.abort()"
    client = ProcessClient([sys.executable, "-c", program], tmp_path / "engine.log")
    app = WorkbenchApp(tmp_path, lambda _: client)
    async with app.run_test(size=(80, 24)) as pilot:
        desk = Desk(app, pilot, [])
        await desk.until(lambda: app.state.engine == "idle", 20)
        app.send("undo", count=1)
        await desk.until(lambda: app.state.engine == "stopped", 20)
        await desk.until_said("Engine stopped (killed by SIGABRT)")


async def test_events_of_an_engine_that_was_replaced_change_nothing(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        first = desk.engine
        desk.app.restart_engine()
        await desk.until(lambda: len(desk.engines) == 2 and desk.app.state.engine == "idle")
        first.stopped = False
        first.say(ev.ModelLoading(stage="a ghost"))
        first.die("late")
        await desk.pilot.pause(0.2)
        assert desk.app.state.engine == "idle"


def test_what_a_job_loads_on_its_way_is_not_the_model_loading() -> None:
    busy = started(State(engine="idle"), "j1", "health")
    loading = fold(busy, ev.ModelLoading(stage="scoring case 1 of 3", fraction=0.0, job="j1"))
    assert engine_words(loading) == "● BUSY measuring health"
    done = fold(loading, ev.JobDone(ok=True, job="j1"))
    assert (done.engine, done.loading) == ("idle", None)
    assert fold(State(), ev.ModelLoading(stage="reading atlas", job="load")).engine == "starting"


async def test_the_same_notice_stands_once_and_a_short_one_for_a_moment(open_desk: OpenDesk) -> None:
    async with open_desk((120, 30), auto=False) as desk:
        for _ in range(3):
            desk.app.send("undo")
        await desk.pilot.pause()
        (notice,) = desk.app._notifications
        assert notice.message == "The model is still loading."
        assert notice.timeout == desk.app.NOTIFICATION_TIMEOUT, "a warning stands its whole time"
        desk.app.notify("Copied as JSON.")
        await desk.pilot.pause()
        assert min(one.timeout for one in desk.app._notifications) < notice.timeout
