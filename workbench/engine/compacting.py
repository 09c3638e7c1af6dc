"""Compaction: all that a stack asks for in one batch, or few, from the pristine base, beside the stack as it was.

Long sequences wear a model down, edit by edit (*Model Editing at Scale*, arXiv 2401.07453); MEMIT and EMMET write many
facts at once. The old stack is only read, and the new one is there as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import shlex
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.editing.cancel import check
from workbench.edits import EditRequest, Recipe
from workbench.engine.batching import check_batch
from workbench.engine.earlier import standing
from workbench.engine.engine import Engine
from workbench.engine.evaluating.cases import CaseScore, score_cases, summary
from workbench.engine.health.ground import Ground
from workbench.engine.health.measure import measure
from workbench.errors import EditError, StackBusy, UsageError
from workbench.events import Compacted, EditFailed, Event, HealthReport, ModelLoading
from workbench.stack.files import folder_atomic, make_folder
from workbench.stack.limits import MAX_REQUESTS
from workbench.stack.lock import WriterLock

SCORES = ("es", "ps", "ns", "s")
MEASURED = ("perplexity", "entropy", "cloze")
"""Measures of a health report that have a value of the base."""

QUARTER = 4
"""One batch takes at most this part of the dimensions of its keys: on atlas (1,024 of them) 500 facts in two batches
hold better than in one and disturb less than in five, and 1,000 in one leave nothing of the model."""

Cancelled = Callable[[], bool]
Row = dict[str, float | None]


@dataclass(frozen=True)
class Wish:
    """How a stack is to be rebuilt."""

    folder: Path | None
    """Where the new stack is to be; None: it is only tried."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Changes to the profile's recipe; the method among them."""
    batch: int | None = None
    """Requests of one edit; None: as few edits as hold a QUARTER of their keys' dimensions each, all about as large."""
    sample: int | None = None
    """Requests that both stacks are scored on; None: all."""
    seed: int = 0


def compact(engine: Engine, wish: Wish, cancelled: Cancelled) -> Generator[Event, None, Compacted]:
    """Rebuilds the active edits of the open stack as `wish` has it; the Compacted is also the last event.

    The new stack is the one that is open then. Of several requests about one fact the last is kept.

    Raises:
        UsageError: there is nothing to rebuild, an update was imported, the method makes single edits, or the folder is
            taken.
        EditError: an edit could not be made. Cancelled: `cancelled` said so. Nothing is left behind by either.
        StackBusy: another process is making a stack in that folder.
        StackError, StorageError, DeviceError: of the disk and the device.
    """
    recipe = engine.core.recipe(wish.changes)
    requests = [request for _, request in _last_said(engine)]
    check_batch(requests[:MAX_REQUESTS], recipe)
    with _claimed(wish.folder):
        return (yield from _rebuilt(engine, wish, recipe, requests, cancelled))


def _rebuilt(
    engine: Engine, wish: Wish, recipe: Recipe, requests: Sequence[EditRequest], cancelled: Cancelled
) -> Generator[Event, None, Compacted]:
    """Scores the stack, makes the new one of `requests`, and scores that."""
    core, active = engine.core, engine.stack.active
    asked = _sampled(requests, wish.sample, wish.seed)
    room = sum(core.site(layer).d_in for layer in recipe.edited_layers)
    size = min(wish.batch or _even(len(requests), room), MAX_REQUESTS)
    with core.live.at_base():
        ground = Ground.of(core, active, wish.seed)
    yield ModelLoading(stage=f"scoring {len(asked)} requests on the stack as it is")
    before = yield from _scored(engine, asked, ground, cancelled)
    old = engine.stack.folder
    with _place(wish.folder) as place:
        yield from _reopened(engine, place)
        try:
            yield from _made(engine, requests, size, wish.changes, cancelled)
            yield ModelLoading(stage=f"scoring {len(asked)} requests on the new stack")
            after = yield from _scored(engine, asked, ground, cancelled)
            held = sum(len(edit.requests) for edit in engine.stack.active)
        finally:
            engine.close()
    found = Compacted(
        source=str(old),
        folder=str(wish.folder or ""),
        method=recipe.method,
        requests=len(requests),
        superseded=sum(len(edit.requests) for edit in active) - len(requests),
        left_out=len(requests) - held,
        asked=len(asked),
        batch=min(size, len(requests)),
        room=0 if wish.batch else room,
        rows=_rows(before, after),
    )
    yield found
    return found


def _last_said(engine: Engine) -> list[tuple[int, EditRequest]]:
    """What the stack asks for, the last request about each fact. Raises UsageError."""
    active = engine.stack.active
    imported = next((edit for edit in active if edit.imported), None)
    if imported is not None:
        raise UsageError(
            f"Edit {imported.number} was imported: how it was made is not known, and it cannot be made anew.",
            f"Leave it out first: workbench toggle {shlex.quote(str(engine.stack.folder))} {imported.number}.",
        )
    if not active:
        raise UsageError("No edit is applied: there is nothing to rebuild.", "workbench redo takes undone edits in.")
    return standing(active, ())


