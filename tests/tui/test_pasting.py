"""A paste: a field takes one line and says what it left out; what reads as requests is offered, never just queued."""

from __future__ import annotations

import json

import pytest
from textual import events
from textual.widgets import Input
from textual.widgets.input import Selection

from tests.tui.conftest import Desk, OpenDesk
from workbench.tui.offer import may_be_records
from workbench.tui.screens.confirm import ConfirmScreen

ROWS = [{"prompt": "{} is in", "subject": f"Town {n}", "target_new": "Peru"} for n in range(200)]
PLAIN = "\n".join(f"line {number}" for number in range(200))


async def paste(desk: Desk, text: str) -> None:
    desk.app.post_message(events.Paste(text))
    await desk.pilot.pause()


def subject(desk: Desk) -> str:
    return desk.app.screen_stack[0].query_one("#subject", Input).value


@pytest.mark.parametrize(
    ("text", "kept", "said"),
    [
        (PLAIN, "line 0", "199 lines were left out"),
        ("\n\n  Greece \r\n\r\n", "  Greece ", ""),
        ("Greece\nItaly", "Greece", "1 line was left out"),
        ("{} is in\n{} lies in", "{} is in", "1 line was left out"),
        ("Greece", "Greece", ""),
    ],
)
async def test_a_field_takes_one_line_and_says_how_many_it_left_out(
    open_desk: OpenDesk, text: str, kept: str, said: str
) -> None:
    async with open_desk() as desk:
        await paste(desk, text)
        await desk.until(lambda: subject(desk) == kept)
        assert said in desk.said()
        assert bool(said) == bool(desk.said())
        assert len(desk.app.queue) == 0


async def test_a_line_that_is_too_long_is_cut_and_said(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await paste(desk, "x" * 3_990)
        await paste(desk, "y" * 20 + "\nz")
        await desk.until(lambda: "10 characters and 1 line were left out of the paste." in desk.said())
        assert subject(desk) == "x" * 3_990 + "y" * 10
        assert "A field holds one line of 4,000 characters" in desk.said()
        field = desk.app.screen.query_one("#subject", Input)
        field.selection = Selection(4_000, 0)
        await paste(desk, "z" * 4_001)
        await desk.until(lambda: subject(desk) == "z" * 4_000)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        "\n".join(map(json.dumps, ROWS)),
        "subject,prompt,target_new\n" + "\n".join(f"Town {n},{{}} is in,Peru" for n in range(200)),
    ],
    ids=["json", "lines", "csv"],
)
@pytest.mark.parametrize("where", ["#subject", "QueueTable"])
async def test_pasted_requests_are_queued_after_a_question(open_desk: OpenDesk, text: str, where: str) -> None:
    async with open_desk() as desk:
        desk.app.screen.set_focus(desk.app.screen.query_one(where))
        await paste(desk, text)
        await desk.until_said("Queue 200 edits?")
        assert len(desk.app.queue) == 0
        await desk.pilot.press("y")
        await desk.until(lambda: len(desk.app.queue) == 200)
        assert subject(desk) == ""


@pytest.mark.parametrize("ends", ["\r", "\r\n"])
async def test_lines_that_a_terminal_ends_with_a_carriage_return_are_records_too(
    open_desk: OpenDesk, ends: str
) -> None:
    async with open_desk() as desk:
        for text in ("\n".join(map(json.dumps, ROWS[:3])), "subject,prompt,target_new\nTown 1,{} is in,Peru"):
            await paste(desk, text.replace("\n", ends))
            await desk.until(lambda: isinstance(desk.app.screen, ConfirmScreen))
            await desk.pilot.press("y")
            await desk.until(lambda: not isinstance(desk.app.screen, ConfirmScreen))
        await desk.until(lambda: len(desk.app.queue) == 4)
        assert [item.draft.subject for item in desk.app.queue] == ["Town 0", "Town 1", "Town 2", "Town 1"]


async def test_a_no_queues_nothing_and_records_that_cannot_be_read_are_counted(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await paste(desk, json.dumps([*ROWS[:2], {"subject": "x"}]))
        await desk.until_said("Queue 2 edits; 1 record cannot be read and is left out?")
        await desk.pilot.press("n")
        await desk.until(lambda: not isinstance(desk.app.screen, ConfirmScreen))
        await paste(desk, json.dumps([{"subject": "x"}]))
        await desk.until(lambda: "None of what was pasted can be read. record 1: there is no 'prompt'." in desk.said())
        assert len(desk.app.queue) == 0
        assert subject(desk) == ""


@pytest.mark.parametrize(
    "first", ['{"prompt": "{} is in", "subject": "Tow', 'prompt": "{} is in", "subject": "T", "t": "P"}']
)
@pytest.mark.parametrize("ends", ["\n", "\r"])
async def test_lines_of_which_the_first_is_broken_are_offered_and_it_is_named(
    open_desk: OpenDesk, first: str, ends: str
) -> None:
    async with open_desk() as desk:
        await paste(desk, ends.join([first, *map(json.dumps, ROWS[:3])]))
        await desk.until_said("Queue 3 edits; 1 record cannot be read and is left")
        assert "✗ line 1: this is not JSON" in desk.text()
        await desk.pilot.press("y")
        await desk.until(lambda: len(desk.app.queue) == 3)
        assert subject(desk) == ""
        assert "line 1: this is not JSON" in desk.said()


async def test_what_begins_as_json_and_is_none_is_a_line_of_text(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await paste(desk, '{"half": \nof it')
        await desk.until(lambda: subject(desk) == '{"half": ')
        assert "1 line was left out" in desk.said()


async def test_what_was_copied_in_the_program_goes_in_by_the_same_rule(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        desk.app.copy_to_clipboard(PLAIN)
        await desk.pilot.press("ctrl+v")
        assert subject(desk) == "line 0"


@pytest.mark.parametrize("text", ["", "{} is in", "[b]bold[/b]\nx", "subject, prompt, target", "a\nb", "\x00"])
def test_ordinary_text_is_not_taken_for_records(text: str) -> None:
    assert not may_be_records(text)
