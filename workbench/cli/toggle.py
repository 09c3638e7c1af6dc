"""`workbench toggle`: leave an edit out, or take it in again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import click

from workbench import events as ev
from workbench.cli.history import find_edit, named, opened, split_stack
from workbench.cli.interrupt import interruptible
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import existing_stack

if TYPE_CHECKING:
    from workbench.stack.record import Edit

EPILOG = """\b
Examples:
  workbench toggle 3                    off if it is on, on if it is off
  workbench toggle edits/mine 7be104c2
  workbench toggle 3 --resolve          compute the edits after it anew

\b
Edits after it keep their updates, also those that were computed with it in its
former state; how many, is said. --resolve computes them anew from the recipes
in their files, on a branch of their own, and needs the model.
"""


@click.command(short_help="Leave an edit out, or take it in again.", epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="[STACK] N|ID")
@click.option("--resolve", is_flag=True, help="Compute the applied edits after it anew.")
@engine_options
def toggle(words: tuple[str, ...], resolve: bool, common: Common) -> int:
    """Leave edit N or ID of STACK out, wherever it stands on the line, or take it in again."""
    from workbench.engine.views import stack_changed

    stack, (wanted,) = split_stack(words, 1, "toggle [STACK] N|ID")
    folder = existing_stack(common, stack)
    with Output(common.json) as output:
        with opened(folder, output, write=not resolve) as found:
            edit = find_edit(found, wanted)
            off = edit.id not in found.off
            if not resolve:
                found.toggle(edit.id, off=off)
                output.document(ev.to_line(stack_changed(found)))
                _tell_later(output, found.applied, edit.id, off)
        if resolve:
            with engine_session(common, folder, output, write=True) as engine:

                def begin(cancelled: Callable[[], bool]) -> Iterable[ev.Event]:
                    return engine.toggle(edit.id, off=off, resolve=True, cancelled=cancelled)

                for event in interruptible(begin):
                    output.event(event, "toggle")
        output.line(f"{'off' if off else 'on'}  {named(edit)}")
        return output.done(0)


def _tell_later(output: Output, applied: Sequence[Edit], ident: str, off: bool) -> None:
    from workbench.engine.views import REMAKE, computed_with, made_otherwise

    at = next((number for number, edit in enumerate(applied, 1) if edit.id == ident), len(applied))
    if count := made_otherwise(applied[at:], ident, off=off):
        warning = ev.Warning(message=computed_with(count, "on" if off else "off"), hint=REMAKE)
        output.event(warning, "toggle")