def _check_free(folder: Path | None) -> None:
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"'{folder}' is there already.", "Name a folder that is new, or empty, with --out.")


@contextlib.contextmanager
def _claimed(folder: Path | None) -> Iterator[None]:
    """No other compaction makes a stack in `folder` within the block. Raises UsageError, StackBusy, StorageError."""
    _check_free(folder)
    if folder is None:
        yield
        return
    make_folder(folder.resolve().parent)
    try:
        lock = WriterLock(folder.resolve().parent, f".{folder.name[:80]}.lock")
    except StackBusy as error:
        raise StackBusy(
            f"Another compaction is making '{folder}' just now.", "Wait for it, or name another folder with --out."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    """Where the new stack is made: a folder that takes its place at the end, or one that is thrown away."""
    if folder is not None:
        _check_free(folder)
        with folder_atomic(folder) as place:
            yield place
        return
    with tempfile.TemporaryDirectory(prefix="workbench-compact-") as place:
        yield Path(place)


def _reopened(engine: Engine, folder: Path) -> Generator[Event, None, None]:
    """The engine on a stack of its own in `folder`, to be written."""
    engine.core.writable = True
    for event in engine.open_stack(folder):
        if isinstance(event, ModelLoading):
            yield event


def _even(requests: int, room: int) -> int:
    """Requests of one edit: so many that few edits take them all, none more than a QUARTER of `room`."""
    edits = math.ceil(requests / max(room // QUARTER, 1))
    return math.ceil(requests / edits)


def _made(
    engine: Engine, requests: Sequence[EditRequest], size: int, changes: dict[str, Any], cancelled: Cancelled
) -> Generator[Event, None, None]:
    """Makes the edits of `requests`, in their order, of `size` each."""
    units = [requests[start : start + size] for start in range(0, len(requests), size)]
    for index, unit in enumerate(units, 1):
        check(cancelled)
        making = engine.apply_batch(unit, changes, index=index, of=len(units), cancelled=cancelled)
        yield from _whole(making)
        check(cancelled)


def _whole(making: Generator[Event, None, bool]) -> Generator[Event, None, None]:
    """Passes the making of a batch on. Raises EditError, with its own reason, if it failed."""
    for event in making:
        if isinstance(event, EditFailed):
            raise EditError(f"The batch could not be made; nothing was written. {event.message}", event.hint)
        yield event


def _sampled(requests: Sequence[EditRequest], sample: int | None, seed: int) -> list[EditRequest]:
    """All of them or, decided one by one by a hash of the seed and the request, so many, in order."""
    if sample is None or sample >= len(requests):
        return [*requests]
    ranked = sorted(requests, key=lambda one: hashlib.sha256(f"{seed} {one.text} {one.target_new}".encode()).digest())
    kept = {id(one) for one in ranked[:sample]}
    return [one for one in requests if id(one) in kept]


@dataclass(frozen=True)
class _Side:
    """One of the two stacks in numbers."""

    cases: tuple[CaseScore, ...]
    report: HealthReport
    edits: int
    bytes: int


def _scored(
    engine: Engine, asked: Sequence[EditRequest], ground: Ground, cancelled: Cancelled
) -> Generator[Event, None, _Side]:
    """Scores what the model shows, and measures its health."""
    core, stack = engine.core, engine.stack
    cases = yield from score_cases(core, asked, cancelled=cancelled)
    steps = measure(core, sample=1, ground=ground, keys=False, cancelled=cancelled)
    report = yield from _without_reports(steps)
    size = sum(stack.path_of(edit).stat().st_size for edit in stack.active)
    return _Side(cases, report, len(stack.active), size)


def _without_reports(steps: Generator[Event, None, HealthReport]) -> Generator[Event, None, HealthReport]:
    """Passes a measurement on; its report, whose retention is of one request, is not told."""
    while True:
        try:
            event = next(steps)
        except StopIteration as stop:
            report: HealthReport = stop.value
            return report
        if not isinstance(event, HealthReport):
            yield event


def _rows(before: _Side, after: _Side) -> dict[str, Row]:
    sides = {"before": before, "after": after}
    scores = {side: summary(one.cases) for side, one in sides.items()}
    rows: dict[str, Row] = {name: {side: getattr(one, name) for side, one in scores.items()} for name in SCORES}
    for name in MEASURED:
        base: float | None = getattr(before.report, f"{name}_base")
        rows[name] = {side: getattr(one.report, name) for side, one in sides.items()} | {"base": base}
    rows["cloze"]["error"] = max(one.report.cloze_error or 0.0 for one in sides.values())
    for name in ("drift", "spectral"):
        rows[name] = {side: getattr(one.report, name) for side, one in sides.items()}
    for name in ("edits", "bytes"):
        rows[name] = {side: float(getattr(one, name)) for side, one in sides.items()}
    return rows
