"""History asks how healthy the stack is."""

from __future__ import annotations

from tests.tui.small_bench import SmallBench, text
from tests.tui.story import ready, stack, told
from workbench import events as ev
from workbench.tui.screens.history import HistoryScreen

HEALTH = ev.HealthReport(position=3, applied=3, edit="03" * 32, drift=0.036, perplexity=17.63, perplexity_base=17.61)


async def test_h_shows_how_healthy_the_stack_is() -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("h")
        await pilot.pause()
        assert app.sent == [("health", {})]
        assert "Measuring ..." in text(app)
        following(app, ev.HealthStep(what="earlier edits", done=2, of=9))
        await pilot.pause()
        assert "Measuring earlier edits, 2 of 9" in text(app)
        assert "Measure again" not in text(app), "it does that now"
        await pilot.press("R")
        assert len(app.sent) == 1
        phase = ev.Diagnosed(phase="gradual", message="Edits are lost slowly.", hint="workbench compact")
        following(app, HEALTH, phase, ev.JobDone(job=app.state.job, ok=True))
        await pilot.pause()
        for words in ("17.63", "17.61", "! gradual: Edits are lost slowly.", "→ workbench compact"):
            assert words in text(app)
        assert "Measure again" in text(app)
        await pilot.press("y")
        assert "17.63" in app.copied
        await pilot.press("escape", "h")
        assert len(app.sent) == 1, "what is known is not measured again"
        await pilot.press("R")
        assert len(app.sent) == 2


async def test_a_health_report_of_an_earlier_state_says_so() -> None:
    state = told([HEALTH], ready())
    app = SmallBench(HistoryScreen, state)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("h")
        assert app.sent == []
        following(app, stack(applied=2, undone=2))
        await pilot.pause()
        assert "The stack has changed since" in text(app)


def following(app: SmallBench, *events: ev.Event) -> None:
    """The engine says `events` while a window is open."""
    app.state = told(events, app.state)
    app.screen.refresh_state(app.state)  # type: ignore[attr-defined]
