"""`workbench reorder` and `workbench remove`: another order of the applied edits, or fewer of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench import events as ev
from workbench.cli.history import find_edit, leading_stack, opened, split_stack
from workbench.cli.interrupt import interruptible
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import existing_stack
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.stack.store import Stack

STAYS = """
\b
The line as it was stays on its branch: workbench branch lists them, workbench
switch goes back. The updates stay as they are, though they were computed on
other edits than now stand before them, and that is said; --resolve computes
them anew from the recipes in their files. The model is needed in any case,
because every edit records the sha256 of the weights around it.
"""
REORDER_EPILOG = (
    """\b
Examples:
  workbench reorder 3,1,2
  workbench reorder edits/mine 1-4,9,5-8
  workbench reorder 2,1 --resolve --branch other-way-round
"""
    + STAYS
)
REMOVE_EPILOG = (
    """\b
Examples:
  workbench remove 3
  workbench remove edits/mine 2 7be104c2
  workbench remove 3 --resolve

\b
To leave an edit out and keep its place, use workbench toggle.
"""
    + STAYS
)
_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")

resolve_option = click.option("--resolve", is_flag=True, help="Compute the edits that moved anew.")
branch_option = click.option(
    "--branch", default="", metavar="NAME", help="Name of the new line. [default: main-2, ...]"
)


@click.command(short_help="Put the applied edits in another order.", epilog=REORDER_EPILOG)
@click.argument("words", nargs=-1, metavar="[STACK] ORDER")
@resolve_option
@branch_option
@engine_options
def reorder(words: tuple[str, ...], resolve: bool, branch: str, common: Common) -> int:
    """Put the applied edits of STACK in ORDER: their numbers with commas, or ranges, each of them once."""
    stack, (order,) = split_stack(words, 1, "reorder [STACK] ORDER")
    return _arranged(common, stack, lambda found: _ordered(found, order), resolve, branch)


@click.command(short_help="Take applied edits out of the line.", epilog=REMOVE_EPILOG)
@click.argument("words", nargs=-1, metavar="[STACK] N|ID...")
@resolve_option
@branch_option
@engine_options
def remove(words: tuple[str, ...], resolve: bool, branch: str, common: Common) -> int:
    """Take the edits N or ID out of the line of STACK. Their files stay on disk."""
    stack, wanted = leading_stack(words)
    if not wanted:
        raise UsageError("Too few arguments.", "Usage: workbench remove [STACK] N|ID...")
    return _arranged(common, stack, lambda found: _without(found, wanted), resolve, branch)


def _arranged(
    common: Common, stack: str | None, order_of: Callable[[Stack], list[str]], resolve: bool, branch: str
) -> int:
    folder: Path = existing_stack(common, stack)
    with Output(common.json) as output:
        with opened(folder, output) as found:
            order = order_of(found)
        with engine_session(common, folder, output, write=True) as engine:

            def begin(cancelled: Callable[[], bool]) -> Iterable[ev.Event]:
                return engine.arrange(order, resolve=resolve, branch=branch, cancelled=cancelled)

            for event in interruptible(begin):
                output.event(event, "arrange")
            line = engine.stack.line
            edits = "1 edit" if len(line) == 1 else f"{len(line)} edits"
            output.line(f"{engine.stack.branch}: {edits}, {' '.join(edit.id[:8] for edit in line[:12])}".rstrip(", "))
        return output.done(0)


def _ordered(stack: Stack, text: str) -> list[str]:
    """The ids in the order that `text` says. Raises UsageError if an edit is named twice or not at all."""
    numbers: list[int] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if not found:
            raise UsageError(f"'{part}' is not a number or a range.", "Write an order as 3,1,2 or as 1-4,9,5-8.")
        first, last = int(found[1]), int(found[2] or found[1])
        numbers += range(first, last + 1) if first <= last else range(first, last - 1, -1)
    applied = stack.applied
    wrong = [n for n, times in Counter(numbers).items() if times > 1 or not 1 <= n <= len(applied)]
    if wrong:
        hint = f"The applied edits are 1 to {len(applied)}; name each of them once."
        raise UsageError(f"The order names edit {wrong[0]}, which is not applied, or names it twice.", hint)
    missing = sorted({*range(1, len(applied) + 1)} - {*numbers})
    if missing:
        raise UsageError(f"The order leaves out edit {missing[0]}.", "Name it too, or use workbench remove.")
    return [applied[n - 1].id for n in numbers]


def _without(stack: Stack, wanted: Sequence[str]) -> list[str]:
    """The ids of the applied edits but those. Raises UsageError if one of them is not applied."""
    gone = {find_edit(stack, word).id for word in wanted}
    applied = [edit.id for edit in stack.applied]
    absent = gone - {*applied}
    if absent:
        raise UsageError(f"The edit {sorted(absent)[0][:8]} is not applied.", "Only an applied edit can be taken out.")
    return [ident for ident in applied if ident not in gone]
