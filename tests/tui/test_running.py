"""Running the queue: in order, with the numbers of the events, and under control at every step."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tui.conftest import OpenDesk
from tests.tui.story import step
from workbench.tui.screens.edit import EditScreen
from workbench.tui.state import State


async def test_a_run_shows_the_numbers_of_its_events(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        desk.engine.load()
        await desk.add("Space Needle", "The {} is in", "Berlin")
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: desk.engine.verbs() == ["apply"])
        await desk.until_said("● BUSY starting an edit")
        assert "▶ starting an edit" in desk.text()
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
            "seconds": 0.102,
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
        assert "2 made, 1 failed" in desk.said()
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
