"""Only what changed is painted: a key press waits for whatever is being painted before it."""

from __future__ import annotations

from typing import Any

import pytest
from textual._compositor import LayoutUpdate
from textual.app import ComposeResult
from textual.screen import Screen

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.story import run_events, step
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.base import HEIGHTS, WIDTHS
from workbench.tui.screens.edit import EditScreen
from workbench.tui.widgets.head import Head
from workbench.tui.widgets.keys import KeyLine
from workbench.tui.widgets.plot import Plot


async def test_another_focus_does_not_paint_the_whole_screen(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames: list[Any] = []
    display = WorkbenchApp._display

    def noted(app: WorkbenchApp, screen: Screen[Any], frame: Any) -> None:
        frames.append(frame)
        display(app, screen, frame)

    async with open_desk((140, 40)) as desk:
        await desk.pilot.press("escape")
        await desk.pilot.pause(0.3)
        before = desk.text()
        monkeypatch.setattr(WorkbenchApp, "_display", noted)
        await desk.pilot.press("tab")
        await desk.pilot.pause(0.3)
        assert desk.text() != before, "the keys of the bottom line are those of the stack now"
        assert frames
        assert not any(isinstance(frame, LayoutUpdate) for frame in frames)


async def test_many_steps_between_two_looks_are_drawn_once(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    monkeypatch.setattr(Plot, "show", lambda _, state: drawn.append(len(state.run.steps) if state.run else 0))
    async with open_desk((140, 40)) as desk:
        await desk.pilot.press("f3")
        await desk.pilot.pause(0.3)
        plots = len(desk.app.screen.query(Plot))
        drawn.clear()
        for event in run_events(0):
            desk.app.session.heed(event)
        for number in range(1, 301):
            desk.app.session.heed(step(number, of=300))
        await desk.until(lambda: bool(drawn))
        await desk.pilot.pause(0.3)
        assert drawn == [300] * plots


async def test_what_would_look_the_same_is_not_painted_again(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        head, keys = desk.app.screen.query_one(Head), desk.app.screen.query_one(KeyLine)
        painted = head._painted, keys.render().plain
        desk.app.queue_changed()
        await desk.pilot.pause(0.1)
        assert head._painted is painted[0]
        await desk.add("Greece", "The capital of {} is", "Rome")
        await desk.until_said("queue 1")
        assert head._painted is not painted[0]
        assert keys.render().plain != painted[1]


async def test_a_place_that_was_not_shown_has_the_theme_that_was_chosen_meanwhile(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        for theme in ("nord", "textual-light"):
            await desk.pilot.press("f3", "f2")
            desk.app.theme = theme
            await desk.pilot.pause(0.2)
            await desk.pilot.press("f3")
            await desk.pilot.pause(0.2)
            live, colours = desk.app.screen, desk.app.theme_variables
            assert live.styles.background.hex.lower() == colours["background"].lower()
            head = live.query_one(Head)
            assert head.styles.background.hex.lower() == colours["panel"].lower()


@pytest.mark.parametrize(("size", "classes"), [((80, 24), {"-narrow", "-short"}), ((140, 40), {"-wide", "-tall"})])
async def test_a_place_is_put_together_for_the_size_that_there_is(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], classes: set[str]
) -> None:
    found: list[set[str]] = []
    compose = EditScreen.compose

    def noted(screen: EditScreen) -> ComposeResult:
        found.append({name for _, name in (*WIDTHS, *HEIGHTS) if screen.has_class(name)})
        yield from compose(screen)

    monkeypatch.setattr(EditScreen, "compose", noted)
    async with open_desk(size):
        assert found == [classes]


def styled_anew(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The place that is shown, each time that all its styles would be computed anew."""
    places: list[str] = []
    monkeypatch.setattr(desk.app, "refresh_css", lambda **_: places.append(desk.app.current_mode))
    return places


async def test_a_theme_that_is_about_to_change_reaches_a_new_place(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_desk() as desk:
        anew = styled_anew(desk, monkeypatch)
        desk.app._invalidate_css()
        await desk.app.switch_mode("live")
    assert "live" in anew


async def test_a_new_place_has_not_all_styles_computed_anew(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_desk() as desk:
        anew = styled_anew(desk, monkeypatch)
        for place in ("live", "history", "compare", "log"):
            await desk.app.switch_mode(place)
            await desk.pilot.pause(0.1)
            head = desk.app.screen.query_one(Head)
            assert head.styles.background.hex.lower() == desk.app.theme_variables["panel"].lower()
    assert not anew
