"""Whatever is missing or damaged in a stack's folder is put in order from the rest, and said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.stack.making import base, edit, factors
from tests.stack.test_hostile import joined, split
from tests.stack.test_store import filled, subjects
from workbench.errors import BaseMismatch, StackError
from workbench.stack import journal
from workbench.stack.editfile import encode_edit, file_name
from workbench.stack.store import Stack
from workbench.stack.strictjson import canonical

DAMAGE = ["", "{", "[]", "null", '{"version": 1}', "[" * 10_000, '{"version":1,"version":1}', "\x00" * 100]


def remove(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink()


def file_of(folder: Path, number: int) -> Path:
    return next(folder.glob(f"{number:04d}-*.safetensors"))


def test_without_the_index_the_journal_tells_where_the_stack_stood(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", "c")
    with Stack.open(tmp_path, write=True) as stack:
        stack.note(stack.line[0].id, "mind this")
        stack.toggle(stack.line[0].id, off=True)
        stack.undo()
    remove(tmp_path, "stack.json")
    with Stack.open(tmp_path, write=True) as stack:
        assert stack.findings == ("stack.json is missing; it was rebuilt from 3 edit files.",)
        assert (subjects(stack.line), stack.position) == (["a", "b", "c"], 2)
        assert stack.line[0].note == "mind this"
        assert subjects(stack.active) == ["b"]
    with Stack.open(tmp_path) as stack:
        assert stack.findings == ()
        assert stack.position == 2


def test_the_edit_files_alone_give_the_longest_line_back(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", "c")
    with Stack.open(tmp_path, write=True) as stack:
        stack.travel(1)
        stack.append(edit("short branch", created="2099-01-01T00:00:00+00:00"), factors())
    remove(tmp_path, "stack.json", "journal.jsonl")
    with Stack.open(tmp_path) as stack:
        assert (subjects(stack.line), stack.position) == (["a", "b", "c"], 3)
        assert subjects(stack.others) == ["short branch"]
        assert stack.base == base()


def test_among_lines_of_one_length_the_newest_is_taken(tmp_path: Path) -> None:
    for subject, created in (("old", "2026-01-01T00:00:00+00:00"), ("new", "2026-01-02T00:00:00+00:00")):
        one, data = encode_edit(edit(subject, created=created), factors())
        (tmp_path / file_name(one)).write_bytes(data)
    assert subjects(Stack.open(tmp_path).line) == ["new"]


@pytest.mark.parametrize("text", DAMAGE)
def test_a_damaged_index_is_rebuilt_and_said(text: str, tmp_path: Path) -> None:
    filled(tmp_path, "a", "b")
    (tmp_path / "stack.json").write_text(text)
    with Stack.open(tmp_path, write=True, base=base()) as stack:
        assert subjects(stack.applied) == ["a", "b"]
        assert "rebuilt from 2 edit files" in stack.findings[0]
    assert Stack.open(tmp_path).findings == ()


def test_an_index_that_contradicts_the_parents_is_not_believed(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", "c")
    document = json.loads((tmp_path / "stack.json").read_text())
    document["order"].reverse()
    (tmp_path / "stack.json").write_text(json.dumps(document))
    stack = Stack.open(tmp_path)
    assert subjects(stack.line) == ["a", "b", "c"]
    assert "does not agree" in stack.findings[0]


@pytest.mark.parametrize("position", [-1, 4, 1.0, True, None, "1", 10**30])
def test_an_index_with_an_impossible_position_is_not_believed(position: object, tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", "c")
    document = json.loads((tmp_path / "stack.json").read_text())
    document["position"] = position
    (tmp_path / "stack.json").write_text(json.dumps(document))
    stack = Stack.open(tmp_path)
    assert stack.position == 3
    assert "rebuilt" in stack.findings[0]


def test_a_missing_edit_is_said_and_the_stack_stands_before_it_until_it_is_back(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", "c")
    path = file_of(tmp_path, 2)
    data = path.read_bytes()
    path.unlink()
    with Stack.open(tmp_path, write=True) as stack:
        assert subjects(stack.line) == subjects(stack.applied) == ["a"]
        assert stack.broken == {path.name: "It is missing."}
        assert stack.findings == (f"{path.name} is missing; the stack can be applied up to position 1.",)
        assert subjects(stack.others) == ["c"]
        assert [checked.ok for checked in stack.verify()] == [True, False, False]
    path.write_bytes(data)
    with Stack.open(tmp_path) as stack:
        assert subjects(stack.applied) == ["a", "b", "c"]
        assert stack.broken == {}


def test_an_incomplete_line_says_so_and_whether_it_cost_the_position(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", "c")
    whole = Stack.open(tmp_path)
    assert (whole.incomplete, whole.cut_short) == ("", False)
    remove(tmp_path, file_of(tmp_path, 3).name)
    stack = Stack.open(tmp_path)
    assert "from number 3 on" in stack.incomplete
    assert stack.cut_short
    with Stack.open(tmp_path, write=True) as writer:
        writer.undo()
    stack = Stack.open(tmp_path)
    assert (bool(stack.incomplete), stack.cut_short) == (True, False)


def test_a_damaged_edit_is_said_and_the_stack_stands_before_it(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", "c")
    path = file_of(tmp_path, 3)
    path.write_bytes(path.read_bytes()[:200])
    stack = Stack.open(tmp_path)
    assert subjects(stack.applied) == ["a", "b"]
    assert stack.broken == {path.name: "It is truncated."}
    assert stack.findings == (f"{path.name} is truncated; the stack can be applied up to position 2.",)


def test_work_goes_on_past_a_missing_edit(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", "c")
    remove(tmp_path, file_of(tmp_path, 2).name)
    with Stack.open(tmp_path, write=True) as stack:
        stack.undo()
        stack.redo()
        stack.append(edit("d"), factors())
    stack = Stack.open(tmp_path)
    assert subjects(stack.applied) == ["a", "d"]
    assert stack.findings == ()


def test_an_edit_saved_but_not_yet_listed_is_adopted_and_said(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    index = (tmp_path / "stack.json").read_bytes()
    with Stack.open(tmp_path, write=True) as stack:
        stack.append(edit("b"), factors())
    (tmp_path / "stack.json").write_bytes(index)
    with Stack.open(tmp_path, write=True) as stack:
        assert subjects(stack.applied) == ["a", "b"]
        assert "was saved but not yet listed" in stack.findings[0]
        assert stack.journal[-1].what == "adopt"
    assert Stack.open(tmp_path).findings == ()


def test_a_damaged_edit_is_never_adopted(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    parent = Stack.open(tmp_path).line[0].id
    one, data = encode_edit(edit("b", parent=parent, number=2), factors())
    (tmp_path / file_name(one)).write_bytes(data[:-1] + b"\x01")
    stack = Stack.open(tmp_path)
    assert subjects(stack.line) == ["a"]
    assert "another id" in stack.broken[file_name(one)]


def test_an_undone_branch_is_not_taken_for_one_in_flight(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b")
    with Stack.open(tmp_path, write=True) as stack:
        branch = stack.line[1].id
        stack.undo()
        stack.append(edit("c"), factors())
        stack.undo()
    for lost in ((), ("journal.jsonl",)):
        remove(tmp_path, *lost)
        stack = Stack.open(tmp_path)
        assert (subjects(stack.line), stack.position) == (["a", "c"], 1)
        assert stack.others[0].id == branch


def test_an_edit_of_another_base_in_the_folder_is_never_applied(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    parent = Stack.open(tmp_path).line[0].id
    one, data = encode_edit(edit("b", parent=parent, number=2, base=base("e" * 64, "gpt2")), factors())
    (tmp_path / file_name(one)).write_bytes(data)
    stack = Stack.open(tmp_path)
    assert subjects(stack.line) == ["a"]
    assert stack.broken == {file_name(one): "It belongs to another base, gpt2."}


def test_a_copy_of_an_edit_is_said_and_ignored(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    path = file_of(tmp_path, 1)
    for name in ("0000-copy.safetensors", "9999-copy.safetensors"):
        (tmp_path / name).write_bytes(path.read_bytes())
    stack = Stack.open(tmp_path)
    assert stack.path_of(stack.line[0]) == path
    assert set(stack.broken.values()) == {f"It is a copy of {path.name}."}
    assert len(stack.broken) == 2


def test_a_torn_last_line_of_the_journal_is_tolerated_and_said(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b")
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    with Stack.open(tmp_path, write=True) as stack:
        assert stack.position == 2
        assert stack.findings == (
            "The journal's last line was cut short by a crash; it is passed over.",
            "The journal lacks the last change; the stack stands at position 2.",
        )
        stack.undo()
    stack = Stack.open(tmp_path)
    assert [entry.what for entry in stack.journal] == ["create", "apply", "settle", "undo"]
    assert stack.findings == ()
    journal.write_bytes(journal.read_bytes() + b"{nonsense\n")
    assert Stack.open(tmp_path).findings == ("The journal has 1 damaged line, passed over.",)


@pytest.mark.parametrize(
    "line", ["[]", "{}", '{"what":"evil"}', '{"what":"undo","position":-1}', '{"what":"undo","tip":"x"}', "\x1b"]
)
def test_nonsense_in_the_journal_is_passed_over_and_said(line: str, tmp_path: Path) -> None:
    filled(tmp_path, "a")
    journal = tmp_path / "journal.jsonl"
    journal.write_text(line + "\n" + journal.read_text())
    stack = Stack.open(tmp_path)
    assert subjects(stack.applied) == ["a"]
    assert stack.findings == ("The journal has 1 damaged line, passed over.",)


def test_a_lost_journal_is_said(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    remove(tmp_path, "journal.jsonl")
    with Stack.open(tmp_path, write=True) as stack:
        assert stack.findings == ("The journal is missing; a new one begins with the next change.",)
        stack.undo()
    assert Stack.open(tmp_path).findings == ()


def test_a_journal_that_has_grown_too_long_is_said_to_be_and_stands_in_nobody_s_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path, "a", "b", "c")
    monkeypatch.setattr(journal, "MAX_JOURNAL", 2**20)
    with (tmp_path / journal.NAME).open("ab") as file:
        file.write(b"{}\n" * 2**19)
    with Stack.open(tmp_path, write=True) as stack:
        (said,) = stack.findings
        assert said.startswith("The journal is longer than 1 MiB and is not read; the stack is whole without it.")
        assert (stack.position, len(stack.line)) == (3, 3)
        stack.travel(1)
    (tmp_path / journal.NAME).rename(tmp_path / "old.jsonl")
    with Stack.open(tmp_path, write=True) as stack:
        assert stack.position == 1
        stack.travel(2)
    with Stack.open(tmp_path) as stack:
        assert (stack.findings, stack.position) == ((), 2)


def test_parents_in_a_circle_hang_nothing(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    for here, there in (("1" * 64, "2" * 64), ("2" * 64, "1" * 64)):
        header, body = split(encode_edit(edit(parent=there), factors())[1])
        record = {**json.loads(header["__metadata__"]["workbench"]), "id": here}
        header["__metadata__"]["workbench"] = canonical(record)
        (tmp_path / f"0001-{here[:4]}.safetensors").write_bytes(joined(header, body))
    remove(tmp_path, "stack.json", "journal.jsonl")
    with Stack.open(tmp_path, write=True) as stack:
        assert subjects(stack.line) == ["a"]
        assert len(stack.others) == 2
        assert [checked.ok for checked in stack.verify()] == [True, False, False]
        with pytest.raises(StackError, match="is missing"):
            stack.travel("1111")


def test_an_index_without_a_base_does_not_open_the_door_to_another_model(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    index = json.loads((tmp_path / "stack.json").read_text())
    (tmp_path / "stack.json").write_text(json.dumps({**index, "base": None}))
    with pytest.raises(BaseMismatch):
        Stack.open(tmp_path, base=base("e" * 64, "gpt2"))
    with Stack.open(tmp_path, write=True, base=base()) as stack:
        assert subjects(stack.applied) == ["a"]
        assert stack.base == base()
