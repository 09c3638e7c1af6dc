"""Readers beside a writer: never an error, never a half state, never a word of what is only on its way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stack.faults import CrashError, Machine, change_on
from tests.stack.making import base, edit, factors, names
from tests.stack.thorough import tries
from workbench.errors import StackBusy
from workbench.stack.glance import glance
from workbench.stack.lock import NAME as LOCK
from workbench.stack.lock import is_held
from workbench.stack.store import Stack

COUNT = tries(40, 400)


def writing(folder: Path) -> None:
    """Appends, and between that goes back and forth, notes, tags and branches."""
    with Stack.open(folder, write=True, base=base()) as stack:
        for number in range(COUNT):
            saved = stack.append(edit(f"subject {number}"), factors(number))
            stack.note(saved.id, f"note {number}")
            if number % 7 == 3:
                stack.undo(2)
                stack.redo(2)
            if number % 10 == 5:
                stack.tag(f"tag-{number}", saved.id)


@contextmanager
def child(folder: Path) -> Iterator[int]:
    """A process that writes, and is waited for."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            writing(folder)
            code = 0
        finally:
            os._exit(code)
    yield process
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def running(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def test_a_reader_beside_a_writer_sees_only_whole_states(tmp_path: Path) -> None:
    with Stack.open(tmp_path, write=True, base=base()):
        pass
    seen: list[list[str]] = []
    quick = 0
    with child(tmp_path) as process:
        while running(process):
            with Stack.open(tmp_path) as stack:
                assert stack.findings == ()
                assert stack.broken == {}
                assert all(checked.ok for checked in stack.verify())
                seen.append([one.id for one in stack.line])
            found = glance(tmp_path)
            page = found.page(range(1, found.length + 1)) if found else None
            quick += page is not None
            seen.append([one.id for one in page] if page is not None else seen[-1])
    with Stack.open(tmp_path) as stack:
        final = [one.id for one in stack.line]
    assert len(final) == COUNT
    assert all(line == final[: len(line)] for line in seen)
    assert [len(line) for line in seen] == sorted(len(line) for line in seen)
    assert len({len(line) for line in seen}) > 3
    assert quick > 0


def test_a_reader_changes_nothing(tmp_path: Path) -> None:
    with Stack.open(tmp_path, write=True, base=base()) as stack:
        stack.append(edit(), factors())
    tmp_path.chmod(0o500)
    before = {name: ((tmp_path / name).read_bytes(), (tmp_path / name).stat().st_mtime_ns) for name in names(tmp_path)}
    Stack.open(tmp_path).close()
    after = {name: ((tmp_path / name).read_bytes(), (tmp_path / name).stat().st_mtime_ns) for name in names(tmp_path)}
    tmp_path.chmod(0o700)
    assert after == before


def test_a_second_writer_is_refused_for_as_long_as_the_first_is_there(tmp_path: Path) -> None:
    with Stack.open(tmp_path, write=True, base=base()):
        pass
    refused = 0
    with child(tmp_path) as process:
        while not is_held(tmp_path):
            time.sleep(0.001)
        while running(process):
            try:
                Stack.open(tmp_path, write=True).close()
            except StackBusy as error:
                refused += f"process {process} on" in error.message
    assert refused > 0
    with Stack.open(tmp_path, write=True) as stack:
        assert stack.position == COUNT


def test_what_a_dead_writer_left_is_told_to_readers_without_long_waiting(tmp_path: Path) -> None:
    with Stack.open(tmp_path, write=True, base=base()) as stack:
        stack.append(edit("a"), factors())
    machine = Machine(at=11)
    with pytest.raises(CrashError):
        change_on(machine, tmp_path, lambda stack: stack.append(edit("b"), factors(1)))
    assert (tmp_path / LOCK).exists()
    start = time.monotonic()
    with Stack.open(tmp_path) as stack:
        assert stack.findings
    assert time.monotonic() - start < 10
    with Stack.open(tmp_path, write=True) as stack:
        assert any("taken over" in finding for finding in stack.findings)
    assert Stack.open(tmp_path).findings == ()


def test_a_stopped_writer_blocks_no_reader(tmp_path: Path) -> None:
    with Stack.open(tmp_path, write=True, base=base()):
        pass
    with child(tmp_path) as process:
        while running(process) and len(names(tmp_path)) < 8:
            time.sleep(0.001)
        os.kill(process, signal.SIGSTOP)
        try:
            with Stack.open(tmp_path) as stack:
                assert stack.broken == {}
                assert len(stack.line) >= 1
            with pytest.raises(StackBusy):
                Stack.open(tmp_path, write=True)
        finally:
            os.kill(process, signal.SIGCONT)
