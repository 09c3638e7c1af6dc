"""Notices say what may be missed and cover little: one at a time where there is little room, and no field in focus."""

from __future__ import annotations

import pytest
from textual.widgets._toast import Toast

from tests.tui.conftest import Desk, OpenDesk

LONG = "The disk would not take it. " * 12 + "Free some room."


def toasts(desk: Desk) -> list[Toast]:
    return list(desk.app.screen.query(Toast))


async def test_in_a_narrow_window_one_notice_stands_on_two_lines_above_the_keys(open_desk: OpenDesk) -> None:
    async with open_desk(notices=True) as desk:
        desk.app.notify("First.", severity="warning", markup=False)
        desk.app.notify(LONG, severity="warning", markup=False)
        desk.app.notify("Copied as JSON.")
        desk.app.notify("Second. " * 15, severity="warning", markup=False)
        await desk.until(lambda: [toast.region.height for toast in toasts(desk)] == [2])
        assert toasts(desk)[0].region.bottom == 23
        assert toasts(desk)[0].region.right == 80
        assert "^p Palette" in desk.lines()[-1]
        assert "Second." in desk.lines()[-2]


async def test_a_wide_window_has_room_for_several(open_desk: OpenDesk) -> None:
    async with open_desk((140, 40), notices=True) as desk:
        for words in ("First.", "Second.", "Third."):
            desk.app.notify(words)
        await desk.until(lambda: len(toasts(desk)) == 3)


async def test_an_error_is_not_pushed_away_by_less(open_desk: OpenDesk) -> None:
    async with open_desk(notices=True) as desk:
        desk.app.notify("The disk is full.", severity="error", markup=False)
        desk.app.notify("Copied as JSON.")
        await desk.until_said("The disk is full.")
        assert "Copied" not in desk.text()
        desk.app.notify("The disk is broken.", severity="error", markup=False)
        await desk.until_said("The disk is broken.")
        assert "full" not in desk.text()


async def test_what_a_notice_has_no_room_for_is_in_the_log(open_desk: OpenDesk) -> None:
    async with open_desk(notices=True) as desk:
        desk.app.session._say(LONG, "error")
        await desk.until_said("f8: all of it")
        assert sum(getattr(event, "message", "") == LONG for event in desk.app.state.log) == 1
        desk.app.clear_notifications()
        desk.app.session._say(LONG, "error")
        await desk.pilot.pause()
        assert sum(getattr(event, "message", "") == LONG for event in desk.app.state.log) == 1


async def test_a_notice_never_covers_the_field_that_has_the_focus(open_desk: OpenDesk) -> None:
    async with open_desk(notices=True) as desk:
        await desk.pilot.press("escape", "f4", "slash")
        field = desk.app.focused
        assert field is not None
        assert field.region.bottom > 20
        desk.app.notify("Beside the point. " * 6)
        await desk.until(lambda: len(toasts(desk)) == 1)
        assert toasts(desk)[0].region.intersection(field.region).area == 0
        await desk.pilot.press("escape", "f2")
        desk.app.clear_notifications()
        desk.app.notify("Below.")
        await desk.until(lambda: [toast.region.bottom for toast in toasts(desk)] == [23])


@pytest.mark.parametrize(("columns", "longest"), [(80, 3.0), (120, 5.0)])
async def test_a_short_warning_is_gone_soon_where_it_is_in_the_way(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch, columns: int, longest: float
) -> None:
    monkeypatch.undo()
    async with open_desk((columns, 24)) as desk:
        desk.app.notify("The model is still loading.", severity="warning")
        await desk.pilot.pause()
        (notice,) = desk.app._notifications
        assert longest - 1 < notice.timeout <= longest
