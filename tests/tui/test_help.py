"""Help that follows the focus, jumping by letters, the palette, and the mouse: in places and in questions."""

from __future__ import annotations

from textual.command import CommandPalette
from textual.geometry import Offset
from textual.widgets import Input

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.story import rows
from workbench.tui.deeds import Deed, deeds
from workbench.tui.screens.form import FormScreen
from workbench.tui.screens.help import HelpPanel
from workbench.tui.screens.history import HistoryScreen
from workbench.tui.screens.jump import JumpScreen
from workbench.tui.widgets.queue_table import QueueTable


async def test_help_follows_the_focus(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.pilot.press("f1")
        await desk.until_said("Help: Edit, new edit")
        assert "Write {} in the prompt" in desk.text()
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("escape")
        await desk.until_said("Help: Edit, queue")
        shown = help_text(desk)
        assert "Write {} in the prompt" not in shown
        for words in ("This panel", "Take this edit out", "Everywhere", "Quit"):
            assert words in shown


async def test_help_longer_than_the_screen_is_scrolled_with_keys(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.pilot.press("f4", "f1")
        await desk.until_said("Help: History")
        first = desk.text()
        await desk.pilot.press("alt+down")
        await desk.until(lambda: desk.text() != first)
        await desk.pilot.press("alt+up")
        await desk.until(lambda: desk.text() == first)


async def test_help_and_jump_work_in_a_question(open_desk: OpenDesk) -> None:
    for size in ((80, 24), (140, 40)):
        async with open_desk(size, name=f"stack{size[0]}") as desk:
            await desk.add("One", "{} is", "x")
            await desk.pilot.press("escape", "e")
            await desk.until(lambda desk=desk: isinstance(desk.app.screen, FormScreen))  # type: ignore[misc]
            assert "f1 Help" in desk.lines()[-1]
            await desk.pilot.press("f1")
            await desk.until_said("Help: ")
            assert "Save" in help_text(desk)
            assert "All actions, by name" in help_text(desk)
            panel, form = desk.app.screen.query_one(HelpPanel), desk.app.screen.query_one("#form")
            assert not panel.region.overlaps(form.region), "the form stays in sight beside it"
            await desk.pilot.press("ctrl+o")
            await desk.until(lambda desk=desk: isinstance(desk.app.screen, JumpScreen))  # type: ignore[misc]
            await desk.pilot.press("s")
            await desk.until(lambda desk=desk: desk.app.focused is not None and desk.app.focused.id == "prompt")  # type: ignore[misc]
            await desk.pilot.press("f1")
            await desk.until(lambda desk=desk: not desk.app.screen.query(HelpPanel))  # type: ignore[misc]


async def test_question_marks_are_text_where_one_types(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.pilot.press("question_mark")
        assert desk.app.screen.query_one("#subject", Input).value == "?"
        await desk.pilot.press("escape", "question_mark")
        await desk.until_said("f1 closes")


async def test_the_palette_has_the_actions_of_every_place_and_why_some_do_nothing(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=3, rows=rows(3), position=2) as desk:
        found = {deed.title: deed for deed in deeds(desk.app.screen)}
        groups = {deed.group for deed in found.values()}
        assert groups == {"Here", "Everywhere", "Live", "History", "Compare", "Log"}
        assert found["Here: Remove  (d)"].reason == "There is nothing to do that with now."
        assert found["History: Verify  (v)"].reason == ""
        assert found["Everywhere: Stop  (^g)"].reason
        assert not [title for title in found if title.startswith(("Compare: Take it", "History: Go there"))]
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("f4", "ctrl+r")
        await desk.until_said("RUNNING")
        busy = {deed.title: deed for deed in deeds(desk.app.screen)}
        assert busy["Here: Undo  (u)"].reason == "The engine is busy: edit 1 of 1."
        assert busy["Everywhere: Stop  (^g)"].reason == ""


async def test_the_palette_takes_one_to_another_place_and_does_it_there(open_desk: OpenDesk) -> None:
    async with open_desk(rows=rows(3), position=3) as desk:
        await choose(desk, "history undo")
        await desk.until(lambda: desk.engine.position == 2)
        assert isinstance(desk.app.screen, HistoryScreen)
        await choose(desk, "edit remove")
        await desk.until(lambda: "There is nothing to do that with now." in desk.said())
        assert isinstance(desk.app.focused, QueueTable)
        await choose(desk, "theme nord")
        await desk.until(lambda: desk.app.theme == "nord")


async def test_a_deed_that_does_nothing_says_why_and_does_nothing(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await choose(desk, "here remove")
        await desk.until(lambda: "Remove: There is nothing to do that with now." in desk.said())


async def test_hostile_names_are_no_markup_in_the_palette(open_desk: OpenDesk) -> None:
    from workbench.tui.palette import said, shown

    async with open_desk():
        deed = Deed("Here", "[red]x[/red]", "", "[link=y]z", _nothing, "[/b]")
        assert shown(deed).plain == "Here: [red]x[/red]"
        assert "\\[/b]" in said(deed)


async def test_the_mouse_goes_to_places_presses_keys_and_chooses_rows(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        for name in ("One", "Two"):
            await desk.add(name, "{} is", "x")
        table = desk.app.screen.query_one(QueueTable)
        await desk.pilot.click(QueueTable, offset=Offset(6, 2))
        await desk.pilot.pause()
        assert desk.app.focused is table
        assert table.selected is not None
        assert table.selected.draft.subject == "One"
        await click_on(desk, "d Remove", -1)
        await desk.until(lambda: desk.subjects() == ["Two"])
        await click_on(desk, "F8 Log", 0)
        await desk.until_said("[F8 Log]")


async def test_text_can_be_selected_with_the_mouse_and_copied(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.add("Eiffel Tower", "{} is in", "Rome")
        await desk.pilot.press("escape")
        row = next(n for n, line in enumerate(desk.lines()) if "Eiffel Tower" in line)
        start = desk.lines()[row].index("Eiffel")
        await desk.pilot.mouse_down(offset=Offset(start, row))
        await desk.pilot.hover(offset=Offset(start + 12, row))
        await desk.pilot.mouse_up(offset=Offset(start + 12, row))
        await desk.pilot.press("ctrl+c")
        await desk.pilot.pause()
        assert desk.app.clipboard.strip() == "Eiffel Tower"


async def click_on(desk: Desk, words: str, line: int) -> None:
    row = range(len(desk.lines()))[line]
    await desk.pilot.click(offset=Offset(desk.lines()[row].index(words) + 1, row))


async def choose(desk: Desk, words: str) -> None:
    await desk.pilot.press("ctrl+p")
    await desk.until(lambda: isinstance(desk.app.screen, CommandPalette))
    desk.app.screen.query_one(Input).value = words
    await desk.pilot.pause(0.5)
    await desk.pilot.press("enter")


def help_text(desk: Desk) -> str:
    from workbench.tui.screens.help import help_lines

    return "\n".join(line.plain for line in help_lines(desk.app.screen, 40))


async def _nothing() -> None: ...
