"""The History screen: the stack from disk, what an edit is, and the ways back and forth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.text import Text
from textual.widgets import Input

from tests.tui.small_bench import SmallBench, settled, text
from tests.tui.story import ready, row, rows, stack, told
from workbench import events as ev
from workbench.tui.screens.history import HistoryScreen
from workbench.tui.state import State
from workbench.tui.widgets.edit_detail import EditDetail
from workbench.tui.widgets.stack_table import StackTable


def table(app: SmallBench) -> StackTable:
    return app.screen.query_one(StackTable)


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (140, 40)])
async def test_list_and_selected_edit_fit_every_size(size: tuple[int, int]) -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=size):
        shown = text(app)
        for words in ("[F4 History]", "↶ undone", "● applied", "◦ base", "Edit 3", "LeBron James", "football", "Undo"):
            assert words in shown
        assert ("Drift along the stack, |W" in shown) == (size[0] >= 120)
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
        assert table(app).has_focus


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


async def test_hostile_text_in_a_stack_is_shown_and_not_obeyed() -> None:
    evil = "\x1b]0;pwned\x07[blink]\u202e"
    app = SmallBench(
        HistoryScreen, told([stack(folder=evil, edits=(row(1, subject=evil, note=evil, file=evil),), position=1)])
    )
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(pilot)
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


async def test_a_branch_is_begun_where_the_stack_stands() -> None:
    app = SmallBench(HistoryScreen, ready(names=("main",)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("b", "tab", *"main", "enter")
        assert "✗ " in text(app)
        assert app.sent == []
        await pilot.press(*"-2", "enter")
        assert app.sent == [("branch", {"name": "main-2"})]


async def test_a_new_edit_leaves_the_cursor_where_one_reads() -> None:
    app = SmallBench(HistoryScreen, ready(applied=3, undone=0))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("down")
        app.tell(stack(applied=4, undone=0))
        await pilot.pause()
        assert "Edit 2" in text(app), "one was reading edit 2"
        await pilot.press("home")
        app.tell(stack(applied=5, undone=0))
        await pilot.pause()
        assert "Edit 5" in text(app), "one was on the newest, and follows it"
        app.tell(stack(applied=2, undone=3))
        await pilot.pause()
        assert "Edit 5" in text(app)


async def test_a_filter_takes_states_tags_and_several_words() -> None:
    edits = (row(1), row(2, names=("seen",)), row(3, state="off"), row(4, state="broken"))
    app = SmallBench(HistoryScreen, ready(edits=edits))
    async with app.run_test(size=(200, 40)) as pilot:
        assert "Steve Jobs #seen" in text(app)
        for words, count in (("off", 1), ("broken", 1), ("seen", 1), ("steve micro", 1), ("r-rome", 4)):
            await pilot.press("slash", *words)
            assert table(app).count() == count + 1, words
            await pilot.press("escape")


async def test_a_damaged_edit_is_seen_and_can_be_left_out() -> None:
    edits = (row(1), row(2, state="broken"), row(3, state="undone"))
    app = SmallBench(HistoryScreen, ready(edits=edits, position=1))
    async with app.run_test(size=(80, 24)) as pilot:
        assert "1 broken: o leaves it out, v verifies" in text(app)
        await pilot.press("up")
        assert "✗ broken: its file is missing or damaged" in text(app)
        await pilot.press("o")
        assert app.sent == [("toggle", {"edit": "02" * 32, "off": True, "resolve": False})]


async def test_verifying_says_how_far_it_is() -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(140, 40)) as pilot:
        await pilot.press("v")
        app.tell(ev.Verified(position=1, edit="01" * 32, expected="x", actual="x", outcome="bit-identical"))
        await pilot.pause()
        assert "verifying 1 of 4" in text(app)
        app.tell(ev.JobDone(job=app.state.job, ok=True))
        await pilot.pause()
        assert "verifying" not in text(app)


async def test_the_commands_follow_the_edit_and_y_copies_the_one_under_the_cursor() -> None:
    app = SmallBench(HistoryScreen, ready(folder="my edits/a b"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("down", "c")
        await pilot.pause()
        assert "The same from a shell" in text(app)
        await pilot.press("down", "y")
        assert app.copied == "workbench show 'my edits/a b' 2"
        await pilot.press("escape", "y")
        assert app.copied == "02" * 32


HOSTILE = ("[/INST] \x1b[31m", "汉字" * 2_000, "\u202eאבג " * 400, "e\u0301" * 2_000, "x" * 4_000, "\ud800")


@pytest.mark.parametrize("size", [(80, 24), (140, 40), (30, 10)])
async def test_no_text_breaks_the_place(size: tuple[int, int]) -> None:
    edits = tuple(
        row(n, subject=evil, prompt=evil, target_new=evil, note=evil, file=evil[:50], names=(evil,))
        for n, evil in enumerate(HOSTILE, start=1)
    )
    for evil in HOSTILE[:1] + HOSTILE[-1:]:
        now = stack(edits=edits, position=6, folder=evil, names=(evil, "b"), branch=evil, base=evil)
        app = SmallBench(HistoryScreen, told([now], ready(applied=0, undone=0)))
        async with app.run_test(size=size) as pilot:
            await settled(pilot)
            for keys in (["c"], ["escape", "enter"], ["escape", "x"], ["escape", "b"], ["escape", "h"], ["escape"]):
                await pilot.press(*keys, "down")
                assert "\x1b" not in text(app)
                assert "\u202e" not in text(app)
                assert all(cell_len(line) <= size[0] for line in app.picture())


async def test_of_a_long_stack_only_what_is_in_sight_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    app = SmallBench(HistoryScreen, ready(edits=rows(3_000), position=3_000))
    drawn: list[int] = []
    row_of = StackTable.row

    def counted(self: StackTable, index: int, width: int) -> Text:
        drawn.append(index)
        return row_of(self, index, width)

    monkeypatch.setattr(StackTable, "row", counted)
    async with app.run_test(size=(80, 24)) as pilot:
        for key in ("end", "pageup", "up", "home"):
            drawn.clear()
            await pilot.press(key)
            assert 0 < len(drawn) < 60
            assert max(drawn) - min(drawn) < 20
        assert table(app).position == 3_000
