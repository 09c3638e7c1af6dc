"""History writes a stack or an edit: what, and where to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.tui.small_bench import SmallBench, settled, text
from tests.tui.story import ready
from workbench import events as ev
from workbench.tui.screens.confirm import ConfirmScreen
from workbench.tui.screens.history import HistoryScreen


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
        await settled(pilot)
        assert "The file lies where the engine runs." in text(app)
        await pilot.press("x", "enter")
        for _ in range(100):
            if isinstance(app.screen, ConfirmScreen):
                break
            await pilot.pause(0.02)
        assert "Replace atlas.zip, if it is there already?" in text(app)
        await pilot.press("n")
        await settled(pilot)
        assert app.sent == [("export", {"format": "bundle", "out": "atlas.zip", "edit": "", "replace": False})]
