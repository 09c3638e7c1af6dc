"""Putting edits on a line at another place than the one they were made for: reorder, remove, import, merge, resolve.

Stored updates are taken as they are, and the weight hashes are computed for the new place; or, to resolve, each update
is derived anew from the request, recipe and context templates in its file, on the state that it then stands on.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Generator, Sequence

from workbench.editing.cancel import check
from workbench.engine.core import Core
from workbench.engine.measuring import or_restore
from workbench.engine.remaking import check_derivable, remake
from workbench.events import EditCommitted, Event
from workbench.models.device import within_memory
from workbench.stack.editfile import encode_edit
from workbench.stack.journal import What
from workbench.stack.record import Edit, Factors, WeightHashes

Additions = Sequence[tuple[Edit, tuple[Factors, ...]]]
Cancelled = Callable[[], bool]


def plant(
    core: Core,
    keep: int,
    additions: Additions,
    what: What,
    *,
    resolve: bool = False,
    branch: str = "",
    off: Collection[str] | None = None,
    cancelled: Cancelled,
) -> Generator[Event, None, tuple[Edit, ...]]:
    """Makes the line its first `keep` edits followed by copies of `additions`, all or nothing; all of it is applied.

    Args:
        core: the model and the stack.
        keep: how many edits of the line stay as they are.
        additions: edits, as they were saved, with their updates.
        what: for the journal.
        resolve: derive the updates anew, instead of taking the stored ones.
        branch: name of the new line; empty: the next free one, or the present one if it only grows.
        off: ids of those among `additions` whose copies are toggled off; None: those that are off themselves.
        cancelled: asked before every edit, and while one is resolved.

    Raises:
        Cancelled: `cancelled` said so.
        BaseMismatch: an edit does not fit this model.
        EditError: an edit cannot be resolved, or its weight would not be finite.
        StackError, StorageError, UsageError: the stack does not take them.
        DeviceError: the device ran out of memory.
    """
    place = _Place(core, keep, core.stack.off if off is None else off)

    def run() -> Generator[Event, None, tuple[Edit, ...]]:
        yield from _fill(core, place, additions, resolve=resolve, cancelled=cancelled)
        with core.stack.or_back():
            placed = core.stack.graft(keep, place.taken, what, branch=branch, off=off)
            core.rebuild()
        return placed

    with within_memory():
        placed = yield from or_restore(core, run())
    for index, seconds in place.made.items():
        yield _committed(core, placed[index], keep + index + 1, seconds)
    yield core.changed()
    return placed


def _fill(
    core: Core, place: _Place, additions: Additions, *, resolve: bool, cancelled: Cancelled
) -> Generator[Event, None, None]:
    """Puts `additions` on `place`; where one is made anew, the model shows what has been placed before it."""
    for index, (edit, factors) in enumerate(additions, start=1):
        check(cancelled)
        if resolve and edit.id not in place.off:
            check_derivable(edit)
        core.live.adopt(edit)
        moved = place.put(edit, factors)
        if resolve and (moved.weights, moved.off) != (edit.weights, edit.off) and edit.id not in place.off:
            started = time.monotonic()
            made, factors = yield from remake(
                core, edit, place.shown, index=index, of=len(additions), cancelled=cancelled
            )
            moved = dataclasses.replace(made, note=edit.note, made_by=place.made_by(core.made_by(), edit))
            place.made[index - 1] = time.monotonic() - started
        place.take(edit, moved, factors)


def _committed(core: Core, edit: Edit, position: int, seconds: float) -> EditCommitted:
    path = core.stack.path_of(edit)
    return EditCommitted(
        edit=edit.id,
        file=str(path),
        position=position,
        weight_sha256=next(iter(edit.weights.values()))["after"],
        bytes=path.stat().st_size,
        seconds=seconds,
    )


class _Place:
    """The line as it grows."""

    def __init__(self, core: Core, keep: int, off: Collection[str]) -> None:
        self._core = core
        self.off = frozenset(off)
        """Ids of what is put here toggled off."""
        line = core.stack.line[:keep]
        for edit in line:
            core.live.adopt(edit)
        self._off = [edit.id for edit in line if edit.id in core.stack.off]
        self._parent = line[-1].id if line else None
        self._number = keep + 1
        self._hashes: dict[tuple[str, str], str] = {}
        """sha256 of each module's weight, in a dtype, with what is active so far, as far as it was asked for."""
        self.shown = [core.stack.factors(edit) for edit in line if edit.id not in core.stack.off]
        """The updates that are active so far."""
        self.taken: list[tuple[Edit, tuple[Factors, ...]]] = []
        self.made: dict[int, float] = {}
        """Which of the taken were made anew, and in how many seconds."""

    def put(self, edit: Edit, factors: tuple[Factors, ...]) -> Edit:
        """`edit` with the hashes of this place; the very same object if it was made here."""
        weights = {one.module: self._around(one.module, factors) for one in factors}
        stands = (edit.parent, edit.number) == (self._parent, self._number)
        stands = stands and (edit.id in self._core.stack.off) == (edit.id in self.off)
        if stands and edit.weights == weights and edit.off == frozenset(self._off):
            return edit
        base = self._core.live.as_held(edit.base)
        return dataclasses.replace(edit, base=base, weights=weights, made_by=self.made_by(edit.made_by, edit))

    def made_by(self, made_by: dict[str, object], source: Edit) -> dict[str, object]:
        """`made_by` with where it was copied from, and what is off before this place."""
        rest = {name: value for name, value in made_by.items() if name not in ("off", "copied_from")}
        copied = {"copied_from": source.id} if source.id else {}
        return {**rest, **copied} | ({"off": [*self._off]} if self._off else {})

    def take(self, source: Edit, placed: Edit, factors: tuple[Factors, ...]) -> None:
        """Goes on after `placed`, which keeps the id of its source until it is saved."""
        saved, _ = encode_edit(dataclasses.replace(placed, id="", parent=self._parent, number=self._number), factors)
        self._number, self._parent = self._number + 1, saved.id
        if source.id in self.off:
            self._off.append(saved.id)
        else:
            self.shown.append(factors)
            after = {module: around["after"] for module, around in saved.weights.items()}
            self._hashes = {at: sha for at, sha in self._hashes.items() if at[0] not in after}
            self._hashes |= {(module, saved.base.dtype_of(module)): sha for module, sha in after.items()}
        self.taken.append((dataclasses.replace(saved, id=source.id), factors))

    def _around(self, module: str, factors: tuple[Factors, ...]) -> WeightHashes:
        at = module, self._core.live.dtype(module)
        if at not in self._hashes:
            self._hashes[at] = self._core.live.would_be(module, self.shown)
        after = self._core.live.would_be(module, [*self.shown, factors])
        return WeightHashes(before=self._hashes[at], after=after)
