"""Toggle, reorder, remove: any edit of the line can go, come back or move; what that means for later ones is said."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from workbench.engine.core import Core
from workbench.engine.planting import Additions, plant
from workbench.engine.views import REMAKE, computed_with, made_otherwise
from workbench.errors import UsageError
from workbench.events import Event, Warning  # noqa: A004  the wire's word
from workbench.stack.record import Edit
from workbench.stack.store import Stack

Cancelled = Callable[[], bool]


def toggle(core: Core, word: str, *, off: bool, resolve: bool, cancelled: Cancelled) -> Generator[Event, None, None]:
    """Leaves an edit out, wherever it stands on the line, or takes it in again.

    The updates of later edits stay as they are, though they were computed with the other state of it, and that is said;
    with `resolve` the later applied ones are derived anew, on a branch of their own with a copy of the edit.

    Raises:
        UsageError: there is no such edit.
        Cancelled, EditError, StackError, StorageError: it did not end; everything is as before.
    """
    stack, before = core.stack, core.live.shown
    ident = stack.find(word).id
    changes = off != (ident in stack.off)
    keep, later = _after(stack, ident) if changes else (0, ())
    if resolve and later:  # on a copy of the edit, so that the line it leaves behind is as it was
        again = _stored(stack, stack.applied[keep - 1 :])
        yield from plant(core, keep - 1, again, "resolve", resolve=True, off=stack.off ^ {ident}, cancelled=cancelled)
        return
    try:
        with stack.or_back():
            stack.toggle(ident, off=off)
            core.rebuild()
    except BaseException:
        core.live.show(before)
        raise
    yield core.changed()
    if otherwise := made_otherwise(later, ident, off=off):
        yield Warning(message=computed_with(otherwise, "on" if off else "off"), hint=REMAKE)


def arrange(
    core: Core, order: Sequence[str], *, resolve: bool, branch: str, cancelled: Cancelled
) -> Generator[Event, None, tuple[Edit, ...]]:
    """Makes the applied edits with the ids `order`, in that order, the line: reorders, and removes the others.

    The line as it was stays on its branch. Returns the new line.

    Raises:
        UsageError: an id is not that of an applied edit, or comes twice.
        Cancelled, EditError, StackError, StorageError: it did not end; everything is as before.
    """
    stack = core.stack
    applied = {edit.id: edit for edit in stack.applied}
    if len(set(order)) != len(order) or any(ident not in applied for ident in order):
        raise UsageError("An order names applied edits, each of them once.", "See workbench log.")
    keep = _common(order, [*applied])
    moved = [applied[ident] for ident in order[keep:]]
    yield from plant(
        core,
        keep,
        _stored(stack, moved),
        "resolve" if resolve else "reorder" if len(order) == len(applied) else "remove",
        resolve=resolve,
        branch=branch,
        cancelled=cancelled,
    )
    if moved and not resolve:
        one = len(moved) == 1
        kept = "1 edit keeps its update, which was" if one else f"{len(moved)} edits keep updates that were"
        said = f"{kept} computed on other edits than now stand before {'it' if one else 'them'}."
        yield Warning(message=said, hint=REMAKE)
    return stack.line


def _after(stack: Stack, ident: str) -> tuple[int, tuple[Edit, ...]]:
    """How many applied edits there are up to `ident`, and those after it; none if it is not applied."""
    ids = [edit.id for edit in stack.applied]
    if ident not in ids:
        return 0, ()
    keep = ids.index(ident) + 1
    return keep, stack.applied[keep:]


def _common(order: Sequence[str], line: Sequence[str]) -> int:
    """Length of the beginning that both have."""
    return next((n for n, (a, b) in enumerate(zip(order, line, strict=False)) if a != b), min(len(order), len(line)))


def _stored(stack: Stack, edits: Sequence[Edit]) -> Additions:
    return [(stack.as_saved(edit), stack.factors(edit)) for edit in edits]
