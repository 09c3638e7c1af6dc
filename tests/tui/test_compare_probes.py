"""Compare: the probes across the stack, those that a person adds, and what is written of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.tui.comparing import ANSWERS, APART, BOTH, PROMPT, TEXTS, generated, probed, text
from tests.tui.small_bench import SmallBench
from tests.tui.story import PROBES, finish_events, ready, run_events, stack, told
from workbench import events as ev
from workbench.contrasts import AddedProbe
from workbench.tui.added import read_added, write_added
from workbench.tui.screens.add_probe import AddProbeScreen
from workbench.tui.screens.compare import CompareScreen
from workbench.tui.widgets.probe_table import ProbeTable


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


async def test_probes_that_history_asked_again_are_shown_with_where_they_were_asked() -> None:
    app = SmallBench(CompareScreen, told([*run_events(20), *finish_events()], ready()))
    async with app.run_test(size=(140, 40)) as pilot:
        assert "Probes of the last edit, when it was made" in text(app)
        app.tell(*[replace(one, side="2", t=9e9) for one in PROBES])
        await pilot.pause()
        assert "Probes of the edits applied at position 2, asked again" in text(app)
        assert next(line for line in app.picture() if "expect" in line).split()[-5:-2] == ["expect", "base", "then"]
        await probed(app, pilot, *PROBES)
        assert "Probes across the stack" in text(app)
        app.send("probe")
        app.tell(*[replace(one, side="2", t=9e9) for one in PROBES])
        await pilot.pause()
        assert "asked again" in text(app)


async def test_probes_of_two_states_that_nobody_asked_here_are_not_historys() -> None:
    app = SmallBench(CompareScreen, told([*run_events(20), *finish_events()], ready()))
    async with app.run_test(size=(140, 40)) as pilot:
        app.tell(*[replace(one, t=9e9) for one in BOTH])
        await pilot.pause()
        assert {result.side for result in app.state.probes} == {"base", "stack"}
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
