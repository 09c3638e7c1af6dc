"""`workbench branch` and `workbench switch`: the lines of a stack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from workbench.cli.history import find_edit, leading_stack, move, named_by, opened
from workbench.cli.options import Common, stack_options
from workbench.cli.output import Output
from workbench.cli.where import existing_stack
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.stack.store import Stack

BRANCH_EPILOG = """\b
Examples:
  workbench branch                        list the branches; * is the current one
  workbench branch without-the-tower      begin one at the position, and go there
  workbench branch edits/mine try --at 3  begin one after edit 3
  workbench branch --delete try           forget its name; its edits stay on disk

\b
An edit made after an undo begins a branch by itself: main-2, main-3, ...
"""
SWITCH_EPILOG = """\b
Examples:
  workbench switch main
  workbench switch edits/mine main-2
"""


@click.command(short_help="List, begin or forget branches.", epilog=BRANCH_EPILOG)
@click.argument("words", nargs=-1, metavar="[STACK] [NAME]")
@click.option("--at", metavar="N|ID|NAME", help="Begin after that edit, tag or branch. [default: the position]")
@click.option("--delete", metavar="NAME", help="Forget the name of a branch.")
@stack_options
def branch(words: tuple[str, ...], at: str | None, delete: str | None, common: Common) -> int:
    """List the branches of STACK, or begin the branch NAME and go there. No model is needed."""
    stack, names = leading_stack(words, 1)
    if len(names) > 1 or (names and delete) or (at and not names):
        raise UsageError("The arguments do not fit together.", "Usage: workbench branch [STACK] [NAME] [--at ...]")
    if names:
        return move(stack, common, lambda found: found.start_branch(names[0], _start(found, at)))
    with Output(common.json) as output, opened(existing_stack(common, stack), output, write=bool(delete)) as found:
        if delete:
            loose = found.delete_branch(delete)
            edits = "1 edit is" if loose == 1 else f"{loose} edits are"
            output.tell(f"{edits} on no branch now, and still on disk: workbench travel ID goes there.")
        _list(found, output)
        return output.done(0)


@click.command(short_help="Go to another branch.", epilog=SWITCH_EPILOG)
@click.argument("words", nargs=-1, metavar="[STACK] NAME")
@stack_options
def switch(words: tuple[str, ...], common: Common) -> int:
    """Go to the end of the branch NAME of STACK. No model is needed."""
    stack, names = leading_stack(words, 1)
    if len(names) != 1:
        raise UsageError("Name one branch.", "Usage: workbench switch [STACK] NAME")
    return move(stack, common, lambda found: found.switch(names[0]))


def _start(stack: Stack, at: str | None) -> str | None:
    """The edit or name to begin at. Raises UsageError."""
    names = {"base", *stack.tags, *(one.name for one in stack.branches)}
    if at is None or at in names:
        return at
    return "base" if at == "0" else find_edit(stack, at).id


def _list(stack: Stack, output: Output) -> None:
    for one in stack.branches:
        last = named_by(stack, one.tip) if one.tip else "no edits"
        output.line(f"{'*' if one.current else ' '} {one.name:<20} {last}")
        said = {"type": "Branch", "name": one.name, "tip": one.tip, "length": one.length, "current": one.current}
        output.document(json.dumps(said))
    if stack.loose:
        ids = " ".join(edit.id[:8] for edit in stack.loose[:8])
        output.tell(f"On no branch: {len(stack.loose)} ({ids}{' ...' if len(stack.loose) > 8 else ''})")
