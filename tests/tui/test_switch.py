"""Switching to another stack: what there is, what can be opened, and that queue and numbers are the new one's."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.story import MODEL, rows
from workbench.errors import StorageError
from workbench.stack.beside import stacks_beside
from workbench.stack.index import Index, write_index
from workbench.stack.record import Base
from workbench.tui.screens.switch import SwitchScreen

IDS = ("aa" * 32, "bb" * 32)


def make(folder: Path, fingerprint: str = MODEL.fingerprint, position: int = 2) -> None:
    folder.mkdir(parents=True)
    write_index(folder, Index(IDS, position, base=Base("atlas", "1", fingerprint, "float32", {})))


async def ask(desk: Desk) -> None:
    await desk.pilot.press("f4", "s")
    await desk.until(lambda: isinstance(desk.app.screen, SwitchScreen) and "Looking" not in desk.text())


def test_stacks_beside_are_those_folders_that_hold_one(tmp_path: Path) -> None:
    make(tmp_path / "demo", position=1)
    make(tmp_path / "here")
    make(tmp_path / "other", "ff" * 32)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/stack.json").write_text("{{")
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").write_text("")
    found = stacks_beside(tmp_path / "here", MODEL.fingerprint)
    assert [stack.folder.name for stack in found] == ["damaged", "demo", "other"]
    assert [bool(stack.problem) for stack in found] == [True, False, True]
    assert found[1].words == "1 of 2 edits applied on atlas"
    assert found[2].words == "2 edits on atlas   ✗ made on another model"


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        stacks_beside(tmp_path / "nowhere/here", "")


async def test_s_opens_another_stack_with_its_own_queue(open_desk: OpenDesk, tmp_path: Path) -> None:
    make(tmp_path / "demo")
    queued = {"format": 1, "items": [{"key": "k", "draft": {"subject": "Theirs"}}]}
    (tmp_path / "demo/queue.json").write_text(json.dumps(queued))
    async with open_desk((80, 24), rows=rows(3), position=3) as desk:
        await desk.add("Mine", "{} is", "x")
        await ask(desk)
        assert "demo" in desk.text()
        assert "2 edits on atlas" in desk.text()
        await desk.pilot.press("enter")
        await desk.until(lambda: desk.subjects() == ["Theirs"])
        assert [(c.do, c.args) for c in desk.engine.sent if c.do == "open"] == [
            ("open", {"stack": str(tmp_path / "demo")})
        ]
        await desk.until_said("No edits yet.")
        await desk.pilot.press("f2")
        await desk.add("Ours", "{} is", "x")
    assert _subjects(tmp_path / "demo") == ["Theirs", "Ours"]
    assert _subjects(tmp_path / "stack") == ["Mine"]


def _subjects(folder: Path) -> list[str]:
    return [item["draft"]["subject"] for item in json.loads((folder / "queue.json").read_text())["items"]]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such names")
@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
async def test_a_stack_whose_name_is_no_text_is_shown_and_opened(
    open_desk: OpenDesk, tmp_path: Path, size: tuple[int, int]
) -> None:
    odd = tmp_path / os.fsdecode(b"bad\xff")
    make(odd)
    async with open_desk(size, rows=rows(2), position=2) as desk:
        await ask(desk)
        assert "bad⟨U+DCFF⟩" in desk.text()
        await desk.pilot.press("enter")
        await desk.until(lambda: desk.app.session.folder == odd)
        assert desk.engine.sent[-1].args["stack"] == str(odd)
        for place in ("f2", "f4", "f5", "f8"):
            await desk.pilot.press(place)
            assert "\udcff" not in desk.text()
        await desk.add("One", "{} is", "x")
        await desk.until(lambda: _subjects(odd) == ["One"])


async def test_a_named_folder_is_opened_beside_the_present_one(open_desk: OpenDesk, tmp_path: Path) -> None:
    async with open_desk() as desk:
        await ask(desk)
        assert "There is no other stack here." in desk.text()
        await desk.pilot.press("tab")
        await desk.type("try-2")
        await desk.pilot.press("enter")
        await desk.until(lambda: desk.engine.folder == tmp_path / "try-2")


async def test_a_stack_of_another_model_is_not_opened_and_escape_changes_nothing(
    open_desk: OpenDesk, tmp_path: Path
) -> None:
    make(tmp_path / "demo", "ff" * 32)
    async with open_desk() as desk:
        await ask(desk)
        await desk.pilot.press("enter")
        await desk.until_said("✗ demo cannot be opened: made on another model.")
        await desk.pilot.press("escape")
        await desk.until(lambda: not isinstance(desk.app.screen, SwitchScreen))
        assert desk.engine.verbs() == []


async def test_nothing_of_the_old_stack_is_shown_on_the_new_one(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("ctrl+r")
        await desk.until_said("last edit #1")
        desk.app.send("open", stack=str(desk.engine.folder.parent / "new"))
        await desk.until_said("No edit is running.")
        assert "last edit" not in desk.text()
