"""A stack has one writer; a dead one's lock is taken over, and readers need none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack.making import base, edit, factors, names
from workbench.errors import StackBusy, StorageError
from workbench.stack.lock import NAME, WriterLock
from workbench.stack.store import Stack

HOLD = """
import sys, time
from pathlib import Path
from workbench.stack.lock import WriterLock
lock = WriterLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        try:
            with pytest.raises(StackBusy, match=f"process {process.pid} on ") as caught:
                WriterLock(tmp_path)
            assert caught.value.hint
        finally:
            process.kill()


def test_the_lock_of_a_killed_writer_is_taken_over_and_said(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
    with Stack.open(tmp_path, write=True, base=base()) as stack:
        assert f"process {process.pid}" in stack.findings[0]
        assert "taken over" in stack.findings[0]
        stack.append(edit(), factors())


def test_two_writers_in_one_process_are_two_writers(tmp_path: Path) -> None:
    first = WriterLock(tmp_path)
    with pytest.raises(StackBusy, match=f"process {os.getpid()} "):
        WriterLock(tmp_path)
    first.release()
    second = WriterLock(tmp_path)
    assert second.held
    assert not second.finding
    second.release()


def test_letting_go_leaves_nothing_behind_and_may_be_done_twice(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path)
    lock.release()
    lock.release()
    assert not lock.held
    assert not names(tmp_path)


def test_a_lock_file_left_by_another_machine_does_not_block_for_ever(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"pid": 1, "host": "elsewhere"}')
    lock = WriterLock(tmp_path)
    assert lock.finding == "The lock of process 1 on elsewhere, which has ended without letting go, was taken over."
    lock.release()


@pytest.mark.parametrize("text", ["", "{", '{"pid": "\\u001b[2J"}', "[" * 5000, "\xff" * 10])
def test_nonsense_in_a_lock_file_is_no_obstacle(text: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(text, encoding="latin-1")
    lock = WriterLock(tmp_path)
    assert "\x1b" not in lock.finding
    lock.release()


def test_a_link_in_the_locks_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    (tmp_path / NAME).symlink_to(tmp_path / "target")
    with pytest.raises(StorageError):
        WriterLock(tmp_path)
    assert (tmp_path / "target").read_text() == "mine"


def test_a_reader_needs_no_lock_and_leaves_nothing(tmp_path: Path) -> None:
    with Stack.open(tmp_path, write=True, base=base()) as writer:
        writer.append(edit(), factors())
        before = names(tmp_path)
        with Stack.open(tmp_path) as reader:
            assert reader.line == writer.line
            with pytest.raises(StackBusy):
                Stack.open(tmp_path, write=True, base=base())
        assert names(tmp_path) == before


def test_a_forked_child_does_not_let_go_of_its_parents_lock(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path)
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(StackBusy):
        WriterLock(tmp_path)
    lock.release()


def test_an_opening_that_fails_lets_go(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text('{"version": 99}')
    for _ in range(2):
        with pytest.raises(Exception, match="newer workbench"):
            Stack.open(tmp_path, write=True, base=base())
    assert not (tmp_path / NAME).exists()
