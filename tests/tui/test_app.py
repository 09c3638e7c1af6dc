"""The workbench as a whole: starting, running the queue, stopping, crashing, leaving, and fitting the terminal."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.scripted_engine import READY, ScriptedEngine, row, step
from workbench import events as ev
from workbench.tui.app import WorkbenchApp
from workbench.tui.client import EngineClient, OnEvent, OnStopped, ProcessClient
from workbench.tui.screens.edit import EditScreen
from workbench.tui.screens.log import LogScreen
from workbench.tui.state import State
from workbench.tui.widgets.keys import fitting

PLACES = {"f2": "[F2 Edit]", "f3": "[F3 Live]", "f4": "[F4 History]", "f5": "[F5 Compare]", "f8": "[F8 Log]"}


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
        desk.engine.say(READY)
        await desk.pilot.pause(0.1)
        assert desk.engine.verbs() == [], "the stack has not said yet what is made already"
        desk.engine.say_stack()
        await desk.until(lambda: desk.engine.verbs() == ["apply"])


async def test_a_run_shows_the_numbers_of_its_events(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        desk.engine.load()
        await desk.add("Space Needle", "The {} is in", "Berlin")
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: desk.engine.verbs() == ["apply"])
        command = desk.engine.sent[-1]
        assert command.args["request"]["subject"] == "Space Needle"
        assert (command.args["recipe"], command.args["index"], command.args["of"]) == ({}, 1, 1)
        desk.engine.say(desk.engine.started(command), command.job)
        desk.engine.say(step(1, p_target=0.004), command.job)
        more: dict[str, Any] = {
            "loss": 1.83,
            "nll": 1.52,
            "kl": 0.19,
            "wd": 0.12,
            "p_target": 0.22,
            "delta_norm": 7.91,
            "seconds": 0.1,
        }
        desk.engine.say(step(12, 20, **more), command.job)
        await desk.until_said("step 12/20")
        text = desk.text()
        assert "loss 1.83 (nll 1.52 kl 0.19 wd 0.12)" in text
        assert "p(target) 0.004 " in text
        assert "0.22   |delta| 7.91 of clamp 12.4" in text
        assert "ETA 600 ms" in text
        assert "▶ 12/20" in text
        assert "● RUNNING 1/1 12/20" in text
        desk.engine.commit(command.job, command.args["request"])
        await desk.until_said("✓ edit 1 made in 1.2 s")
        assert "last edit #1  |ΔW|/|W| 0.021  efficacy ok  paraphrase 2/2  neighbour 0/1" in desk.text()
        assert len(desk.app.queue) == 0


async def test_the_queue_is_made_in_order_and_a_failure_keeps_its_item_and_reason(open_desk: OpenDesk) -> None:
    async with open_desk(failures={"Two": "The subject is not in the model's words."}) as desk:
        for name in ("One", "Two", "Three"):
            await desk.add(name, "{} is", "x")
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: [r.subject for r in desk.engine.rows] == ["One", "Three"])
        await desk.until_said("✗ failed")
        assert desk.subjects() == ["Two"]
        assert "└ The subject is not in the model's words. Try another; space retries" in desk.text()
        assert [c.args["index"] for c in desk.engine.sent if c.do == "apply"] == [1, 2, 3]
        assert "2 made, 1 failed" in " ".join(n.message for n in desk.app._notifications)
        desk.engine.failures.clear()
        await desk.pilot.press("escape", "space", "ctrl+r")
        await desk.until(lambda: len(desk.app.queue) == 0)


async def test_the_queue_can_be_changed_while_it_runs(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=4) as desk:
        for name in ("One", "Two", "Three"):
            await desk.add(name, "{} is", "x")
        await desk.pilot.press("ctrl+r")
        await desk.until_said("RUNNING")
        await desk.pilot.press("escape", "end", "K", "down", "d")
        assert desk.subjects() == ["One", "Three"]
        await desk.pilot.press("home", "d")
        assert desk.subjects() == ["One", "Three"], "the running edit cannot be removed"
        await desk.add("Four", "{} is", "x")
        desk.engine.go_on()
        await desk.until(lambda: len(desk.engine.rows) == 3)
        assert [r.subject for r in desk.engine.rows] == ["One", "Three", "Four"]


async def test_pause_ends_the_run_after_the_edit_in_flight(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=4) as desk:
        await desk.add("One", "{} is", "x")
        await desk.add("Two", "{} is", "x")
        await desk.pilot.press("ctrl+r")
        await desk.until_said("RUNNING")
        assert "Pause" in desk.lines()[-1]
        await desk.pilot.press("ctrl+r")
        desk.engine.go_on()
        await desk.until(lambda: len(desk.engine.rows) == 1 and desk.app.state.engine == "idle")
        await desk.pilot.pause(0.2)
        assert desk.subjects() == ["Two"]
        assert desk.engine.verbs() == ["apply"]


async def test_stop_now_keeps_the_edit_in_the_queue_and_ends_the_run(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=4) as desk:
        await desk.add("One", "{} is", "x")
        await desk.add("Two", "{} is", "x")
        await desk.pilot.press("ctrl+r")
        await desk.until_said("step 3/20")
        await desk.pilot.press("ctrl+g")
        await desk.until(lambda: desk.app.state.engine == "idle")
        assert desk.subjects() == ["One", "Two"]
        assert [item.state for item in desk.app.queue] == ["queued", "queued"]
        assert "every weight is as before" in desk.text()
        assert desk.engine.verbs() == ["apply", "cancel"]
        assert desk.engine.rows == ()


async def test_a_guard_pauses_the_queue(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        desk.engine.load()
        await desk.add("One", "{} is", "x")
        await desk.add("Two", "{} is", "x")
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: desk.engine.verbs() == ["apply"])
        command = desk.engine.sent[-1]
        desk.engine.say(ev.GuardTripped(measure="ratio", value=0.4, limit=0.25), command.job)
        desk.engine.commit(command.job, command.args["request"])
        await desk.pilot.pause(0.3)
        assert desk.engine.verbs() == ["apply"]
        assert desk.subjects() == ["Two"]


async def test_a_dead_engine_is_explained_and_r_starts_another(open_desk: OpenDesk) -> None:
    rows = tuple(row(n, {"prompt": "{} is", "subject": f"S{n}", "target_new": "t"}) for n in (1, 2, 3))
    async with open_desk(pause_at=4, rows=rows, position=3) as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("escape", "ctrl+r")
        await desk.until_said("step 3/20")
        desk.engine.die("CUDA error: device-side assert")
        await desk.until_said("✗ STOPPED")
        shown = " ".join(" ".join(desk.lines()).split())
        assert "Engine stopped (CUDA error: device-side assert). Your stack is safe on disk." in shown
        assert "r restart and replay 3 edits, l open log." in shown
        assert desk.app.queue.items[0].ready
        await desk.pilot.press("l")
        await desk.until(lambda: isinstance(desk.app.screen, LogScreen))
        await desk.pilot.press("f2", "r")
        await desk.until(lambda: len(desk.engines) == 2 and desk.app.state.engine == "idle")
        assert "Engine stopped" not in desk.text()
        assert desk.subjects() == ["One"]
        assert desk.engines[0].stopped


async def test_an_edit_made_just_before_the_crash_is_not_made_twice(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=4) as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("escape", "ctrl+r")
        await desk.until_said("step 3/20")
        request = desk.engine.sent[-1].args["request"]
        desk.engine.die("killed by SIGKILL")
        rows = (row(1, request),)
        make = desk.app.session._make_client

        def made(folder: Path) -> EngineClient:
            client = make(folder)
            desk.engine.rows, desk.engine.position = rows, 1
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


async def test_ctrl_r_restarts_a_dead_engine_from_within_the_form(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        desk.engine.die("killed by SIGSEGV")
        await desk.until_said("^r Restart")
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: len(desk.engines) == 2 and desk.app.state.engine == "idle")


async def test_a_real_child_process_is_shown_and_its_death_explained(tmp_path: Path) -> None:
    first = (READY, ev.StackChanged(folder=str(tmp_path), base="b", position=0))
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
        assert "could not be read" in " ".join(n.message for n in desk.app._notifications)
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
        await desk.pilot.press(key)
        desk.engine.pause_at *= key == "n"
        await asyncio.wait_for(_ended(desk.app), 5)
        assert desk.engine.verbs() == verbs
        assert desk.subjects() == (["Two"] if key == "a" else ["One", "Two"])
    assert desk.engine.stopped


async def _ended(app: WorkbenchApp) -> None:
    while app.is_running and not app._exit:
        await asyncio.sleep(0.02)


async def test_function_keys_and_digits_go_to_the_places(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.pilot.press("1")
        assert desk.app.screen.query_one("#subject", Input).value == "1", "digits are text in a form"
        for key, place in PLACES.items():
            await desk.pilot.press(key)
            await desk.until_said(place)
        await desk.pilot.press("3")
        await desk.until_said("[F4 History]")
        await desk.pilot.press("ctrl+n")
        await desk.until(lambda: isinstance(desk.app.screen, EditScreen))
        assert desk.app.focused is desk.app.screen.query_one("#subject")


async def test_jump_goes_to_a_part_by_its_letter(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.pilot.press("ctrl+o")
        await desk.until_said(" s ")
        await desk.pilot.press("s")
        await desk.until(lambda: desk.app.focused is not None and desk.app.focused.id == "prompt")


async def test_help_opens_beside_the_screen_and_closes(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.pilot.press("f1")
        await desk.until_said("f1 closes")
        await desk.pilot.press("f1")
        await desk.until(lambda: "f1 closes" not in desk.text())


async def test_the_palette_has_every_action(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("escape")
        await desk.pilot.pause(0.1)
        titles = " ".join(command.title for command in desk.app.get_system_commands(desk.app.screen))
        for action in ("Add", "Edit", "Remove", "Hold", "Import", "Run", "Go to Live", "Quit", "Restart the engine"):
            assert action in titles


@pytest.mark.parametrize("key", PLACES)
async def test_every_place_fits_80x24_with_no_key_cut(open_desk: OpenDesk, key: str) -> None:
    rows = tuple(row(n, {"prompt": "{} is", "subject": f"S{n}", "target_new": "t"}) for n in (1, 2, 3))
    async with open_desk((80, 24), rows=rows, position=2) as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("escape", key)
        await desk.until_said(PLACES[key])
        lines = desk.lines()
        assert len(lines) == 24
        assert all(len(line) == 80 for line in lines)
        assert "…" not in lines[0] + lines[1]
        assert lines[-1].rstrip().endswith("^p Palette")
        assert "f1 Help" in lines[-1]


@pytest.mark.parametrize("size", [(60, 16), (20, 5), (79, 24), (1, 1)])
async def test_a_terminal_that_is_too_small_is_told_and_nothing_breaks(
    open_desk: OpenDesk, size: tuple[int, int]
) -> None:
    async with open_desk(size) as desk:
        for key in PLACES:
            await desk.pilot.press(key)
        if size[0] > 50:
            assert f"{size[0]}x{size[1]} is too small: 80x24 is needed" in desk.text()
        await desk.pilot.resize_terminal(80, 24)
        await desk.until_said("F8 Log")


async def test_a_thousand_steps_at_once_are_drawn_a_few_times(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_desk(auto=False) as desk:
        desk.engine.load()
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: desk.engine.verbs() == ["apply"])
        command = desk.engine.sent[-1]
        desk.engine.say(desk.engine.started(command), command.job)
        drawn: list[int] = []
        show = EditScreen.show

        def counted(screen: EditScreen, state: State) -> None:
            drawn.append(1)
            show(screen, state)

        monkeypatch.setattr(EditScreen, "show", counted)
        for number in range(1, 1001):
            desk.engine.say(step(number, 1000), command.job)
        await desk.until_said("step 1000/1000")
        assert len(drawn) < 50


def test_keys_that_do_not_fit_are_left_out_whole() -> None:
    keys = [("a", "a", "Add"), ("b", "b", "A very long description of a key"), ("c", "c", "Copy"), ("f1", "f1", "Help")]
    assert [key for key, _, _ in fitting(keys, 30)] == ["a", "c", "f1"]
    assert [key for key, _, _ in fitting(keys, 80)] == ["a", "b", "c", "f1"]
