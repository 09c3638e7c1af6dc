"""What is in the form is there again after the screen was left, however it was left; what was queued is not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.widgets import Input, TextArea

from tests.tui.conftest import Desk, OpenDesk
from workbench.errors import StorageError
from workbench.tui import queue_place
from workbench.tui.draft import Draft
from workbench.tui.kept_draft import FILE, MAX_BYTES, PAUSE, read_draft
from workbench.tui.queue import FILE as QUEUE
from workbench.tui.queue import QueueItem
from workbench.tui.queue_place import QueuePlace
from workbench.tui.screens.form import FormScreen
from workbench.tui.widgets.request_form import More, RequestForm

HALF = ("Greece", "The capital of {} is")


def form(desk: Desk) -> Draft:
    return desk.app.screen_stack[0].query_one(RequestForm).draft


async def test_a_draft_is_in_the_form_again_where_it_was_written(open_desk: OpenDesk, tmp_path: Path) -> None:
    async with open_desk() as desk:
        await desk.type(*HALF)
    assert read_draft(tmp_path / "stack") == (Draft(*HALF), "")
    async with open_desk(name="another") as desk:
        assert form(desk).empty
    async with open_desk() as desk:
        await desk.until_said("The capital of {} is")
        await desk.pilot.press("!")
        assert desk.app.screen.query_one("#subject", Input).value == "Greece!"
        await desk.type("Greece", HALF[1], "Rome")
        await desk.pilot.press("enter")
        await desk.until(lambda: len(desk.app.queue) == 1)
    async with open_desk() as desk:
        await desk.pilot.pause(0.2)
        assert form(desk).empty, "what was queued is no draft any more"


async def test_a_draft_survives_a_kill_soon_after_it_was_typed(open_desk: OpenDesk, tmp_path: Path) -> None:
    async with open_desk() as desk:
        await desk.type(*HALF)
        await desk.until(lambda: read_draft(tmp_path / "stack")[0] == Draft(*HALF))


async def test_each_stack_has_its_own_draft(open_desk: OpenDesk, tmp_path: Path) -> None:
    async with open_desk() as desk:
        await desk.type(*HALF)
        desk.app.send("open", stack=str(tmp_path / "another"))
        await desk.until(lambda: form(desk).empty)
        await desk.type("iPod")
        desk.app.send("open", stack=str(tmp_path / "stack"))
        await desk.until(lambda: form(desk) == Draft(*HALF))
    assert read_draft(tmp_path / "another")[0] == Draft(prompt="iPod")


async def test_what_is_written_in_the_whole_form_is_kept_and_what_is_discarded_is_not(
    open_desk: OpenDesk, tmp_path: Path
) -> None:
    async with open_desk((100, 30)) as desk:
        await desk.type(*HALF)
        desk.app.screen.set_focus(desk.app.screen.query_one(More))
        await desk.pilot.press("enter")
        await desk.until(lambda: isinstance(desk.app.screen, FormScreen))
        desk.app.screen.query_one("#paraphrases", TextArea).text = "Who rules {}?"
        await desk.until(lambda: desk.app.queue.written.draft.paraphrases == "Who rules {}?")
    async with open_desk((100, 30)) as desk:
        await desk.until_said("1 paraphrase")
        desk.app.screen.set_focus(desk.app.screen.query_one(More))
        await desk.pilot.press("enter")
        await desk.until(lambda: isinstance(desk.app.screen, FormScreen))
        desk.app.screen.query_one("#subject", Input).value = "Rome"
        await desk.pilot.press("escape", "y")
        await desk.until(lambda: not isinstance(desk.app.screen, FormScreen))
    assert read_draft(tmp_path / "stack")[0] == Draft(*HALF, paraphrases="Who rules {}?")


async def test_a_second_screen_on_a_stack_neither_shows_nor_changes_the_first_ones_draft(
    open_desk: OpenDesk, tmp_path: Path
) -> None:
    async with open_desk() as first:
        await first.type(*HALF)
        await first.until(lambda: read_draft(tmp_path / "stack")[0] == Draft(*HALF))
        async with open_desk() as second:
            assert form(second).empty
            await second.type("iPod")
    assert read_draft(tmp_path / "stack")[0] == Draft(*HALF)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"format": 1, "draft": {"subject": 3}}', b"[" * 9999, b" " * (MAX_BYTES + 1)]
)
def test_a_draft_that_cannot_be_read_is_moved_aside_and_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    draft, said = read_draft(tmp_path)
    (aside,) = tmp_path.glob("draft-damaged-*.json")
    assert draft.empty
    assert aside.name in said
    assert aside.read_bytes() == content


async def test_a_draft_that_may_not_be_read_takes_no_queue_with_it_and_is_not_written_over(
    open_desk: OpenDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_desk() as desk:
        await desk.add(*HALF, "Athens")
        await desk.type("iPod")
        path = tmp_path / "stack" / FILE
        await desk.until(lambda: path.exists() and "iPod" in path.read_text())
    there = (tmp_path / "stack" / FILE).read_bytes()

    def refuse(folder: Path) -> tuple[Draft, str]:
        raise StorageError("Cannot read draft.json: permission is denied.")

    monkeypatch.setattr(queue_place, "read_draft", refuse)
    async with open_desk() as desk:
        assert desk.subjects() == ["Greece"]
        assert "permission is denied. It is left as it is; what is new is not saved." in desk.said()
        await desk.type("Italy", "The capital of {} is")
    assert (tmp_path / "stack" / FILE).read_bytes() == there


async def test_a_queue_that_may_not_be_read_is_not_written_over(
    open_desk: OpenDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_desk() as desk:
        await desk.add(*HALF, "Athens")
    there = (tmp_path / "stack" / QUEUE).read_bytes()

    def refuse(folder: Path) -> tuple[tuple[QueueItem, ...], str]:
        raise StorageError("The queue queue.json cannot be read: permission is denied.")

    monkeypatch.setattr(queue_place, "read_queue", refuse)
    async with open_desk() as desk:
        await desk.add("Italy", "The capital of {} is", "Rome")
        assert "1 item; not saved, its file cannot be read" in desk.text()
    assert (tmp_path / "stack" / QUEUE).read_bytes() == there


async def test_what_is_typed_after_the_place_was_given_up_is_not_written_there(tmp_path: Path) -> None:
    place = QueuePlace(tmp_path, tell=lambda error: pytest.fail(error.message))
    written = place.queue.written
    written.keep(Draft("Greece"))
    await place.close()
    written.keep(Draft("Italy"))
    await asyncio.sleep(2 * PAUSE)
    assert read_draft(tmp_path)[0] == Draft("Greece")
