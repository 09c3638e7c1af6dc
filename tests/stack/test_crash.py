"""The power may be cut, or the disk may refuse, at any call that changes the disk: only what was in flight is lost."""

from __future__ import annotations

import contextlib
import errno
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stack.making import Disk, PowerCutError, base, edit, factors, names
from tests.stack.test_store import filled, subjects
from workbench.errors import StorageError
from workbench.stack import files
from workbench.stack.store import Stack

Change = Callable[[Stack], object]
State = tuple[list[str], int]

CHANGES: dict[str, Change] = {
    "append": lambda stack: stack.append(edit("new"), factors(7)),
    "undo": lambda stack: stack.undo(),
    "redo": lambda stack: stack.redo(),
    "travel": lambda stack: stack.travel(0),
    "branch": lambda stack: stack.travel(stack.others[0].id),
    "note": lambda stack: stack.note(stack.line[0].id, "new"),
    "toggle": lambda stack: stack.toggle(stack.line[0].id, off=True),
}


def state(stack: Stack) -> State:
    return subjects(stack.line), stack.position


def prepared(folder: Path) -> Path:
    """The line a, b, d with b applied; c is on another branch."""
    filled(folder, "a", "b", "c")
    with Stack.open(folder, write=True) as stack:
        stack.undo()
        stack.append(edit("d"), factors(5))
        stack.undo()
    return folder


def steps(change: Change, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Path]]:
    """A fresh folder for each call that `change` makes to the disk."""
    disk = Disk()
    with Stack.open(prepared(folder / "count"), write=True) as stack:
        monkeypatch.setattr(files, "os", disk)
        change(stack)
        monkeypatch.undo()
    for step in range(disk.calls):
        yield step, prepared(folder / str(step))


@pytest.mark.parametrize("name", CHANGES)
def test_after_a_power_cut_the_stack_is_as_before_or_as_after(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Stack.open(prepared(tmp_path / "after"), write=True) as stack:
        CHANGES[name](stack)
        after = state(stack)
    outcomes = set()
    for step, folder in steps(CHANGES[name], tmp_path, monkeypatch):
        kept = {path: path.read_bytes() for path in folder.glob("*.safetensors")}
        stack = Stack.open(folder, write=True)
        before = state(stack)
        monkeypatch.setattr(files, "os", Disk(step))
        with pytest.raises(PowerCutError):
            CHANGES[name](stack)
        monkeypatch.undo()
        stack.close()
        seen = state(Stack.open(folder))
        with Stack.open(folder, write=True) as again:
            assert state(again) == seen
            assert state(again) in (before, after)
            outcomes.add(state(again) == after)
            assert again.broken == {}
            assert all(checked.ok for checked in again.verify())
            assert {path: path.read_bytes() for path in kept} == kept
            assert not [found for found in names(folder) if found.endswith(".tmp")]
            again.append(edit("later"), factors(8))
            assert subjects(again.applied)[-1] == "later"
        assert Stack.open(folder).findings == ()
    assert True in outcomes


@pytest.mark.parametrize("name", CHANGES)
def test_a_disk_that_refuses_leaves_everything_as_it_was(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step, folder in steps(CHANGES[name], tmp_path, monkeypatch):
        before_names = names(folder)
        with Stack.open(folder, write=True) as stack:
            before = state(stack)
            monkeypatch.setattr(files, "os", Disk(step, errno.ENOSPC))
            with pytest.raises(StorageError, match="the disk is full"):
                CHANGES[name](stack)
            monkeypatch.undo()
            assert state(stack) == before
            assert state(Stack.open(folder)) == before
            CHANGES[name](stack)
            after = state(stack)
        reopened = Stack.open(folder)
        assert state(reopened) == after
        assert reopened.findings == ()
        assert len(names(folder)) <= len(before_names) + 1


@pytest.mark.parametrize("error", [None, errno.ENOSPC])
def test_a_stack_that_could_not_be_begun_can_be_begun_again(
    error: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    monkeypatch.setattr(files, "os", disk)
    Stack.open(tmp_path / "count", write=True, base=base()).close()
    monkeypatch.undo()
    for step in range(disk.calls):
        folder = tmp_path / str(step)
        monkeypatch.setattr(files, "os", Disk(step, error))
        with pytest.raises(PowerCutError if error is None else StorageError):
            Stack.open(folder, write=True, base=base())
        monkeypatch.undo()
        with Stack.open(folder, write=True, base=base()) as stack:
            assert stack.line == ()
            stack.append(edit(), factors())
        assert len(Stack.open(folder).applied) == 1


def test_repairing_may_be_cut_short_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(8):
        folder = prepared(tmp_path / str(step))
        (folder / "stack.json").write_text("{")
        monkeypatch.setattr(files, "os", Disk(step))
        with contextlib.suppress(PowerCutError):
            Stack.open(folder, write=True).close()
        monkeypatch.undo()
        with Stack.open(folder, write=True) as stack:
            assert state(stack) == (["a", "b", "d"], 2)
        assert Stack.open(folder).findings == ()


ENDLESS = """
import sys
from tests.stack.making import base, edit, factors
from workbench.stack.store import Stack
stack = Stack.open(sys.argv[1], write=True, base=base())
while True:
    print(stack.append(edit("one more"), factors()).id, flush=True)
"""


@pytest.mark.parametrize("count", [1, 5, 12])
def test_a_killed_process_loses_nothing_that_it_had_reported(count: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENDLESS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        reported = [process.stdout.readline().strip() for _ in range(count)]
        process.kill()
        reported += process.stdout.read().split()
    with Stack.open(tmp_path, write=True, base=base()) as stack:
        line = [one.id for one in stack.applied]
        assert line[: len(reported)] == reported
        assert len(line) <= len(reported) + 1
        assert stack.broken == {}
        assert all(checked.ok for checked in stack.verify())
        stack.append(edit("later"), factors())
    assert Stack.open(tmp_path).position == len(line) + 1


def test_ctrl_c_in_the_middle_of_saving_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Stack.open(prepared(tmp_path), write=True) as stack:
        before, lay = state(stack), names(tmp_path)

        def interrupted(folder: Path) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(files, "sync_folder", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stack.append(edit("new"), factors(7))
        monkeypatch.undo()
        assert state(stack) == before
        assert names(tmp_path) == lay
    assert state(Stack.open(tmp_path)) == before
