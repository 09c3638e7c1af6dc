"""Every file of a stack checked in full: its index, and on every branch each edit's id, parent and number. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.events import FileChecked
from workbench.stack.index import NAME, Index, read_index
from workbench.stack.record import Edit
from workbench.stack.view import StackView


def check_files(stack: StackView) -> Iterator[FileChecked]:
    """One event a file: the index first, then the current line in its order, other branches, and what is broken.

    Raises:
        StorageError: the folder may not be read.
    """
    there = {edit.id: edit for edit in (*stack.line, *stack.others)}
    if there or stack.broken or (stack.folder / NAME).exists():
        yield FileChecked(file=NAME, problem=_index_problem(stack, there))
    for checked in stack.verify():
        yield FileChecked(file=checked.file, edit=checked.edit, problem=" ".join(checked.problems))


def _index_problem(stack: StackView, there: dict[str, Edit]) -> str:
    """What is wrong with the index on the disk; empty: nothing."""
    index, damage = read_index(stack.folder)
    if index is None:
        return f"It{damage.removeprefix(NAME)}." if damage else "It is missing."
    problems = [*_disorder(index, there), *_lost_names(index, there)]
    return " ".join(problems)


def _disorder(index: Index, there: dict[str, Edit]) -> Iterator[str]:
    """Says the first edit of the line that names another parent than the one before it."""
    before: str | None = None
    for number, ident in enumerate(index.order, 1):
        if ident in there and there[ident].parent != before:
            yield f"It says that {ident[:8]} is number {number}, and the edit itself does not."
            return
        before = ident


def _lost_names(index: Index, there: dict[str, Edit]) -> Iterator[str]:
    """Says of each edit, branch or tag that it stands for an edit which is not there."""
    for number, ident in enumerate(index.order, 1):
        if ident not in there:
            yield f"It names edit {ident[:8]} as number {number}, which is missing or damaged."
    for kind, names in (("branch", index.branches), ("tag", index.tags)):
        for name, edit in names.items():
            if edit is not None and edit not in there:
                yield f"The {kind} '{name}' stands for edit {edit[:8]}, which is missing or damaged."
