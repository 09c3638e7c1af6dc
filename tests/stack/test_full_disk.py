"""On a disk that is full, or takes nothing, a change is refused in one plain sentence and everything is as it was."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stack.disks import full, longest_file, mounted, read_only, unmount
from tests.stack.making import base, edit, factors, names
from workbench.errors import StorageError
from workbench.stack.record import Edit
from workbench.stack.store import Stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs a file system in memory")
BLOCK = 4096

CHANGES: dict[str, Callable[[Stack], object]] = {
    "append": lambda stack: stack.append(edit("new"), factors(7)),
    "undo": lambda stack: stack.undo(),
    "travel": lambda stack: stack.travel(0),
    "toggle": lambda stack: stack.toggle(stack.line[0].id, off=True),
    "note": lambda stack: stack.note(stack.line[0].id, "x" * 4000),
    "tag": lambda stack: stack.tag("here", stack.line[0].id),
    "branch": lambda stack: stack.start_branch("trial", "base"),
    "import": lambda stack: stack.graft(1, [(edit(f"gift {n}"), factors(n)) for n in range(3)], "import"),
}


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A disk of a quarter of a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    if not mounted(place, "256k"):
        pytest.skip("this process may not mount a file system")
    yield place
    unmount(place)


def begun(place: Path) -> Path:
    folder = place / "stack"
    with Stack.open(folder, write=True, base=base()) as stack:
        for number in range(3):
            stack.append(edit(f"subject {number}"), factors(number))
    return folder


def refused(change: Callable[[], object]) -> StorageError | None:
    try:
        change()
    except StorageError as error:
        return error
    return None


def lies(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names(folder) if name not in ("journal.jsonl", "lock")}


def seen(folder: Path) -> tuple[list[str], int, frozenset[str], tuple[str, ...]]:
    with Stack.open(folder) as stack:
        return [one.id for one in stack.line], stack.position, stack.off, stack.findings


def as_was(stack: Stack, line: tuple[Edit, ...], folder: Path, before: dict[str, bytes]) -> None:
    assert (stack.line, stack.position) == (line, 3)
    assert lies(folder) == before
    assert seen(folder) == ([one.id for one in line], 3, frozenset(), ())


@pytest.mark.parametrize("left", [0, 1, 2])
@pytest.mark.parametrize("name", CHANGES)
def test_a_full_disk_refuses_and_everything_is_as_it_was(name: str, left: int, tiny: Path) -> None:
    folder = begun(tiny)
    with Stack.open(folder, write=True) as stack:
        line, before = stack.line, lies(folder)
        with full(tiny, left * BLOCK):
            refusal = refused(lambda: CHANGES[name](stack))
            assert refusal or left
            if refusal:
                assert "the disk is full" in refusal.message
                assert refusal.hint
                as_was(stack, line, folder, before)
        with Stack.open(folder) as again:
            assert again.findings == ()
        stack.append(edit("later"), factors(9))
    assert all(checked.ok for checked in Stack.open(folder).verify())


def test_a_stack_on_a_read_only_disk_can_be_read_but_not_opened_for_writing(tiny: Path) -> None:
    folder = begun(tiny)
    with read_only(tiny):
        assert len(Stack.open(folder).line) == 3
        for place in (folder, tiny / "new"):
            with pytest.raises(StorageError, match="read-only"):
                Stack.open(place, write=True, base=base())


def test_edits_are_taken_until_the_disk_is_full_and_none_is_lost_then(tiny: Path) -> None:
    saved: list[str] = []
    with Stack.open(tiny / "stack", write=True, base=base()) as stack:
        while not (refusal := refused(lambda: stack.append(edit(f"subject {len(stack.line)}"), factors()))):
            saved.append(stack.line[-1].id)
        assert "the disk is full" in refusal.message
        assert [one.id for one in stack.line] == saved
    assert 5 < len(saved) < 60
    with Stack.open(tiny / "stack") as stack:
        assert [one.id for one in stack.applied] == saved
        assert all(checked.ok for checked in stack.verify())


@pytest.mark.parametrize("size", [1, 100, 700, 1500])
def test_a_file_that_may_not_grow_is_refused_like_a_full_disk(size: int, tmp_path: Path) -> None:
    folder = begun(tmp_path)
    with Stack.open(folder, write=True) as stack:
        line, before = stack.line, lies(folder)
        with longest_file(size), pytest.raises(StorageError, match=r"Cannot write .*: the file would be too large"):
            CHANGES["append"](stack)
        as_was(stack, line, folder, before)
        stack.append(edit("later"), factors(9))
