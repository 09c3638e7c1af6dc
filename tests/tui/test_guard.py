"""The guard on the screen: its question comes before anything is saved, and each answer does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.story import MODEL, finish_events, ready, row, run_events, stack, told
from workbench import events as ev
from workbench import settings
from workbench.guards import MEASURES, OFF, Guard
from workbench.tui.guarding import Guarding
from workbench.tui.screens import guard as guard_screen
from workbench.tui.screens.confirm import ChoiceScreen
from workbench.tui.screens.guard import GuardScreen
from workbench.tui.screens.guard_limits import GuardLimitsScreen
from workbench.tui.widgets.guard_lines import GLANCE, guard_lines, reading, readings, table

LARGE = {"One": 0.9, "Two": 0.9, "Three": 0.9}


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's settings, and a person who is not typing."""
    monkeypatch.setenv("WORKBENCH_CONFIG", str(tmp_path / "config"))
    monkeypatch.setattr(guard_screen, "QUIET", 0.0)


async def begin(desk: Desk, *subjects: str) -> None:
    """Queues edits of `subjects` and runs them until the guard asks."""
    for subject in subjects:
        await desk.add(subject, "{} is", "x")
    await desk.pilot.press("ctrl+r")
    await desk.until(lambda: isinstance(desk.app.screen, GuardScreen))


async def idle(desk: Desk) -> None:
    await desk.until(lambda: desk.app.state.engine == "idle" and not isinstance(desk.app.screen, GuardScreen))


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
async def test_the_question_says_what_is_beyond_which_limit_and_what_each_answer_does(
    open_desk: OpenDesk, size: tuple[int, int]
) -> None:
    async with open_desk(size=size, sizes=LARGE) as desk:
        await begin(desk, "One")
        shown = desk.text()
        for words in ("|ΔW|/|W| is 0.9, its limit 0.5", "k  Keep", "d  Discard", "c  Keep and continue", "escape"):
            assert words in shown
        assert size[0] == 80 or "GUARD ASKS 1/1" in shown
        assert desk.engine.rows == ()


async def test_keep_saves_the_edit_and_pauses_the_queue(open_desk: OpenDesk) -> None:
    async with open_desk(sizes=LARGE) as desk:
        await begin(desk, "One", "Two")
        await desk.pilot.press("k")
        await idle(desk)
        assert len(desk.engine.rows) == 1
        assert desk.subjects() == ["Two"]
        assert desk.engine.verbs() == ["apply", "decide"]


async def test_discard_puts_the_item_back_held_with_the_reason(open_desk: OpenDesk) -> None:
    async with open_desk(sizes=LARGE) as desk:
        await begin(desk, "One", "Two")
        await desk.pilot.press("d")
        await idle(desk)
        assert desk.engine.rows == ()
        item = desk.app.queue.items[0]
        assert (item.draft.subject, item.held, item.ready) == ("One", True, False)
        assert "discarded by the guard: |ΔW|/|W| is 0.9" in item.reason
        assert "‖ held" in desk.text()
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: isinstance(desk.app.screen, GuardScreen))
        assert desk.engine.sent[-1].args["request"]["subject"] == "Two"


async def test_keep_and_continue_asks_no_more_about_it_until_the_run_ends(open_desk: OpenDesk) -> None:
    async with open_desk(sizes=LARGE) as desk:
        await begin(desk, "One", "Two")
        await desk.pilot.press("c")
        await idle(desk)
        assert len(desk.engine.rows) == 2
        assert desk.engine.verbs() == ["apply", "decide", "apply"]
        await begin(desk, "Three")


async def test_escape_lets_one_look_first_and_a_key_asks_again(open_desk: OpenDesk) -> None:
    async with open_desk(sizes=LARGE) as desk:
        await begin(desk, "One")
        await desk.pilot.press("escape")
        await desk.until(lambda: not isinstance(desk.app.screen, GuardScreen))
        await desk.pilot.press("f3")
        await desk.until_said("The guard asks")
        assert "the guard asks" in desk.text()
        assert not isinstance(desk.app.screen, GuardScreen)
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: isinstance(desk.app.screen, GuardScreen))
        await desk.pilot.press("k")
        await idle(desk)
        assert len(desk.engine.rows) == 1


