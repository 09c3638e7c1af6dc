"""The History screen: the stack from disk, what an edit is, and the ways back and forth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.small_bench import SmallBench
from tests.tui.story import MODULE, ready, row, stack, told
from workbench import events as ev
from workbench.edits import EditRequest, Recipe
from workbench.stack.editfile import encode_edit
from workbench.stack.record import Base, Edit, Factors
from workbench.tui.screens.history import HistoryScreen
from workbench.tui.state import State
from workbench.tui.widgets.edit_detail import EditDetail, base_facts, edit_facts, fact_lines
from workbench.tui.widgets.stack_table import StackTable

np = pytest.importorskip("numpy")


def text(app: SmallBench) -> str:
    return "\n".join(app.picture())


def table(app: SmallBench) -> StackTable:
    return app.screen.query_one(StackTable)


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (140, 40)])
async def test_list_and_selected_edit_fit_every_size(size: tuple[int, int]) -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=size):
        shown = text(app)
        for words in ("[F4 History]", "↶ undone", "● applied", "◦ base", "Edit 3", "LeBron James", "football", "Undo"):
            assert words in shown
        assert ("Drift along the stack" in shown) == (size[0] >= 120)
        assert ("workbench replay edits/atlas --verify" in shown) == (size[0] >= 120)


async def test_an_empty_stack_says_the_next_key() -> None:
    app = SmallBench(HistoryScreen, ready(applied=0, undone=0))
    async with app.run_test(size=(80, 24)):
        assert "No edits yet. Press ctrl+n" in text(app)
        assert not app.screen.check_action("undo", ())


async def test_keys_ask_the_engine() -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        for keys in (["u"], ["r"], ["v"], ["R"], ["down", "T"], ["end", "T"]):
            app.show(ready())
            await pilot.press(*keys)
        assert app.sent == [
            ("undo", {"count": 1}),
            ("redo", {"count": 1}),
            ("verify", {}),
            ("probe", {}),
            ("travel", {"to": 2}),
            ("travel", {"to": 0}),
        ]


async def test_what_cannot_be_done_is_not_offered() -> None:
    app = SmallBench(HistoryScreen, ready(applied=0, undone=2))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("u", "T")
        app.show(ready(applied=2, undone=0))
        await pilot.press("r", "home", "T")
        assert app.sent == []


async def test_a_busy_engine_greys_what_needs_it_and_reading_goes_on() -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        app.show(State(engine="busy", job="a", stack=app.state.stack))
        assert app.screen.check_action("undo", ()) is None
        await pilot.press("u", "down")
        assert app.sent == []
        assert "Edit 2" in text(app)
        await pilot.press("n", *"try")
        assert app.screen.query_one("#line", Input).value == "try"


async def test_a_filter_narrows_the_list_and_escape_clears_it() -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"jobs", "enter")
        assert table(app).count() == 2
        assert "1 of 4 match" in text(app)
        await pilot.press("escape")
        assert table(app).count() == 5


async def test_keys_typed_into_the_filter_do_nothing_else() -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"uvTrR")
        assert app.sent == []


async def test_a_note_is_written_to_the_selected_edit() -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n", *"why", "enter")
        assert app.sent == [("note", {"edit": "03" * 32, "text": "why"})]
        assert table(app).has_focus
        await pilot.press("n", *"no", "escape")
        assert len(app.sent) == 1


async def test_a_note_the_engine_cannot_take_stays_in_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        monkeypatch.setattr(app, "send", lambda *_, **__: "")
        await pilot.press("n", *"why", "enter")
        assert app.screen.query_one("#line", Input).value == "why"


async def test_y_copies_the_whole_id_and_enter_opens_the_details() -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("y")
        assert app.copied == "03" * 32
        await pilot.press("enter")
        assert app.screen.query_one(EditDetail).size.height > 15
        assert "enter goes back" in text(app)
        await pilot.press("enter")
        assert app.screen.query_one(EditDetail).size.height < 15


async def test_the_verdict_of_verifying_is_beside_the_edit() -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(140, 40)) as pilot:
        app.tell(
            ev.Verified(position=3, edit="03" * 32, expected="x", actual="x", outcome="bit-identical"),
            ev.Verified(position=2, edit="02" * 32, expected="x", actual="y", outcome="different", detail="last bit"),
        )
        await pilot.pause()
        assert "✓ bit-identical" in text(app)
        assert "✗ different at 2" in text(app)
        assert [note.message for note in app._notifications] == ["! 1 of 2 positions bit-identical\n✗ different at 2"]
        await pilot.press("down")
        assert "✗ different: last bit" in text(app)


def edit_file(folder: Path) -> str:
    """A real edit file in `folder`; its name."""
    module = MODULE
    edit = Edit(
        requests=(EditRequest("The {} is located in", "Eiffel Tower", " Rome", " Paris"),),
        recipe=Recipe(layer=1, seed=7),
        base=Base("atlas", "1", "15ea56d0", "float32", {module: {"shape": [4, 3], "layout": "in,out"}}),
        metrics={
            "trace": [{"loss": 9.1}, {"loss": 0.04}],
            "norms": {"delta_norm": 2.36},
            "probes": [
                {"kind": "efficacy", "expected": " Rome", "p_expected": 0.97, "before": 0.02, "rival": " Paris"}
            ],
        },
        made_by={"workbench": "0.1", "torch": "2.13"},
        weights={module: {"before": "aa" * 32, "after": "e9" * 32}},
        created="2026-03-02T14:05:02Z",
    )
    _, data = encode_edit(edit, [Factors(module, np.ones((1, 4), np.float32), np.ones((3, 1), np.float32))])
    (folder / "0001-edit.safetensors").write_bytes(data)
    return "0001-edit.safetensors"


async def _settled(pilot: Pilot[None]) -> None:
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def test_the_details_come_from_the_edit_file(tmp_path: Path) -> None:
    name = edit_file(tmp_path)
    state = told([stack(folder=str(tmp_path), edits=(row(1, file=name),), position=1)])
    app = SmallBench(HistoryScreen, state)
    async with app.run_test(size=(140, 40)) as pilot:
        await _settled(pilot)
        shown = text(app)
        for words in (
            "loss 9.10 -> 0.040",
            "seed 7",
            "after    Rome 0.97",
            "before   Rome 0.02",
            "e9e9e9e9e9e9",
            "torch 2.13",
        ):
            assert words in shown


@pytest.mark.parametrize("damage", ["missing", "cut", "folder"])
async def test_a_file_that_cannot_be_read_says_so_and_the_rest_stays(tmp_path: Path, damage: str) -> None:
    path = tmp_path / edit_file(tmp_path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:40])
    else:
        path.unlink()
    if damage == "folder":
        path.mkdir()
    app = SmallBench(HistoryScreen, told([stack(folder=str(tmp_path), edits=(row(1, file=path.name),), position=1)]))
    async with app.run_test(size=(140, 40)) as pilot:
        await _settled(pilot)
        assert "✗ " in text(app)
        assert "r-rome" in text(app)


def test_metrics_in_a_file_may_be_anything() -> None:
    for metrics in (
        {},
        {"trace": 3, "norms": [], "probes": "x"},
        {"trace": [{"loss": None}], "norms": {"delta_norm": 10**400}},
    ):
        edit = Edit(
            requests=(EditRequest("{} is", "x", "y"),),
            recipe=Recipe(),
            base=Base("b", "", "f", "float32"),
            metrics=cast("dict[str, object]", metrics),
        )
        facts = edit_facts(row(1), edit, "", None, None)
        assert ("id", f"{'01' * 8}   (y copies all of it)") in facts


def test_facts_are_wrapped_beside_their_name() -> None:
    assert fact_lines("file", "a b", 12) == ["file     a b"]
    assert fact_lines("id", "x" * 15, 19) == ["id       " + "x" * 10, " " * 9 + "x" * 5]
    assert base_facts(None, "") == [("", "The stack is not read yet.")]


async def test_hostile_text_in_a_stack_is_shown_and_not_obeyed() -> None:
    evil = "\x1b]0;pwned\x07[blink]\u202e"
    app = SmallBench(
        HistoryScreen, told([stack(folder=evil, edits=(row(1, subject=evil, note=evil, file=evil),), position=1)])
    )
    async with app.run_test(size=(140, 40)) as pilot:
        await _settled(pilot)
        assert "␛]0;pwned␇[blink]" in text(app)
        assert "\x1b" not in text(app)
        assert "\u202e" not in text(app)


async def test_any_applied_edit_can_be_left_out_and_taken_in_again() -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("home", "o")
        assert app.sent == []
        await pilot.press("end", "up", "o")
        app.show(ready())
        await pilot.press("O")
        edit = app.screen.query_one(StackTable).selected
        assert edit is not None
        assert app.sent == [
            ("toggle", {"edit": edit.id, "off": True, "resolve": False}),
            ("toggle", {"edit": edit.id, "off": True, "resolve": True}),
        ]


async def test_an_edit_that_is_off_is_taken_in_again() -> None:
    state = ready()
    assert state.stack is not None
    first, *rest = state.stack.edits
    app = SmallBench(
        HistoryScreen, replace(state, stack=replace(state.stack, edits=(replace(first, state="off"), *rest)))
    )
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("end", "up")
        assert "◌ off" in text(app)
        assert "stack 3 + 1 undone, 1 off" in text(app)
        await pilot.press("o")
        assert app.sent == [("toggle", {"edit": first.id, "off": False, "resolve": False})]


async def test_b_goes_over_to_another_branch() -> None:
    state = ready()
    assert state.stack is not None
    app = SmallBench(
        HistoryScreen, replace(state, stack=replace(state.stack, branch="main-2", names=("main", "main-2")))
    )
    async with app.run_test(size=(80, 24)) as pilot:
        assert "branch main-2" in text(app)
        await pilot.press("b")
        assert "* main-2  (current)" in text(app)
        await pilot.press("enter")
        assert app.sent == []
        await pilot.press("b", "up", "enter")
        assert app.sent == [("switch", {"name": "main"})]


async def test_a_stack_of_one_branch_offers_no_other() -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(80, 24)):
        assert not app.screen.check_action("branches", ())
