"""`workbench travel`: go to any point of a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from workbench.cli.history import find_edit, move, split_stack
from workbench.cli.options import Common, stack_options

if TYPE_CHECKING:
    from workbench.stack.store import Stack

EPILOG = """\b
Examples:
  workbench travel 0                      the base: every edit undone
  workbench travel edits/mine 3           edits 1 to 3 applied
  workbench travel edits/mine 7be104c2    to that edit, even on another branch
  workbench travel before-release         to a tag, or to the end of a branch
"""


@click.command(short_help="Go to any point of a stack.", epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="[STACK] N|ID|NAME")
@stack_options
def travel(words: tuple[str, ...], common: Common) -> int:
    """Go to position N of STACK, to the edit whose id begins with ID, or to a tag or branch. No model is needed."""
    stack, (wanted,) = split_stack(words, 1, "travel [STACK] N|ID|NAME")
    return move(stack, common, lambda found: found.travel(_point(found, wanted)))


def _point(stack: Stack, wanted: str) -> int | str:
    """The position or the id that `wanted` means. Raises UsageError."""
    if wanted in ("0", "base"):
        return 0
    names = {*stack.tags, *(branch.name for branch in stack.branches)}
    return wanted if wanted in names else find_edit(stack, wanted).id