async def test_stop_discards_and_the_question_goes_away(open_desk: OpenDesk) -> None:
    async with open_desk(sizes=LARGE) as desk:
        await begin(desk, "One")
        desk.app.cancel()
        await idle(desk)
        assert desk.engine.rows == ()
        assert [item.state for item in desk.app.queue] == ["queued"]


async def test_an_engine_that_dies_under_the_question_takes_it_along(open_desk: OpenDesk) -> None:
    async with open_desk(sizes=LARGE) as desk:
        await begin(desk, "One")
        desk.engine.die("killed by SIGKILL")
        await desk.until(lambda: not isinstance(desk.app.screen, GuardScreen))
        assert "Engine stopped (killed by SIGKILL)" in desk.text()
        assert desk.subjects() == ["One"]


async def test_what_is_typed_ahead_is_no_answer(open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_screen, "QUIET", 30.0)
    async with open_desk(sizes=LARGE) as desk:
        await begin(desk, "One")
        await desk.pilot.press("d", "k", "d", "enter")
        await desk.pilot.pause(0.2)
        assert isinstance(desk.app.screen, GuardScreen)
        assert "decide" not in desk.engine.verbs()


async def test_quitting_under_the_question_asks_once_and_stop_now_discards(open_desk: OpenDesk) -> None:
    async with open_desk(sizes=LARGE) as desk:
        await begin(desk, "One")
        await desk.pilot.press("ctrl+q")
        await desk.until_said("An edit is being made.")
        await desk.pilot.pause(0.3)
        assert sum(isinstance(screen, GuardScreen) for screen in desk.app.screen_stack) == 1
        await desk.pilot.press("n")
        await desk.until(lambda: not desk.app.is_running or desk.app.state.engine == "idle")
        assert desk.engine.rows == ()


async def test_the_question_about_leaving_says_when_no_edit_is_being_made_any_more(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=10) as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: desk.app.state.run is not None)
        await desk.pilot.press("ctrl+q")
        await desk.until_said("An edit is being made.")
        desk.engine.pause_at = 0
        await desk.until_said("No edit is being made any more")
        await desk.pilot.press("k")
        await desk.until(lambda: not isinstance(desk.app.screen, ChoiceScreen))
        assert desk.app.is_running


async def test_a_click_answers(open_desk: OpenDesk) -> None:
    async with open_desk(sizes=LARGE) as desk:
        await begin(desk, "One")
        await desk.pilot.click("#answer-keep")
        await idle(desk)
        assert len(desk.engine.rows) == 1


async def test_limits_are_set_on_the_screen_used_at_once_and_remembered(open_desk: OpenDesk) -> None:
    async with open_desk(sizes=LARGE) as desk:
        await desk.pilot.press("f6")
        await desk.until(lambda: isinstance(desk.app.screen, GuardLimitsScreen))
        for name in ("ratio", "jump", "division", "perplexity", "neighbours", "earlier"):
            assert name in desk.text()
        field = desk.app.screen.query_one("#ratio")
        assert desk.app.focused is field
        await desk.pilot.press("ctrl+a", "ctrl+k", "2", "tab", "ctrl+a", "ctrl+k", "ctrl+s")
        await desk.until(lambda: desk.app.guard == Guard(ratio=2.0, jump=None))
        assert Guarding().limits == Guard(ratio=2.0, jump=None)
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("ctrl+r")
        await desk.until(lambda: len(desk.engine.rows) == 1)
        assert desk.engine.sent[-1].args["guard"]["ratio"] == 2.0


