"""Branches, tags and grafts: where edits go when a line is left, and what is said of names that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.stack.making import base, edit, factors
from workbench.errors import BaseMismatch, EditError, UsageError
from workbench.stack.names import is_name, next_name
from workbench.stack.store import Stack


def filled(folder: Path, *subjects: str) -> Stack:
    stack = Stack.open(folder, write=True, base=base())
    for number, subject in enumerate(subjects):
        stack.append(edit(subject), factors(number))
    return stack


def subjects(stack: Stack) -> list[str]:
    return [one.request.subject for one in stack.line]


def test_an_edit_after_an_undo_starts_a_branch_and_the_old_one_keeps_its_name(tmp_path: Path) -> None:
    with filled(tmp_path, "a", "b") as stack:
        stack.undo()
        stack.append(edit("c"), factors(9))
        assert stack.branch == "main-2"
        assert subjects(stack) == ["a", "c"]
        stack.switch("main")
        assert subjects(stack) == ["a", "b"]
        assert [(b.name, b.length, b.current) for b in stack.branches] == [("main", 2, True), ("main-2", 2, False)]


def test_an_edit_at_the_end_of_a_line_stays_on_its_branch(tmp_path: Path) -> None:
    with filled(tmp_path, "a", "b") as stack:
        assert stack.branch == "main"
        assert [b.name for b in stack.branches] == ["main"]


def test_a_branch_can_begin_anywhere(tmp_path: Path) -> None:
    with filled(tmp_path, "a", "b", "c") as stack:
        stack.start_branch("early", stack.line[0].id)
        assert subjects(stack) == ["a"]
        stack.start_branch("nothing", "base")
        assert subjects(stack) == []
        stack.append(edit("d"), factors(4))
        stack.switch("main")
        assert subjects(stack) == ["a", "b", "c"]
        assert [one.request.subject for one in stack.line_at("nothing")] == ["d"]


def test_deleting_a_branch_forgets_a_name_and_no_edit(tmp_path: Path) -> None:
    with filled(tmp_path, "a", "b") as stack:
        lost = stack.line[1]
        stack.undo()
        stack.append(edit("c"), factors(9))
        assert stack.delete_branch("main") == 1
        assert stack.loose == (lost,)
        stack.travel(lost.id[:8])
        assert subjects(stack) == ["a", "b"]
        assert stack.branch == "main-3"


def test_the_current_branch_cannot_be_deleted(tmp_path: Path) -> None:
    with filled(tmp_path, "a") as stack, pytest.raises(UsageError, match="is the current branch"):
        stack.delete_branch("main")


def test_travelling_to_an_edit_of_another_branch_goes_over_to_it_and_keeps_its_later_edits(tmp_path: Path) -> None:
    with filled(tmp_path, "a", "b", "c") as stack:
        middle = stack.line[1]
        stack.start_branch("other", "base")
        stack.travel(middle.id)
        assert (stack.branch, stack.position, subjects(stack)) == ("main", 2, ["a", "b", "c"])


def test_a_tag_or_a_branch_is_a_place_to_travel_to(tmp_path: Path) -> None:
    with filled(tmp_path, "a", "b", "c") as stack:
        stack.tag("before-release", stack.line[0].id)
        stack.travel("before-release")
        assert stack.position == 1
        stack.start_branch("try")
        stack.travel("main")
        assert (stack.branch, stack.position) == ("main", 3)
        stack.untag("before-release")
        with pytest.raises(UsageError, match="There is no edit, branch or tag"):
            stack.travel("before-release")


@pytest.mark.parametrize("name", ["", "base", "7be104c2", "12", "-x", "a b", "a\n", "../x", "x/", "é", "a" * 65])
def test_what_could_be_taken_for_something_else_is_no_name(tmp_path: Path, name: str) -> None:
    assert not is_name(name)
    with filled(tmp_path, "a") as stack:
        with pytest.raises(UsageError, match="cannot be the name"):
            stack.start_branch(name)
        with pytest.raises(UsageError, match="cannot be the name"):
            stack.tag(name, stack.line[0].id)


def test_a_name_stands_for_one_thing_only(tmp_path: Path) -> None:
    with filled(tmp_path, "a") as stack:
        stack.tag("v1", stack.line[0].id)
        for name in ("v1", "main"):
            with pytest.raises(UsageError, match="is taken"):
                stack.start_branch(name)
            with pytest.raises(UsageError, match="is taken"):
                stack.tag(name, stack.line[0].id)


def test_a_graft_keeps_what_stands_and_copies_what_moves(tmp_path: Path) -> None:
    with filled(tmp_path, "a", "b", "c") as stack:
        a, b, c = stack.line
        stack.toggle(b.id, off=True)
        copies = stack.graft(1, [(one, stack.factors(one)) for one in (c, b)], "reorder")
        assert subjects(stack) == ["a", "c", "b"]
        assert [one.number for one in copies] == [2, 3]
        assert copies[0].parent == a.id
        assert copies[0].id != c.id
        assert copies[1].id in stack.off
        assert stack.branch == "main-2"
        stack.switch("main")
        assert stack.line == (a, b, c)


def test_a_graft_of_what_stands_there_already_changes_no_id(tmp_path: Path) -> None:
    with filled(tmp_path, "a", "b") as stack:
        line = stack.line
        assert stack.graft(1, [(line[1], stack.factors(line[1]))], "reorder") == (line[1],)
        assert stack.line == line


def test_a_graft_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with filled(tmp_path, "a") as stack:
        before = sorted(tmp_path.iterdir())
        bad = edit("b", base=base(fingerprint="e" * 64))
        with pytest.raises(BaseMismatch):
            stack.graft(1, [(edit("c"), factors(3)), (bad, factors(4))], "import")
        with pytest.raises(EditError):
            stack.graft(1, [(edit("c"), factors(3)), (edit("d", note="\ud800"), factors(4))], "import")
        assert sorted(tmp_path.iterdir()) == before
        assert subjects(stack) == ["a"]


def test_an_index_of_version_one_is_read_as_one_branch(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b").close()
    path = tmp_path / "stack.json"
    document = json.loads(path.read_text())
    old = {key: value for key, value in document.items() if key not in ("branch", "branches", "tags")} | {"version": 1}
    path.write_text(json.dumps(old))
    (tmp_path / "journal.jsonl").unlink()
    stack = Stack.open(tmp_path)
    assert (subjects(stack), stack.branch, stack.tags) == (["a", "b"], "main", {})


@pytest.mark.parametrize(
    "change",
    [
        {"branch": "../x"},
        {"branches": {"early": None}},
        {"branches": {"other": "not an id"}},
        {"tags": {"t": None}},
        {"tags": ["t"]},
        {"branches": {"dead": None}},
    ],
)
def test_an_index_with_impossible_names_is_rebuilt_from_the_journal(tmp_path: Path, change: dict[str, object]) -> None:
    with filled(tmp_path, "a", "b") as stack:
        stack.start_branch("early", stack.line[0].id)
        stack.tag("first", stack.line[0].id)
    path = tmp_path / "stack.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    rebuilt = Stack.open(tmp_path)
    assert any("rebuilt" in finding for finding in rebuilt.findings)
    assert (rebuilt.branch, [b.name for b in rebuilt.branches], [*rebuilt.tags]) == (
        "early",
        ["early", "main"],
        ["first"],
    )


def test_the_next_name_counts_on() -> None:
    assert next_name("main", {"main"}) == "main-2"
    assert next_name("main-2", {"main", "main-2", "main-3"}) == "main-4"
    assert len(next_name("x" * 64, set())) <= 64
    assert is_name(next_name("x" * 64, set()))


def test_what_a_graft_carries_along_is_found_again_without_the_index(tmp_path: Path) -> None:
    with filled(tmp_path, "a", "b") as stack:
        a, b = stack.line
        stack.toggle(a.id, off=True)
        stack.note(b.id, "mine")
        stack.graft(0, [(one, stack.factors(one)) for one in (b, a)], "reorder")
        was = (stack.off, [one.note for one in stack.line], stack.branches)
    (tmp_path / "stack.json").unlink()
    stack = Stack.open(tmp_path)
    assert (stack.off, [one.note for one in stack.line], stack.branches) == was
    assert len(stack.off) == 2
