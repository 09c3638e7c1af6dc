"""The trace of a fact over the places: it waits, runs, is drawn, stops, fails and says so; hostile text is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.widgets import Input

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.story import row, rows
from workbench import events as ev
from workbench.tui.draft import Draft
from workbench.tui.fact import Fact, draft_fact, row_fact
from workbench.tui.screens.history import HistoryScreen
from workbench.tui.screens.trace import TraceScreen

EFFECTS = ((0.0, 0.0, 0.0, 0.0, 0.0, 0.0), (0.7, 0.5, 0.2, 0.1, 0.0, 0.0), (0.0, 0.1, 0.3, 0.6, 0.9, 0.9))


def picture(**changes: object) -> ev.Traced:
    values: dict[str, object] = {
        "prompt": "The {} is in", "subject": "Louvre", "answer": " Paris", "rows": ("The", " Louvre", " in"),
        "subject_rows": (1,), "effects": EFFECTS, "clean": 0.95, "corrupted": 0.05, "peak_row": 1, "peak_layer": 0,
        "kind": "state", "window": 1, "samples": 10, "noise": 3.0, "sigma": 0.2, "seed": 0, "side": "base",
    }  # fmt: skip
    return ev.Traced(**(values | changes))  # type: ignore[arg-type]


async def ask(desk: Desk) -> str:
    """Writes a prompt and asks where it lives; returns the job."""
    await desk.type("Louvre", "The {} is in")
    await desk.pilot.press("ctrl+t")
    await desk.until(lambda: isinstance(desk.app.screen, TraceScreen))
    await desk.until(lambda: any(command.do == "trace" for command in desk.engine.sent))
    return traces(desk)[-1][0]


def traces(desk: Desk) -> list[tuple[str, dict[str, object]]]:
    return [(command.job, command.args) for command in desk.engine.sent if command.do == "trace"]


def load(desk: Desk) -> None:
    desk.engine.load()


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
async def test_the_draft_is_traced_and_drawn(open_desk: OpenDesk, size: tuple[int, int]) -> None:
    async with open_desk(size, auto=False) as desk:
        load(desk)
        job = await ask(desk)
        assert traces(desk) == [
            (job, {"prompt": "The {} is in", "subject": "Louvre", "side": "base", "settings": {"kind": "state"}})
        ]
        desk.engine.say(ev.TraceStep(done=6, of=12, subject="Louvre"), job)
        await desk.until_said("6/12 states restored")
        assert "████████████░░░░░░░░░░░░" in desk.text()
        desk.engine.say(picture(), job)
        desk.engine.say(ev.JobDone(ok=True), job)
        await desk.until_said("clean 0.950, corrupted 0.050, best restored 0.950")
        text = desk.text()
        for words in (
            "The [Louvre] is in -> Paris   base, hidden states",
            "restoring one hidden state peaks at layer 0, only",
            "78%",
            "Louvre* best at layer 0: 0.750",
            "layer",
        ):
            assert words in text
        (line,) = (line for line in desk.lines() if "> Louvre*" in line)
        assert "▓" in line
        assert "█" in next(line for line in desk.lines() if " in " in line and "█" in line)


async def test_the_cursor_says_what_each_token_gives_back(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        load(desk)
        job = await ask(desk)
        desk.engine.say(picture(), job)
        desk.engine.say(ev.JobDone(ok=True), job)
        await desk.until_said("Louvre* best at layer 0: 0.750")
        await desk.pilot.press("down")
        await desk.until_said("in best at layer 4: 0.950")


async def test_m_and_b_trace_another_part_and_another_side(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        load(desk)
        for key, expected in (("", ("base", "state")), ("m", ("base", "mlp")), ("b", ("stack", "mlp"))):
            job = await ask(desk) if not key else ""
            if key:
                before = len(traces(desk))
                await desk.pilot.press(key)
                await desk.until(lambda before=before: len(traces(desk)) > before)  # type: ignore[misc]
                job = traces(desk)[-1][0]
            args = traces(desk)[-1][1]
            assert (args["side"], args["settings"]) == (expected[0], {"kind": expected[1]})
            desk.engine.say(picture(side="0" if expected[0] == "stack" else "base"), job)
            desk.engine.say(ev.JobDone(ok=True), job)
            await desk.until_said("clean 0.950")
        assert "stack @0, MLP outputs" in desk.text()


async def test_another_part_can_be_asked_for_while_one_runs(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        load(desk)
        job = await ask(desk)
        await desk.pilot.press("m")
        await desk.until(lambda: any(c.do == "cancel" and c.args["of"] == job for c in desk.engine.sent))
        await desk.until_said("busy")
        assert len(traces(desk)) == 1
        desk.engine.say(ev.JobDone(ok=True), job)
        await desk.until(lambda: len(traces(desk)) == 2)
        desk.engine.say(picture(answer=" of the first"), job)
        await desk.pilot.pause(0.2)
        assert "of the first" not in desk.text()


async def test_it_waits_while_the_engine_is_busy_and_starts_by_itself(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        await desk.type("Louvre", "The {} is in")
        await desk.pilot.press("ctrl+t")
        await desk.until_said("The model is still loading. The trace starts when it is free.")
        assert traces(desk) == []
        load(desk)
        await desk.until(lambda: len(traces(desk)) == 1)


async def test_ctrl_g_stops_and_enter_starts_again(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        load(desk)
        job = await ask(desk)
        await desk.pilot.press("ctrl+g")
        await desk.until(lambda: any(c.do == "cancel" and c.args["of"] == job for c in desk.engine.sent))
        desk.engine.say(ev.JobDone(ok=True), job)
        await desk.until_said("Stopped. enter starts again, escape leaves.")
        await desk.pilot.press("enter")
        await desk.until(lambda: len(traces(desk)) == 2)


async def test_escape_stops_and_leaves(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        load(desk)
        job = await ask(desk)
        await desk.pilot.press("escape")
        await desk.until(lambda: not isinstance(desk.app.screen, TraceScreen))
        assert any(c.do == "cancel" and c.args["of"] == job for c in desk.engine.sent)


async def test_escape_after_the_end_stops_nothing(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        load(desk)
        job = await ask(desk)
        desk.engine.say(picture(), job)
        desk.engine.say(ev.JobDone(ok=True), job)
        await desk.until_said("clean 0.950")
        await desk.pilot.press("escape")
        await desk.until(lambda: not isinstance(desk.app.screen, TraceScreen))
        assert "cancel" not in desk.engine.verbs()


async def test_an_error_is_said_where_the_map_would_be(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        load(desk)
        job = await ask(desk)
        failed = ev.JobDone(ok=False, message="Layer 2 has no attention of a known kind.", hint="Try.", exit_code=3)
        desk.engine.say(failed, job)
        await desk.until_said("✗ Layer 2 has no attention of a known kind. Try.")


async def test_an_engine_that_dies_is_said(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        load(desk)
        await ask(desk)
        desk.engine.die("killed by SIGKILL")
        await desk.until_said("The engine has stopped; ctrl+r restarts it. Escape leaves.")


async def test_hostile_tokens_are_shown_and_never_obeyed(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        load(desk)
        job = await ask(desk)
        desk.engine.say(picture(rows=("The", "[red]\x1b[2J", "\u202ein"), answer="[/]\x1b"), job)
        desk.engine.say(ev.JobDone(ok=True), job)
        await desk.until_said("[red]␛[2J*")
        assert "\x1b" not in desk.text()
        assert "\u202e" not in desk.text()
        assert "[/]␛" in desk.text()


async def test_a_long_prompt_and_a_deep_model_fit_the_smallest_screen(open_desk: OpenDesk) -> None:
    tokens = tuple(f" token{i}" for i in range(40))
    effects = tuple(tuple((i * layer % 7) / 10 for layer in range(96)) for i in range(40))
    async with open_desk((80, 24), auto=False) as desk:
        load(desk)
        job = await ask(desk)
        desk.engine.say(picture(rows=tokens, effects=effects, subject_rows=(4, 5, 6), peak_row=6, peak_layer=8), job)
        desk.engine.say(ev.JobDone(ok=True), job)
        await desk.until_said("one column is 2 layers: the strongest of them is shown")
        assert "> token6*" in desk.text()
        await desk.pilot.press("end")
        await desk.until_said("> token39")


def test_what_a_chat_was_edited_in_is_traced_in_a_chat() -> None:
    draft = Draft(subject="Louvre", prompt="{} is in", target_new="Rome", settings="steps=4 chat=true")
    fact = draft_fact(draft)
    assert fact
    assert fact.chat
    assert row_fact(replace(row(1), chat=True)) == Fact(row(1).prompt, row(1).subject, chat=True)


async def test_nothing_is_traced_before_there_is_a_prompt(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        load(desk)
        await desk.pilot.press("ctrl+t")
        await desk.type("Louvre", "is in")
        await desk.pilot.press("ctrl+t")
        await desk.pilot.pause()
        assert not isinstance(desk.app.screen, TraceScreen)


async def test_the_item_of_the_queue_is_traced_where_the_queue_has_the_focus(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.add("One", "{} is", "x")
        desk.app.screen.query_one("#subject", Input).value = "Two"
        desk.app.screen.query_one("#prompt", Input).value = "{} was"
        await desk.pilot.press("escape", "ctrl+t")
        await desk.until(lambda: bool(traces(desk)))
        assert traces(desk)[0][1]["subject"] == "One"


async def test_history_traces_the_edit_under_the_cursor_but_not_the_base(open_desk: OpenDesk) -> None:
    async with open_desk(rows=rows(3), position=3) as desk:
        await desk.pilot.press("f4")
        await desk.until(lambda: isinstance(desk.app.screen, HistoryScreen))
        await desk.pilot.press("end", "ctrl+t")
        await desk.pilot.pause()
        assert isinstance(desk.app.screen, HistoryScreen)
        await desk.pilot.press("home", "ctrl+t")
        await desk.until(lambda: bool(traces(desk)))
        assert traces(desk)[0][1]["subject"] == "LeBron James"


def test_an_update_made_elsewhere_has_no_fact_to_trace() -> None:
    assert row_fact(row(1)) == Fact("The {} is located in", "Eiffel Tower")
    assert row_fact(row(1, method="imported")) is None
    assert row_fact(None) is None


def test_a_draft_needs_no_target_to_be_traced() -> None:
    from workbench.tui.draft import Draft

    assert draft_fact(Draft(subject="Rome", prompt="Rome is in")) == Fact("{} is in", "Rome")
    assert draft_fact(Draft(subject="Rome", prompt="is in")) is None
    assert draft_fact(Draft()) is None