async def test_what_is_no_limit_is_said_and_not_taken(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.pilot.press("f6")
        await desk.until(lambda: isinstance(desk.app.screen, GuardLimitsScreen))
        await desk.pilot.press("ctrl+a", "ctrl+k", "m", "u", "c", "h", "ctrl+s")
        await desk.pilot.pause(0.1)
        assert isinstance(desk.app.screen, GuardLimitsScreen)
        assert "✗ out of range" in desk.text()
        assert "is no number" in desk.said()
        await desk.pilot.press("ctrl+d", "escape")
        await desk.until(lambda: not isinstance(desk.app.screen, GuardLimitsScreen))
        assert desk.app.guard == Guard()


async def test_limits_that_cannot_be_used_are_said_at_the_start(open_desk: OpenDesk, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / settings.CONFIG).write_text("[guard]\nsize = 3\nratio = 0.25\n", encoding="utf-8")
    async with open_desk() as desk:
        assert "no limit 'size'" in desk.said()
        assert desk.app.guard == Guard(ratio=0.25)


def test_values_are_those_of_the_run_and_without_one_those_of_the_newest_edit() -> None:
    run = told([*finish_events(), stack(3, 0)], told(run_events(12), ready()))
    values = readings(run)
    assert values["ratio"] == 0.0206
    assert values["division"] == pytest.approx(0.73 / 1.84)
    assert values["perplexity"] == pytest.approx(17.63 / 17.61 - 1)
    assert values["neighbours"] == 0.5
    alone = readings(told([MODEL, stack(4, 1)]))
    assert alone["ratio"] == row(4).ratio
    assert alone["jump"] == pytest.approx(0.022 / 0.020)
    assert alone["neighbours"] == pytest.approx(1 / 3)
    assert readings(told([MODEL])) == {}


def test_the_line_says_every_measure_with_its_limit_what_is_beyond_it_first() -> None:
    values = {"ratio": 0.099, "perplexity": 0.31}
    (line,) = guard_lines(Guard(jump=None, neighbours=None, earlier=None), values, 200, 1)
    assert reading(Guard(), "neighbours", 0.5) == "neighbours lost 50% = 50% ✓"
    assert line == "guard  ppl +31% > 20% ✗  ratio 0.099 < 0.5 ✓  k·u/|k| > 0.05"
    assert guard_lines(OFF, values, 60, 1) == ["guard  no limits: g sets them"]


@pytest.mark.parametrize("width", [24, 44, 76])
@pytest.mark.parametrize("height", [1, 2, 4])
def test_the_lines_fit_and_count_what_has_no_room(width: int, height: int) -> None:
    lines = guard_lines(Guard(), {"ratio": 0.1, "division": 0.01}, width, height)
    assert len(lines) <= height
    assert all(len(line) <= width + 1 for line in lines)
    assert "✗" in "".join(lines)
    if (width, height) == (24, 1):
        assert lines[0].endswith(("✓", "✗"))


def test_the_table_has_every_measure_with_its_meaning() -> None:
    lines = table(Guard(jump=None), {"ratio": 0.9}, 90)
    assert len(lines) == 6
    assert lines[0].startswith("✗ ratio")
    assert "no limit" in lines[1]


def test_an_answer_holds_for_its_question_only() -> None:
    asked = [ev.GuardTripped(measure="ratio", value=0.9, limit=0.5), ev.GuardAsked(measures=("ratio",))]
    state, guarding = told(asked, told(run_events(12), ready())), Guarding()
    assert state.run is not None
    assert guarding.question(state) is state.run.asked
    guarding.answer(state.run, "continue")
    assert guarding.question(state) is None
    assert guarding.guard == Guard(ratio=None)
    again = told([asked[0], ev.GuardAsked(measures=("ratio",))], state)
    assert guarding.question(again) is not None
    guarding.begin()
    assert guarding.guard == Guard()


def test_every_measure_has_a_meaning_that_fits_beside_its_limit() -> None:
    assert set(GLANCE) == set(MEASURES)
    assert all(not line.endswith("…") for line in table(Guard(), {"ratio": 0.0724, "perplexity": 0.004}, 76))
