"""`workbench undo`: step back."""

from __future__ import annotations

import click

from workbench.cli.history import move
from workbench.cli.options import Common, stack_options
from workbench.errors import UsageError

EPILOG = """\b
Examples:
  workbench undo
  workbench undo edits/mine
  workbench undo edits/mine 3
"""


@click.command(short_help="Undo the newest edits.", epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="[STACK] [COUNT]")
@stack_options
def undo(words: tuple[str, ...], common: Common) -> int:
    """Undo the newest COUNT edits of STACK, one without COUNT. Nothing is deleted; no model is needed."""
    stack, count = counted(words, "undo [STACK] [COUNT]")
    return move(stack, common, lambda found: found.undo(count))


def counted(words: tuple[str, ...], usage: str) -> tuple[str | None, int]:
    """`words` as an optional STACK and an optional COUNT: a word of digits is the count. Raises UsageError."""
    stacks = [word for word in words if not word.isdecimal()]
    counts = [int(word) for word in words if word.isdecimal()]
    if len(stacks) > 1 or len(counts) > 1:
        raise UsageError("Too many arguments.", f"Usage: workbench {usage}")
    return (stacks[0] if stacks else None), (counts[0] if counts else 1)
