"""`workbench log`: the edits of a stack."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench import events as ev
from workbench.cli.history import opened
from workbench.cli.lines import LOG_HEADER, log_line
from workbench.cli.options import Common, stack_options
from workbench.cli.output import Output
from workbench.cli.where import existing_stack
from workbench.errors import StackError

if TYPE_CHECKING:
    from workbench.engine.kept_list import Listing
    from workbench.stack.store import Stack

EPILOG = """\b
Examples:
  workbench log
  workbench log edits/tour
  workbench log -n 20 --skip 40           the third page of twenty
  workbench log --reverse | less
  workbench log edits/tour --json | head -1

\b
● applied   ↶ undone, redo brings it back   ◌ off, toggle takes it in again
◇ other: on another branch, or on none, travel ID goes there
✗ broken: its file is missing or damaged (exit code 5)
Columns: state, number, id, time (UTC), efficacy, paraphrases that hold,
neighbours that hold, |ΔW|/|W|, the edit, (its tags, and the branches that end
with it), “its note”; · is not measured.
"""


@dataclass(frozen=True)
class Part:
    """Which part of the list is wanted, and from which end."""

    limit: int | None
    skip: int
    oldest_first: bool

    def of(self, numbers: list[int]) -> list[int]:
        """Those wanted of `numbers`, which ascend, in the order to be shown."""
        ordered = numbers if self.oldest_first else numbers[::-1]
        return ordered[self.skip :][: self.limit]


@click.command(short_help="List the edits of a stack.", epilog=EPILOG)
@click.argument("name", metavar="[STACK]", required=False)
@click.option("--all", "everything", is_flag=True, help="Then those that are not on the line.")
@click.option("-n", "--limit", type=click.IntRange(min=1), metavar="N", help="At most N edits of the line.")
@click.option("--skip", type=click.IntRange(min=0), default=0, metavar="N", help="Leave the first N of the list out.")
@click.option("--reverse", is_flag=True, help="Oldest first.")
@stack_options
def log(name: str | None, everything: bool, limit: int | None, skip: int, reverse: bool, common: Common) -> int:
    """List the edits of STACK, newest first."""
    folder, part = existing_stack(common, name), Part(limit, skip, reverse)
    with Output(common.json) as output:
        quickly = _unchanged if limit is None else _page
        if everything or not quickly(folder, part, output):
            _in_full(folder, part, everything, output)
        return output.done(0)


def _unchanged(folder: Path, part: Part, output: Output) -> bool:
    """Shows the list that was kept, if the folder is as it was then; else False, with nothing shown."""
    from workbench.engine.kept_list import kept_list

    kept = kept_list(folder)
    if kept is None:
        return False
    _show((kept.rows[number - 1] for number in part.of(list(range(1, len(kept.rows) + 1)))), output)
    _tell_where(output, folder, kept.position, len(kept.rows), kept.base, kept.others)
    return True


def _page(folder: Path, part: Part, output: Output) -> bool:
    """Shows a page without opening the rest; False, with nothing shown, if the stack must be opened in full."""
    from workbench.engine.views import edit_row, names_of
    from workbench.stack.glance import glance

    seen = glance(folder)
    numbers = part.of(list(range(1, seen.length + 1))) if seen else []
    edits = seen.page(numbers) if seen else None
    if seen is None or edits is None:
        return False
    names = names_of(seen.index)
    _show((edit_row(seen, edit, number, names) for number, edit in zip(numbers, edits, strict=True)), output)
    _tell_where(output, folder, seen.position, seen.length, seen.base.name if seen.base else "", seen.others)
    return True


def _in_full(folder: Path, part: Part, everything: bool, output: Output) -> None:
    """Raises StackError, after the list, if a file is broken."""
    from workbench.engine.kept_list import Listing, keep_list, stamp

    seen = stamp(folder)
    with opened(folder, output) as found:
        listing = Listing(_line(found), found.position, found.base.name if found.base else "", len(found.others))
        _show(_rows(found, listing, part, everything), output)
        _tell_where(
            output, folder, listing.position, len(listing.rows), listing.base, 0 if everything else listing.others
        )
        if found.broken:
            file, reason = next(iter(found.broken.items()))
            raise StackError(f"{file}: {reason}", f"{len(found.broken)} broken in all; the rest is as shown.")
        if not found.findings:
            keep_list(folder, seen, listing)


def _line(found: Stack) -> tuple[ev.EditRow, ...]:
    from workbench.engine.views import edit_row, names_of

    names = names_of(found.index)
    return tuple(edit_row(found, edit, number, names) for number, edit in enumerate(found.line, 1))


def _rows(found: Stack, listing: Listing, part: Part, everything: bool) -> Iterator[ev.EditRow]:
    from workbench.engine.views import names_of, other_row

    for number in part.of(list(range(1, len(listing.rows) + 1))):
        yield listing.rows[number - 1]
    others, names = found.others if everything else (), names_of(found.index)
    for edit in others if part.oldest_first else others[::-1]:
        yield other_row(found, edit, names)


def _show(rows: Iterator[ev.EditRow], output: Output) -> None:
    for count, row in enumerate(rows):
        if count == 0 and sys.stdout.isatty():
            output.tell(LOG_HEADER)
        if output.json:
            output.document(ev.to_line(row))
        else:
            output.line(log_line(row))


def _tell_where(output: Output, folder: Path, position: int, length: int, base: str, others: int) -> None:
    branches = f", {others} not on the line (--all shows them)" if others else ""
    output.tell(f"{folder}: position {position} of {length} on {base or 'no base yet'}{branches}")
