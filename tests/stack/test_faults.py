"""The process may be killed, or the power cut, at any call that changes the disk: opening again finds all of it.

No committed edit is lost, no half edit is seen, the first opening says what it mended, and the second has nothing to
say.
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stack.faults import MODES, Change, Machine, Mode, change_on, count, every_step
from tests.stack.making import base, edit, factors, names
from tests.stack.thorough import THOROUGH, tries
from workbench.stack.editfile import encode_edit
from workbench.stack.index import Index
from workbench.stack.lock import NAME as LOCK
from workbench.stack.record import Edit, Factors
from workbench.stack.store import Stack

TIME = "2026-01-02T03:04:05+00:00"


def line_of(stack: Stack, *numbers: int) -> list[tuple[Edit, tuple[Factors, ...]]]:
    return [(stack.line[number], stack.factors(stack.line[number])) for number in numbers]


def pulled(stack: Stack) -> None:
    """Takes two edits from elsewhere, with their ids."""
    order, new = [*stack._index.order], list[tuple[Edit, tuple[Factors, ...]]]()
    for seed in (21, 22):
        given = edit(f"pulled {seed}", created=TIME, parent=order[-1], number=len(order) + 1)
        new.append((encode_edit(given, factors(seed))[0], factors(seed)))
        order.append(new[-1][0].id)
    stack.adopt(dataclasses.replace(stack._index, order=tuple(order), position=len(order)), new, "pull")


CHANGES: dict[str, Change] = {
    "nothing": lambda stack: stack.line,
    "append": lambda stack: stack.append(edit("new", created=TIME), factors(7)),
    "undo": lambda stack: stack.undo(),
    "redo": lambda stack: stack.redo(),
    "travel to the base": lambda stack: stack.travel(0),
    "travel to another branch": lambda stack: stack.travel(stack.others[0].id),
    "toggle": lambda stack: stack.toggle(stack.line[0].id, off=True),
    "note": lambda stack: stack.note(stack.line[0].id, "new"),
    "switch": lambda stack: stack.switch("main"),
    "start a branch": lambda stack: stack.start_branch("trial"),
    "delete a branch": lambda stack: stack.delete_branch("main"),
    "tag": lambda stack: stack.tag("here", stack.line[0].id),
    "untag": lambda stack: stack.untag("first"),
    "reorder": lambda stack: stack.graft(0, line_of(stack, 1, 0), "reorder"),
    "remove": lambda stack: stack.graft(0, line_of(stack, 1, 2), "remove"),
    "toggle and make the rest anew": lambda stack: stack.graft(
        1, [(edit("b anew", created=TIME), factors(11))], "resolve", off=[stack.line[0].id]
    ),
    "pull": pulled,
    "import": lambda stack: stack.graft(
        3, [(edit(f"gift {n}", created=TIME), factors(n)) for n in range(3)], "import", branch="gifts"
    ),
}
BRIEF = ("append", "note", "reorder")
"""Changes that are tried with every way to die in every run; the rest, unless trying hard, with a cut of the power."""

CASES = [(name, mode) for name in CHANGES for mode in MODES if THOROUGH or name in BRIEF or mode == "power"]


def prepared(folder: Path) -> Path:
    """The line a, b, d with two applied, on a branch of its own; c on main; a tag, a note."""
    with Stack.open(folder, write=True, base=base()) as stack:
        for number, subject in enumerate("abc"):
            stack.append(edit(subject, created=TIME), factors(number))
        stack.tag("first", stack.line[0].id)
        stack.note(stack.line[1].id, "old")
        stack.undo()
        stack.append(edit("d", created=TIME), factors(5))
        stack.undo()
    return folder


def lies(folder: Path) -> tuple[list[str], bytes, int]:
    """What a change leaves on the disk, but for the times in the journal."""
    shown = [name for name in names(folder) if name != LOCK]
    return shown, (folder / "stack.json").read_bytes(), (folder / "journal.jsonl").read_bytes().count(b"\n")


def held_by(folder: Path) -> bytes:
    """What the dead process wrote of itself."""
    return (folder / LOCK).read_bytes() if (folder / LOCK).exists() else b""


def state(stack: Stack) -> Index:
    return stack._index


def opened(folder: Path) -> Index:
    with Stack.open(folder) as stack:
        return state(stack)


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_wherever_it_dies_the_stack_is_as_before_or_as_after(name: str, mode: Mode, tmp_path: Path) -> None:
    change, start = CHANGES[name], prepared(tmp_path / "start")
    kept = {path.name: path.read_bytes() for path in start.glob("*.safetensors")}
    done = prepared(tmp_path / "done")
    change_on(Machine(), done, change)
    before, after, clean = opened(start), opened(done), (lies(start), lies(done))
    seen = set()
    for step, folder in every_step(start, change, mode):
        untouched = lies(folder) in clean and not held_by(folder)
        found = opened(folder)
        with Stack.open(folder, write=True) as stack:
            assert state(stack) == found, step
            assert state(stack) in (before, after), step
            assert stack.findings or untouched, step
            assert stack.broken == {}, step
            assert all(checked.ok for checked in stack.verify()), step
            assert {file: (folder / file).read_bytes() for file in kept} == kept, step
            assert not [file for file in names(folder) if file.endswith(".tmp")], step
            seen.add(state(stack) == after)
        with Stack.open(folder, write=True) as stack:
            assert stack.findings == (), step
            assert state(stack) == found, step
            stack.append(edit("later"), factors(8))
        assert Stack.open(folder).findings == (), step
    assert True in seen


@pytest.mark.parametrize("mode", MODES)
def test_a_stack_whose_first_opening_dies_can_be_begun_again(mode: Mode, tmp_path: Path) -> None:
    def begin(stack: Stack) -> None:
        with Stack.open(stack.folder / "new", write=True, base=base()):
            pass

    with Stack.open(tmp_path / "above", write=True, base=base()):
        pass
    for step, folder in every_step(tmp_path / "above", begin, mode):
        with Stack.open(folder / "new", write=True, base=base()) as stack:
            assert stack.line == (), step
            stack.append(edit(), factors())
        assert len(Stack.open(folder / "new").applied) == 1, step
        assert Stack.open(folder / "new").findings == (), step


def _no_index(folder: Path) -> None:
    (folder / "stack.json").unlink()


def _torn(folder: Path) -> None:
    with (folder / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"what": "und')


def _unlisted(folder: Path) -> None:
    index, journal = (folder / "stack.json").read_bytes(), (folder / "journal.jsonl").read_bytes()
    with Stack.open(folder, write=True) as stack:
        stack.append(edit("in flight", created=TIME), factors(9))
    (folder / "stack.json").write_bytes(index)
    (folder / "journal.jsonl").write_bytes(journal)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("harm", [_no_index, _torn, _unlisted])
def test_mending_may_be_cut_short_too(harm: Callable[[Path], None], mode: Mode, tmp_path: Path) -> None:
    start, mended = prepared(tmp_path / "start"), prepared(tmp_path / "mended")
    harm(start)
    harm(mended)
    with Stack.open(mended, write=True) as stack:
        assert stack.findings
        expected = state(stack)
    assert Stack.open(mended).findings == ()
    for step, folder in every_step(start, CHANGES["nothing"], mode):
        with Stack.open(folder, write=True) as stack:
            assert state(stack) == expected, step
        with Stack.open(folder, write=True) as stack:
            assert stack.findings == (), step
            assert state(stack) == expected, step


def test_the_calls_of_one_edit_are_those_of_the_stated_order(tmp_path: Path) -> None:
    machine = Machine()
    change_on(machine, prepared(tmp_path / "start"), CHANGES["append"])
    taking, letting_go = ["open", "ftruncate", "write"], ["ftruncate", "unlink"]
    edit_file = index = ["open", "write", "fsync", "replace", "fsync"]
    journal = ["open", "write", "fsync"]
    assert machine.log == [*taking, *edit_file, *journal, *index, *letting_go]
    assert count(prepared(tmp_path / "again"), CHANGES["nothing"]) == len(taking + letting_go)


OPENED = b"opened\n"


def appending(folder: Path, pipe: int, upto: int) -> None:
    """Appends until the line is long enough, and writes each id to `pipe` once it is committed."""
    with Stack.open(folder, write=True, base=base()) as stack:
        os.write(pipe, OPENED)
        while len(stack.line) < upto:
            saved = stack.append(edit(f"subject {len(stack.line)}"), factors(len(stack.line)))
            os.write(pipe, saved.id.encode() + b"\n")


def killed_after(seconds: float, folder: Path, upto: int, *, once_open: bool) -> list[str]:
    """What a child reported before it was killed, so long after it began or after it had opened the stack."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            appending(folder, writing, upto)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as reports:
        if once_open:
            assert reports.read(len(OPENED)) == OPENED
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return [line.decode() for line in reports.read().removeprefix(OPENED).split()]


@pytest.mark.parametrize("seed", range(tries(1, 20)))
def test_killed_at_random_while_two_hundred_edits_are_appended_loses_none(seed: int, tmp_path: Path) -> None:
    draw, line, kills = random.Random(seed), list[str](), 0
    while len(line) < 200:
        once_open = draw.random() < 0.8
        reported = line + killed_after(draw.uniform(0, 0.1), tmp_path, 200, once_open=once_open)
        with Stack.open(tmp_path, write=True, base=base()) as stack:
            line = [one.id for one in stack.applied]
            assert len(reported) <= len(line) <= len(reported) + 1
            assert line[: len(reported)] == reported
            assert stack.broken == {}
            assert not [name for name in names(tmp_path) if name.endswith(".tmp")]
        with Stack.open(tmp_path) as stack:
            assert stack.findings == ()
        kills += 1
    with Stack.open(tmp_path) as stack:
        assert all(checked.ok for checked in stack.verify())
    assert kills > 1
