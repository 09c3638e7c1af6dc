"""Reading and moving along a stack without its model: what log, show, undo, redo, travel and note share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import events as ev
from workbench.cli.options import Common
from workbench.cli.output import Output
from workbench.cli.where import existing_stack
from workbench.errors import StackError, UsageError

if TYPE_CHECKING:
    from workbench.stack.editfile import Edit
    from workbench.stack.store import Stack


@contextmanager
def opened(folder: Path, output: Output, *, write: bool = False) -> Iterator[Stack]:
    """The stack in `folder`; says on stderr what was found and mended while opening it."""
    from workbench.stack.store import Stack

    with Stack.open(folder, write=write) as stack:
        for finding in stack.findings:
            output.tell(f"note: {finding}")
        yield stack


def row_of(stack: Stack, edit: Edit) -> ev.EditRow:
    """The edit as a list shows it, whichever branch it is on."""
    from workbench.engine.views import edit_row

    return edit_row(stack, edit, edit.number)


def move(stack_name: str | None, common: Common, step: Callable[[Stack], object]) -> int:
    """Opens the stack for writing, takes `step`, and says where it is now."""
    from workbench.engine.views import stack_changed

    with Output(common.json) as output, opened(existing_stack(common, stack_name), output, write=True) as stack:
        before = stack.position
        step(stack)
        output.document(ev.to_line(stack_changed(stack)))
        at = stack.line[stack.position - 1] if stack.position else None
        where = f"{at.id[:8]}  {at.request.text} → {at.request.target_new}" if at else "the base"
        output.line(f"{before} → {stack.position} of {len(stack.line)}  {where}")
        output.tell("Moved on disk; a model is edited when it is next loaded.")
        return output.done(0)


def find_edit(stack: Stack, wanted: str) -> Edit:
    """The edit with number or id (or how it begins) `wanted`; on the current line first, then on other branches.

    Raises:
        UsageError: there is none, or several ids begin so.
        StackError: it is there, but cannot be read.
    """
    if wanted.isdecimal() and 1 <= int(wanted) <= len(stack.line):
        return stack.line[int(wanted) - 1]
    key = wanted.lower()
    found = {edit.id: edit for edit in (*stack.line, *stack.others) if key and edit.id.startswith(key)}
    if len(found) == 1:
        return next(iter(found.values()))
    if len(found) > 1:
        raise UsageError(f"{len(found)} edits have an id that begins with '{wanted}'.", "Give more of it.")
    broken = next((file for file in stack.broken if wanted in file), None)
    if broken:
        raise StackError(f"{broken}: {stack.broken[broken]}", "Get the file again from where it came.")
    raise UsageError(f"There is no edit '{wanted}' in this stack.", f"Numbers go from 1 to {len(stack.line)}.")


def split_stack(words: tuple[str, ...], least: int, usage: str) -> tuple[str | None, list[str]]:
    """`words` as an optional STACK and the `least` arguments after it. Raises UsageError."""
    if len(words) == least:
        return None, list(words)
    if len(words) == least + 1:
        return words[0], list(words[1:])
    raise UsageError(f"{'Too few' if len(words) < least else 'Too many'} arguments.", f"Usage: workbench {usage}")
