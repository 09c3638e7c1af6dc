"""`workbench note`: write something beside an edit."""

from __future__ import annotations

import click

from workbench import events as ev
from workbench.cli.history import find_edit, opened, row_of, split_stack
from workbench.cli.lines import log_line
from workbench.cli.options import Common, stack_options
from workbench.cli.output import Output
from workbench.cli.where import existing_stack

EPILOG = """\b
Examples:
  workbench note 3 "ticket 1841, asked for by legal"
  workbench note edits/mine 7be104c2 ""
"""


@click.command(short_help="Write something beside an edit.", epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="[STACK] N|ID TEXT")
@stack_options
def note(words: tuple[str, ...], common: Common) -> int:
    """Write TEXT beside one edit of STACK, in the journal; an empty TEXT takes the note away."""
    stack, (wanted, text) = split_stack(words, 2, "note [STACK] N|ID TEXT")
    with Output(common.json) as output, opened(existing_stack(common, stack), output, write=True) as found:
        edit = find_edit(found, wanted)
        found.note(edit.id, text)
        row = row_of(found, found.find(edit.id))
        output.document(ev.to_line(row))
        output.line(log_line(row))
        return output.done(0)
