"""Edits left out, moved or made anew: the weights are always those of the updates that are active, in their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.engine.making import OTHER, REQUEST, drain, open_on, weight_bytes
from workbench import events as ev
from workbench.edits import EditRequest
from workbench.engine import remaking
from workbench.engine.engine import Engine
from workbench.errors import EditError, UsageError

THIRD = EditRequest(prompt="{} was born in", subject="Clara Schumann", target_new="Vienna")


@pytest.fixture
def three(engine: Engine) -> Engine:
    for request in (REQUEST, OTHER, THIRD):
        assert drain(engine.apply(request))[1]
    return engine


def subjects(engine: Engine) -> list[str]:
    return [edit.request.subject.split()[0] for edit in engine.stack.applied]


def outcomes(engine: Engine) -> list[str]:
    return [event.outcome for event in drain(engine.verify())[0] if isinstance(event, ev.Verified)]


def warnings(events: list[ev.Event]) -> str:
    return " ".join(event.message for event in events if isinstance(event, ev.Warning))


def test_an_edit_in_the_middle_goes_and_comes_back_bit_for_bit(three: Engine) -> None:
    before = weight_bytes(three)
    middle = three.stack.line[1]
    events, _ = drain(three.toggle(middle.id, off=True))
    assert "1 later edit was computed while it was on." in warnings(events)
    without = weight_bytes(three)
    assert without != before
    back, _ = drain(three.toggle(middle.id[:6], off=False))
    assert weight_bytes(three) == before
    assert warnings(back) == ""


def test_only_edits_made_while_it_was_off_are_told_of_when_an_edit_comes_back(three: Engine) -> None:
    first = three.stack.line[0]
    drain(three.toggle(first.id, off=True))
    drain(three.apply(EditRequest(prompt="{} lives in", subject="Knut Hamsun", target_new="Rome")))
    events, _ = drain(three.toggle(first.id, off=False))
    assert "1 later edit was computed while it was off." in warnings(events)
    events, _ = drain(three.toggle(first.id, off=True))
    assert "2 later edits were computed while it was on." in warnings(events)


def test_toggling_the_newest_edit_is_undoing_it(three: Engine) -> None:
    events, _ = drain(three.toggle(three.stack.line[2].id, off=True))
    assert warnings(events) == ""
    toggled = weight_bytes(three)
    drain(three.undo())
    assert weight_bytes(three) == toggled


def test_verify_puts_every_edit_on_the_state_that_it_was_made_on(three: Engine) -> None:
    first = three.stack.line[0]
    drain(three.toggle(first.id, off=True))
    assert outcomes(three) == ["bit-identical"] * 3
    drain(three.apply(EditRequest(prompt="{} lives in", subject="Knut Hamsun", target_new="Rome")))
    assert three.stack.line[3].off == {first.id}
    assert outcomes(three) == ["bit-identical"] * 4
    drain(three.toggle(first.id, off=False))
    assert outcomes(three) == ["bit-identical"] * 4
    assert all(checked.ok for checked in three.stack.verify())


def test_a_replay_does_not_call_a_state_identical_that_nobody_recorded(three: Engine) -> None:
    drain(three.toggle(three.stack.line[0].id, off=True))
    events, agreed = drain(three.replay())
    last = events[-1]
    assert isinstance(last, ev.Verified)
    assert (agreed, last.outcome) == (False, "not comparable")
    assert "1 edit is toggled off" in last.detail
    drain(three.apply(EditRequest(prompt="{} lives in", subject="Knut Hamsun", target_new="Rome")))
    assert drain(three.replay())[1]
    drain(three.toggle(three.stack.line[0].id, off=False))
    assert not drain(three.replay())[1]


def test_a_new_order_is_a_branch_with_the_same_updates(three: Engine) -> None:
    line = three.stack.line
    events, _ = drain(three.arrange([line[2].id, line[0].id, line[1].id]))
    assert subjects(three) == ["Clara", "Naguib", "Knut"]
    assert "3 edits keep updates" in warnings(events)
    assert [edit.copied_from for edit in three.stack.line] == [line[2].id, line[0].id, line[1].id]
    for new, old in zip(three.stack.line, (line[2], line[0], line[1]), strict=True):
        assert np.array_equal(three.stack.factors(new)[0].b, three.stack.factors(old)[0].b)
    assert outcomes(three) == ["bit-identical"] * 3
    assert (three.stack.branch, [b.name for b in three.stack.branches]) == ("main-2", ["main", "main-2"])


def test_the_way_back_from_a_new_order_is_bit_for_bit(three: Engine) -> None:
    before, line = weight_bytes(three), three.stack.line
    drain(three.arrange([edit.id for edit in reversed(line)]))
    drain(three.switch("main"))
    assert weight_bytes(three) == before
    assert three.stack.line == line


def test_removing_in_the_middle_keeps_the_ids_before_it(three: Engine) -> None:
    line = three.stack.line
    drain(three.arrange([line[0].id, line[2].id]))
    assert three.stack.line[0] == line[0]
    assert subjects(three) == ["Naguib", "Clara"]
    assert outcomes(three) == ["bit-identical"] * 2
    removed = weight_bytes(three)
    drain(three.switch("main"))
    drain(three.toggle(line[1].id, off=True))
    assert weight_bytes(three) == removed


def test_removing_the_last_edit_writes_no_new_file(three: Engine) -> None:
    line = three.stack.line
    files = sorted(path.name for path in three.stack.folder.glob("*.safetensors"))
    drain(three.arrange([line[0].id, line[1].id]))
    assert three.stack.line == line[:2]
    assert sorted(path.name for path in three.stack.folder.glob("*.safetensors")) == files


def test_resolving_makes_later_edits_as_if_the_other_had_never_been(three: Engine, small: Path, tmp_path: Path) -> None:
    line, before = three.stack.line, weight_bytes(three)
    events, _ = drain(three.toggle(line[1].id, off=True, resolve=True))
    made = [event for event in events if isinstance(event, ev.EditCommitted)]
    assert [(event.edit, event.position) for event in made] == [(three.stack.line[2].id, 3)]
    fresh = open_on(small, tmp_path / "fresh")
    for request in (REQUEST, THIRD):
        assert drain(fresh.apply(request))[1]
    assert weight_bytes(three) == weight_bytes(fresh)
    assert [edit.request.subject for edit in three.stack.active] == ["Naguib Mahfouz", "Clara Schumann"]
    copy = three.stack.line[1]
    assert copy.copied_from == line[1].id
    assert three.stack.off == three.stack.line[2].off == {copy.id}
    assert outcomes(three) == ["bit-identical"] * 3
    drain(three.switch("main"))
    assert (weight_bytes(three), three.stack.active) == (before, line)
    fresh.close()


def test_resolving_an_edit_that_comes_back_keeps_its_own_update(three: Engine) -> None:
    first = three.stack.line[0]
    drain(three.toggle(first.id, off=True))
    before = weight_bytes(three)
    events, _ = drain(three.toggle(first.id, off=False, resolve=True))
    assert [event.position for event in events if isinstance(event, ev.EditCommitted)] == []
    assert three.stack.off == {first.id}
    assert three.stack.active[0].copied_from == first.id
    drain(three.switch("main"))
    assert weight_bytes(three) == before


def test_resolving_a_removal_and_an_order_equals_making_them_so(three: Engine, small: Path, tmp_path: Path) -> None:
    line = three.stack.line
    drain(three.arrange([line[2].id, line[0].id], resolve=True))
    fresh = open_on(small, tmp_path / "fresh")
    for request in (THIRD, REQUEST):
        assert drain(fresh.apply(request))[1]
    assert weight_bytes(three) == weight_bytes(fresh)
    assert [edit.weights for edit in three.stack.line] == [edit.weights for edit in fresh.stack.line]
    fresh.close()


def test_resolving_what_stands_already_makes_nothing_anew(three: Engine) -> None:
    line = three.stack.line
    events, _ = drain(three.arrange([line[0].id, line[1].id, line[2].id], resolve=True))
    assert three.stack.line == line
    assert not any(isinstance(event, ev.OptimStep) for event in events)


def test_a_toggle_whose_resolving_fails_or_is_left_changes_nothing(
    three: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, line, first = weight_bytes(three), three.stack.line, three.stack.line[0].id
    resolving = three.toggle(first, off=True, resolve=True)
    for event in resolving:
        if isinstance(event, ev.OptimStep):
            break
    resolving.close()
    assert (weight_bytes(three), three.stack.line, three.stack.off) == (before, line, frozenset())

    def fail(*_: object, **__: object) -> None:
        raise EditError("Out of luck.")

    monkeypatch.setattr(remaking, "_moment_of", fail)
    with pytest.raises(EditError, match="Out of luck"):
        drain(three.toggle(first, off=True, resolve=True))
    assert (weight_bytes(three), three.stack.line, three.stack.off) == (before, line, frozenset())
    assert outcomes(three) == ["bit-identical"] * 3


def test_a_toggle_that_is_resolved_reaches_the_disk_in_one_change(three: Engine) -> None:
    first, folder = three.stack.line[0].id, three.stack.folder
    before = (folder / "stack.json").read_bytes(), (folder / "journal.jsonl").read_bytes()
    for event in three.toggle(first, off=True, resolve=True):
        if isinstance(event, ev.OptimStep):
            assert ((folder / "stack.json").read_bytes(), (folder / "journal.jsonl").read_bytes()) == before
    assert [entry.what for entry in three.stack.journal[-2:]] == ["begin", "resolve"]
    assert three.stack.off == {three.stack.line[0].id}
    assert outcomes(three) == ["bit-identical"] * 3
    drain(three.toggle(three.stack.line[0].id, off=False, resolve=True))
    assert len(three.stack.active) == 3
    assert outcomes(three) == ["bit-identical"] * 3


def test_an_order_of_unknown_or_doubled_edits_is_refused(three: Engine) -> None:
    line = [edit.id for edit in three.stack.line]
    for order in ([*line, line[0]], ["0" * 64], [line[0], line[0]]):
        with pytest.raises(UsageError, match="each of them once"):
            drain(three.arrange(order))


def test_a_copy_takes_its_note_and_its_state_along(three: Engine) -> None:
    line = three.stack.line
    three.stack.note(line[2].id, "keep me")
    drain(three.toggle(line[2].id, off=True))
    drain(three.arrange([line[2].id, line[0].id, line[1].id]))
    copy = three.stack.line[0]
    assert (copy.note, copy.id in three.stack.off) == ("keep me", True)
    assert three.stack.line[1].off == {copy.id}
    assert outcomes(three) == ["bit-identical"] * 3


def test_a_stack_in_another_dtype_is_planted_with_hashes_of_that_dtype(three: Engine, small: Path) -> None:
    order = [three.stack.line[2].id, three.stack.line[0].id]
    three.close()
    half = open_on(small, three.stack.folder, "bfloat16")
    drain(half.arrange(order))
    assert [edit.base.dtype for edit in half.stack.line] == ["bfloat16"] * 2
    assert outcomes(half) == ["bit-identical"] * 2
    half.close()
