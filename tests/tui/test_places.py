"""Going from place to place, and every place in every terminal."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from tests.tui.conftest import OpenDesk
from tests.tui.story import rows
from workbench.tui.deeds import deeds
from workbench.tui.screens.edit import EditScreen
from workbench.tui.widgets.keys import Key, KeyLine, fitting

PLACES = {"f2": "[F2 Edit]", "f3": "[F3 Live]", "f4": "[F4 History]", "f5": "[F5 Compare]", "f8": "[F8 Log]"}


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
        assert "for instance: Greece" in desk.text(), "the form can be read beside it"
        await desk.pilot.press("f1")
        await desk.until(lambda: "f1 closes" not in desk.text())


async def test_the_palette_has_every_action(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("escape")
        await desk.pilot.pause(0.1)
        titles = " ".join(deed.title for deed in deeds(desk.app.screen))
        for action in ("Add", "Edit", "Remove", "Hold", "Import", "Run", "Go to Live", "Quit", "Restart"):
            assert action in titles


@pytest.mark.parametrize("key", PLACES)
async def test_every_place_fits_80x24_with_no_key_cut(open_desk: OpenDesk, key: str) -> None:
    async with open_desk((80, 24), rows=rows(3), position=2) as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("escape", key)
        await desk.until_said(PLACES[key])
        lines = desk.lines()
        assert len(lines) == 24
        assert all(len(line) == 80 for line in lines)
        assert "…" not in lines[0] + lines[1]
        assert lines[-1].rstrip().endswith("^p Palette")
        assert "f1 Help" in lines[-1]


async def test_a_low_terminal_has_one_line_of_head_with_all_that_matters(open_desk: OpenDesk) -> None:
    async with open_desk((80, 18), rows=rows(3), position=2) as desk:
        await desk.add("One", "{} is", "x")
        for key in PLACES:
            await desk.pilot.press(key)
            await desk.until_said(PLACES[key])
            first = desk.lines()[0]
            assert "stack 2 + 1 undone" in first
            assert "queue 1" in first
            assert "○ idle" in first
            assert "too small" not in desk.text()
            assert len(desk.lines()) == 18
        await desk.pilot.press("f2")
        await desk.until_said("· queued")


async def test_a_grey_key_is_shown_and_says_why_it_does_nothing(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=4, rows=rows(3), position=2) as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("f4", "ctrl+r")
        await desk.until_said("RUNNING")
        for key, name in (("u", "u Undo"), ("r", "r Redo"), ("v", "v Verify")):
            assert name in desk.lines()[-1]
            await desk.pilot.press(key)
            await desk.until(lambda: "The engine is busy: edit 1 of 1." in desk.said())
            desk.app.clear_notifications()
        assert desk.engine.verbs() == ["apply"]
        desk.engine.die("killed")
        await desk.until_said("✗ STOPPED")
        await desk.pilot.press("u")
        await desk.until(lambda: "The engine has stopped; ctrl+r restarts it." in desk.said())


async def test_a_question_shows_its_own_keys_over_those_of_before_it(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        for name in ("One", "Two"):
            await desk.add(name, "{} is", "x")
        await desk.pilot.press("escape", "B")
        await desk.until_said("One edit of 2 requests")
        assert "m MEMIT" in desk.lines()[-1]
        assert "d Remove" not in desk.lines()[-1]
        assert "d Remove" in desk.app.screen_stack[0].query_one(KeyLine).render().plain


async def test_the_tooltip_of_a_key_says_what_it_does_or_why_not(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=4, rows=rows(3), position=2) as desk:
        await desk.pilot.press("f4")
        await desk.until_said("u Undo")
        line = desk.app.screen.query_one(KeyLine)
        at = desk.lines()[-1].index("Undo")
        await desk.pilot.hover(KeyLine, (at, 0))
        assert line.tooltip == "Takes back the newest applied edit"
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("f4", "ctrl+r")
        await desk.until_said("RUNNING")
        await desk.pilot.hover(KeyLine, (desk.lines()[-1].index("Undo") + 1, 0))
        assert line.tooltip == "Undo: The engine is busy: edit 1 of 1."


@pytest.mark.parametrize("size", [(60, 16), (20, 5), (79, 24), (1, 1)])
async def test_a_terminal_that_is_too_small_is_told_and_nothing_breaks(
    open_desk: OpenDesk, size: tuple[int, int]
) -> None:
    async with open_desk(size) as desk:
        for key in PLACES:
            await desk.pilot.press(key)
        if size[0] > 50:
            assert f"{size[0]}x{size[1]} is too small: 80x18 is needed" in desk.text()
        await desk.pilot.resize_terminal(80, 24)
        await desk.until_said("F8 Log")


def test_keys_that_do_not_fit_are_left_out_whole() -> None:
    texts = (("a", "Add"), ("b", "A very long description of a key"), ("c", "Copy"), ("f1", "Help"))
    keys = [Key(key, key, text, id="help" if key == "f1" else "") for key, text in texts]
    assert [key.key for key in fitting(keys, 30)] == ["a", "c", "f1"]
    assert [key.key for key in fitting(keys, 80)] == ["a", "b", "c", "f1"]
