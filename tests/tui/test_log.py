"""The Log screen, and help beside any screen."""

from __future__ import annotations

from tests.tui.small_bench import SmallBench
from tests.tui.story import ready, run_events, told
from workbench import events as ev
from workbench.tui.screens.help import HelpPanel, help_lines
from workbench.tui.screens.history import HistoryScreen
from workbench.tui.screens.log import EventRows, LogScreen
from workbench.tui.state import LOG_LINES, State
from workbench.tui.widgets.event_lines import event_line

WARNING = ev.Warning(message="few samples \x1b[5m", hint="take more")


def text(app: SmallBench) -> str:
    return "\n".join(app.picture())


def rows(app: SmallBench) -> EventRows:
    return app.screen.query_one(EventRows)


async def test_the_newest_event_is_last_and_in_sight() -> None:
    app = SmallBench(LogScreen, told(run_events(40), ready()))
    async with app.run_test(size=(80, 24)) as pilot:
        assert "40/20" in text(app)
        app.tell(ev.Log(message="hello"))
        await pilot.pause()
        assert "hello" in app.picture()[-3]


async def test_a_cursor_that_was_moved_up_stays_where_it_is() -> None:
    app = SmallBench(LogScreen, told(run_events(40), ready()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("up", "up")
        before = rows(app).cursor
        app.tell(ev.Log(message="hello"))
        assert rows(app).cursor == before
        await pilot.press("G")
        assert rows(app).cursor == rows(app).count() - 1


async def test_a_filter_and_warnings_only_narrow_the_log_and_escape_clears_both() -> None:
    app = SmallBench(LogScreen, told([WARNING, ev.Log(message="plain")], ready()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("w")
        assert rows(app).count() == 1
        assert "! warning  few samples ␛[5m take more" in text(app)
        await pilot.press("w", "slash", *"plain", "enter")
        assert rows(app).count() == 1
        await pilot.press("escape")
        assert rows(app).count() == 4
        await pilot.press("slash", *"nowhere")
        assert "No event passes the filter" in text(app)


async def test_text_as_it_is_generated_is_one_line_when_it_is_done() -> None:
    parts = [ev.GenerationChunk(side="base", text=word, prompt="Rome is") for word in (" a", " city")]
    app = SmallBench(LogScreen, told([*parts, ev.GenerationChunk(side="base", text=".", prompt="Rome is", done=True)]))
    async with app.run_test(size=(80, 24)):
        assert rows(app).count() == 1
        assert "base   continued Rome is" in text(app)


async def test_y_copies_the_lines_that_pass() -> None:
    app = SmallBench(LogScreen, told([WARNING, ev.Log(message="plain")], ready()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("w", "y")
        assert app.copied.endswith("few samples ␛[5m take more")
        assert "\n" not in app.copied


async def test_an_empty_log_says_so_and_a_long_one_is_bounded() -> None:
    app = SmallBench(LogScreen, State())
    async with app.run_test(size=(80, 24)) as pilot:
        assert "nothing yet" in text(app)
        app.show(told(ev.Log(message=str(i)) for i in range(LOG_LINES + 50)))
        app.tell(ev.Log(message="last"))
        await pilot.pause()
        assert rows(app).count() == LOG_LINES
        assert "last" in text(app)


async def test_help_shows_the_keys_of_what_has_the_focus_and_the_screen_keeps_working() -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(140, 40)) as pilot:
        await pilot.press("f1")
        await pilot.pause()
        shown = text(app)
        for words in ("f1 closes", "● applied", "This place", "This panel", "Move along the rows"):
            assert words in shown
        assert "Everywhere" in [line.plain for line in help_lines(app.screen, 32)]
        await pilot.press("u")
        assert app.sent == [("undo", {"count": 1})]
        await pilot.press("tab")
        await pilot.pause()
        assert "last verification" in text(app)
        await pilot.press("f1")
        await pilot.pause()
        assert not app.screen.query(HelpPanel)


async def test_help_fits_beside_the_list_at_80x24() -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f1")
        await pilot.pause()
        assert "Stack (newest first)" in text(app)
        assert "f1 closes" in text(app)
        assert all(len(line) <= 80 for line in app.picture())


async def test_all_of_a_line_that_is_cut_is_read_under_the_list() -> None:
    hint = "Make it: workbench stats a/very/long/name/of/a/model --layer 1. Or choose C = I explicitly."
    failed = ev.JobDone(ok=False, message="There is no second moment C for model.layers.1.mlp.down_proj.", hint=hint)
    app = SmallBench(LogScreen, told([failed, ev.Log(message="short")], ready()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "choose C = I explicitly." not in text(app)
        await pilot.press("up")
        await pilot.pause()
        assert "explicitly." in text(app)


def test_measuring_health_is_said_in_words() -> None:
    told_so = (
        ev.HealthStep(what="earlier edits", done=2, of=3),
        ev.HealthReport(position=3, applied=1),
        ev.Diagnosed(phase="gradual", message="Facts fade.", hint="Travel back."),
    )
    lines = [event_line(event, 80).split(maxsplit=1)[-1] for event in told_so]
    assert "earlier edits   2 of 3" in lines[0]
    assert "measured at position 3, 1 edit applied" in lines[1]
    assert "gradual: Facts fade. Travel back." in lines[2]
