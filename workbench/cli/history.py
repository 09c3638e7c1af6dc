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
from workbench.text import and_more

if TYPE_CHECKING:
    from workbench.stack.editfile import Edit
    from workbench.stack.store import Stack

MOST_DIGITS = 6
"""Longest word of digits that is a number and not the beginning of an id."""


@contextmanager
def opened(folder: Path, output: Output, *, write: bool = False) -> Iterator[Stack]:
    """The stack in `folder`; says on stderr what was found and mended while opening it."""
    from workbench.stack.store import Stack

    with Stack.open(folder, write=write) as stack:
        for finding in stack.findings:
            output.tell(f"note: {finding}")
        yield stack


def row_of(stack: Stack, edit: Edit) -> ev.EditRow:
    """The edit as a list shows it."""
    from workbench.engine.views import edit_row, names_of, other_row

    names = names_of(stack.index)
    on_line = edit.id in {one.id for one in stack.line}
    return edit_row(stack, edit, edit.number, names) if on_line else other_row(stack, edit, names)


def move(stack_name: str | None, common: Common, step: Callable[[Stack], object]) -> int:
    """Opens the stack for writing, takes `step`, and says where it is now."""
    from workbench.engine.views import stack_changed

    with Output(common.json) as output, opened(existing_stack(common, stack_name), output, write=True) as stack:
        before = stack.position
        step(stack)
        output.document(ev.to_line(stack_changed(stack)))
        at = stack.line[stack.position - 1] if stack.position else None
        where = _named(at) if at else "the base"
        output.line(f"{before} → {stack.position} of {len(stack.line)}  {where}")
        output.tell("Moved on disk; a model is edited when it is next loaded.")
        return output.done(0)


def find_edit(stack: Stack, wanted: str) -> Edit:
    """The edit with number `wanted` on the current line, else the one on any branch whose id begins so.

    Raises:
        UsageError: there is none, or several ids begin so.
        StackError: it is there, but cannot be read.
    """
    if not wanted.isdecimal() or len(wanted) > MOST_DIGITS:
        return stack.find(wanted)
    number, line = int(wanted), stack.line
    if 1 <= number <= len(line):
        return line[number - 1]
    broken = next((file for file in stack.broken if file.startswith(f"{number:04d}-")), None)
    if stack.begins_id(wanted):
        return stack.find(wanted)
    if broken:
        raise StackError(f"{broken}: {stack.broken[broken]}", "Get the file again from where it came.")
    raise UsageError(f"There is no edit {number} in this stack.", f"Numbers go from 1 to {len(line)}.")


def split_stack(words: tuple[str, ...], least: int, usage: str) -> tuple[str | None, list[str]]:
    """`words` as an optional STACK and the `least` arguments after it. Raises UsageError."""
    if len(words) == least:
        return None, list(words)
    if len(words) == least + 1:
        return words[0], list(words[1:])
    raise UsageError(f"{'Too few' if len(words) < least else 'Too many'} arguments.", f"Usage: workbench {usage}")


def leading_stack(words: tuple[str, ...], most: int | None = None) -> tuple[str | None, list[str]]:
    """`words` as an optional STACK, a folder that is there, and the rest, at most `most`; one too many is the STACK."""
    if words and (Path(words[0]).is_dir() or (most is not None and len(words) == most + 1)):
        return words[0], list(words[1:])
    return None, list(words)


def named(edit: Edit) -> str:
    """An edit in a few words: number, start of its id, and what it says now."""
    return f"{edit.number}  {_named(edit)}"


def _named(edit: Edit) -> str:
    return f"{edit.id[:8]}  {edit.request.text} → {edit.request.target_new}{and_more(len(edit.requests))}"


def named_by(stack: Stack, ident: str) -> str:
    """The edit that a branch or tag stands for, as `named` says it; one that is not there is said to be missing."""
    try:
        return named(stack.find(ident))
    except UsageError:
        return f"✗ {ident[:8]}  its file is missing or damaged: workbench verify says which"
