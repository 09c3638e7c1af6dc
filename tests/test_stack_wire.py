"""The stack on the wire: every row once, then only what changed, and no line that is too long."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tui.story import rows, stack
from workbench import events as ev
from workbench.stack_wire import ROWS, Listener, Missed, Teller


def over_the_wire(teller: Teller, listener: Listener, changed: ev.StackChanged) -> tuple[list[str], ev.Event | None]:
    """The lines that say `changed`, and what the other end makes of them."""
    lines = [ev.to_line(part) for part in teller.tell(changed)]
    heard = [listener.hear(event) for line in lines if (event := ev.from_line(line))]
    assert heard[:-1] == [None] * (len(heard) - 1)
    return lines, heard[-1]


def at(position: int, changed: ev.StackChanged) -> ev.StackChanged:
    """The stack after travelling to `position`."""
    edits = tuple(replace(row, state="applied" if row.number <= position else "undone") for row in changed.edits)
    return replace(changed, position=position, edits=edits)


def test_an_undo_among_ten_thousand_edits_is_a_short_line() -> None:
    teller, listener = Teller(), Listener()
    whole = stack(0, 0, edits=rows(10_000), position=10_000)
    lines, heard = over_the_wire(teller, listener, whole)
    assert heard == whole
    assert max(map(len, lines)) < ev.MAX_LINE // 16
    for position in (9_999, 0, 5_000, 10_000):
        lines, heard = over_the_wire(teller, listener, at(position, whole))
        assert heard == at(position, whole)
        assert [len(line) < 1_000 for line in lines] == [True]


def test_one_more_edit_sends_one_row() -> None:
    teller, listener = Teller(), Listener()
    over_the_wire(teller, listener, stack(0, 0, edits=rows(1_000), position=1_000))
    grown = stack(0, 0, edits=rows(1_001), position=1_001)
    (part,) = teller.tell(grown)
    assert [row.number for row in part.edits] == [1_001]
    assert listener.hear(part) == grown


STATES = st.sampled_from(["applied", "undone", "off", "broken"])


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), STATES, st.sampled_from(["", "note"])), max_size=8), max_size=6))
def test_whatever_happens_to_a_stack_both_ends_agree(history: list[list[tuple[int, str, str]]]) -> None:
    teller, listener = Teller(), Listener()
    for drawn in history:
        edits = tuple(
            replace(rows(4)[which], number=n, state=state, note=note)  # type: ignore[arg-type]
            for n, (which, state, note) in enumerate(drawn, start=1)
        )
        now = stack(0, 0, edits=edits, position=len(edits), job="j", seq=3, t=1.5)
        parts = [replace(part, job="j", seq=3, t=1.5) for part in teller.tell(now)]
        assert [listener.hear(part) for part in parts][-1] == now


def test_a_lost_line_is_noticed_and_the_whole_mends_it() -> None:
    teller, listener = Teller(), Listener()
    over_the_wire(teller, listener, stack(3, 0))
    list(teller.tell(stack(4, 0)))
    with pytest.raises(Missed):
        over_the_wire(teller, listener, stack(4, 1))
    teller.forget()
    assert over_the_wire(teller, listener, stack(4, 1))[1] == stack(4, 1)


def test_a_line_that_makes_no_sense_is_refused_and_so_is_all_that_builds_on_it() -> None:
    teller, listener = Teller(), Listener()
    (whole,) = teller.tell(stack(3, 0))
    listener.hear(whole)
    (one,) = teller.tell(stack(2, 1))
    (two,) = teller.tell(stack(1, 2))
    for harm in ({"states": (("applied", 99),)}, {"length": 9}, {"at": (50,), "edits": rows(1)}, {"at": ("x",)}):
        with pytest.raises(Missed):
            listener.hear(replace(one, **harm))
    with pytest.raises(Missed):
        listener.hear(two)
    assert ROWS > 1


def test_other_events_pass_as_they_are() -> None:
    assert Listener().hear(ev.Log(message="x")) == ev.Log(message="x")
    assert Listener().hear(stack(2, 0)) == stack(2, 0)
