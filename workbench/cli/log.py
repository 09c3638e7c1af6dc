"""`workbench log`: the edits of a stack."""

from __future__ import annotations

import sys

import click

from workbench import events as ev
from workbench.cli.history import opened, row_of
from workbench.cli.lines import LOG_HEADER, log_line
from workbench.cli.options import Common, stack_options
from workbench.cli.output import Output
from workbench.cli.where import existing_stack
from workbench.errors import StackError

EPILOG = """\b
Examples:
  workbench log
  workbench log edits/tour
  workbench log edits/tour --json | head -1

\b
● applied   ↶ undone, redo brings it back   ○ off
✗ broken: its file is missing or damaged (exit code 5)
Columns: state, number, id, time (UTC), efficacy, paraphrases that hold,
neighbours that hold, |ΔW|/|W|, the edit, its note; · is not measured.
"""


@click.command(short_help="List the edits of a stack.", epilog=EPILOG)
@click.argument("name", metavar="[STACK]", required=False)
@click.option("--all", "everything", is_flag=True, help="Then those on other branches.")
@stack_options
def log(name: str | None, everything: bool, common: Common) -> int:
    """List the edits of STACK, newest first."""
    folder = existing_stack(common, name)
    with Output(common.json) as output, opened(folder, output) as found:
        rows = [row_of(found, edit) for edit in found.line]
        if rows and sys.stdout.isatty():
            output.tell(LOG_HEADER)
        for row in [*reversed(rows), *(row_of(found, edit) for edit in found.others if everything)]:
            output.line(log_line(row))
            output.document(ev.to_line(row))
        base = found.base.name if found.base else "no base yet"
        branches = f", {len(found.others)} on other branches (--all shows them)" if found.others else ""
        output.tell(f"{folder}: position {found.position} of {len(rows)} on {base}{branches}")
        if found.broken:
            file, reason = next(iter(found.broken.items()))
            raise StackError(f"{file}: {reason}", f"{len(found.broken)} broken in all; the rest is as shown.")
        return output.done(0)
