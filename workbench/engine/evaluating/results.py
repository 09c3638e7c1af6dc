"""The folder of an evaluation's results: its plan, and a line a case, on the disk as soon as the case is done.

    plan.json            what decides the results; another plan is refused
    results.jsonl        a line a case, in their order once all are done
    results.part-3.jsonl the lines of worker 3, until then
    checkpoints.jsonl    sequential: the scores of all edits so far, at each checkpoint
    stack/               sequential: the stack itself

A kill at any moment loses at most the case in flight. Lines are taken in by case, so that which worker wrote them, and
whether one was written twice, makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from workbench.engine.evaluating.plan import Plan
from workbench.engine.evaluating.record import CaseLine, CheckpointLine
from workbench.errors import StackError, UsageError
from workbench.stack.files import append_line, make_folder, read_bytes, remove, write_atomic
from workbench.stack.strictjson import MalformedError, canonical, parse
from workbench.text import shortened

PLAN, RESULTS, CHECKPOINTS, STACK = "plan.json", "results.jsonl", "checkpoints.jsonl", "stack"
PARTS = "results.part-*.jsonl"
LARGEST_PLAN = 2**20
LARGEST = 4 * 2**30
"""Bytes of a file of results, at most."""

T = TypeVar("T")


class Results:
    """The results in a folder."""

    def __init__(self, folder: Path, rank: int = 0, size: int = 1) -> None:
        self.folder = folder
        self._own = folder / (RESULTS if size == 1 else f"results.part-{rank}.jsonl")
        self.cases: dict[int, CaseLine] = {}
        """Those that are done, by their number."""
        self.checkpoints: dict[int, CheckpointLine] = {}
        """By how many cases had been edited."""
        self.reread()

    @classmethod
    def of(cls, folder: Path, plan: Plan, rank: int = 0, size: int = 1) -> Self:
        """Those of `plan`, for this worker to add to; the folder is made if it is not there.

        Raises:
            UsageError: the folder holds something else, or the results of another plan.
            StackError, StorageError: a file cannot be read or written.
        """
        _agree(folder, plan)
        return cls(folder, rank, size)

    @classmethod
    def at(cls, folder: Path) -> Self:
        """Those that are there, to be read.

        Raises:
            UsageError: there are none.
            StackError, StorageError: a file cannot be read.
        """
        if not (folder / PLAN).is_file():
            raise UsageError(
                f"There are no results of an evaluation in {folder}.", "workbench eval DATASET makes them."
            )
        return cls(folder)

    @property
    def plan(self) -> dict[str, Any]:
        """What they are results of. Raises StackError."""
        return _plan(self.folder / PLAN)

    def reread(self) -> None:
        """Takes in what all workers have written. Raises StackError, StorageError."""
        # Parts before the whole: whoever merges them writes the whole before it removes them.
        found = [line for path in (*_parts(self.folder), self.folder / RESULTS) for line in _read(path, CaseLine.read)]
        self.cases = {line.case: line for line in found}
        self.checkpoints = {line.edited: line for line in _read(self.folder / CHECKPOINTS, CheckpointLine.read)}

    def add(self, line: CaseLine) -> None:
        """Keeps a case; on the disk when this returns. Raises StorageError."""
        append_line(self._own, line.line())
        self.cases[line.case] = line

    def add_checkpoint(self, line: CheckpointLine) -> None:
        """Keeps a checkpoint; on the disk when this returns. Raises StorageError."""
        append_line(self.folder / CHECKPOINTS, line.line())
        self.checkpoints[line.edited] = line

    def seal(self, order: Sequence[int]) -> None:
        """Once all cases of `order` are done: one file, in their order, in place of all parts. Raises StorageError."""
        write_atomic(self.folder / RESULTS, b"".join(self.cases[number].line() for number in order))
        for part in _parts(self.folder):
            remove(part)


def _agree(folder: Path, plan: Plan) -> None:
    """Writes the plan into a fresh folder; raises UsageError if the folder belongs to another one."""
    path = folder / PLAN
    if path.exists():
        if different := plan.differs(_plan(path)):
            raise _another(folder, different)
        return
    check_free(folder)
    make_folder(folder)
    write_atomic(path, canonical(plan.document).encode() + b"\n")


def _plan(path: Path) -> dict[str, Any]:
    """The plan in a file. Raises StackError."""
    try:
        document = parse(read_bytes(path, LARGEST_PLAN))
    except MalformedError as error:
        raise StackError(f"{path} {error}.", "Choose another folder with --out.") from error
    return document if isinstance(document, dict) else {}


def check_free(folder: Path) -> None:
    """Raises UsageError if `folder` holds anything that is not an evaluation's."""
    if (folder / PLAN).exists() or not folder.exists():
        return
    if not folder.is_dir() or any(path.name != STACK for path in folder.iterdir()):
        raise UsageError(f"{folder} is there, and holds something else.", "Choose another folder with --out.")


def check_mode(folder: Path, mode: str) -> None:
    """Raises UsageError if `folder` holds an evaluation of another mode: no stack is to be left in it."""
    there = _plan(folder / PLAN).get("mode", mode) if (folder / PLAN).exists() else mode
    if there != mode:
        raise _another(folder, f"mode is {shortened(str(there), 20)} there and {mode} here")


def _another(folder: Path, different: str) -> UsageError:
    return UsageError(
        f"{folder} holds the results of another evaluation: {different}.",
        "Choose another folder with --out, or the same settings to go on with that one.",
    )


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob(PARTS))


def _read(path: Path, one: Callable[[bytes], T | None]) -> Iterator[T]:
    """What stands in the lines of a file; none where it is not there, and a line that is not whole is left alone."""
    if path.exists():
        for line in read_bytes(path, LARGEST).splitlines():
            found = one(line)
            if found is not None:
                yield found
