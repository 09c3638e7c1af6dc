"""The Compare screen: both sides get the same prompt, and differences are seen without colour."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.widgets import Input

from tests.tui.small_bench import SmallBench
from tests.tui.story import MODEL, PROBES, finish_events, ready, row, run_events, stack, told
from workbench import events as ev
from workbench.contrasts import AddedProbe
from workbench.tui.added import read_added, write_added
from workbench.tui.screens.add_probe import AddProbeScreen
from workbench.tui.screens.choose_state import ChooseStateScreen
from workbench.tui.screens.compare import CompareScreen
from workbench.tui.state import State
from workbench.tui.widgets.probe_table import ProbeTable

PROMPT = "Steve Jobs was the founder of"
ANSWERS = [
    ev.Answered(prompt=PROMPT, side="base", top=((" Apple", 0.81), (" Pixar", 0.04))),
    ev.Answered(prompt=PROMPT, side="stack", top=((" Microsoft", 0.95), (" Apple", 0.02))),
]
TEXTS = [
    ev.GenerationChunk(side="base", text=" Apple, and he", prompt=PROMPT, tokens=4, seconds=0.3),
    ev.GenerationChunk(side="base", text=" was first", prompt=PROMPT, tokens=6, seconds=0.4, done=True),
    ev.GenerationChunk(
        side="stack", text=" Microsoft, and he was first", prompt=PROMPT, tokens=6, seconds=1.1, done=True
    ),
]
APART = ev.Compared(prompt=PROMPT, a="base", b="stack", kl=4.12, kl_back=3.5, shared=6, of=10)
BOTH = [replace(one, side=side) for side in ("base", "stack") for one in PROBES]
"""The probes in both states; one of them fails in both."""


def text(app: SmallBench) -> str:
    return "\n".join(app.picture())


async def generated(app: SmallBench, pilot: object) -> None:
    """Types the prompt, presses enter, and the engine answers."""
    app.screen.query_one("#prompt", Input).value = PROMPT
    app.screen.query_one("#prompt", Input).focus()
    await pilot.press("enter")  # type: ignore[attr-defined]
    app.tell(*ANSWERS, APART, *TEXTS, ev.JobDone(job=app.state.job, ok=True))
    await pilot.press("escape")  # type: ignore[attr-defined]


async def probed(app: SmallBench, pilot: object, *results: ev.ProbeResult) -> None:
    """Asks for the probes; `results` are those of the stack."""
    await pilot.press("escape", "R")  # type: ignore[attr-defined]
    app.tell(*[replace(one, side="stack") for one in results], ev.JobDone(job=app.state.job, ok=True))
    await pilot.pause()  # type: ignore[attr-defined]


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


async def test_n_goes_round_the_failing_probes_and_enter_asks_with_their_prompt() -> None:
    failing = replace(PROBES[1], passed=False)
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await probed(app, pilot, PROBES[0], failing, *PROBES[2:])
        assert "3 of 5 pass" in text(app)
        where = []
        for key in ("n", "n", "n", "N"):
            await pilot.press(key)
            where.append(app.screen.query_one(ProbeTable).cursor)
        assert where == [1, 3, 1, 3]
        await pilot.press("enter")
        assert app.sent[-1][1]["prompt"] == "Tim Cook works for"


async def test_probes_of_an_edit_that_was_stopped_are_not_called_the_last_edits() -> None:
    state = told([*run_events(20), *finish_events()[:-2]], ready())
    app = SmallBench(CompareScreen, state)
    async with app.run_test(size=(140, 40)) as pilot:
        assert "Probes of the edit that is being made" in text(app)
        app.tell(ev.EditCancelled(job=state.job, position=3, step=20))
        await pilot.pause()
        assert "Probes of an edit that was not kept" in text(app)
        app.state = told([*run_events(20), *finish_events()], ready())
        app.tell()
        await pilot.pause()
        assert "Probes of the last edit, when it was made" in text(app)


async def test_without_a_failing_probe_n_is_not_offered() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await probed(app, pilot, *PROBES[:3])
        assert not app.screen.check_action("failing", (1,))


async def test_r_asks_all_probes_again_and_the_table_shows_base_and_stack() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(140, 40)) as pilot:
        await pilot.press("escape", "R")
        assert app.sent == [("probe", {"states": ["base", "stack"], "added": [], "most": 1000})]
        told = [*PROBES, replace(PROBES[3], p_expected=0.79, answer=" Apple", p_answer=0.79, passed=True, side="base")]
        app.tell(*[replace(one, side="stack") for one in told[:-1]], told[-1], ev.JobDone(job=app.state.job, ok=True))
        await pilot.pause()
        line = next(line for line in app.picture() if "Tim Cook" in line)
        for words in ("neighbour", "Apple        0.79 ✓", "Microsoft    - ✗", "-0.48"):
            assert words in line


async def test_numbers_of_an_earlier_state_of_the_stack_say_so() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(140, 40)) as pilot:
        await generated(app, pilot)
        await pilot.press("R")
        app.tell(*BOTH, ev.JobDone(job=app.state.job, ok=True))
        await pilot.pause()
        assert "the stack has changed" not in text(app)
        app.tell(stack(applied=2, undone=2))
        await pilot.pause()
        assert "B  stack @3" in text(app), "the text is what position 3 said"
        assert "the stack has changed: enter asks again" in text(app)
        assert "Probes across the stack   the stack has changed: R asks again" in text(app)


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


async def chosen(pilot: object, *keys: str) -> None:
    """Opens the list of states with the first key, types the rest and takes what is under the cursor."""
    await pilot.press(*keys, "enter")  # type: ignore[attr-defined]
    await pilot.pause()  # type: ignore[attr-defined]


async def test_any_position_can_be_compared_with_any_other() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(140, 40)) as pilot:
        await pilot.press(*"Hi", "escape")
        await chosen(pilot, "A", *"jobs")
        await chosen(pilot, "B", "down", "down")
        assert "A  @2 Steve Jobs" in text(app)
        await pilot.press("enter")
        verb, args = app.sent[-1]
        assert (verb, args["states"]) == ("generate", ["02" * 32, "03" * 32])
        job = app.state.job
        app.tell(
            ev.GenerationChunk(side="02" * 32, text="!", prompt="Hi", tokens=1, done=True), ev.JobDone(job=job, ok=True)
        )
        await pilot.pause()
        assert "A  @2 Steve Jobs  1 token" in text(app)
        await chosen(pilot, "B", *"reviewed-later")
        assert "A or B is another: enter asks again" in text(app)


async def test_the_list_of_states_opens_with_enter_and_is_left_with_escape() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("tab", "enter")
        assert isinstance(app.screen, ChooseStateScreen)
        await pilot.press("escape")
        assert not isinstance(app.screen, ChooseStateScreen)
        assert app.sent == []
        await pilot.click("#choose-b")
        assert isinstance(app.screen, ChooseStateScreen)


async def test_another_stack_begins_with_base_and_stack_again() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await generated(app, pilot)
        await chosen(pilot, "A", *"jobs")
        app.tell(stack(folder="edits/other"))
        await pilot.pause()
        assert "A base" in text(app)
        assert "Write a prompt and press enter" in text(app)


async def test_a_probe_is_added_kept_with_the_stack_asked_and_removed(tmp_path: Path) -> None:
    app = SmallBench(CompareScreen, ready(folder=str(tmp_path)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("escape", "a", *"Tim Cook works for", "tab", "enter")
        assert isinstance(app.screen, AddProbeScreen), "an efficacy probe needs an answer"
        assert "expected answer is empty" in text(app)
        await pilot.press("down", "down", "enter")
        await pilot.app.workers.wait_for_complete()
        kept = (AddedProbe("Tim Cook works for", "", "neighbourhood"),)
        assert read_added(tmp_path) == (kept, "")
        await pilot.press("R")
        assert app.sent[-1][1]["added"] == [kept[0].to_json()]
        result = replace(PROBES[3], edit="", side="stack")
        app.tell(result, ev.JobDone(job=app.state.job, ok=True))
        await pilot.press("delete")
        await pilot.app.workers.wait_for_complete()
        assert read_added(tmp_path) == ((), "")


async def test_probes_that_were_added_before_are_there_again(tmp_path: Path) -> None:
    write_added(tmp_path, (AddedProbe("Rome is in", "Italy"),))
    app = SmallBench(CompareScreen, ready(folder=str(tmp_path), applied=0, undone=0))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.app.workers.wait_for_complete()
        await pilot.press("escape", "R")
        assert app.sent[-1][1]["added"] == [{"prompt": "Rome is in", "expected": "Italy", "kind": "efficacy"}]


async def test_f_shows_probes_of_one_kind() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await probed(app, pilot, *PROBES)
        await pilot.press("f")
        assert app.screen.query_one(ProbeTable).count() == 1
        assert "1 shown: failing   4 of 5 pass" in text(app)
        for _ in range(5):
            await pilot.press("f")
        assert app.screen.query_one(ProbeTable).count() == 5


async def test_what_is_shown_is_written_and_what_is_there_gives_way_only_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await generated(app, pilot)
        await probed(app, pilot, *PROBES)
        await pilot.press("x", "enter")
        await pilot.app.workers.wait_for_complete()
        written = (tmp_path / "comparison.md").read_text()
        assert "Microsoft, and he was first" in written
        assert "Tim Cook works for" in written
        await pilot.press("x", "down", "enter")
        await pilot.app.workers.wait_for_complete()
        assert json.loads((tmp_path / "comparison.json").read_text())["kl"] == 4.12
        (tmp_path / "comparison.md").write_text("mine")
        await pilot.press("x", "enter")
        assert "is there already. Replace it?" in text(app)
        await pilot.press("n", "escape")
        assert (tmp_path / "comparison.md").read_text() == "mine"
        await pilot.press("x", "enter", "y")
        await pilot.app.workers.wait_for_complete()
        assert "Microsoft" in (tmp_path / "comparison.md").read_text()


async def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told_of: list[str] = []
    app = SmallBench(CompareScreen, ready())
    monkeypatch.setattr(app, "tell", lambda error: told_of.append(error.message), raising=False)
    async with app.run_test(size=(80, 24)) as pilot:
        app.show(told([*ANSWERS, APART, *TEXTS], app.state))
        app.screen.query_one("#prompt", Input).value = PROMPT
        await pilot.press("enter", "escape")
        (tmp_path / "file").write_text("")
        await pilot.press("x")
        app.screen.query_one("#path", Input).value = str(tmp_path / "file/below.md")
        await pilot.press("enter")
        await pilot.app.workers.wait_for_complete()
        assert told_of


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
