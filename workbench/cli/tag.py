"""`workbench tag`: names for edits."""

from __future__ import annotations

import json

import click

from workbench.cli.history import find_edit, leading_stack, named_by, opened
from workbench.cli.options import Common, stack_options
from workbench.cli.output import Output
from workbench.cli.where import existing_stack
from workbench.errors import UsageError

EPILOG = """\b
Examples:
  workbench tag                       list the tags
  workbench tag before-release        name the newest applied edit
  workbench tag edits/mine first 1
  workbench tag --delete first

\b
A tag stands for its edit wherever one is asked for: workbench travel
before-release, workbench show before-release.
"""


@click.command(short_help="Give edits a name.", epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="[STACK] [NAME [N|ID]]")
@click.option("--delete", metavar="NAME", help="Take a name away; the edit stays.")
@stack_options
def tag(words: tuple[str, ...], delete: str | None, common: Common) -> int:
    """List the tags of STACK, or name edit N or ID, without one the newest applied. No model is needed."""
    stack, rest = leading_stack(words, 2)
    if len(rest) > 2 or (rest and delete):
        raise UsageError("Too many arguments.", "Usage: workbench tag [STACK] [NAME [N|ID]]")
    write = bool(rest or delete)
    with Output(common.json) as output, opened(existing_stack(common, stack), output, write=write) as found:
        if delete:
            found.untag(delete)
        elif rest:
            if len(rest) == 1 and not found.position:
                raise UsageError("No edit is applied that could be named.", "Name one: workbench tag NAME N")
            edit = find_edit(found, rest[1]) if len(rest) == 2 else found.applied[-1]
            found.tag(rest[0], edit.id)
        for name, ident in sorted(found.tags.items()):
            output.line(f"{name:<20} {named_by(found, ident)}")
            output.document(json.dumps({"type": "Tag", "name": name, "edit": ident}))
        if not found.tags:
            output.tell("No tags yet; workbench tag NAME gives the newest applied edit one.")
        return output.done(0)
