"""The queue keeps what was typed, in order, through changes, runs, quitting and crashes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tui.story import row
from workbench.edits import EditRequest, Neighbour
from workbench.errors import UsageError
from workbench.events import EditRow
from workbench.tui.draft import Draft
from workbench.tui.queue import FILE, Queue, QueueItem, drafts_of, read_queue
from workbench.tui.saver import Saver

EIFFEL = Draft("Eiffel Tower", "The {} is in", "Rome")
IPHONE = Draft("iPhone", "The {} was developed by", "Nokia")
BROKEN = Draft("Danielle", "The mother tongue is", "English")


def subjects(queue: Queue) -> list[str]:
    return [item.draft.subject for item in queue]


def test_items_keep_their_order_and_moves_stop_at_the_ends() -> None:
    queue = Queue()
    first, second, third = queue.add(EIFFEL, IPHONE, BROKEN)
    queue.move(third.key, -1)
    assert subjects(queue) == ["Eiffel Tower", "Danielle", "iPhone"]
    queue.move(first.key, -5)
    queue.move(second.key, 9)
    assert subjects(queue) == ["Eiffel Tower", "Danielle", "iPhone"]


def test_held_invalid_and_failed_items_are_passed_over() -> None:
    queue = Queue()
    eiffel, iphone, broken = queue.add(EIFFEL, IPHONE, BROKEN)
    queue.hold(eiffel.key, True)
    queue.fail(iphone.key, reason="no such layer")
    assert queue.ready() == ()
    assert [item.state for item in queue] == ["queued", "failed", "invalid"]
    assert [item.reason for item in queue] == ["", "no such layer", "prompt: no {} for the subject"]
    queue.hold(eiffel.key, False)
    queue.hold(iphone.key, False)
    assert [item.draft for item in queue.ready()] == [EIFFEL, IPHONE]
    assert queue.get(broken.key) is not None


@pytest.mark.parametrize("change", ["edit", "remove", "move", "hold"])
def test_the_item_that_is_being_made_cannot_be_changed(change: str) -> None:
    queue = Queue()
    item, _ = queue.add(EIFFEL, IPHONE)
    queue.start(item.key, tip="")
    before = queue.items
    with pytest.raises(UsageError, match="being made now"):
        {
            "edit": lambda: queue.edit(item.key, IPHONE),
            "remove": lambda: queue.remove(item.key),
            "move": lambda: queue.move(item.key, 1),
            "hold": lambda: queue.hold(item.key, True),
        }[change]()
    assert queue.items == before


def test_others_can_be_changed_while_one_is_being_made() -> None:
    queue = Queue()
    first, second, third = queue.add(EIFFEL, IPHONE, BROKEN)
    queue.start(first.key, tip="")
    queue.move(third.key, -2)
    queue.remove(second.key)
    queue.edit(third.key, IPHONE)
    queue.done(first.key)
    assert [item.draft for item in queue] == [IPHONE]


def test_everything_comes_back_from_disk(tmp_path: Path) -> None:
    saved: list[bytes] = []
    queue = Queue(save=saved.append)
    long = Draft("A", "{} x", "y", "z", "p one\np two", "n => m\no", "method=rome steps=30")
    eiffel, _, broken, _ = queue.add(EIFFEL, IPHONE, BROKEN, long)
    queue.hold(eiffel.key, True)
    queue.fail(broken.key, reason="why \x1b[31m")
    (tmp_path / FILE).write_bytes(saved[-1])
    items, found = read_queue(tmp_path)
    assert items == queue.items
    assert found == ""


def test_no_file_is_an_empty_queue(tmp_path: Path) -> None:
    assert read_queue(tmp_path) == ((), "")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"format": 2, "items": []}',
        b'{"format": 1, "items": [7]}',
        b'{"format": 1, "items": [{"draft": {"subject": 3}}]}',
        b'{"format": 1, "items": [{"draft": {}, "held": "yes"}]}',
        b'{"format": 1, "items": [{"key": "a", "draft": {}}, {"key": "a", "draft": {}}]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_moved_aside_and_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    items, found = read_queue(tmp_path)
    (aside,) = tmp_path.glob("queue-damaged-*.json")
    assert items == ()
    assert aside.name in found
    assert aside.read_bytes() == content
    assert not (tmp_path / FILE).exists()


def test_after_a_crash_an_edit_that_is_on_the_stack_leaves_the_queue() -> None:
    queue = Queue(items=[QueueItem(EIFFEL, tip="old"), QueueItem(IPHONE)])
    made = row(3, EIFFEL.request().to_json(), id="new")
    assert "had been made" in queue.settle((made,))
    assert [item.draft for item in queue] == [IPHONE]


@pytest.mark.parametrize("applied", [(), (row(2, EIFFEL.request().to_json(), id="old"),)])
def test_after_a_crash_an_edit_that_was_not_made_waits_again(applied: tuple[EditRow, ...]) -> None:
    queue = Queue(items=[QueueItem(EIFFEL, tip="old")])
    assert "interrupted" in queue.settle(applied)
    assert queue.items[0].ready
    assert queue.settle(()) == ""


def test_a_running_item_is_saved_so_that_a_kill_can_be_settled() -> None:
    saved: list[bytes] = []
    queue = Queue(save=saved.append)
    (item,) = queue.add(EIFFEL)
    queue.start(item.key, tip="")
    assert json.loads(saved[-1])["items"][0]["tip"] == ""


async def test_the_newest_content_is_on_disk_when_the_saver_is_closed(tmp_path: Path) -> None:
    saver = Saver(tmp_path / "new" / FILE, tell=lambda error: pytest.fail(error.message))
    for number in range(50):
        saver(str(number).encode())
    await saver.close()
    assert (tmp_path / "new" / FILE).read_bytes() == b"49"


async def test_a_folder_that_takes_nothing_is_told_and_nothing_breaks(tmp_path: Path) -> None:
    (tmp_path / "stack").write_text("a file where the folder should be")
    told: list[str] = []
    saver = Saver(tmp_path / "stack" / FILE, tell=lambda error: told.append(error.message))
    saver(b"x")
    await saver.close()
    assert len(told) == 1


def test_a_prompt_with_the_subject_written_out_gets_its_slot() -> None:
    draft = Draft("Eiffel Tower", "The Eiffel Tower is in", "Rome")
    assert draft.problem == ""
    assert draft.slotted == "The {} is in"
    assert draft.request().prompt == "The {} is in"


@pytest.mark.parametrize(
    ("draft", "field", "reason"),
    [
        (Draft("", "The {} is in", "Rome"), "subject", "empty"),
        (Draft("Rome", "", "x"), "prompt", "empty"),
        (Draft("Rome", "{} is", " "), "target_new", "empty"),
        (Draft("Rome", "It is", "x"), "prompt", "no {} for the subject"),
        (Draft("Rome", "{} and {}", "x"), "prompt", "2 slots, needs one"),
        (Draft("Rome", "Rome is Rome", "x"), "prompt", "subject 2 times"),
        (Draft("Rome", "{} is", "x", settings="layer"), "settings", "'layer' is not name=value."),
        (Draft("Rome", "{} is", "x", settings="depth=3"), "settings", "Unknown setting 'depth'."),
        (Draft("Rome", "{} is", "x", settings="lr=-1"), "settings", "lr = -1.0 is out of range."),
    ],
)
def test_a_draft_says_which_field_is_wrong_and_why(draft: Draft, field: str, reason: str) -> None:
    assert draft.checks == {field: reason}


def test_settings_are_changes_to_the_profile() -> None:
    draft = Draft("Rome", "{} is", "x", settings="method=rome steps=30 lr=0.2 nll_stop=null second_moment=false")
    assert draft.overrides() == {"method": "rome", "steps": 30, "lr": 0.2, "nll_stop": None, "second_moment": False}


def test_an_imported_request_is_queued_word_for_word() -> None:
    request = EditRequest(
        "{} is => in",
        "A\\b",
        "Rome",
        "Paris",
        ("one\ntwo", "Where is A\\b?"),
        (Neighbour("a => b"), Neighbour("c", "d"), Neighbour("e => f", "g")),
    )
    (draft,) = drafts_of([request])
    assert draft.request() == request
    assert Draft.from_json(draft.to_json()) == draft
