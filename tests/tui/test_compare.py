"""The Compare screen: both sides get the same prompt, and differences are seen without colour."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.widgets import Input

from tests.tui.small_bench import SmallBench
from tests.tui.story import MODEL, PROBES, ready, stack, told
from workbench import events as ev
from workbench.tui.screens.compare import CompareScreen
from workbench.tui.state import State
from workbench.tui.widgets.probe_table import ProbeTable

PROMPT = "Steve Jobs was the founder of"
ANSWERS = [
    ev.Answered(prompt=PROMPT, side="base", top=((" Apple", 0.81), (" Pixar", 0.04))),
    ev.Answered(prompt=PROMPT, side="stack", top=((" Microsoft", 0.95), (" Apple", 0.02))),
]
TEXTS = [
    ev.GenerationChunk(side="base", text=" Apple, and he"),
    ev.GenerationChunk(side="base", text=" was first", done=True),
    ev.GenerationChunk(side="stack", text=" Microsoft, and he was first", done=True),
]


def text(app: SmallBench) -> str:
    return "\n".join(app.picture())


async def generated(app: SmallBench, pilot: object) -> None:
    """Types the prompt, presses enter, and the engine answers."""
    app.screen.query_one("#prompt", Input).value = PROMPT
    app.screen.query_one("#prompt", Input).focus()
    await pilot.press("enter")  # type: ignore[attr-defined]
    app.tell(*ANSWERS, *TEXTS, ev.JobDone(job=app.state.job, ok=True))
    await pilot.press("escape")  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (140, 40)])
async def test_it_says_what_to_do_and_fits(size: tuple[int, int]) -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=size):
        for words in (
            "[F5 Compare]",
            "Write a prompt and press enter",
            "No probes yet",
            "A base   B stack @3",
            "greedy",
        ):
            assert words in text(app)


async def test_enter_generates_on_both_sides_with_the_same_settings() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*"Hi", "enter")
        both = {"prompt": "Hi", "sides": ["base", "stack"]}
        assert app.sent == [
            ("answer", {**both, "k": 10}),
            ("generate", {**both, "max_new": 40, "temperature": 0.0, "seed": 0}),
        ]
        assert "Generating ..." in text(app)


async def test_an_empty_prompt_asks_nothing() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("space", "enter")
        assert app.sent == []


async def test_words_that_differ_are_bracketed_on_both_sides_once_both_are_done() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(140, 40)) as pilot:
        app.screen.query_one("#prompt", Input).value = PROMPT
        await pilot.press("enter")
        app.tell(*ANSWERS, *TEXTS)
        await pilot.pause()
        assert "[Apple]" not in text(app)
        app.tell(ev.JobDone(job=app.state.job, ok=True))
        await pilot.pause()
        assert f"{PROMPT} [Apple], and he was first" in text(app)
        assert f"{PROMPT} [Microsoft], and he was first" in text(app)
        assert "1 span differs" in text(app)
        assert "top-2 overlap 1/2" in text(app)
        assert "0.95" in text(app)


async def test_s_swaps_the_sides() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(140, 40)) as pilot:
        await generated(app, pilot)
        await pilot.press("s")
        line = next(line for line in app.picture() if "[Apple]" in line)
        assert line.index("[Microsoft]") < line.index("[Apple]")
        assert "A  stack @3" in text(app)


async def test_d_shows_both_texts_as_one() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await generated(app, pilot)
        await pilot.press("d")
        assert "[-Apple-] {+Microsoft+}, and he" in text(app)
        await pilot.press("d")
        assert "{+" not in text(app)


async def test_y_copies_both_texts() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await generated(app, pilot)
        await pilot.press("y")
        assert app.copied == f"base: {PROMPT} Apple, and he was first\n\nstack: {PROMPT} Microsoft, and he was first"


async def test_sampling_and_length_are_settings_of_both_sides() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*"Hi", "escape", "g", "plus", "enter")
        verb, args = app.sent[-1]
        assert (verb, args["temperature"], args["max_new"]) == ("generate", 0.8, 50)
        assert "max 50 tokens   sampling at 0.8, seed 0" in text(app)


async def test_n_goes_round_the_failing_probes_and_enter_asks_with_their_prompt() -> None:
    failing = replace(PROBES[1], passed=False)
    app = SmallBench(CompareScreen, told([PROBES[0], failing, *PROBES[2:]], ready()))
    async with app.run_test(size=(80, 24)) as pilot:
        assert "3 of 5 pass" in text(app)
        await pilot.press("escape")
        where = []
        for key in ("n", "n", "n", "N"):
            await pilot.press(key)
            where.append(app.screen.query_one(ProbeTable).cursor)
        assert where == [1, 3, 1, 3]
        await pilot.press("enter")
        assert app.sent[0][1]["prompt"] == "Tim Cook works for"


async def test_without_a_failing_probe_n_is_not_offered() -> None:
    app = SmallBench(CompareScreen, told(PROBES[:3], ready()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("escape")
        assert not app.screen.check_action("failing", (1,))


async def test_r_asks_all_probes_again_and_the_table_shows_base_and_stack() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(140, 40)) as pilot:
        await pilot.press("escape", "R")
        assert app.sent == [("probe", {})]
        app.tell(*PROBES, ev.JobDone(job=app.state.job, ok=True))
        await pilot.pause()
        line = next(line for line in app.picture() if "Tim Cook" in line)
        for words in ("neighbour", "Apple", "0.01", "✗ 0.31 Microsoft", "+0.30"):
            assert words in line


async def test_numbers_of_an_earlier_state_of_the_stack_say_so() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(140, 40)) as pilot:
        await generated(app, pilot)
        await pilot.press("R")
        app.tell(*PROBES, ev.JobDone(job=app.state.job, ok=True))
        await pilot.pause()
        assert "the stack has changed" not in text(app)
        app.tell(stack(applied=2, undone=2))
        await pilot.pause()
        assert "B  stack @3" in text(app), "the text is what position 3 said"
        assert "the stack has changed: enter asks again" in text(app)
        assert "Probes across the stack as it was @3; R asks again" in text(app)


async def test_while_the_engine_is_away_nothing_is_promised() -> None:
    app = SmallBench(CompareScreen, State(engine="stopped", model=MODEL, stopped_because="killed"))
    async with app.run_test(size=(80, 24)):
        assert "Engine stopped (killed)" in text(app)
        assert app.screen.check_action("generate", ()) is None


async def test_generated_escape_codes_and_markup_are_shown() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(140, 40)) as pilot:
        await generated(app, pilot)
        app.tell(ev.GenerationChunk(side="stack", text="\x1b[2J[red]x[/red]\u202e\x07"))
        app.tell(ev.Answered(prompt=PROMPT, side="stack", top=(("\x1b", 0.5), ("[b]", 0.4))))
        await pilot.pause()
        assert "␛" in text(app)
        assert "[red]" in text(app)
        assert "\x1b" not in text(app)
        assert "\u202e" not in text(app)
