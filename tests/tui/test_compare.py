"""The Compare screen: both sides get the same prompt, and differences are seen without colour."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len
from textual.widgets import Input

from tests.tui.comparing import ANSWERS, APART, PROMPT, TEXTS, chosen, generated, probed, text
from tests.tui.small_bench import SmallBench
from tests.tui.story import MODEL, PROBES, ready, row
from workbench import events as ev
from workbench.tui.screens.compare import CompareScreen
from workbench.tui.state import State


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (140, 40), (200, 60)])
async def test_it_says_what_to_do_and_fits(size: tuple[int, int]) -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=size):
        for words in (
            "[F5 Compare]",
            "Write a prompt and press enter",
            "No probes yet",
            "A base",
            "B stack @3",
            "max 40",
            "temp 0",
        ):
            assert words in text(app)


async def test_enter_generates_on_both_sides_with_the_same_settings() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*"Hi", "enter")
        both = {"prompt": "Hi", "states": ["base", "stack"], "k": 10}
        assert app.sent == [("generate", {**both, "max_new": 40, "temperature": 0.0, "seed": 0})]
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
        app.tell(*ANSWERS, APART, *TEXTS)
        await pilot.pause()
        assert "[Apple]" not in text(app)
        app.tell(ev.JobDone(job=app.state.job, ok=True))
        await pilot.pause()
        assert f"{PROMPT} [Apple], and he was first" in text(app)
        assert f"{PROMPT} [Microsoft], and he was first" in text(app)
        assert "1 span differs" in text(app)
        assert "KL(A||B) 4.12  top-10 overlap 6/10" in text(app)
        assert "A  base  6 tokens 0.4 s" in text(app)
        assert "B  stack @3  6 tokens 1.1 s" in text(app)
        assert "0.95" in text(app)


async def test_s_swaps_the_sides() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(140, 40)) as pilot:
        await generated(app, pilot)
        await pilot.press("s")
        line = next(line for line in app.picture() if "[Apple]" in line)
        assert line.index("[Microsoft]") < line.index("[Apple]")
        assert "A  stack @3" in text(app)
        assert "KL(A||B) 3.50" in text(app), "the other way round it is another number"
        await pilot.press("tab", "enter")
        assert app.sent[-1][1]["states"] == ["stack", "base"]


async def test_d_goes_round_text_next_tokens_and_both_texts_as_one() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await generated(app, pilot)
        await pilot.press("d")
        assert "[Microsoft]  0.95  ██" in text(app), "in brackets: not among the likeliest of A"
        assert "and he was first" not in text(app)
        await pilot.press("d")
        assert "[-Apple-] {+Microsoft+}, and he" in text(app)
        await pilot.press("d")
        assert "{+" not in text(app)


async def test_y_copies_both_texts() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await generated(app, pilot)
        await pilot.press("y")
        assert app.copied == (
            f"base: {PROMPT} Apple, and he was first\n\nstack @3: {PROMPT} Microsoft, and he was first"
        )


async def test_sampling_and_length_are_settings_of_both_sides() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*"Hi", "escape", "g", "plus", "enter")
        verb, args = app.sent[-1]
        assert (verb, args["temperature"], args["max_new"]) == ("generate", 0.8, 50)
        assert "max 50" in text(app)
        assert "temp 0.8" in text(app)
        app.tell(ev.JobDone(job=app.state.job, ok=True))
        app.screen.query_one("#seed", Input).focus()
        await pilot.press("home", "7", "enter")
        assert app.sent[-1][1]["seed"] == 70


@pytest.mark.parametrize(
    ("field", "value"), [("max", ""), ("max", "0"), ("temp", "1.2.3"), ("temp", "."), ("seed", "")]
)
async def test_a_setting_that_says_nothing_is_told_and_nothing_is_asked(field: str, value: str) -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*"Hi")
        app.screen.query_one(f"#{field}", Input).value = value
        await pilot.press("enter")
        assert app.sent == []
        assert field in " ".join(note.message for note in app._notifications)


async def test_while_the_engine_is_away_nothing_is_promised() -> None:
    app = SmallBench(CompareScreen, State(engine="stopped", model=MODEL, stopped_because="killed"))
    async with app.run_test(size=(80, 24)):
        assert "Engine stopped (killed)" in text(app)
        assert app.screen.check_action("generate", ()) is None


async def test_generated_escape_codes_and_markup_are_shown() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(140, 40)) as pilot:
        await generated(app, pilot)
        app.tell(ev.GenerationChunk(side="stack", text="\x1b[2J[red]x[/red]\u202e\x07", prompt=PROMPT))
        app.tell(ev.Answered(prompt=PROMPT, side="stack", top=(("\x1b", 0.5), ("[b]", 0.4))))
        await pilot.pause()
        assert "␛" in text(app)
        assert "[red]" in text(app)
        assert "\x1b" not in text(app)
        assert "\u202e" not in text(app)


HOSTILE = ("[/INST] \x1b[31m", "汉字" * 2_000, "\u202eאבג " * 400, "e\u0301" * 2_000, "x" * 4_000, "\ud800")


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (30, 10)])
async def test_no_text_breaks_the_place(size: tuple[int, int]) -> None:
    edits = tuple(row(n, subject=evil, target_new=evil, names=(evil,)) for n, evil in enumerate(HOSTILE, start=1))
    app = SmallBench(CompareScreen, ready(edits=edits, position=6))
    async with app.run_test(size=size) as pilot:
        results = [replace(PROBES[0], prompt=e, answer=e, expected=e, side="stack", edit=e) for e in HOSTILE]
        await probed(app, pilot, *results)
        for number, evil in enumerate(HOSTILE):
            await chosen(pilot, "A", *["down"] * (number + 2))
            app.tell(ev.GenerationChunk(side="stack", text=evil, prompt=PROMPT))
            await pilot.press("d")
            assert "\x1b" not in text(app)
            assert "\u202e" not in text(app)
            assert all(cell_len(line) <= size[0] for line in app.picture())
