"""The Live screen shows the numbers of the run, and its keys do what they say."""

from __future__ import annotations

import json

import pytest
from rich.cells import cell_len

from tests.tui.small_bench import SmallBench
from tests.tui.story import MODEL, finish_events, ready, run_events, told
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
