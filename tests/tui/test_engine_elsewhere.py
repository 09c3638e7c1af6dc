"""An engine on another machine: the same events over a slow link, and a link that is cut in the middle of an edit."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engine.making import OTHER, REQUEST, make_model
from tests.tui.conftest import Desk
from tests.tui.real_engine import position, real_desk
from tests.tui.scripted_engine import ScriptedEngine
from workbench import events as ev
from workbench.edits import EditRequest
from workbench.errors import UsageError
from workbench.models.options import LoadOptions
from workbench.stack.index import read_index
from workbench.tui.app import WorkbenchApp
from workbench.tui.client import ProcessClient
from workbench.tui.draft import Draft
from workbench.tui.far import far_arguments
from workbench.tui.home import HERE, Home
from workbench.tui.run import Wanted

RELAY = Path(__file__).with_name("relay.py")
ENGINE = f"{shlex.quote(sys.executable)} -m workbench.engine.server"


def relayed(delay: float, piece: int) -> str:
    """The command of an engine behind a link that carries `piece` bytes every `delay` seconds."""
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(RELAY))} {delay} {piece} {ENGINE}"


@pytest.mark.skipif(os.name != "posix", reason="signals")
async def test_a_slow_link_edits_and_a_cut_one_loses_only_the_edit_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_CONFIG", str(tmp_path / "config"))
    model = make_model(tmp_path / "model")
    stack, log = tmp_path / "far" / "stack", tmp_path / "engine.log"
    wanted = Wanted(str(model), stack, "cpu", engine=relayed(0.02, 700))
    async with real_desk(wanted, log) as (desk, kill):
        app = desk.app
        assert app.state.where == "elsewhere"
        add(desk, OTHER)
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: app.state.engine == "idle" and position(desk) == 1, 60)

        add(desk, REQUEST, "steps=300 loss_stop=0")
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: bool(app.state.run and app.state.run.steps and app.state.run.running), 60)
        kill()
        await desk.until_said("✗ STOPPED")
        assert [item.state for item in app.queue] == ["queued"]

        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: app.state.engine == "idle", 60)
        assert position(desk) == 1
        assert desk.subjects() == [REQUEST.subject]
    assert not list(stack.glob("queue*.json")), "the queue is kept here, not on the engine's machine"
    assert len(list((tmp_path / "config" / "queues").iterdir())) == 1
    index, _ = read_index(stack)
    assert index is not None
    assert (len(index.order), index.position) == (1, 1)


def add(desk: Desk, request: EditRequest, settings: str = "") -> None:
    desk.app.queue.add(Draft(request.subject, request.prompt, request.target_new, settings=settings))
    desk.app.queue_changed()


async def test_what_ssh_says_is_the_reason(tmp_path: Path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'ssh: Could not resolve hostname gpu-box' >&2\nexit 255\n")
    ssh.chmod(0o755)
    wanted = Wanted(None, Path("edits/atlas"), engine=f"{ssh} gpu-box workbench-engine")
    log = tmp_path / "engine.log"
    app = WorkbenchApp(wanted.stack, lambda folder: ProcessClient(wanted.arguments(folder, log), log), wanted.home)
    async with app.run_test(size=(100, 30)) as pilot:
        desk = Desk(app, pilot, [])
        await desk.until_said("✗ STOPPED")
        assert "Could not resolve hostname gpu-box" in " ".join(desk.text().split())


def test_only_what_another_shell_reads_is_quoted_once_more() -> None:
    options = ["--stack", "my edits/a"]
    assert far_arguments("ssh -p 22 box workbench-engine", options)[-2:] == ["--stack", "'my edits/a'"]
    assert far_arguments("docker exec -i box workbench-engine", options)[-2:] == options
    for wrong in ("", "  ", "ssh 'box"):
        with pytest.raises(UsageError, match="--engine"):
            far_arguments(wrong, options)


def test_the_options_go_along_and_no_path_of_this_machine() -> None:
    wanted = Wanted("gpt2", Path("edits/x"), "cuda", "bfloat16", LoadOptions(keep_fp32=True), "run-it there")
    assert wanted.arguments(Path("edits/y"), Path("here.log")) == [
        *("run-it", "there", "--model", "gpt2", "--stack", "edits/y"),
        *("--device", "cuda", "--dtype", "bfloat16", "--keep-fp32"),
    ]


def test_a_queue_elsewhere_has_a_folder_of_its_own_by_engine_and_stack() -> None:
    folders = {Home("elsewhere", engine).queue_folder(Path(stack)) for engine in ("a", "b") for stack in ("x", "y")}
    assert len(folders) == 4
    assert Home("elsewhere", "a").queue_folder(Path("x")) in folders
    assert HERE.queue_folder(Path("x")) == Path("x")
    assert Home("recorded").queue_folder(Path("x")) is None


BESIDE = (("/far/edits/beside", "2 edits on atlas", ""), ("/far/edits/bad", "✗ damaged", "damaged"))


@asynccontextmanager
async def elsewhere(folder: Path, **script: Any) -> AsyncIterator[Desk]:
    """The screen on a stack of another machine."""
    engine = ScriptedEngine(folder, **script)
    app = WorkbenchApp(folder, lambda _: engine, Home("elsewhere", "ssh box workbench-engine"))
    async with app.run_test(size=(100, 30)) as pilot:
        desk = Desk(app, pilot, [engine])
        await desk.until(lambda: bool(app.state.log))
        yield desk


async def test_stacks_of_another_machine_are_listed_by_its_engine(tmp_path: Path) -> None:
    for name in ("here", "local"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stack.json").write_text("{}")
    async with elsewhere(tmp_path / "here", beside=BESIDE) as desk:
        await desk.pilot.press("escape", "f4", "s")
        await desk.until_said("2 edits on atlas")
        assert "local" not in desk.text()
        await desk.pilot.press("down", "enter")
        await desk.until_said("bad cannot be opened: damaged.")
        await desk.pilot.press("up", "enter")
        await desk.until(lambda: "open" in desk.engine.verbs())
        assert [c.args for c in desk.engine.sent if c.do == "open"] == [{"stack": "/far/edits/beside"}]


async def test_a_stack_of_another_machine_may_be_named_as_it_is_there(tmp_path: Path) -> None:
    async with elsewhere(tmp_path / "here") as desk:
        await desk.pilot.press("escape", "f4", "s")
        await desk.until_said("There is no other stack here.")
        await desk.pilot.press("tab")
        await desk.type("~/edits/other")
        await desk.pilot.press("enter")
        await desk.until(lambda: "open" in desk.engine.verbs())
        assert [c.args for c in desk.engine.sent if c.do == "open"] == [{"stack": "~/edits/other"}]


async def test_no_folder_is_made_here_for_what_an_engine_elsewhere_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    monkeypatch.setenv("WORKBENCH_CONFIG", str(config))
    async with elsewhere(tmp_path / "far" / "stack") as desk:
        for number in range(5):
            desk.engine.say(ev.StackChanged(folder=str(tmp_path / f"unasked{number}"), base="b", position=0))
        await desk.type("One", "{} is", "x")
        for place in ("escape", "f3", "f4", "f5", "f8", "f2"):
            await desk.pilot.press(place)
        desk.app.send("open", stack=str(tmp_path / "far" / "other"))
        await desk.until(lambda: desk.app.session.folder.name == "other")
    assert [path.name for path in tmp_path.iterdir()] == ["config"]
    assert len(list((config / "queues").iterdir())) == 2, "one for each stack that was opened"
