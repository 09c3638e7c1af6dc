"""History's pane of one edit: what its file holds, or why it cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from tests.tui.small_bench import SmallBench, settled, text
from tests.tui.story import MODULE, row, stack, told
from workbench.edits import EditRequest, Recipe
from workbench.stack.editfile import encode_edit
from workbench.stack.record import Base, Edit, Factors
from workbench.tui.screens.history import HistoryScreen
from workbench.tui.widgets.edit_detail import EditDetail, EditFile, base_facts, edit_facts, fact_lines

np = pytest.importorskip("numpy")


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


async def test_the_details_come_from_the_edit_file(tmp_path: Path) -> None:
    name = edit_file(tmp_path)
    state = told([stack(folder=str(tmp_path), edits=(row(1, file=name),), position=1)])
    app = SmallBench(HistoryScreen, state)
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(pilot)
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


async def test_another_edit_is_shown_from_its_top(tmp_path: Path) -> None:
    name = edit_file(tmp_path)
    edits = (row(1, file=name, note="a long note " * 60), row(2, file=name, note="another one " * 60))
    app = SmallBench(HistoryScreen, told([stack(folder=str(tmp_path), edits=edits, position=2)]))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        detail = app.screen.query_one(EditDetail)
        detail.scroll_to(y=3, animate=False)
        await settled(pilot)
        assert detail.scroll_offset.y == 3
        await pilot.press("down")
        await settled(pilot)
        assert detail.scroll_offset.y == 0


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
        await settled(pilot)
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


def test_an_edit_of_many_requests_lists_the_first_of_them() -> None:
    requests = tuple(EditRequest("{} is in", f"Town {n}", "Rome") for n in range(30))
    edit = Edit(requests=requests, recipe=Recipe(method="memit"), base=Base("b", "", "f", "float32"))
    many = row(1, requests=30, efficacies=(29, 30), subject="Town 0")
    words = [text for _, text in edit_facts(many, EditFile(edit, 1), "", None, None)]
    assert words[0] == "30 requests made one edit, 29 of 30 hold"
    assert words[1] == "    1  Town 0:  {} is in -> Rome"
    assert words[13] == "       and 18 more"
