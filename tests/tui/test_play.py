"""A recorded run on the screen: shown as it went, paused, and never changed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from textual.widgets import Static

from tests.tui.conftest import Desk
from workbench.recording import Recorder, Sent, read_recording
from workbench.tui.play import PlayApp
from workbench.tui.recorded import Player, RecordedClient

RUN = Path(__file__).with_name("recordings") / "atlas.jsonl"
"""A run of the real program on atlas: two edits, an undo, verified."""


async def test_every_place_shows_what_the_run_showed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = PlayApp(read_recording(RUN), speed=0)
    async with app.run_test(size=(120, 40)) as pilot:
        desk = Desk(app, pilot, [])
        await desk.until_said("▷ RECORDING")
        await pilot.press("escape", "f4")
        await desk.until_said("[F4 History]")
        text = desk.text()
        assert "↶ undone" in text
        assert "● applied" in text
        assert "Greece" in text
        await pilot.press("f3")
        await desk.until_said("[F3 Live]")
        await pilot.press("f8")
        await desk.until_said("[F8 Log]")
        assert "This is the end of the recording." in desk.said()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_an_edit_that_is_described_before_it_is_shown_takes_the_lines_it_has(size: tuple[int, int]) -> None:
    app = PlayApp(read_recording(RUN), speed=0)
    async with app.run_test(size=size) as pilot:
        desk = Desk(app, pilot, [])
        await desk.until_said("▷ RECORDING")
        await pilot.press("escape", "f4")
        await desk.until_said("[F4 History]")
        await pilot.pause(0.3)
        told = app.screen.query_one("EditDetail > Static", Static)
        assert told.region.height == len(str(told.render()).splitlines())


async def test_nothing_can_be_changed_and_the_reason_is_said() -> None:
    app = PlayApp(read_recording(RUN), speed=0)
    async with app.run_test(size=(120, 40)) as pilot:
        desk = Desk(app, pilot, [])
        await desk.until_said("▷ RECORDING")
        before = app.state.stack
        await pilot.press("escape", "f4", "u", "r", "T", "ctrl+r")
        await pilot.pause(0.1)
        assert app.state.stack is before
        assert app.send("undo", count=1) == ""
        app.run_queue()
        assert "This is a recording: nothing can be changed." in desk.said()


async def test_space_pauses_and_goes_on() -> None:
    app = PlayApp(read_recording(RUN), speed=1.0)
    async with app.run_test(size=(120, 40)) as pilot:
        desk = Desk(app, pilot, [])
        await pilot.press("escape", "space")
        assert app.player.paused
        await pilot.pause(0.3)
        seen = len(app.state.log)
        await pilot.pause(0.5)
        assert len(app.state.log) == seen
        app.player._speed = 0
        await pilot.press("space")
        assert not app.player.paused
        assert "Paused. space goes on." in desk.said()


async def test_waits_are_those_of_the_run_divided_by_the_speed_and_never_long() -> None:
    recording = read_recording(RUN)
    waits = [wait for wait, _ in Player(recording, lambda *_: None, lambda: None, 4.0)._waits()]
    assert max(waits) == 0.5
    assert sum(waits) < recording.moments[-1].at / 4 + 0.01
    at_once = Player(recording, lambda *_: None, lambda: None, 0)
    assert {wait for wait, _ in at_once._waits()} == {0.0}


async def test_a_run_that_is_recorded_again_while_it_is_played_is_the_same_run(tmp_path: Path) -> None:
    first = read_recording(RUN)
    recorder = Recorder(tmp_path / "again.jsonl", first.model, first.stack)
    ended = asyncio.Event()
    player = Player(first, lambda *_: None, ended.set, 0)
    client = RecordedClient(player, recorder)
    await client.start(lambda _: None, lambda _: None)
    await ended.wait()
    await client.stop()
    recorder.close()
    again = read_recording(tmp_path / "again.jsonl")
    said = [moment.what for moment in first.moments if not isinstance(moment.what, Sent)]
    assert [moment.what for moment in again.moments] == said


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_the_program_plays_a_file_and_refuses_what_is_none(tmp_path: Path) -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["play", str(RUN), "--no-wait"], tmp_path, patience=20) as terminal:
        terminal.until_said("▷ RECORDING", "1 + 1 undone")
        assert terminal.engines() == []
        terminal.press("ctrl+q")
        assert terminal.wait() == 0
        assert terminal.is_sane()
    (tmp_path / "x.jsonl").write_text("hello\n")
    with Terminal(["play", "x.jsonl"], tmp_path) as terminal:
        assert terminal.wait() == 2
        assert "workbench: x.jsonl is not a recording: line 1 is not JSON." in terminal.text()
