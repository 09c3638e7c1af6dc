"""Curves along a stack: what each edit recorded, drawn one at a time and told in numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult

from tests.tui.story import MODEL, row, stack, told
from workbench.tui.widgets.along import MEASURES, AlongStack, figure, numbers, positions

STACK = replace(
    stack(3, 2), edits=tuple(replace(one, earlier=(one.number - 1, one.number)) for one in stack(3, 2).edits)
)


class Holder(App[None]):
    """One panel."""

    def compose(self) -> ComposeResult:
        yield AlongStack(id="along")


def test_numbers_stand_under_each_other_edit_by_edit() -> None:
    assert numbers(STACK, 60) == [
        "edit            1      2      3     4↶     5↶",
        "drift       0.012  0.024  0.036  0.048   0.06",
        "ppl         17.62  17.64  17.66  17.68   17.7",
        "neighbours    2/3    2/3    2/3    2/3    2/3",
        "earlier       0/1    1/2    2/3    3/4    4/5",
    ]


def test_what_no_edit_recorded_has_no_line() -> None:
    bare = replace(STACK, edits=tuple(replace(one, earlier=None, perplexity=None) for one in STACK.edits))
    assert [line.split()[0] for line in numbers(bare, 60)] == ["edit", "drift", "neighbours"]
    assert numbers(None, 60) == numbers(stack(0, 0), 60) == []


def test_an_edit_that_is_left_out_is_marked_and_the_curve_is_called_a_record() -> None:
    edits = tuple(replace(one, state="off") if one.number == 2 else one for one in STACK.edits)
    left_out = replace(STACK, edits=edits)
    assert numbers(left_out, 60)[0].split() == ["edit", "1", "2◌", "3", "4↶", "5↶"]
    assert figure(left_out, MEASURES[0]).series[0].name == "drift, as recorded"
    assert figure(STACK, MEASURES[0]).series[0].name == "drift"


@pytest.mark.parametrize(("count", "present", "most"), [(100, 37, 8), (5, 5, 8), (1000, 0, 3), (9, 2, 2), (9, 9, 1)])
def test_of_many_edits_an_even_sample_is_shown_with_both_ends_and_the_present(
    count: int, present: int, most: int
) -> None:
    shown = positions(count, present, most)
    assert len(shown) == min(count, most)
    assert shown == sorted(set(shown))
    assert count in shown
    assert most < 2 or 1 in shown
    assert most < 3 or not present or present in shown


def test_undone_edits_are_a_curve_of_their_own_that_begins_where_the_applied_end() -> None:
    applied, undone = figure(STACK, MEASURES[0]).series
    assert list(applied.values) == pytest.approx([0.0, 0.012, 0.024, 0.036])
    assert undone.start == 3
    assert list(undone.values) == pytest.approx([0.036, 0.048, 0.06])
    (whole,) = figure(stack(3, 0), MEASURES[1]).series
    assert whole.values[0] == 17.61


@pytest.mark.parametrize("size", [(40, 8), (70, 14), (140, 30)])
async def test_every_curve_fits_and_p_goes_through_them(size: tuple[int, int]) -> None:
    app = Holder()
    async with app.run_test(size=size) as pilot:
        along = app.query_one(AlongStack)
        along.focus()
        along.show(told([MODEL, STACK]))
        for measure in (*MEASURES, MEASURES[0]):
            assert along.border_title is not None
            assert str(along.border_title).startswith(measure.title)
            lines = along.lines(*along.content_size)
            assert len(lines) <= along.content_size.height
            assert all(cell_len(line.plain) <= along.content_size.width for line in lines)
            await pilot.press("p")
        await pilot.press("t")
        assert "edit" in along.lines(*along.content_size)[0].plain


async def test_an_empty_stack_says_what_will_be_here() -> None:
    app = Holder()
    async with app.run_test(size=(80, 12)):
        along = app.query_one(AlongStack)
        along.show(told([]))
        assert along.lines(70, 8)[0].plain == "The stack is not read yet."
        along.show(told([MODEL, stack(0, 0)]))
        assert "No edits yet" in along.lines(70, 8)[0].plain
        along.show(told([MODEL, replace(stack(1, 0), edits=(row(1, drift=None),))]))
        assert along.lines(70, 14)
