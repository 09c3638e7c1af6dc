"""The story of a stack: edits are added, undone, redone, branched from, noted, and found again in a new process."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.stack.making import D_IN, D_OUT, MODULE, base, edit, factors
from workbench.errors import BaseMismatch, EditError, StackError, StorageError, UsageError, VerificationError
from workbench.stack.editfile import encode_edit
from workbench.stack.record import Base, Edit
from workbench.stack.store import Stack


def subjects(edits: tuple[Edit, ...]) -> list[str]:
    return [one.request.subject for one in edits]


def filled(folder: Path, *names: str) -> Path:
    with Stack.open(folder, write=True, base=base(), who="ada") as stack:
        for seed, name in enumerate(names):
            stack.append(edit(name), factors(seed))
    return folder


def test_an_empty_folder_is_an_empty_stack(tmp_path: Path) -> None:
    with Stack.open(tmp_path) as stack:
        assert (stack.base, stack.line, stack.position, stack.findings, stack.others) == (None, (), 0, (), ())
        assert stack.size_bytes == 0
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_made_only_for_a_writer_with_a_base(tmp_path: Path) -> None:
    for write in (False, True):
        with pytest.raises(UsageError, match="There is no stack"):
            Stack.open(tmp_path / "new", write=write)
    assert not list(tmp_path.iterdir())
    with Stack.open(tmp_path / "a" / "new", write=True, base=base()) as stack:
        assert stack.base == base()


def test_edits_stand_in_the_order_in_which_they_were_added(tmp_path: Path) -> None:
    filled(tmp_path, "Eiffel Tower", "Big Ben", "Colosseum")
    with Stack.open(tmp_path) as stack:
        assert subjects(stack.line) == ["Eiffel Tower", "Big Ben", "Colosseum"]
        assert [one.number for one in stack.line] == [1, 2, 3]
        assert [one.parent for one in stack.line] == [None, stack.line[0].id, stack.line[1].id]
        assert stack.position == 3
        assert stack.applied == stack.line == stack.active
        assert stack.findings == ()
        assert stack.path_of(stack.line[1]).name == f"0002-big-ben-{stack.line[1].id[:8]}.safetensors"
        assert stack.size_bytes == sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
        assert [entry.what for entry in stack.journal] == ["create", "apply", "apply", "apply"]
        assert {entry.who for entry in stack.journal} == {"ada"}
        assert all(found.ok for found in stack.verify())


def test_undo_moves_the_position_and_deletes_nothing(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", "c")
    before = {path: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    with Stack.open(tmp_path, write=True) as stack:
        stack.undo(2)
        assert subjects(stack.applied) == ["a"]
        assert subjects(stack.line) == ["a", "b", "c"]
        stack.redo()
        assert subjects(stack.applied) == ["a", "b"]
    assert {path: path.read_bytes() for path in tmp_path.glob("*.safetensors")} == before
    assert Stack.open(tmp_path).position == 2


def test_an_edit_after_an_undo_starts_a_branch_and_the_old_one_stays_reachable(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", "c")
    with Stack.open(tmp_path, write=True) as stack:
        old = stack.line[2].id
        stack.undo(2)
        stack.append(edit("d"), factors(9))
        assert subjects(stack.line) == ["a", "d"]
        assert subjects(stack.others) == ["b", "c"]
        stack.travel(old[:8])
        assert subjects(stack.line) == ["a", "b", "c"]
        assert subjects(stack.others) == ["d"]
        assert stack.position == 3
    assert subjects(Stack.open(tmp_path).line) == ["a", "b", "c"]


def test_travel_to_an_edit_of_the_line_keeps_those_after_it(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", "c")
    with Stack.open(tmp_path, write=True) as stack:
        stack.travel(stack.line[0].id)
        assert (stack.position, len(stack.line)) == (1, 3)
        stack.travel(0)
        assert (stack.position, stack.applied) == (0, ())
        stack.travel("2")
        assert stack.position == 2


def test_going_too_far_is_said_in_plain_words_and_moves_nothing(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b")
    with Stack.open(tmp_path, write=True) as stack:
        with pytest.raises(UsageError, match=r"There are only 2 edits to undo\."):
            stack.undo(3)
        with pytest.raises(UsageError, match=r"There is nothing to redo\."):
            stack.redo()
        with pytest.raises(UsageError, match=r"0 is not a number of edits\."):
            stack.undo(0)
        with pytest.raises(UsageError, match=r"There is no position 3\."):
            stack.travel(3)
        with pytest.raises(UsageError, match="no position"):
            stack.travel(-1)
        with pytest.raises(UsageError, match="no edit, branch or tag 'ffff0000'"):
            stack.travel("ffff0000")
        with pytest.raises(UsageError, match="too short"):
            stack.travel("abc")
        assert stack.position == 2
        stack.undo()
        with pytest.raises(UsageError, match=r"There is only 1 edit to redo\."):
            stack.redo(2)
    assert [entry.what for entry in Stack.open(tmp_path).journal] == ["create", "apply", "apply", "undo"]


def test_the_start_of_an_id_must_mean_one_edit(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b")
    stack = Stack.open(tmp_path)
    first, second = stack.line
    stack._found.edits = {"abcd1" + first.id[5:]: first, "abcd2" + second.id[5:]: second}
    with pytest.raises(UsageError, match="2 edits whose ids start with 'abcd'"):
        stack.find("ABCD")
    assert stack.find("abcd2") == second


def test_a_note_is_kept_beside_the_file_and_the_last_one_counts(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    with Stack.open(tmp_path, write=True) as stack:
        ident = stack.line[0].id
        stack.note(ident[:8], "first")
        stack.note(ident, "ein \x1b[31m Wort")
        with pytest.raises(UsageError, match="at most"):
            stack.note(ident, "x" * 5000)
        with pytest.raises(UsageError, match="Unicode"):
            stack.note(ident, "\ud800")
    reader = Stack.open(tmp_path)
    assert reader.line[0].note == reader.note_of(reader.line[0]) == "ein \x1b[31m Wort"
    assert reader.line[0].id == ident
    assert all(found.ok for found in reader.verify())


def test_an_edit_toggled_off_is_applied_but_not_active(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b")
    with Stack.open(tmp_path, write=True) as stack:
        first = stack.line[0].id
        stack.toggle(first[:8], off=True)
        assert subjects(stack.applied) == ["a", "b"]
        assert subjects(stack.active) == ["b"]
    with Stack.open(tmp_path, write=True) as stack:
        assert stack.off == {first}
        stack.toggle(first, off=False)
        assert subjects(stack.active) == ["a", "b"]


def test_factors_come_back_bit_for_bit(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b")
    with Stack.open(tmp_path) as stack:
        for seed, one in enumerate(stack.line):
            (back,) = stack.factors(one)
            assert np.array_equal(back.a, factors(seed)[0].a)
            assert np.array_equal(back.b, factors(seed)[0].b)


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    other = base("e" * 64, name="gpt2")
    with pytest.raises(BaseMismatch, match=r"atlas \(ffffffffffff\), not to gpt2 \(eeeeeeeeeeee\)"):
        Stack.open(tmp_path, base=other)
    with Stack.open(tmp_path, write=True) as stack:
        with pytest.raises(BaseMismatch):
            stack.append(edit(base=other), factors())
        reshaped = Base("atlas", "", "f" * 64, "float32", {MODULE: {"shape": [D_OUT, D_IN], "layout": "out,in"}})
        with pytest.raises(BaseMismatch):
            stack.append(edit(base=reshaped), factors())
        assert len(stack.line) == 1
    with pytest.raises(BaseMismatch, match="other shapes"):
        Stack.open(tmp_path, base=reshaped)


def test_another_dtype_of_the_same_model_is_reported_and_no_error(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    assert Stack.open(tmp_path, base=base(dtype="bfloat16")).dtype_mismatch == ("float32", "bfloat16")
    assert Stack.open(tmp_path, base=base()).dtype_mismatch is None
    assert Stack.open(tmp_path).dtype_mismatch is None


def test_modules_of_all_edits_gather_in_the_base(tmp_path: Path) -> None:
    other = "transformer.h.2.mlp.c_proj"
    second = dataclasses.replace(base(), modules={other: {"shape": [D_IN, D_OUT], "layout": "in,out"}})
    with Stack.open(tmp_path, write=True, base=dataclasses.replace(base(), modules={})) as stack:
        stack.append(edit("a"), factors())
        hashes = {other: {"before": "0" * 64, "after": "0" * 64}}
        stack.append(edit("b", base=second, weights=hashes), factors(module=other))
        assert stack.base is not None
        assert stack.base.modules.keys() == {MODULE, other}
    assert Stack.open(tmp_path).base == stack.base
    (tmp_path / "stack.json").unlink()
    assert Stack.open(tmp_path).base == stack.base


def test_a_reader_and_a_closed_writer_cannot_change_anything(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    reader = Stack.open(tmp_path)
    with pytest.raises(UsageError, match="reading only"):
        reader.undo()
    writer = Stack.open(tmp_path, write=True)
    writer.close()
    with pytest.raises(UsageError, match="closed"):
        writer.undo()
    assert Stack.open(tmp_path).position == 1


def test_an_edit_that_cannot_be_saved_changes_nothing(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    with Stack.open(tmp_path, write=True) as stack:
        before = sorted(tmp_path.iterdir())
        with pytest.raises(EditError):
            stack.append(edit("b"), ())
        assert sorted(tmp_path.iterdir()) == before
        assert len(stack.line) == 1


def test_a_file_exchanged_under_the_feet_of_a_reader_is_noticed(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b")
    stack = Stack.open(tmp_path)
    first, second = stack.line
    stack.path_of(first).write_bytes(stack.path_of(second).read_bytes())
    with pytest.raises(VerificationError, match="no longer the edit"):
        stack.factors(first)


def test_verify_names_the_file_with_a_changed_bit(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b")
    path = sorted(tmp_path.glob("*.safetensors"))[0]
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    stack = Stack.open(tmp_path)
    found = {checked.file: checked for checked in stack.verify()}
    assert not found[path.name].ok
    assert found[path.name].problems[0] == "It is not the edit it says it is: its content has another id."
    assert [checked.ok for checked in stack.verify()] == [False, True]
    with pytest.raises(VerificationError):
        stack.factors(stack.line[0])


def test_verify_notices_hashes_that_do_not_follow_on_and_wrong_numbers(tmp_path: Path) -> None:
    with Stack.open(tmp_path, write=True, base=base()) as stack:
        stack.append(edit("a", weights={MODULE: {"before": "0" * 64, "after": "1" * 64}}), factors())
        stack.append(edit("b", weights={MODULE: {"before": "2" * 64, "after": "3" * 64}}), factors())
        odd, data = encode_edit(edit("odd", parent=stack.line[1].id, number=9), factors())
    (tmp_path / "0009-odd.safetensors").write_bytes(data)
    (tmp_path / "journal.jsonl").unlink()
    results = {checked.edit: checked.problems for checked in Stack.open(tmp_path).verify()}
    assert results[stack.line[0].id] == ()
    assert "does not follow" in results[stack.line[1].id][0]
    assert "number 9" in results[odd.id][0]


def test_a_newer_index_is_refused_and_left_alone(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    text = json.dumps({"version": 3, "anything": 1})
    (tmp_path / "stack.json").write_text(text)
    for write in (False, True):
        with pytest.raises(StackError, match="newer workbench") as caught:
            Stack.open(tmp_path, write=write, base=base())
        assert caught.value.hint == "Update workbench."
    assert (tmp_path / "stack.json").read_text() == text


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    kept = ["queue.json", "README.md", ".queue.json.0123abcd.tmp", ".hidden.safetensors"]
    for name in kept:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".stack.json.0123abcd.tmp").write_text("never finished")
    with Stack.open(tmp_path, write=True) as stack:
        assert stack.findings == ("Files never finished were removed: 1.",)
        assert stack.broken == {}
    assert all((tmp_path / name).read_text() == "mine" for name in kept)
    assert not (tmp_path / ".stack.json.0123abcd.tmp").exists()


def test_a_file_in_the_folders_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(UsageError):
        Stack.open(tmp_path / "x")
    with pytest.raises(StorageError):
        Stack.open(tmp_path / "x", write=True, base=base())


def test_opening_a_stack_imports_neither_torch_nor_numpy(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    code = (
        "import sys; from workbench.stack.store import Stack; import workbench.stack.editfile;"
        f"assert len(Stack.open({str(tmp_path)!r}).line) == 1;"
        "print([m for m in ('torch', 'numpy', 'textual', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_move_that_cannot_be_followed_is_taken_back_and_the_journal_says_so(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b")
    with Stack.open(tmp_path, write=True) as stack:

        def stumble() -> None:
            with stack.or_back():
                stack.travel(0)
                raise StackError("The model could not follow.")

        with pytest.raises(StackError):
            stumble()
        assert stack.position == 2
        assert [entry.what for entry in stack.journal[-2:]] == ["travel", "failed"]
    reader = Stack.open(tmp_path)
    assert (reader.position, reader.findings) == (2, ())


def test_no_move_ends_on_a_damaged_edit(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b")
    with Stack.open(tmp_path, write=True) as stack:
        second = stack.line[1]
        stack.undo()
        path = stack.path_of(second)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        for to in (2, second.id):
            with pytest.raises(VerificationError):
                stack.travel(to)
        with pytest.raises(VerificationError):
            stack.redo()
        assert (stack.position, stack.journal[-1].what) == (1, "undo")


def test_an_edit_whose_file_is_damaged_is_whole_again_when_it_is_saved_again(tmp_path: Path) -> None:
    filled(tmp_path)
    with Stack.open(tmp_path, write=True, base=base()) as stack:
        same = edit("a", created="2026-01-02T03:04:05+00:00")
        saved = stack.append(same, factors(1))
        stack.undo()
        path = stack.path_of(saved)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        assert stack.append(same, factors(1)).id == saved.id
        assert all(checked.ok for checked in stack.verify())
