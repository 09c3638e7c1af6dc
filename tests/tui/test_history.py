"""The History screen: the stack from disk, what an edit is, and the ways back and forth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from rich.cells import cell_len
from rich.text import Text
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.small_bench import SmallBench
from tests.tui.story import MODULE, ready, row, rows, stack, told
from workbench import events as ev
from workbench.edits import EditRequest, Recipe
from workbench.stack.editfile import encode_edit
from workbench.stack.record import Base, Edit, Factors
from workbench.tui.screens.confirm import ConfirmScreen
from workbench.tui.screens.history import HistoryScreen
from workbench.tui.state import State
from workbench.tui.widgets.edit_detail import EditDetail, EditFile, base_facts, edit_facts, fact_lines
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
        facts = edit_facts(row(1), EditFile(edit, 5_000), "", None, None)
        assert ("sha256", f"{'01' * 8}   the edit's id; y copies all of it") in facts
        assert ("file", "0001-edit.safetensors   5 kB") in facts


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


def answers(verb: str, app: SmallBench) -> dict[str, object]:
    return next(args for sent, args in reversed(app.sent) if sent == verb)


async def test_x_asks_what_to_write_and_where_and_the_engine_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        for downs, kind, out in (
            (0, "bundle", "atlas.zip"),
            (1, "peft", "atlas-lora"),
            (4, "edit", "0003-edit.safetensors"),
        ):
            app.show(ready())
            await pilot.press("x", *["down"] * downs, "enter")
            await pilot.pause()
            edit = "03" * 32 if kind == "edit" else ""
            assert answers("export", app) == {
                "format": kind, "out": str(tmp_path / out), "edit": edit, "replace": False,
            }  # fmt: skip
        app.tell(
            ev.Exported(format="peft", out="atlas-lora", count=3, bytes=132_000), ev.JobDone(job=app.state.job, ok=True)
        )
        await pilot.pause()
        assert [note.message for note in app._notifications] == ["atlas-lora is written: 3 edits, 132 kB."]


async def test_what_stands_at_the_place_gives_way_only_when_told(tmp_path: Path) -> None:
    (tmp_path / "there.zip").write_text("")
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("x")
        app.screen.query_one("#path", Input).value = str(tmp_path / "there.zip")
        await pilot.press("enter")
        await pilot.pause()
        assert "Replace it?" in text(app)
        await pilot.press("n", "enter", "y")
        await pilot.pause()
        assert app.sent == [
            ("export", {"format": "bundle", "out": str(tmp_path / "there.zip"), "edit": "", "replace": True})
        ]


async def test_a_place_that_was_typed_stays_when_another_kind_is_chosen() -> None:
    app = SmallBench(HistoryScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("x", "down")
        assert app.screen.query_one("#path", Input).value == "atlas-lora"
        app.screen.query_one("#path", Input).value = "mine"
        await pilot.press("down")
        assert app.screen.query_one("#path", Input).value == "mine"


async def test_where_the_engine_runs_elsewhere_nothing_is_looked_for_here() -> None:
    app = SmallBench(HistoryScreen, replace(ready(), where="elsewhere"))
    async with app.run_test(size=(140, 40)) as pilot:
        await _settled(pilot)
        assert "The file lies where the engine runs." in text(app)
        await pilot.press("x", "enter")
        for _ in range(100):
            if isinstance(app.screen, ConfirmScreen):
                break
            await pilot.pause(0.02)
        assert "Replace atlas.zip, if it is there already?" in text(app)
        await pilot.press("n")
        await _settled(pilot)
        assert app.sent == [("export", {"format": "bundle", "out": "atlas.zip", "edit": "", "replace": False})]


HOSTILE = ("[/INST] \x1b[31m", "汉字" * 2_000, "\u202eאבג " * 400, "e\u0301" * 2_000, "x" * 4_000, "\ud800")
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
        phase = ev.Diagnosed(phase="gradual", message="Edits are lost slowly.", hint="workbench compact")
        following(app, HEALTH, phase, ev.JobDone(job=app.state.job, ok=True))
        await pilot.pause()
        for words in ("17.63", "17.61", "! gradual: Edits are lost slowly.", "→ workbench compact"):
            assert words in text(app)
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


def test_an_edit_of_many_requests_lists_the_first_of_them() -> None:
    requests = tuple(EditRequest("{} is in", f"Town {n}", "Rome") for n in range(30))
    edit = Edit(requests=requests, recipe=Recipe(method="memit"), base=Base("b", "", "f", "float32"))
    many = row(1, requests=30, efficacies=(29, 30), subject="Town 0")
    words = [text for _, text in edit_facts(many, EditFile(edit, 1), "", None, None)]
    assert words[0] == "30 requests made one edit, 29 of 30 hold"
    assert words[1] == "    1  Town 0:  {} is in -> Rome"
    assert words[13] == "       and 18 more"


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
            await _settled(pilot)
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
