"""Choosing a file of edits, and what the queue can take back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.tui.conftest import Desk, OpenDesk
from workbench.tui.paths import completed, file_of, listing
from workbench.tui.screens.import_file import PAUSE, ImportScreen, PathRows


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files")
    (made / "facts").mkdir()
    (made / ".hidden").mkdir()
    rows = [{"prompt": "{} is in", "subject": f"Town {n}", "target_new": "[b]Peru\x1b"} for n in range(7)]
    (made / "facts.json").write_text(json.dumps(rows))
    (made / "facts" / "bad.csv").write_text("subject,prompt\n1,2\n")
    (made / "notes.txt").write_text("")
    mixed = [*rows[:3], {"prompt": "{} is in", "target_new": "Peru"}, "no record", *rows[3:]]
    (made / "mixed.json").write_text(json.dumps(mixed))
    (made / "none.jsonl").write_text("{}\n" * 12)
    return made


def test_a_folder_lists_what_may_hold_requests(folder: Path) -> None:
    names = [entry.name for entry in listing(f"{folder}/").entries]
    assert names == ["facts", "facts.json", "mixed.json", "none.jsonl"]
    assert [entry.name for entry in listing(f"{folder}/.h").entries] == [".hidden"]
    assert [entry.name for entry in listing(f"{folder}/FACTS.").entries] == ["facts.json"]
    assert "no folder" in listing(f"{folder}/notes").problem
    assert "no such file" in listing(f"{folder}/none/x").problem
    assert listing("~nobody-of-that-name/").problem
    assert listing("a\0/b").problem


def test_a_path_is_completed_and_found(folder: Path) -> None:
    first, second = listing(f"{folder}/fa").entries
    assert completed(f"{folder}/fa", first) == f"{folder}/facts/"
    assert file_of(completed(f"{folder}/fa", second)) == folder / "facts.json"
    assert file_of(f"{folder}/facts") is None
    assert file_of("\0") is None
    assert file_of("-") is None, "a screen never waits for standard input"


async def test_a_file_is_chosen_by_keys_and_seen_before_it_is_taken(open_desk: OpenDesk, folder: Path) -> None:
    async with open_desk() as desk:
        await to_import(desk, f"{folder}/fa")
        await desk.until_said("facts.json")
        await desk.pilot.press("down", "tab")
        await desk.until_said("✓ 7 edits; enter queues them.")
        assert "Town 0: {} is in -> [b]Peru␛" in desk.text()
        assert "and 3 more" in desk.text()
        assert len(desk.app.queue) == 0
        await desk.pilot.press("enter")
        await desk.until(lambda: len(desk.app.queue) == 7)
        assert "7 edits added." in desk.said()


async def test_bad_records_are_named_and_left_out_and_the_good_ones_queued(open_desk: OpenDesk, folder: Path) -> None:
    async with open_desk() as desk:
        await to_import(desk, f"{folder}/mixed.json")
        await desk.until_said("✓ 7 edits; 2 records cannot be read and are left out. enter queues")
        assert "and 5 more" in desk.text()
        assert "✗ record 4: there is no 'subject'." in desk.text()
        assert "✗ record 5: the record is not a JSON object." in desk.text()
        await desk.pilot.press("enter")
        await desk.until(lambda: len(desk.app.queue) == 7)
        assert "7 edits added, 2 records left out; record 4: there is no 'subject'" in desk.said()


async def test_a_file_of_which_nothing_can_be_read_queues_nothing(open_desk: OpenDesk, folder: Path) -> None:
    async with open_desk() as desk:
        await to_import(desk, f"{folder}/none.jsonl")
        await desk.until_said("✗ None of its records can be read (12).")
        assert "✗ line 3: there is no 'prompt'.  and 9 more" in desk.text()
        await desk.pilot.press("enter")
        await desk.pilot.pause(0.3)
        assert isinstance(desk.app.screen, ImportScreen)
        assert len(desk.app.queue) == 0


async def test_enter_goes_into_a_folder_and_says_what_is_wrong_with_a_file(open_desk: OpenDesk, folder: Path) -> None:
    async with open_desk((140, 40)) as desk:
        await to_import(desk, f"{folder}/facts")
        await desk.until_said("facts/")
        await desk.pilot.press("enter")
        await desk.until_said("bad.csv")
        await desk.pilot.click(PathRows, offset=(6, 1))
        await desk.until_said("✗ bad.csv")
        await desk.pilot.press("enter")
        await desk.pilot.pause(0.3)
        assert isinstance(desk.app.screen, ImportScreen)
        desk.app.screen.query_one(Input).value = f"{folder}/nothing"
        await desk.pilot.press("enter")
        await desk.until_said("✗ There is no file")
        await desk.pilot.pause(2 * PAUSE)
        assert "✗ There is no file" in desk.text(), "a preview that comes later does not wipe it out"
        await desk.pilot.press("escape")
        await desk.until(lambda: not isinstance(desk.app.screen, ImportScreen))
        assert len(desk.app.queue) == 0


async def test_what_was_removed_can_be_put_back_where_it_was(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        for name in ("One", "Two", "Three"):
            await desk.add(name, "{} is", "x")
        await desk.pilot.press("escape", "up", "d", "d")
        assert desk.subjects() == ["One"]
        assert desk.said() == "Three removed; ctrl+z puts it back."
        await desk.pilot.press("ctrl+z", "ctrl+z", "ctrl+z")
        assert desk.subjects() == ["One", "Two", "Three"]
        assert len({item.key for item in desk.app.queue}) == 3


async def test_an_edit_is_queued_once_more_under_itself(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        for name in ("One", "Two"):
            await desk.add(name, "{} is", "x")
        await desk.pilot.press("escape", "up", "D", "K", "space")
        assert desk.subjects() == ["One", "One", "Two"]
        assert [item.held for item in desk.app.queue] == [True, False, False]


async def to_import(desk: Desk, path: str) -> None:
    await desk.pilot.press("escape", "i")
    await desk.until(lambda: isinstance(desk.app.screen, ImportScreen))
    await desk.type(path)
