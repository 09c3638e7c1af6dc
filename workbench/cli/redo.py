"""`workbench redo`: step forward."""

from __future__ import annotations

import click

from workbench.cli.history import move
from workbench.cli.options import Common, stack_options
from workbench.cli.undo import counted

EPILOG = """\b
Examples:
  workbench redo
  workbench redo edits/mine 2
"""


@click.command(short_help="Bring undone edits back.", epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="[STACK] [COUNT]")
@stack_options
def redo(words: tuple[str, ...], common: Common) -> int:
    """Bring back the COUNT edits of STACK that were undone last, one without COUNT. No model is needed."""
    stack, count = counted(words, "redo [STACK] [COUNT]")
    return move(stack, common, lambda found: found.redo(count))
