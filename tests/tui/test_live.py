"""The Live screen shows the numbers of the run, and its keys do what they say."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace

import pytest
from rich.cells import cell_len

from tests.tui.conftest import OpenDesk
from tests.tui.small_bench import SmallBench
from tests.tui.story import MODEL, finish_events, ready, run_events, step, told
from workbench import events as ev
from workbench.tui.screens.live import LiveScreen
from workbench.tui.state import State
from workbench.tui.widgets.plot import Plot


def text(app: SmallBench) -> str:
    return "\n".join(app.picture())


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 24), (140, 40)])
async def test_every_panel_fits_and_shows_the_run(size: tuple[int, int]) -> None:
    app = SmallBench(LiveScreen, told(run_events(12), ready()))
    async with app.run_test(size=size):
        shown = text(app)
        for words in ("[F3 Live]", "Space Needle", "12/20", "loss", "Norms", "Probes", "Now", "1.090", "0.785", "f1"):
            assert words in shown
        assert all(cell_len(line) <= size[0] for line in app.picture())
        assert len(app.picture()) == size[1]


async def test_before_the_first_edit_it_says_what_to_do() -> None:
    app = SmallBench(LiveScreen, State())
    async with app.run_test(size=(80, 24)):
        assert "Loading" in text(app)
        app.show(ready())
        assert "ctrl+r" in text(app)


async def test_numbers_move_with_the_events_and_stand_at_the_end() -> None:
    app = SmallBench(LiveScreen, told(run_events(5), ready()))
    async with app.run_test(size=(140, 40)) as pilot:
        app.tell(*run_events(19)[5 + 5 :], *finish_events())
        await pilot.pause()
        shown = text(app)
        for words in ("saved in 2.1 s", "112.40", "0.0206", "neighbour 1/2", "17.63"):
            assert words in shown


async def test_space_freezes_the_plots_and_lets_them_catch_up() -> None:
    app = SmallBench(LiveScreen, told(run_events(3), ready()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("t", "space")
        before = _plot(app)
        app.show(told(run_events(12), ready()))
        await pilot.pause()
        assert _plot(app) == before
        assert "FROZEN" in text(app)
        assert "12/20" in text(app)
        await pilot.press("space")
        assert _plot(app)[-1].split()[0] == "12"


def _plot(app: SmallBench) -> list[str]:
    plot = app.screen.query_one("#loss", Plot)
    return [line.plain for line in plot.lines(*plot.content_size)]


async def test_t_shows_numbers_instead_of_plots() -> None:
    app = SmallBench(LiveScreen, told(run_events(12), ready()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("t")
        assert _plot(app)[0].split() == ["step", "total", "nll", "kl", "wd"]
        assert _plot(app)[-1].split()[:2] == ["12", "1.09"]
        await pilot.press("t")
        assert "┼" in "".join(_plot(app))


async def test_l_makes_the_scale_logarithmic_unless_it_must_open_the_log() -> None:
    app = SmallBench(LiveScreen, told(run_events(12), ready()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("l")
        assert "log scale" in text(app)
        assert app.screen.check_action("log_scale", ()) is True
        app.state = State(engine="stopped")
        assert not app.screen.check_action("log_scale", ())


async def test_p_shows_plot_after_plot_and_where_there_is_room_for_two_the_loss_stays() -> None:
    app = SmallBench(LiveScreen, told(run_events(12), ready()))
    titles = ("── total", "p(target) per context", "|δ| and its clamp", "along the stack")
    async with app.run_test(size=(80, 24)) as pilot:
        for title in (*titles, titles[0]):
            assert [one for one in titles if one in text(app)] == [title]
            await pilot.press("p")
        await pilot.resize_terminal(140, 40)
        await pilot.pause()
        for title in (titles[3], titles[1], titles[2]):
            await pilot.pause()
            assert [one for one in titles if one in text(app)] == [titles[0], title]
            await pilot.press("p")


async def test_m_gives_a_plot_the_whole_screen_and_back() -> None:
    app = SmallBench(LiveScreen, told(run_events(12), ready()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("m")
        assert app.screen.query_one("#loss").size.height > 15
        assert "m goes back" in text(app)
        await pilot.press("m")
        assert "Norms" in text(app)


async def test_y_copies_the_metrics_as_json_lines() -> None:
    app = SmallBench(LiveScreen, told(finish_events(), told(run_events(12), ready())))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("y")
        types = [json.loads(line)["type"] for line in app.copied.splitlines()]
        assert types[:3] == ["OptimStep", "KeyReady", "NormReport"]
        assert types.count("ProbeResult") == 6


async def test_an_engine_that_stopped_says_why_and_that_the_stack_is_safe() -> None:
    app = SmallBench(LiveScreen, State(engine="stopped", model=MODEL, stopped_because="killed by signal 9 \x1b[31m"))
    async with app.run_test(size=(80, 24)):
        assert "Engine stopped (killed by signal 9 ␛[31m)" in text(app)
        assert "safe on disk" in text(app)


async def test_hostile_model_text_is_shown_and_not_obeyed() -> None:
    evil = "\x1b[31m[bold red]boo[/]\u202e\x07"
    request = {"prompt": evil + " {}", "subject": evil, "target_new": evil}
    state = told(
        [ev.EditStarted(job="a", request=request, recipe={}, module=evil), ev.Log(message=evil, t=1.0)], ready()
    )
    app = SmallBench(LiveScreen, state)
    async with app.run_test(size=(140, 40)):
        shown = text(app)
        assert "␛[31m[bold red]boo[/]⟨U+202E⟩␇" in shown
        assert "\x1b" not in shown
        assert "\u202e" not in shown


async def test_memory_the_earlier_edits_and_the_guard_are_shown_with_the_run() -> None:
    earlier = ev.EarlierProbed(
        earlier=40, earlier_asked=16, earlier_held=14, neighbours_asked=16, neighbours_held=15, lost=(3, 9)
    )
    extra = [ev.MemoryUsed(used=7_300_000_000, peak=8_100_000_000), earlier]
    app = SmallBench(LiveScreen, told([*finish_events()[:-2], *extra], told(run_events(12), ready())))
    for size in ((80, 24), (140, 40), (200, 60)):
        async with app.run_test(size=size):
            shown = text(app)
            assert "7.3 GB" in shown
            assert "earlier edits 14/16 (of 40), their neighbours 15/16" in shown
            assert "guard  ratio 0.0206 < 0.5 ✓" in shown
            assert all(cell_len(line) <= size[0] for line in app.picture())
            if size[0] >= 120:
                for words in ("#3 #9", "peak 8.1 GB", "ppl +0.1% < 20% ✓", "earlier lost 9.4% < 50% ✓"):
                    assert words in shown
        app = SmallBench(LiveScreen, app.state)


async def test_what_was_found_before_the_edit_began_stands_above_it() -> None:
    found = [
        ev.Preflight(job="9f31c2aa", topic="known", severity="note", message="It says so already."),
        ev.Preflight(job="9f31c2aa", topic="first-token", severity="danger", message="Its key is unlike the others."),
        ev.Preflight(job="9f31c2aa", topic="far-key", severity="warning", message="Its key is far from C."),
    ]
    app = SmallBench(LiveScreen, told(run_events(3), told(found, ready())))
    async with app.run_test(size=(80, 24)):
        lines = app.picture()
        assert "✗ first-token: Its key is unlike the others." in lines[4]
        assert "1 more in f8.  ! far-key" in lines[5]
        assert "loss" in text(app)
        app.show(told(run_events(3), told(finish_events(), app.state)))
        assert "first-token" not in text(app)


async def test_requests_that_are_optimised_together_are_one_line_of_progress() -> None:
    step = ev.StepTogether(step=7, of=20, requests=12, running=9, loss=2.5, p_target=0.3, seconds=0.05)
    state = told([*run_events(0), replace(step, step=6, loss=3.5), step], ready())
    for size in ((80, 24), (140, 40)):
        app = SmallBench(LiveScreen, state)
        async with app.run_test(size=size):
            for words in ("12 together, 9 still going", "7/20", "12 requests together", "2.500 mean", "mean loss over"):
                assert words in text(app)


async def test_of_an_edit_of_many_requests_all_are_counted() -> None:
    counts = ev.BatchProbed(
        requests=900,
        sampled=50,
        seed=0,
        efficacy=(880, 900),
        paraphrases=(70, 90),
        neighbours=(90, 100),
        s=0.91,
        left_out=7,
    )
    app = SmallBench(LiveScreen, told([*finish_events()[:-2], counts], told(run_events(3), ready())))
    async with app.run_test(size=(140, 40)):
        for words in ("900 requests: efficacy 880/900", "paraphrase 70/90", "neighbour 90/100", "S 0.910", "ppl 17.61"):
            assert words in text(app)
        assert "7 left out" in text(app)
        assert "neighbour 1/2" not in text(app)


async def test_an_edit_that_the_guard_holds_or_that_was_discarded_says_so() -> None:
    asks = [ev.GuardTripped(measure="ratio", value=0.9, limit=0.5), ev.GuardAsked(measures=("ratio",))]
    held = told(asks, told(finish_events()[:-2], told(run_events(12), ready())))
    app = SmallBench(LiveScreen, held)
    async with app.run_test(size=(80, 24)):
        assert "GUARD ASKS 1/1" in text(app)
        assert "The guard asks: |ΔW|/|W| is 0.9, its limit 0.5" in text(app)
        app.show(told([ev.EditCancelled(position=3, step=12, reason="|ΔW|/|W| is 0.9, its limit 0.5")], held))
        assert "✗ discarded: |ΔW|/|W| is 0.9, its limit 0.5; every weight is as before" in text(app)
        assert "GUARD ASKS" not in text(app)


async def test_y_copies_what_the_panels_say_of_memory_and_earlier_edits() -> None:
    told_so_far = told([ev.MemoryUsed(used=5, peak=6)], told(run_events(12), ready()))
    app = SmallBench(LiveScreen, told_so_far)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("y")
        assert [json.loads(line)["type"] for line in app.copied.splitlines()] == ["OptimStep", "KeyReady", "MemoryUsed"]


@pytest.mark.parametrize("size", [(80, 24), (140, 40), (200, 60)])
async def test_every_state_of_the_engine_is_said_in_every_size(size: tuple[int, int]) -> None:
    loading = ev.ModelLoading(stage="reading atlas", fraction=0.4)
    states = {
        "Loading: reading atlas": told([loading]),
        "No edit has run yet": ready(),
        "12/20": told(run_events(12), ready()),
        "✗ failed: The key is zero. Try another.": told(
            [ev.EditFailed(message="The key is zero.", hint="Try another.")], told(run_events(2), ready())
        ),
        "Engine stopped (killed)": State(engine="stopped", model=MODEL, stopped_because="killed"),
        "The engine did not start: no such model": State(engine="stopped", stopped_because="no such model"),
    }
    for words, state in states.items():
        app = SmallBench(LiveScreen, state)
        async with app.run_test(size=size):
            assert words in text(app)
            assert len(app.picture()) == size[1]
            assert all(cell_len(line) <= size[0] for line in app.picture())


async def test_however_fast_steps_come_the_plots_are_drawn_at_most_fifteen_times_a_second(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []
    show = LiveScreen.show

    def counted(screen: LiveScreen, state: State) -> None:
        drawn.append(time.monotonic())
        show(screen, state)

    async with open_desk(size=(140, 40), auto=False) as desk:
        desk.engine.load()
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("f3", "ctrl+r")
        await desk.until(lambda: desk.engine.verbs() == ["apply"])
        command = desk.engine.sent[-1]
        desk.engine.say(desk.engine.started(command), command.job)
        monkeypatch.setattr(LiveScreen, "show", counted)
        began, said = time.monotonic(), 0
        while time.monotonic() - began < 2.0:
            said += 1
            desk.engine.say(step(1 + said % 400, 400), command.job)
            await asyncio.sleep(0.001)
        seconds = time.monotonic() - began
        assert len(drawn) <= 15 * seconds + 1
        assert said > len(drawn) > 0
